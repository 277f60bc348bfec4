//! The report as the page gets it: facts as JSON, stacks as a tree in columns.
//!
//! The file: the length of the JSON (4 bytes, little-endian), the JSON, then the columns from the next multiple of eight.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use super::columns::Columns;
use super::rows::Rows;
use crate::output::kind::Kind;
use crate::output::stacks::{missing_root, source};
use crate::output::{Options, filtered, label, program_name};
use crate::profile::{Profile, Site, SiteFrame};

/// Compiled methods that are listed, at most.
const METHODS: usize = 1_000;

/// The page's data.
pub(super) fn of(profile: &Profile, options: &Options) -> io::Result<Vec<u8>> {
    let source = source(options, profile.sites.iter().map(|site| site.source));
    let mut draft = Draft::default();
    draft.strings.add("");
    let sites: Vec<&Site> = profile.sites.iter().filter(|site| site.source == source).collect();
    let mut sorted: Vec<(usize, Vec<i32>)> =
        sites.iter().enumerate().map(|(at, site)| (at, draft.stack(site))).collect();
    // In the order of their stacks, so that what they have in common is there once.
    sorted.sort_by(|(_, one), (_, other)| one.cmp(other));
    let mut leaves = vec![0; sites.len()];
    let mut tree = Tree::default();
    for (at, stack) in &sorted {
        if let Some(leaf) = leaves.get_mut(*at) {
            *leaf = tree.add(stack);
        }
    }
    draft.sites(&sites, &leaves);
    let rows = Rows::of(profile, source);
    draft.columns.add_i32("site_line", &rows.of_sites);
    draft.columns.add_i32("node_up", &tree.up);
    draft.columns.add_i32("node_frame", &tree.frames);
    let mut threads = serde_json::to_value(&profile.threads)?;
    draft.creators(profile, &mut threads);
    let mut code = serde_json::to_value(&profile.code_cache)?;
    if let Some(methods) = code.get_mut("methods").and_then(Value::as_array_mut) {
        methods.truncate(METHODS);
    }
    let Draft { strings, frames, mut columns, .. } = draft;
    for (name, part) in
        [("frame_function", 0), ("frame_line", 1), ("frame_kind", 2), ("frame_file", 3), ("frame_module", 4)]
    {
        let values: Vec<i32> = frames.iter().filter_map(|frame| frame.get(part).copied()).collect();
        columns.add_i32(name, &values);
    }
    let (bytes, places) = columns.finish();
    let head = json!({
        "program": program_name(&profile.target),
        "source": source,
        "view": options.view.as_str(),
        "version": env!("CARGO_PKG_VERSION"),
        "target": profile.target,
        "session": profile.session,
        "trust": profile.quality,
        "totals": profile.totals,
        "filtered": filtered::of_profile(profile),
        "findings": rows.findings(profile),
        "by_line": rows.by_line(profile),
        "categories": profile.categories,
        "threads": threads,
        "code_cache": code,
        "memory": profile.memory,
        "limits": profile.limits,
        "fits": profile.fits,
        "series": profile.series,
        "census": profile.census,
        "strings": strings.rows,
        "columns": places,
    });
    let head = serde_json::to_vec(&head)?;
    let mut file = u32::try_from(head.len()).map_err(io::Error::other)?.to_le_bytes().to_vec();
    file.extend_from_slice(&head);
    file.resize(file.len().next_multiple_of(8), 0);
    file.extend_from_slice(&bytes);
    Ok(file)
}

/// The tables while they are put together.
#[derive(Default)]
struct Draft {
    strings: Strings,
    /// Function, line, kind, file and module.
    frames: Vec<[i32; 5]>,
    places: HashMap<[i32; 5], i32>,
    known: HashMap<*const SiteFrame, i32>,
    columns: Columns,
}

impl Draft {
    /// A site's frames, root first.
    fn stack(&mut self, site: &Site) -> Vec<i32> {
        let root = missing_root(site.into()).map(|word| {
            let function = self.strings.add(&word);
            self.row([function, 0, Kind::Missing as i32, 0, 0])
        });
        let mut stack = Vec::with_capacity(site.frames.len() + 1);
        stack.extend(root);
        stack.extend(site.frames.iter().rev().map(|frame| self.frame(frame)));
        stack
    }

    fn frame(&mut self, frame: &Arc<SiteFrame>) -> i32 {
        if let Some(place) = self.known.get(&Arc::as_ptr(frame)) {
            return *place;
        }
        let function = self.strings.add(&label::function(frame));
        let line = frame.line.and_then(|line| i32::try_from(line).ok()).unwrap_or(0);
        let mut text = |text: &Option<String>| text.as_deref().map_or(0, |text| self.strings.add(text));
        let (file, module) = (text(&frame.file), text(&frame.module));
        let place = self.row([function, line, Kind::of(frame) as i32, file, module]);
        self.known.insert(Arc::as_ptr(frame), place);
        place
    }

    fn row(&mut self, row: [i32; 5]) -> i32 {
        let next = index(self.frames.len());
        let place = *self.places.entry(row).or_insert(next);
        if place == next {
            self.frames.push(row);
        }
        place
    }

    fn sites(&mut self, sites: &[&Site], leaves: &[i32]) {
        let mut texts = |name: &'static str, of: &dyn Fn(&Site) -> Option<String>| {
            let values: Vec<i32> =
                sites.iter().map(|site| of(site).map_or(0, |text| self.strings.add(&text))).collect();
            self.columns.add_i32(name, &values);
        };
        texts("site_category", &|site| Some(site.category.clone()));
        texts("site_verdict", &|site| Some(site.verdict.as_ref()?.kind.as_str().to_owned()));
        self.columns.add_i32("site_leaf", leaves);
        let owner = |site: &&Site| {
            let owner = site.path.owner.and_then(|owner| site.frames.get(owner));
            owner.map_or(-1, |frame| self.frame(frame))
        };
        let owners: Vec<i32> = sites.iter().map(owner).collect();
        self.columns.add_i32("site_owner", &owners);
        for (name, of) in [
            ("site_live_bytes", (|site| site.totals.live_bytes as f64) as fn(&Site) -> f64),
            ("site_live_count", |site| site.totals.live_count as f64),
            ("site_allocated_bytes", |site| site.totals.allocated_bytes as f64),
            ("site_allocated_count", |site| site.totals.allocated_count as f64),
            ("site_peak_bytes", |site| site.peak.bytes_at_peak as f64),
            ("site_growth", |site| site.growth_bytes_per_s.map_or(f64::NAN, |growth| growth as f64)),
        ] {
            let values: Vec<f64> = sites.iter().map(|site| of(site)).collect();
            self.columns.add_f64(name, &values);
        }
    }

    /// Gives the creators of threads their line in place of their frames.
    fn creators(&mut self, profile: &Profile, threads: &mut Value) {
        let Some(rows) = threads.get_mut("creators").and_then(Value::as_array_mut) else { return };
        for (row, creator) in rows.iter_mut().zip(&profile.threads.creators) {
            let owner = creator.path.owner.and_then(|owner| creator.frames.get(owner));
            if let Some(row) = row.as_object_mut() {
                row.remove("frames");
                row.insert("owner".to_owned(), owner.map(|frame| label::place(frame)).into());
            }
        }
    }
}

/// Stacks by their common beginnings. A node comes after the one above it.
#[derive(Default)]
struct Tree {
    /// How far before the node the one above it is; 0: it has none.
    up: Vec<i32>,
    frames: Vec<i32>,
    /// The last stack, and its nodes.
    last: Vec<(i32, usize)>,
}

impl Tree {
    /// Adds the next stack in order, and gives its leaf; -1: it has no frames.
    fn add(&mut self, stack: &[i32]) -> i32 {
        let same = self.last.iter().zip(stack).take_while(|((last, _), frame)| last == *frame).count();
        self.last.truncate(same);
        for &frame in stack.iter().skip(same) {
            let node = self.up.len();
            self.up.push(self.last.last().map_or(0, |(_, above)| index(node - above)));
            self.frames.push(frame);
            self.last.push((frame, node));
        }
        self.last.last().map_or(-1, |(_, node)| index(*node))
    }
}

/// Texts, each once.
#[derive(Default)]
struct Strings {
    rows: Vec<String>,
    places: HashMap<String, i32>,
}

impl Strings {
    fn add(&mut self, text: &str) -> i32 {
        let text = label::clean(text);
        if let Some(place) = self.places.get(text.as_ref()) {
            return *place;
        }
        let place = index(self.rows.len());
        self.rows.push(text.clone().into_owned());
        self.places.insert(text.into_owned(), place);
        place
    }
}

fn index(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}
