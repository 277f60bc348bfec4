//! Filters: which of a recording's allocations a report is about.
//!
//! Takes a recording with the attribution of its rows; gives what of each row passes, and the sum of the rest. Here and
//! nowhere else, before anything is rendered, so every output has the same totals. A part that a recording does not
//! keep is a [`Refusal`] with the reason. Must not touch verdicts: they are of the whole course of the stacks that
//! pass.

mod line;
mod live_parts;
mod range;
mod select;
#[cfg(test)]
mod tests;

use regex::Regex;
use serde::Serialize;

pub use line::LinePattern;
pub(super) use select::{OfThread, Selected};

use super::Totals;
use super::diff::Difference;

/// Conditions that are asked for. Any condition of one kind may fit; all kinds must.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Ids of categories.
    pub categories: Vec<String>,
    pub lines: Vec<LinePattern>,
    /// Patterns of the function or the module of any frame.
    pub include: Vec<Regex>,
    /// The same; none may fit.
    pub exclude: Vec<Regex>,
    /// A part of each row.
    pub part: Part,
    /// Flags as they were given.
    pub flags: Vec<String>,
}

/// A part of what each stack allocated; what is not asked for is `None` or empty. Times are ns since the session
/// started.
///
/// Ages, sizes and threads are kept of what is live at the end, so they go with no earlier moment (`to_ns`, `is_peak`).
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Live at the end, and at least this old then.
    pub older_ns: Option<u64>,
    /// Live at the end, and at least so many bytes each.
    pub min_bytes: Option<u64>,
    /// Live at the end, and allocated by threads of such names.
    pub threads: Vec<Regex>,
    /// Allocated after this time.
    pub from_ns: Option<u64>,
    /// Time at which the recording is looked at.
    pub to_ns: Option<u64>,
    /// Is the recording looked at when most was live?
    pub is_peak: bool,
}

impl Part {
    /// Is a part asked for?
    pub(super) fn is_some(&self) -> bool {
        self.of_end().is_some() || self.earlier_moment().is_some() || self.from_ns.is_some()
    }

    /// The first flag that asks for what is kept of the end alone.
    pub fn of_end(&self) -> Option<&'static str> {
        let asked = [
            (self.older_ns.is_some(), "--older"),
            (self.min_bytes.is_some(), "--min-size"),
            (!self.threads.is_empty(), "--thread"),
        ];
        asked.into_iter().find(|(is_asked, _)| *is_asked).map(|(_, flag)| flag)
    }

    /// The first flag that asks for how it was at an earlier moment.
    fn earlier_moment(&self) -> Option<&'static str> {
        let asked = [(self.to_ns.is_some(), "--to"), (self.is_peak, "--view peak")];
        asked.into_iter().find(|(is_asked, _)| *is_asked).map(|(_, flag)| flag)
    }

    /// Can a recording answer all of it?
    ///
    /// # Errors
    /// No recording can.
    pub fn check(&self) -> Result<(), Refusal> {
        match (self.of_end(), self.earlier_moment()) {
            (Some(of_end), Some(moment)) => Err(Refusal::NotOfTheEnd { of_end, moment }),
            _ if self.from_ns.zip(self.to_ns).is_some_and(|(from, to)| from >= to) => Err(Refusal::NoTime),
            _ => Ok(()),
        }
    }
}

impl Filter {
    /// Is a category shown that no stack is of?
    pub(super) fn keeps_category_without_stacks(&self, id: &str) -> bool {
        let is_of_stacks =
            self.part.is_some() || [self.lines.len(), self.include.len(), self.exclude.len()] != [0; 3];
        !is_of_stacks && (self.categories.is_empty() || self.categories.iter().any(|wanted| wanted == id))
    }
}

/// Memory that did not pass.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Filtered {
    /// Flags as they were given; empty: there was no filter.
    pub flags: Vec<String>,
    /// The allocator's totals that did not pass: together with those of the profile they are the recording's. Live
    /// bytes are negative where more was live at an earlier moment than at the end.
    #[serde(flatten)]
    pub rest: Difference,
    /// Notes on how coarse what is kept is, in sentences.
    pub notes: Vec<String>,
    /// Categories that were asked for and are not there.
    #[serde(skip)]
    pub no_categories: Vec<String>,
    /// Lines that were asked for and are not there.
    #[serde(skip)]
    pub no_lines: Vec<String>,
    /// The categories and lines that are there, those with most live bytes first.
    #[serde(skip)]
    pub known_categories: Vec<String>,
    #[serde(skip)]
    pub known_lines: Vec<String>,
    /// The part of each row is told, but not how it came about: its course, its threads.
    #[serde(skip)]
    pub is_part: bool,
}

impl Filtered {
    /// Sets the rest: all, less what passes.
    pub(super) fn set_rest(&mut self, all: &Totals, passes: &Totals) {
        self.rest = Difference::new(passes, all);
    }
}

/// Reason why a recording cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{flag}: the recording does not keep when what is not freed was allocated; {WHY}")]
    NoBirths { flag: &'static str },
    #[error("--thread: the recording does not keep which thread allocated what is not freed; {WHY}")]
    NoThreads,
    #[error("--min-size: the recording keeps no sizes of single allocations; {WHY}")]
    NoSizes,
    #[error("{flag}: the recording keeps no moments between its start and its end")]
    NoMoments { flag: &'static str },
    #[error("{flag}: the recording is only {length} long")]
    BeyondEnd { flag: &'static str, length: String },
    #[error(
        "{of_end} and {moment}: ages, sizes and threads are kept of what is not freed at the end, and not of an earlier \
         moment"
    )]
    NotOfTheEnd { of_end: &'static str, moment: &'static str },
    #[error("--from is not before --to")]
    NoTime,
    #[error(
        "--from and --to: the recording keeps no two moments between them; the nearest are {apart} apart"
    )]
    NoRange { apart: String },
}

/// Reason for tables that are written at the end of a recording alone.
const WHY: &str = "it was made by an earlier tracer, or was not finished";
