//! The flame graph of differences: red grew, blue shrank, and each name says by how much, for eyes that do not
//! tell the two apart. A stack is as wide as the larger of the two sides, so that what is gone is seen, too.

use std::collections::HashMap;
use std::io::{self, Write};

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{self, Options as Settings};

use super::stacks::both;
use crate::output::flamegraph::with_root;
use crate::output::{Options, label, units};
use crate::profile::diff::{Diff, Pair};

const UNCHANGED: Color = Color { r: 224, g: 224, b: 224 };

/// Is there anything to draw?
pub fn is_empty(diff: &Diff, options: &Options) -> bool {
    both(diff, options).is_empty()
}

/// Writes the flame graph. Above the root is the category, unless one was chosen.
///
/// # Errors
/// Writing failed, or there is nothing to draw.
pub fn render(diff: &Diff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut tree = Tree::default();
    let mut ways = Vec::new();
    let mut sums = (0_u64, 0_u64);
    for stack in both(diff, options) {
        let category = options.category.is_none().then(|| label::clean(&stack.category).into_owned());
        let levels = stack.levels.into_iter().map(|level| level.name);
        // The separator has no escape.
        let names = category.into_iter().chain(levels).map(|name| name.replace(';', ":"));
        ways.push((tree.add(names, stack.base, stack.new), stack.base.max(stack.new)));
        sums = (sums.0.saturating_add(stack.base), sums.1.saturating_add(stack.new));
    }
    let largest = tree.nodes.iter().map(|node| node.difference().unsigned_abs()).max().unwrap_or(0);
    let mut palette = PaletteMap::default();
    for root in ["", "all"] {
        palette.insert(root, UNCHANGED);
    }
    for node in &tree.nodes {
        palette.insert(node.label(), color(node.difference(), largest));
    }
    let line = |(way, bytes): &(Vec<usize>, u64)| {
        let names: Vec<String> =
            way.iter().filter_map(|&node| tree.nodes.get(node)).map(Node::label).collect();
        format!("{} {bytes}", names.join(";"))
    };
    let lines: Vec<String> = ways.iter().map(line).collect();

    let mut settings = Settings::default();
    let (base, new) = (units::bytes(sums.0), units::bytes(sums.1));
    let of = options.category.as_deref().map(|id| format!(" of {}", label::clean(id))).unwrap_or_default();
    let comm = label::clean(&diff.new.target.comm);
    let view = options.view.as_str();
    settings.title = format!("{comm}: {view} native memory{of}, from {base} to {new}");
    settings.subtitle = Some("red grew, blue shrank; as wide as the larger of the two".to_owned());
    settings.count_name = "bytes".to_owned();
    settings.name_type = "Function:".to_owned();
    settings.font_type = "Verdana, DejaVu Sans, sans-serif".to_owned();
    settings.frame_height = 17;
    settings.bgcolors = Some(BackgroundColor::Flat(Color { r: 250, g: 250, b: 250 }));
    settings.palette_map = Some(&mut palette);
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut settings, lines.iter().map(String::as_str), &mut svg)?;
    let root = format!("all: {view} native memory, from {base} to {new}");
    out.write_all(with_root(&String::from_utf8_lossy(&svg), &root).as_bytes())
}

/// All stacks by their common beginnings.
#[derive(Default)]
struct Tree {
    nodes: Vec<Node>,
    children: HashMap<(Option<usize>, String), usize>,
}

/// A function below its callers, with all that is below it.
struct Node {
    name: String,
    base: u64,
    new: u64,
}

impl Tree {
    /// Adds a stack, and gives its nodes, root first.
    fn add(&mut self, names: impl Iterator<Item = String>, base: u64, new: u64) -> Vec<usize> {
        let mut way: Vec<usize> = Vec::new();
        for name in names {
            let nodes = &mut self.nodes;
            let place = *self.children.entry((way.last().copied(), name.clone())).or_insert_with(|| {
                nodes.push(Node { name, base: 0, new: 0 });
                nodes.len() - 1
            });
            if let Some(node) = nodes.get_mut(place) {
                node.base = node.base.saturating_add(base);
                node.new = node.new.saturating_add(new);
            }
            way.push(place);
        }
        way
    }
}

impl Node {
    fn difference(&self) -> i64 {
        Pair::new(Some(self.base), Some(self.new)).growth()
    }

    /// The name with what it grew by; so two of one name with one colour each are told apart.
    fn label(&self) -> String {
        match self.difference() {
            0 => self.name.clone(),
            difference => format!("{} ({})", self.name, units::bytes_more(difference)),
        }
    }
}

/// The stronger, the more of the largest difference it is.
fn color(difference: i64, largest: u64) -> Color {
    if difference == 0 {
        return UNCHANGED;
    }
    // The root's: small differences are still seen as such.
    let strength = (difference.unsigned_abs() as f64 / largest.max(1) as f64).sqrt();
    let fade = |full: u8| 255 - ((255.0 - f64::from(full)) * (0.25 + 0.75 * strength)) as u8;
    match difference {
        1.. => Color { r: 255, g: fade(80), b: fade(70) },
        _ => Color { r: fade(80), g: fade(130), b: 255 },
    }
}
