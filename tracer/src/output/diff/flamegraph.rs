//! The flame graph of differences: red grew, blue shrank, and each name says by how much, for eyes that do not
//! tell the two apart. A stack is as wide as the larger of the two sides, so that what is gone is seen, too.

use std::collections::HashMap;
use std::io::{self, Write};

use inferno::flamegraph::color::{Color, PaletteMap};

use super::stacks::both;
use crate::output::flamegraph::what;
use crate::output::pictured::levels;
use crate::output::stacks::source;
use crate::output::svg::{self, Head, ROOTS};
use crate::output::{Options, label, units};
use crate::profile::diff::{Diff, Pair};

const UNCHANGED: Color = Color { r: 224, g: 224, b: 224 };

/// Writes the flame graph. Above the root is the category, unless one was chosen. Where there is nothing to draw, the
/// picture says so.
///
/// # Errors
/// Writing failed.
pub fn render(diff: &Diff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut tree = Tree::default();
    let mut ways = Vec::new();
    let mut sums = (0_u64, 0_u64);
    for stack in both(diff, options, levels) {
        let category = options.category.is_none().then(|| label::clean(&stack.category).into_owned());
        let levels = stack.levels.into_iter().map(|level| level.name);
        // The separator has no escape.
        let names = category.into_iter().chain(levels).map(|name| name.replace(';', ":"));
        ways.push((tree.add(names, stack.base, stack.new), stack.base.max(stack.new)));
        sums = (sums.0.saturating_add(stack.base), sums.1.saturating_add(stack.new));
    }
    let what = what(options.view, source(options, diff.sites.iter().map(|site| site.source)));
    let comm = label::clean(&diff.new.target.comm);
    if ways.is_empty() {
        let title = format!("{comm}: nothing to draw: neither has bytes {what}");
        return svg::write_empty(&title, "--format text tells all that differs", out);
    }
    let largest = tree.nodes.iter().map(|node| node.difference().unsigned_abs()).max().unwrap_or(0);
    let mut palette = PaletteMap::default();
    for root in ROOTS {
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
    let of = options.category.as_deref().map(|id| format!(" of {}", label::clean(id))).unwrap_or_default();
    let (base, new) = (units::bytes(sums.0), units::bytes(sums.1));
    let head = Head {
        title: format!("{comm}: {what}{of}, from {base} to {new}"),
        subtitle: "red grew, blue shrank; as wide as the larger of the two".to_owned(),
        root: format!("all: {what}, from {base} to {new}"),
    };
    svg::write(&head, &mut palette, &lines, out)
}

/// Tree of the stacks by their common beginnings.
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
