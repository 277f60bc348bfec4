//! What a recording keeps of each stack's live allocations at its end: by age, by size, by thread.

use std::collections::HashMap;

use regex::Regex;

use super::Refusal;
use crate::process::Tid;
use crate::recording::{Recording, Source};
use crate::units;

/// A recording is this many slices of time, by which births are told apart.
const SLICES: u64 = 32;

/// Bytes and allocations of a stack, by its index.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    of_stacks: HashMap<u32, (u64, u64)>,
}

impl Live {
    fn of(rows: impl Iterator<Item = (u32, u64, u64)>) -> Live {
        let mut of_stacks: HashMap<u32, (u64, u64)> = HashMap::new();
        for (stack, bytes, count) in rows {
            let sum = of_stacks.entry(stack).or_default();
            *sum = (sum.0.saturating_add(bytes), sum.1.saturating_add(count));
        }
        Live { of_stacks }
    }

    pub(super) fn of_stack(&self, stack: u32) -> (u64, u64) {
        self.of_stacks.get(&stack).copied().unwrap_or_default()
    }
}

/// What is live at the end and at least so old, with how coarse that is.
pub(super) fn older(recording: &Recording, age_ns: u64) -> Result<(Live, String), Refusal> {
    if recording.survivors.is_empty() && has_live(recording) {
        return Err(Refusal::NoBirths);
    }
    if age_ns > recording.duration_ns {
        return Err(Refusal::BeyondEnd { flag: "--older", length: units::duration(recording.duration_ns) });
    }
    let slice_ns = slice_ns(recording);
    let latest_ns = recording.session.started_ns + (recording.duration_ns - age_ns);
    let rows = recording.survivors.iter().filter(|row| row.born_ns.saturating_add(slice_ns) <= latest_ns);
    let live = Live::of(rows.map(|row| (row.stack, row.live_bytes, row.live_count)));
    let note = format!(
        "Ages are kept in steps of {}: what is surely older than {} is here.",
        units::duration(slice_ns),
        units::duration(age_ns)
    );
    Ok((live, note))
}

/// How long after its time of birth an allocation may have been made.
pub(super) fn slice_ns(recording: &Recording) -> u64 {
    recording.duration_ns.div_ceil(SLICES)
}

/// What is live at the end in allocations of at least so many bytes, with how coarse that is.
pub(super) fn larger(recording: &Recording, min_bytes: u64) -> Result<(Live, String), Refusal> {
    if recording.live_sizes.is_empty() && has_live(recording) {
        return Err(Refusal::NoSizes);
    }
    // A class's smallest size is kept: what is in it may be smaller than asked for, if that is not such a size.
    let least = min_bytes.checked_next_power_of_two().unwrap_or(u64::MAX);
    let rows = recording.live_sizes.iter().filter(|row| row.least_bytes >= least);
    let live = Live::of(rows.map(|row| (row.stack, row.live_bytes, row.live_count)));
    let note = if least == min_bytes || min_bytes == 0 {
        String::new()
    } else {
        format!("Sizes are kept by powers of two: what has at least {} is here.", units::bytes(least))
    };
    Ok((live, note))
}

/// What is live at the end and was allocated by threads of such names.
pub(super) fn of_threads(recording: &Recording, names: &[Regex]) -> Result<Live, Refusal> {
    if recording.live_by_thread.is_empty() && has_live(recording) {
        return Err(Refusal::NoThreads);
    }
    let is_of = is_of_threads(recording, names);
    let rows = recording.live_by_thread.iter().filter(|row| is_of(row.tid));
    Ok(Live::of(rows.map(|row| (row.stack, row.live_bytes, row.live_count))))
}

/// Does a thread have such a name? The last of a tid is the one that can hold something.
pub(super) fn is_of_threads<'a>(recording: &'a Recording, names: &'a [Regex]) -> impl Fn(Tid) -> bool + 'a {
    let threads: HashMap<Tid, &str> =
        recording.threads.iter().filter_map(|thread| Some((thread.tid, thread.name.as_deref()?))).collect();
    move |tid| {
        let name = threads.get(&tid).map_or_else(|| format!("[tid {tid}]"), |&name| name.to_owned());
        names.iter().any(|wanted| wanted.is_match(&name))
    }
}

fn has_live(recording: &Recording) -> bool {
    let mut rows = recording.totals.iter().filter(|row| row.source == Source::Allocator);
    rows.any(|row| row.totals.allocated_count > row.totals.freed_count)
}
