//! Stacks as tables that refer to each other by index: what pprof and OTLP have in common.
//!
//! Every table begins with an empty row, so an index of 0 says that there is none; every other row is there once, and
//! something refers to it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::calls::Calls;
use super::label;
use super::stacks::missing_root;
use crate::profile::SiteFrame;
use crate::symbolize::{FrameKind, Tier};

/// Name that stands for the sites that are not shown.
const OTHER_SITES: &str = "[other sites]";

/// A function, by indices of strings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Function {
    pub(super) name: u32,
    /// Name with its parameters, if the name has none.
    pub(super) system_name: u32,
    pub(super) file: u32,
}

/// A file that code is in, by indices of strings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Mapping {
    pub(super) file: u32,
    pub(super) build_id: u32,
}

/// A place in code. Its address is an offset in the mapping's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Location {
    pub(super) mapping: u32,
    pub(super) address: u64,
    /// Function and line, of functions that were compiled into one: the innermost first.
    pub(super) lines: Vec<(u32, u32)>,
    pub(super) kind: Option<FrameKind>,
}

/// The tables.
#[derive(Default)]
pub(super) struct Dictionary {
    pub(super) strings: Table<str>,
    pub(super) functions: Table<Function>,
    pub(super) mappings: Table<Mapping>,
    pub(super) locations: Table<Location>,
    /// The largest address in each mapping.
    ends: HashMap<u32, u64>,
    /// Frames are shared by stacks, and so known by where they are in memory.
    frames: HashMap<*const SiteFrame, Known, RandomState>,
}

/// Entries that the tables have for a frame.
#[derive(Clone, Copy)]
struct Known {
    line: (u32, u32),
    mapping: u32,
    /// The location that has this frame alone; 0: none yet.
    alone: u32,
}

impl Dictionary {
    /// Tables whose first mapping is the program's.
    pub(super) fn new(program: &str) -> Self {
        let mut dictionary = Self::default();
        let file = dictionary.string(program);
        dictionary.mappings.add(Mapping { file, build_id: 0 });
        dictionary
    }

    /// The index of a string; what would act on a terminal is taken out.
    pub(super) fn string(&mut self, text: &str) -> u32 {
        self.strings.add(&*label::clean(text))
    }

    /// The locations of a stack, leaf first. `None` for the sites that are not shown.
    pub(super) fn stack(&mut self, calls: Option<Calls<'_>>) -> Vec<u32> {
        let Some(calls) = calls else { return vec![self.word(OTHER_SITES)] };
        let mut stack = Vec::with_capacity(calls.frames.len() + 1);
        let mut rest = calls.frames;
        while let Some((first, after)) = rest.split_first() {
            let callers =
                after.iter().zip(rest).take_while(|(caller, frame)| is_compiled_into(frame, caller));
            let count = 1 + callers.count();
            let (together, after) = rest.split_at(count);
            stack.push(if count == 1 { self.alone(first) } else { self.together(together) });
            rest = after;
        }
        stack.extend(missing_root(calls).map(|word| self.word(&word)));
        stack
    }

    /// The address after the last one in a mapping; 0: none is known.
    pub(super) fn end(&self, mapping: u32) -> u64 {
        self.ends.get(&mapping).map_or(0, |last| last.saturating_add(1))
    }

    /// A location of a frame that nothing was compiled into.
    fn alone(&mut self, frame: &Arc<SiteFrame>) -> u32 {
        let known = self.frame(frame);
        if known.alone != 0 {
            return known.alone;
        }
        let alone = self.location(vec![known.line], known.mapping, frame);
        self.frames.insert(Arc::as_ptr(frame), Known { alone, ..known });
        alone
    }

    fn together(&mut self, frames: &[Arc<SiteFrame>]) -> u32 {
        let known: Vec<Known> = frames.iter().map(|frame| self.frame(frame)).collect();
        let lines = known.iter().map(|known| known.line).collect();
        match (frames.last(), known.last()) {
            // Where in the file it is, is told of the function that has code of its own.
            (Some(frame), Some(known)) => self.location(lines, known.mapping, frame),
            _ => 0,
        }
    }

    fn location(&mut self, lines: Vec<(u32, u32)>, mapping: u32, frame: &SiteFrame) -> u32 {
        let address = frame.offset.unwrap_or(0);
        if address > 0 {
            let end = self.ends.entry(mapping).or_default();
            *end = address.max(*end);
        }
        self.locations.add(Location { mapping, address, lines, kind: Some(frame.kind) })
    }

    /// A location that is no code, but a word on what is not there.
    fn word(&mut self, word: &str) -> u32 {
        let name = self.string(word);
        let function = self.functions.add(Function { name, ..Function::default() });
        self.locations.add(Location { lines: vec![(function, 0)], ..Location::default() })
    }

    fn frame(&mut self, frame: &Arc<SiteFrame>) -> Known {
        if let Some(known) = self.frames.get(&Arc::as_ptr(frame)) {
            return *known;
        }
        let name = label::function(frame);
        let whole = label::clean(&frame.function);
        let system_name = if whole == name { 0 } else { self.string(&whole) };
        let name = self.string(&name);
        let file = frame.file.as_deref().map_or(0, |file| self.string(file));
        let function = self.functions.add(Function { name, system_name, file });
        let mapping = match (&frame.module, frame.kind) {
            (Some(module), _) => {
                let build_id = frame.build_id.as_deref().map_or(0, |id| self.string(id));
                let file = self.string(module);
                self.mappings.add(Mapping { file, build_id })
            }
            (None, FrameKind::Kernel) => {
                let file = self.string("[kernel.kallsyms]");
                self.mappings.add(Mapping { file, build_id: 0 })
            }
            // Code that the program made, or of which nothing is known.
            (None, _) => 1,
        };
        let known = Known { line: (function, frame.line.unwrap_or(0)), mapping, alone: 0 };
        self.frames.insert(Arc::as_ptr(frame), known);
        known
    }
}

/// Was `frame` compiled into its caller?
fn is_compiled_into(frame: &SiteFrame, caller: &SiteFrame) -> bool {
    frame.tier == Some(Tier::Inlined) && frame.kind == caller.kind && frame.module == caller.module
}

/// Rows, each once; the first is empty.
pub(super) struct Table<T: ?Sized> {
    rows: Vec<Arc<T>>,
    places: HashMap<Arc<T>, u32, RandomState>,
}

impl<T: ?Sized + Eq + Hash> Default for Table<T>
where
    Arc<T>: Default,
{
    fn default() -> Self {
        let empty: Arc<T> = Arc::default();
        Self { rows: vec![empty.clone()], places: HashMap::from_iter([(empty, 0)]) }
    }
}

impl<T: ?Sized + Eq + Hash> Table<T> {
    /// The index of a row.
    pub(super) fn add(&mut self, row: impl Into<Arc<T>> + Borrow<T>) -> u32 {
        if let Some(place) = self.places.get(row.borrow()) {
            return *place;
        }
        // Each row has a frame or a name of the recording behind it, and those are fewer than 2^32.
        let place = u32::try_from(self.rows.len()).unwrap_or(0);
        let row = row.into();
        self.rows.push(row.clone());
        self.places.insert(row, place);
        place
    }

    /// Rows with their indices, the empty one first.
    pub(super) fn rows(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.rows.iter().map(Arc::as_ref))
    }
}
