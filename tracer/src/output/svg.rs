//! Parts that all flame graphs have in common: settings, a dark mode, a search that can be read, a named root, the
//! empty picture.
//!
//! Takes folded lines with what is above them; gives a whole SVG. The picture itself is inferno's.

use std::io::{self, Write};

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{self, Options as Settings};

/// The root's bar, which has no name in what is counted.
pub(super) const ROOTS: [&str; 2] = ["", "all"];
/// Stands in the subtitle until its markup takes its place.
const SUBTITLE_MARK: &str = "what-is-shown";
const STYLE: &str = "\
#search, #unzoom { opacity: 1; fill: #0b57a4; text-decoration: underline; }
#matched { font-weight: bold; }
#subtitle { font-size: 11px; }
@media (prefers-color-scheme: dark) {
  svg > rect { fill: #14171b; }
  #title, #subtitle, #details, #matched { fill: #e4e8ec; }
  #search, #unzoom { fill: #8cc4ff; }
  #frames > *:hover { stroke: #ffffff; }
}
";
/// Black text on it can be read.
const SEARCH_COLOR: &str = "#f082f0";
/// Narrower frames have no text: two letters of a name say nothing.
const LETTERS: u32 = 5;

/// Text above the frames. The names are text; the subtitle and the root's name are markup, and go in as they are.
pub(super) struct Head {
    pub(super) title: String,
    pub(super) subtitle: String,
    /// The root's bar has no text but where scripts run, and there says no more than "all".
    pub(super) root: String,
}

/// Writes a flame graph of folded lines, of which there is one or more.
pub(super) fn write(
    head: &Head,
    palette: &mut PaletteMap,
    lines: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut settings = Settings::default();
    settings.title = head.title.clone();
    settings.subtitle = Some(SUBTITLE_MARK.to_owned());
    settings.count_name = "bytes".to_owned();
    settings.name_type = "Function:".to_owned();
    // All letters are as wide, so scripts need not measure each name.
    settings.font_type = "monospace".to_owned();
    settings.font_width = 0.61;
    settings.frame_height = 17;
    settings.bgcolors = Some(BackgroundColor::Flat(Color { r: 250, g: 250, b: 250 }));
    settings.search_color = SEARCH_COLOR.parse().unwrap_or(settings.search_color);
    settings.palette_map = Some(palette);
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut settings, lines.iter().map(String::as_str), &mut svg)?;
    let svg = String::from_utf8_lossy(&svg).replacen("</style>", &format!("{STYLE}</style>"), 1);
    let svg = svg.replacen("2 * known_font_width", &format!("{LETTERS} * known_font_width"), 1);
    let svg = svg.replacen(SUBTITLE_MARK, &head.subtitle, 1);
    out.write_all(with_root(&svg, &head.root).as_bytes())
}

/// Writes a picture that says that there is nothing to draw.
pub(super) fn write_empty(title: &str, why: &str, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "<?xml version=\"1.0\" standalone=\"no\"?>\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1200\" height=\"110\" viewBox=\"0 0 1200 110\">\n\
         <style type=\"text/css\">\ntext {{ font-family: monospace; font-size: 12px; text-anchor: middle; }}\n\
         #title {{ font-size: 17px; }}\n{STYLE}</style>\n\
         <rect width=\"100%\" height=\"110\" fill=\"#fafafa\"/>\n\
         <text id=\"title\" x=\"50%\" y=\"36\">{}</text>\n<text id=\"details\" x=\"50%\" y=\"72\">{}</text>\n</svg>\n",
        escaped(title),
        escaped(why)
    )
}

/// Text as markup has it.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn with_root(svg: &str, name: &str) -> String {
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
