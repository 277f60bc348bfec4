//! Rows of a recording that pass, and what of each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::live_parts::{self, LiveParts};
use super::range::Range;
use super::{Filter, Filtered, Part, Refusal};
use crate::attribute::{Attribution, FrameTraits, Rules};
use crate::process::Tid;
use crate::profile::build::{at, frame_traits};
use crate::profile::by_line;
use crate::recording::{Recording, Source, Stack, Total, Totals};
use crate::symbolize::Frame;
use crate::units;

/// Rows that pass.
pub(in crate::profile) struct Selected {
    /// Each row of the recording's totals: its attribution, and the part of it that passes. `None` if nothing passes.
    pub(in crate::profile) rows: Vec<Option<(Attribution, Totals)>>,
    /// Rows of compilers, passing or not.
    pub(in crate::profile) compilers: Vec<usize>,
    /// Test whether what a thread allocated passes. None: the threads of what passes are not known.
    pub(in crate::profile) is_of_thread: Option<OfThread>,
    pub(in crate::profile) filtered: Filtered,
}

/// Tells for a tid.
pub(in crate::profile) type OfThread = Box<dyn Fn(Tid) -> bool>;

/// A part of each row, as far as the recording knows it.
enum RowParts {
    Live(LiveParts),
    Range(Box<Range>),
}

impl Selected {
    /// The rows whose stacks pass, whole.
    pub(in crate::profile) fn by_stack(recording: &Recording, rules: &Rules, filter: &Filter) -> Selected {
        let traits = frame_traits(recording, rules);
        let marked = |patterns| -> Vec<bool> {
            recording.frames.iter().map(|frame| matches(patterns, frame)).collect()
        };
        let (is_wanted, is_unwanted) = (marked(&filter.include), marked(&filter.exclude));
        let mut known = Known::default();
        let mut compilers = Vec::new();
        let mut rows = Vec::with_capacity(recording.totals.len());
        for (number, row) in recording.totals.iter().enumerate() {
            let Some(stack) = recording.stack(row.stack) else {
                rows.push(None);
                continue;
            };
            let attribution = attribution(recording, rules, &traits, stack, row);
            if attribution.category == "compiler" && row.source == Source::Allocator {
                compilers.push(number);
            }
            known.add(recording, stack, &attribution, row, filter);
            let has = |flags: &[bool]| stack.frames.iter().any(|&frame| at(flags, frame) == Some(&true));
            let passes = (filter.categories.is_empty() || filter.categories.contains(&attribution.category))
                && (filter.include.is_empty() || has(&is_wanted))
                && !has(&is_unwanted)
                && (filter.lines.is_empty() || is_of_lines(recording, stack, &attribution, filter));
            rows.push(passes.then_some((attribution, row.totals)));
        }
        let is_of_thread: Option<OfThread> = Some(Box::new(|_| true));
        Selected { rows, compilers, is_of_thread, filtered: known.finish(filter) }
    }

    /// The part of these rows that is asked for.
    ///
    /// # Errors
    /// The recording does not keep it.
    pub(in crate::profile) fn cut(self, recording: &Recording, filter: &Filter) -> Result<Selected, Refusal> {
        let Selected { mut rows, compilers, mut filtered, is_of_thread } = self;
        let asked = &filter.part;
        if !asked.is_some() {
            return Ok(Selected { rows, compilers, is_of_thread, filtered });
        }
        filtered.is_part = true;
        let passes = |row: usize| matches!(rows.get(row), Some(Some(_)));
        let parts = row_parts(recording, asked, passes, &mut filtered.notes)?;
        let mut perhaps_bytes = 0_u64;
        for (number, (row, passing)) in recording.totals.iter().zip(&mut rows).enumerate() {
            let Some((_, totals)) = passing else { continue };
            let of_allocator = row.source == Source::Allocator;
            let (within, more_bytes) = match &parts {
                RowParts::Live(parts) if of_allocator => live_part(parts, row),
                // Mappings are not kept by thread, size or age.
                RowParts::Live(_) => (Totals::default(), 0),
                RowParts::Range(range) => {
                    let within = range.of_row(number, of_allocator.then_some(row.stack));
                    (within.totals, if of_allocator { within.perhaps_bytes } else { 0 })
                }
            };
            *totals = within;
            perhaps_bytes = perhaps_bytes.saturating_add(more_bytes);
            if totals.allocated_count == 0 && totals.allocated_bytes == 0 {
                *passing = None;
            }
        }
        if perhaps_bytes > 0 {
            filtered.notes.push(perhaps(&parts, perhaps_bytes));
        }
        let has_mappings = recording.totals.iter().any(|row| row.source != Source::Allocator);
        if matches!(parts, RowParts::Live(_)) && has_mappings {
            filtered.notes.push("Mappings are left out: they are not kept so.".to_owned());
        }
        // Threads of memory that passes another test, too, are not known.
        let is_of_thread = match &parts {
            RowParts::Live(parts) if parts.count() == 1 && !asked.threads.is_empty() => {
                let is_of = live_parts::is_of_threads(recording, &asked.threads);
                let tids = recording.live_by_thread.iter().map(|row| row.tid);
                let tids: HashSet<Tid> = tids.filter(|&tid| is_of(tid)).collect();
                Some(Box::new(move |tid| tids.contains(&tid)) as OfThread)
            }
            _ => None,
        };
        Ok(Selected { rows, compilers, is_of_thread, filtered })
    }
}

/// The part of each row that is asked for; `notes` get sentences that say how coarse it is.
fn row_parts(
    recording: &Recording,
    asked: &Part,
    passes: impl Fn(usize) -> bool,
    notes: &mut Vec<String>,
) -> Result<RowParts, Refusal> {
    asked.check()?;
    let (parts, told) = match asked.of_end() {
        Some(_) => {
            let (parts, notes) = LiveParts::new(recording, asked)?;
            (RowParts::Live(parts), notes)
        }
        None => {
            let (range, notes) = Range::new(recording, asked, passes)?;
            (RowParts::Range(Box::new(range)), notes)
        }
    };
    notes.extend(told);
    Ok(parts)
}

/// Note that more may pass than surely does, and why that is not known.
fn perhaps(parts: &RowParts, more_bytes: u64) -> String {
    let more = units::bytes(more_bytes);
    match parts {
        RowParts::Live(_) => format!(
            "Not freed is what surely passes all of it; up to {more} more may: the recording keeps ages, sizes and threads \
             each for themselves."
        ),
        RowParts::Range(_) => format!(
            "Not freed is what surely was allocated in the range; up to {more} more may have been: the recording does \
             not keep when what was freed had been allocated."
        ),
    }
}

/// The live allocations of a row that pass, and the bytes of those that may.
fn live_part(parts: &LiveParts, row: &Total) -> (Totals, u64) {
    let all = &row.totals;
    let bytes = all.allocated_bytes.saturating_sub(all.freed_bytes);
    let count = all.allocated_count.saturating_sub(all.freed_count);
    let within = parts.of_stack(row.stack, (bytes, count));
    let (allocated_bytes, allocated_count) = within.surely;
    let totals = Totals {
        allocated_bytes,
        allocated_count,
        // Variance of all that is live of the stack: no less than that of a part.
        allocated_bytes_variance: all.allocated_bytes_variance.saturating_sub(all.freed_bytes_variance),
        allocated_count_variance: all.allocated_count_variance.saturating_sub(all.freed_count_variance),
        ..Totals::default()
    };
    (totals, within.perhaps_bytes)
}

fn matches(patterns: &[regex::Regex], frame: &Frame) -> bool {
    let module = frame.module.as_deref().unwrap_or_default();
    patterns.iter().any(|pattern| pattern.is_match(&frame.function) || pattern.is_match(module))
}

fn attribution(
    recording: &Recording,
    rules: &Rules,
    traits: &[FrameTraits],
    stack: &Stack,
    row: &Total,
) -> Attribution {
    let pair = |&frame: &u32| Some((at(&recording.frames, frame)?, at(traits, frame)?));
    let mut pairs: Vec<(&Frame, &FrameTraits)> = Vec::with_capacity(stack.frames.len());
    pairs.extend(stack.frames.iter().filter_map(pair));
    rules.classify(&pairs, &row.source, stack.complete == Some(true))
}

/// The line of the application that a stack is of.
fn line_of<'a>(
    recording: &'a Recording,
    stack: &Stack,
    attribution: &Attribution,
) -> Option<(String, &'a Frame)> {
    let owner = at(&recording.frames, *stack.frames.get(attribution.owner?)?)?;
    Some((by_line::function(owner.kind, &owner.function), owner))
}

fn is_of_lines(recording: &Recording, stack: &Stack, attribution: &Attribution, filter: &Filter) -> bool {
    line_of(recording, stack, attribution)
        .is_some_and(|(function, frame)| filter.lines.iter().any(|line| line.is_of(&function, frame.line)))
}

/// Categories and lines that there are.
#[derive(Default)]
struct Known {
    categories: BTreeMap<(&'static str, String), (u64, u64)>,
    /// Live bytes; filled only where lines are asked for.
    lines: HashMap<String, u64>,
    found_lines: Vec<usize>,
}

impl Known {
    fn add(
        &mut self,
        recording: &Recording,
        stack: &Stack,
        attribution: &Attribution,
        row: &Total,
        filter: &Filter,
    ) {
        let live_bytes = row.totals.allocated_bytes.saturating_sub(row.totals.freed_bytes);
        let of_category =
            self.categories.entry((row.source.as_str(), attribution.category.clone())).or_default();
        of_category.0 = of_category.0.saturating_add(live_bytes);
        of_category.1 = of_category.1.saturating_add(row.totals.allocated_bytes);
        if filter.lines.is_empty() {
            return;
        }
        if let Some((function, frame)) = line_of(recording, stack, attribution) {
            let fits = |line: &super::LinePattern| line.is_of(&function, frame.line);
            self.found_lines
                .extend((0..filter.lines.len()).filter(|&at| filter.lines.get(at).is_some_and(fits)));
            let name = match frame.line.filter(|&line| line > 0) {
                Some(line) => format!("{function}:{line}"),
                None => function,
            };
            let sum = self.lines.entry(name).or_default();
            *sum = sum.saturating_add(live_bytes);
        }
    }

    fn finish(self, filter: &Filter) -> Filtered {
        let mut categories: Vec<_> = self.categories.into_iter().collect();
        categories.sort_by(|((source, _), one), ((other_source, _), other)| {
            (source, Reverse(one)).cmp(&(other_source, Reverse(other)))
        });
        let mut known_categories: Vec<String> = Vec::new();
        for ((_, id), _) in categories {
            if !known_categories.contains(&id) {
                known_categories.push(id);
            }
        }
        let mut lines: Vec<_> = self.lines.into_iter().collect();
        lines.sort_by_key(|(name, live_bytes)| (Reverse(*live_bytes), name.clone()));
        let no_lines = filter.lines.iter().enumerate().filter(|(at, _)| !self.found_lines.contains(at));
        Filtered {
            flags: filter.flags.clone(),
            no_lines: no_lines.map(|(_, line)| line.to_string()).collect(),
            known_categories,
            known_lines: lines.into_iter().map(|(name, _)| name).collect(),
            ..Filtered::default()
        }
    }
}
