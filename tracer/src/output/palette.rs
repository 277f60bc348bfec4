//! Colours of flame graphs: one family for each kind of frame, so that a person sees at a glance
//! where Java ends. Families differ in lightness too, for eyes that take colours for one another.

use inferno::flamegraph::color::Color;

use super::kind::Kind;

/// The families with their names, in the order of the legend.
pub(super) const LEGEND: [(Kind, &str); 7] = [
    (Kind::Category, "category"),
    (Kind::Application, "your code"),
    (Kind::Jdk, "JDK"),
    (Kind::Jvm, "JVM"),
    (Kind::Native, "libraries"),
    (Kind::Kernel, "kernel"),
    (Kind::Missing, "not known"),
];

/// The middle of a family.
pub(super) const fn base(kind: Kind) -> (u8, u8, u8) {
    match kind {
        Kind::Category => (196, 203, 214),
        Kind::Application => (242, 153, 74),
        Kind::Jdk => (243, 211, 134),
        Kind::Jvm => (122, 176, 232),
        Kind::Native | Kind::Entry => (168, 206, 140),
        Kind::Kernel => (196, 150, 214),
        Kind::Missing => (224, 224, 224),
    }
}

/// The colour of a function: of its kind's family, always the same for the same name.
pub(super) fn color(kind: Kind, name: &str) -> Color {
    let (red, green, blue) = base(kind);
    // FNV-1a: the same in every run, unlike the standard library's hashes.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let spread = if matches!(kind, Kind::Category | Kind::Missing) { 1 } else { 25 };
    let shift =
        i16::try_from(hash % spread).unwrap_or_default() - i16::try_from(spread / 2).unwrap_or_default();
    let shade = |part: u8| u8::try_from((i16::from(part) + shift).clamp(0, 255)).unwrap_or(part);
    Color { r: shade(red), g: shade(green), b: shade(blue) }
}
