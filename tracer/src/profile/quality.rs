//! The quality of a profile: what was lost, and which stacks end early.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::build::{at, count};
use crate::recording::{Recording, StackRef};
use crate::symbolize::UnknownReason;

#[derive(Clone, Debug, Serialize)]
pub struct Quality {
    /// Reasons with a count above zero.
    pub lost: BTreeMap<String, u64>,
    pub stacks_total: u64,
    pub stacks_complete: u64,
    /// Walks that were compared with earlier ones, and not made.
    pub stacks_remembered: Option<u64>,
    /// Allocations whose stack is not complete, the most frequent ends first.
    pub incomplete: Vec<Incomplete>,
    pub unmatched_frees: Option<u64>,
    /// Sentences for the person who reads the report.
    pub notes: Vec<String>,
}

/// Stacks that end early, for the same reason and in the same module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incomplete {
    /// Reason why the walk ended.
    pub reason: String,
    /// The module of the last frame; `None` for the JVM's own code, or if nobody knows.
    pub module: Option<String>,
    /// Distinct stacks.
    pub stack_count: u64,
    /// Allocations and mappings on them.
    pub allocated_count: u64,
    pub allocated_bytes: u64,
}

/// The quality of a recording's profile.
pub(super) fn build(recording: &Recording) -> Quality {
    let quality = &recording.quality;
    // Without the walks' counters, which come at the end: the distinct stacks.
    let complete = recording.stacks.iter().filter(|stack| stack.complete == Some(true)).count();
    let mut lost = recording.lost.clone();
    lost.retain(|_, count| *count > 0);
    Quality {
        lost,
        stacks_total: quality.stacks_total.unwrap_or(count(recording.stacks.len())),
        stacks_complete: quality.stacks_complete.unwrap_or(count(complete)),
        stacks_remembered: quality.stacks_remembered,
        incomplete: incomplete(recording),
        unmatched_frees: quality.unmatched_frees,
        notes: recording.notes.clone(),
    }
}

/// Stacks that nothing was booked on are left out.
fn incomplete(recording: &Recording) -> Vec<Incomplete> {
    let mut allocated: BTreeMap<StackRef, (u64, u64)> = BTreeMap::new();
    for row in &recording.totals {
        let sum = allocated.entry(row.stack).or_default();
        sum.0 = sum.0.saturating_add(row.totals.allocated_count);
        sum.1 = sum.1.saturating_add(row.totals.allocated_bytes);
    }
    let mut ends: BTreeMap<(&str, Option<&str>), Incomplete> = BTreeMap::new();
    for (index, (count, bytes)) in allocated {
        let Some(stack) = recording.stack(index).filter(|stack| stack.complete == Some(false)) else {
            continue;
        };
        let mut frames = stack.frames.iter().filter_map(|&frame| at(&recording.frames, frame));
        // Such a walk went on to its end: what is missing is in the middle.
        let in_heap = frames.clone().any(|frame| frame.unknown == Some(UnknownReason::Continuation));
        let module = frames.next_back().filter(|_| !in_heap).and_then(|frame| frame.module.as_deref());
        let reason = stack.stop.as_deref().unwrap_or("unknown");
        let end = ends.entry((reason, module)).or_insert_with(|| Incomplete {
            reason: reason.to_owned(),
            module: module.map(str::to_owned),
            stack_count: 0,
            allocated_count: 0,
            allocated_bytes: 0,
        });
        end.stack_count += 1;
        end.allocated_count = end.allocated_count.saturating_add(count);
        end.allocated_bytes = end.allocated_bytes.saturating_add(bytes);
    }
    let mut ends: Vec<Incomplete> = ends.into_values().collect();
    ends.sort_by_key(|end| Reverse(end.allocated_count));
    ends
}
