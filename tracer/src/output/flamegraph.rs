//! The flame graph: an SVG that zooms and searches, coloured by whose code it is.

use std::fmt::Write as _;
use std::io::{self, Write};

use inferno::flamegraph::color::PaletteMap;

use super::kind::Kind;
use super::palette::{LEGEND, base, color};
use super::pictured::levels;
use super::stacks::{Level, Weighted, source, weighted};
use super::svg::{self, Head, ROOTS};
use super::{Options, label, units, with_pid};
use crate::profile::{Profile, View};

/// Writes the flame graph of a profile. Above the root is the category, unless one was chosen. Where there is nothing
/// to draw, the picture says so.
///
/// # Errors
/// Writing failed.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let source = source(options, profile.sites.iter().map(|site| site.source));
    let mut stacks = weighted(profile, options, levels);
    if stacks.is_empty() {
        let title = title(profile, &format!("nothing to draw: no bytes {}", what(options.view, source)));
        return svg::write_empty(&title, &of_other_source(profile, source).unwrap_or_default(), out);
    }
    if options.category.is_none() {
        for stack in &mut stacks {
            let category = Level { name: label::clean(&stack.category).into_owned(), kind: Kind::Category };
            stack.levels.insert(0, category);
        }
    }
    let mut palette = PaletteMap::default();
    for root in ROOTS {
        palette.insert(root, color(Kind::Missing, root));
    }
    let mut total_bytes = 0_u64;
    let mut lines = Vec::with_capacity(stacks.len());
    let mut kinds = Vec::new();
    for Weighted { levels, bytes, .. } in &stacks {
        let mut line = String::new();
        for level in levels {
            // The separator has no escape, and a blank before digits would be taken for the count.
            let name = level.name.replace(';', ":");
            if !line.is_empty() {
                line.push(';');
            }
            line.push_str(&name);
            if !kinds.contains(&level.kind) {
                kinds.push(level.kind);
            }
            palette.insert(&name, color(level.kind, &name));
        }
        let _ = write!(line, " {bytes}");
        lines.push(line);
        total_bytes = total_bytes.saturating_add(*bytes);
    }
    let what = format!("{} {}", units::bytes(total_bytes), what(options.view, source));
    let mut subtitle = legend(&kinds);
    if !options.verbose {
        subtitle.push_str("\u{2003}\u{b7}\u{2003}JVM frames and recursion are folded (-v: all)");
    }
    if let Some(text) = of_other_source(profile, source) {
        let _ = write!(subtitle, "\u{2003}\u{b7}\u{2003}{}", svg::escaped(&text));
    }
    let head = Head { title: title(profile, &what), subtitle, root: format!("all: {what}") };
    svg::write(&head, &mut palette, &lines, out)
}

/// Name of the bytes.
pub(super) fn what(view: View, source: &str) -> &'static str {
    match view {
        View::Live if source == "mapping" => "mapped",
        View::Live => "not freed",
        View::Allocated if source == "mapping" => "mapped in all",
        View::Allocated => "allocated",
        View::Leaks => "not freed that still grew",
        View::Temporary => "allocated and freed",
        View::Peak => "at the peak",
    }
}

/// Memory that is not in the picture: thread stacks and the like are in none of malloc's.
fn of_other_source(profile: &Profile, source: &str) -> Option<String> {
    let of = |source| {
        let rows = profile.categories.iter().filter(move |row| row.source == source);
        rows.map(|row| row.totals.live_bytes).fold(0, u64::saturating_add)
    };
    let (name, other, bytes) = match source {
        "allocator" => ("mappings", "mapping", of("mapping")),
        _ => ("malloc's", "allocator", of("allocator")),
    };
    (bytes > 0).then(|| format!("not in it: {name}, {} (--source {other})", units::bytes(bytes)))
}

/// Title: the quantity, the process, how long, how much.
fn title(profile: &Profile, what: &str) -> String {
    let flags = &profile.filtered.flags;
    let only =
        if flags.is_empty() { String::new() } else { format!(" ({})", label::clean(&flags.join(" "))) };
    format!(
        "{}: {what}{only}, {} recorded",
        with_pid(&profile.target),
        units::duration(profile.session.duration_ns),
    )
}

/// The colours that occur, as markup.
fn legend(kinds: &[Kind]) -> String {
    let mut legend = String::new();
    for (kind, name) in LEGEND.iter().filter(|(kind, _)| kinds.contains(kind)) {
        let (red, green, blue) = base(*kind);
        let gap = if legend.is_empty() { "" } else { "\u{2003}" };
        let _ = write!(legend, "{gap}<tspan fill=\"rgb({red},{green},{blue})\">\u{25a0}</tspan>\u{a0}{name}");
    }
    legend
}
