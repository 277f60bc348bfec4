//! Tables that pages refer to: texts, frames, stacks as a tree, columns of numbers.
//!
//! The file: the length of the JSON (4 bytes, little-endian), the JSON, then the columns from the next multiple of
//! eight.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::columns::Columns;
use crate::output::calls::Calls;
use crate::output::kind::Kind;
use crate::output::label;
use crate::output::stacks::missing_root;
use crate::profile::SiteFrame;

/// The tables while they are put together.
pub(super) struct Draft {
    strings: Strings,
    /// Function, line, kind, file and module.
    frames: Vec<[i32; 5]>,
    places: HashMap<[i32; 5], i32>,
    known: HashMap<*const SiteFrame, i32>,
    columns: Columns,
}

impl Draft {
    pub(super) fn new() -> Self {
        let mut strings = Strings::default();
        // A text that is not there is the first.
        strings.add("");
        let (frames, places, known) = (Vec::new(), HashMap::new(), HashMap::new());
        Self { strings, frames, places, known, columns: Columns::default() }
    }

    /// Adds stacks, those of one word each after those of sites: where each one's leaf is.
    pub(super) fn stacks(&mut self, sites: &[Calls<'_>], words: &[String]) {
        let mut stacks: Vec<Vec<i32>> = sites.iter().map(|site| self.stack(*site)).collect();
        stacks.extend(words.iter().map(|word| vec![self.word(word)]));
        let mut sorted: Vec<(usize, &Vec<i32>)> = stacks.iter().enumerate().collect();
        // In the order of their stacks, so that what they have in common is there once.
        sorted.sort_by_key(|(_, stack)| *stack);
        let mut leaves = vec![0; stacks.len()];
        let mut tree = Tree::default();
        for (at, stack) in &sorted {
            if let Some(leaf) = leaves.get_mut(*at) {
                *leaf = tree.add(stack);
            }
        }
        self.columns.add_i32("site_leaf", &leaves);
        self.columns.add_i32("node_up", &tree.up);
        self.columns.add_i32("node_frame", &tree.frames);
        let owner = |site: &Calls<'_>| {
            let frame = site.path.owner.and_then(|owner| site.frames.get(owner));
            frame.map_or(-1, |frame| self.frame(frame))
        };
        let mut owners: Vec<i32> = sites.iter().map(owner).collect();
        owners.resize(stacks.len(), -1);
        self.columns.add_i32("site_owner", &owners);
    }

    /// Adds a column of texts.
    pub(super) fn texts<'a>(&mut self, name: &'static str, of: impl Iterator<Item = Option<&'a str>>) {
        let values: Vec<i32> = of.map(|text| text.map_or(0, |text| self.strings.add(text))).collect();
        self.columns.add_i32(name, &values);
    }

    /// Adds a column of indices.
    pub(super) fn indices(&mut self, name: &'static str, values: &[i32]) {
        self.columns.add_i32(name, values);
    }

    /// Adds a column of bytes or counts.
    pub(super) fn numbers(&mut self, name: &'static str, values: impl Iterator<Item = f64>) {
        self.columns.add_f64(name, &values.collect::<Vec<_>>());
    }

    /// The file: facts and the tables.
    pub(super) fn finish(self, facts: Value) -> io::Result<Vec<u8>> {
        let Value::Object(mut facts) = cleaned(facts) else { return Err(io::Error::other("no facts")) };
        let Self { strings, frames, mut columns, .. } = self;
        for (name, part) in [
            ("frame_function", 0),
            ("frame_line", 1),
            ("frame_kind", 2),
            ("frame_file", 3),
            ("frame_module", 4),
        ] {
            let values: Vec<i32> = frames.iter().filter_map(|frame| frame.get(part).copied()).collect();
            columns.add_i32(name, &values);
        }
        let (bytes, places) = columns.finish();
        facts.insert("strings".to_owned(), strings.rows.into());
        facts.insert("columns".to_owned(), serde_json::to_value(places)?);
        let head = serde_json::to_vec(&facts)?;
        let mut file = u32::try_from(head.len()).map_err(io::Error::other)?.to_le_bytes().to_vec();
        file.extend_from_slice(&head);
        file.resize(file.len().next_multiple_of(8), 0);
        file.extend_from_slice(&bytes);
        Ok(file)
    }

    /// A site's frames, root first.
    fn stack(&mut self, site: Calls<'_>) -> Vec<i32> {
        let root = missing_root(site).map(|word| self.word(&word));
        let mut stack = Vec::with_capacity(site.frames.len() + 1);
        stack.extend(root);
        stack.extend(site.frames.iter().rev().map(|frame| self.frame(frame)));
        stack
    }

    /// A frame that is none, but a word on what is not there.
    fn word(&mut self, word: &str) -> i32 {
        let function = self.strings.add(word);
        self.row([function, 0, Kind::Missing as i32, 0, 0])
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
}

/// Stacks by their common beginnings. A node comes after the one above it.
#[derive(Default)]
struct Tree {
    /// Distance of each node from the one above it, which comes before; 0: it has none.
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

/// The same with names as they are shown.
fn cleaned(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(label::clean(&text).into_owned()),
        Value::Array(values) => values.into_iter().map(cleaned).collect(),
        Value::Object(map) => {
            let entry = |(name, value): (String, Value)| (label::clean(&name).into_owned(), cleaned(value));
            Value::Object(map.into_iter().map(entry).collect::<Map<String, Value>>())
        }
        other => other,
    }
}

pub(super) fn index(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}
