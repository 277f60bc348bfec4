//! The flame graph: an SVG that zooms and searches, coloured by whose code it is.

use std::fmt::Write as _;
use std::io::{self, Write};

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{self, Options as Settings};

use super::palette::{LEGEND, base, color};
use super::stacks::{Kind, Level, Weighted, weighted};
use super::{Options, label, units};
use crate::profile::{Profile, View};

/// Stands in the subtitle until the legend, which has colours, takes its place.
const LEGEND_MARK: &str = "legend-of-colours";

/// Is there anything to draw?
pub fn is_empty(profile: &Profile, options: &Options) -> bool {
    weighted(profile, options).is_empty()
}

/// Writes the flame graph of a profile. Above the root is the category, unless one was chosen.
///
/// # Errors
/// Writing failed, or there is nothing to draw.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut stacks = weighted(profile, options);
    if options.category.is_none() {
        for stack in &mut stacks {
            let category = Level { name: label::clean(&stack.category).into_owned(), kind: Kind::Category };
            stack.levels.insert(0, category);
        }
    }
    let mut palette = PaletteMap::default();
    // The root, which has all bytes and no name.
    for root in ["", "all"] {
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

    let mut settings = Settings::default();
    settings.title = title(profile, options, total_bytes);
    settings.subtitle = Some(LEGEND_MARK.to_owned());
    settings.count_name = "bytes".to_owned();
    settings.name_type = "Function:".to_owned();
    settings.font_type = "Verdana, DejaVu Sans, sans-serif".to_owned();
    settings.frame_height = 17;
    settings.bgcolors = Some(BackgroundColor::Flat(Color { r: 250, g: 250, b: 250 }));
    settings.palette_map = Some(&mut palette);
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut settings, lines.iter().map(String::as_str), &mut svg)?;
    let svg = with_legend(&String::from_utf8_lossy(&svg), &kinds);
    let root = format!("all: {} {}", units::bytes(total_bytes), what(options.view));
    out.write_all(with_root(&svg, &root).as_bytes())
}

/// Names the root's bar, which has no text but where scripts run, and there says no more than "all".
/// `name` goes in as it is: markup in it would act.
pub(super) fn with_root(svg: &str, name: &str) -> String {
    // No other bar's share is written without decimals.
    let parts = svg.split_once(", 100%)</title>").and_then(|(before, after)| {
        let (before, count) = before.rsplit_once("<title>all (")?;
        let (between, rest) = after.split_once("></text>")?;
        Some((before, count, between, rest))
    });
    match parts {
        Some((before, count, between, rest)) => {
            format!("{before}<title>{name} ({count}, 100%)</title>{between}>{name}</text>{rest}")
        }
        None => svg.to_owned(),
    }
}

fn what(view: View) -> &'static str {
    match view {
        View::Live => "live native memory",
        View::Allocated => "allocated native memory",
        View::Leaks => "live native memory that still grew",
        View::Temporary => "native memory allocated and freed",
        View::Peak => "native memory at the peak",
    }
}

/// What, of which process, how long, how much.
fn title(profile: &Profile, options: &Options, total_bytes: u64) -> String {
    let what = what(options.view);
    let flags = &profile.filtered.flags;
    let only =
        if flags.is_empty() { String::new() } else { format!(" ({})", label::clean(&flags.join(" "))) };
    format!(
        "{} (pid {}): {} {what}{only}, {} recorded",
        label::clean(&profile.target.comm),
        profile.target.pid,
        units::bytes(total_bytes),
        units::duration(profile.session.duration_ns),
    )
}

/// Puts the legend of the colours that occur where the subtitle is.
fn with_legend(svg: &str, kinds: &[Kind]) -> String {
    let mut legend = String::new();
    for (kind, name) in LEGEND.iter().filter(|(kind, _)| kinds.contains(kind)) {
        let (red, green, blue) = base(*kind);
        let gap = if legend.is_empty() { "" } else { "\u{2003}" };
        let _ = write!(legend, "{gap}<tspan fill=\"rgb({red},{green},{blue})\">\u{25a0}</tspan>\u{a0}{name}");
    }
    svg.replacen(LEGEND_MARK, &legend, 1)
}
