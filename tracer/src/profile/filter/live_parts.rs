//! Parts that a recording keeps of each stack's live allocations at its end: by age, by size, by thread.

use std::collections::HashMap;

use regex::Regex;

use super::{Part, Refusal};
use crate::process::Tid;
use crate::recording::{Recording, Source, StackRef};
use crate::units;

/// A recording is this many slices of time, by which births are told apart.
const SLICES: u64 = 32;

/// Bytes and allocations.
type Amount = (u64, u64);

/// Bytes and allocations of a stack, by its index.
#[derive(Clone, Debug, Default)]
struct Live {
    of_stacks: HashMap<StackRef, Amount>,
}

impl Live {
    fn of(rows: impl Iterator<Item = (StackRef, u64, u64)>) -> Live {
        let mut of_stacks: HashMap<StackRef, Amount> = HashMap::new();
        for (stack, bytes, count) in rows {
            let sum = of_stacks.entry(stack).or_default();
            *sum = (sum.0.saturating_add(bytes), sum.1.saturating_add(count));
        }
        Live { of_stacks }
    }

    fn of_stack(&self, stack: StackRef) -> Amount {
        self.of_stacks.get(&stack).copied().unwrap_or_default()
    }
}

/// Memory that is live at the end and passes all that is asked of it. A recording keeps by age, by size and by thread,
/// and not by two of them together.
pub(super) struct LiveParts(Vec<Live>);

/// The part of a stack that passes.
pub(super) struct Within {
    pub(super) surely: Amount,
    /// Bytes that may pass, too.
    pub(super) perhaps_bytes: u64,
}

impl LiveParts {
    /// The parts that are asked for, and sentences that say how coarse they are.
    pub(super) fn new(recording: &Recording, asked: &Part) -> Result<(LiveParts, Vec<String>), Refusal> {
        let mut parts = Vec::new();
        let mut notes = Vec::new();
        if asked.older_ns.is_some() || asked.from_ns.is_some() {
            let (live, note) = born(recording, asked)?;
            parts.push(live);
            notes.push(note);
        }
        if let Some(bytes) = asked.min_bytes {
            let (live, note) = larger(recording, bytes)?;
            parts.push(live);
            notes.extend(note);
        }
        if !asked.threads.is_empty() {
            parts.push(of_threads(recording, &asked.threads)?);
        }
        Ok((LiveParts(parts), notes))
    }

    /// The part of a stack that passes, of whose live allocations `whole` are all. Memory in both of two parts is at
    /// least the memory in one that does not fit beside the other, and at most the smaller one.
    pub(super) fn of_stack(&self, stack: StackRef, whole: Amount) -> Within {
        let (mut least, mut most) = (whole, whole);
        for part in &self.0 {
            let (bytes, count) = part.of_stack(stack);
            // They are counted a moment after totals.
            let (bytes, count) = (bytes.min(whole.0), count.min(whole.1));
            least.0 = least.0.saturating_add(bytes).saturating_sub(whole.0);
            least.1 = least.1.saturating_add(count).saturating_sub(whole.1);
            most = (most.0.min(bytes), most.1.min(count));
        }
        // Bytes are of one allocation at least.
        least.1 = least.1.max(u64::from(least.0 > 0));
        Within { surely: least, perhaps_bytes: most.0 - least.0 }
    }

    /// Number of separately kept parts that it is made of.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Memory that is live at the end, at least so old, and allocated after a time; with how coarse that is.
fn born(recording: &Recording, asked: &Part) -> Result<(Live, String), Refusal> {
    if recording.survivors.is_empty() && has_live(recording) {
        return Err(Refusal::NoBirths { flag: if asked.older_ns.is_some() { "--older" } else { "--from" } });
    }
    let duration_ns = recording.duration_ns;
    for (flag, time_ns) in [("--older", asked.older_ns), ("--from", asked.from_ns)] {
        if time_ns.is_some_and(|time_ns| time_ns > duration_ns) {
            return Err(Refusal::BeyondEnd { flag, length: units::duration(duration_ns) });
        }
    }
    let slice_ns = slice_ns(recording);
    let started_ns = recording.session.started_ns;
    let latest_ns = asked.older_ns.map(|age_ns| started_ns + (duration_ns - age_ns));
    let first_ns = asked.from_ns.map(|from_ns| started_ns + from_ns);
    let rows = recording.survivors.iter().filter(|row| {
        latest_ns.is_none_or(|latest| row.born_ns.saturating_add(slice_ns) <= latest)
            && first_ns.is_none_or(|first| row.born_ns >= first)
    });
    let live = Live::of(rows.map(|row| (row.stack, row.live_bytes, row.live_count)));
    let wanted = [
        asked.older_ns.map(|age_ns| format!("older than {}", units::duration(age_ns))),
        asked.from_ns.map(|from_ns| format!("allocated after {:.1} s", from_ns as f64 / 1e9)),
    ];
    let wanted: Vec<String> = wanted.into_iter().flatten().collect();
    let note = format!(
        "Ages are kept in steps of {}: what is surely {} is here.",
        units::duration(slice_ns),
        wanted.join(" and ")
    );
    Ok((live, note))
}

/// Time after its time of birth in which an allocation may have been made.
pub(super) fn slice_ns(recording: &Recording) -> u64 {
    recording.duration_ns.div_ceil(SLICES)
}

/// Memory that is live at the end in allocations of at least so many bytes, and how coarse that is, if it is.
fn larger(recording: &Recording, min_bytes: u64) -> Result<(Live, Option<String>), Refusal> {
    if recording.live_sizes.is_empty() && has_live(recording) {
        return Err(Refusal::NoSizes);
    }
    // A class's smallest size is kept: what is in it may be smaller than asked for, if that is not such a size.
    let least = min_bytes.checked_next_power_of_two().unwrap_or(u64::MAX);
    let rows = recording.live_sizes.iter().filter(|row| row.least_bytes >= least);
    let live = Live::of(rows.map(|row| (row.stack, row.live_bytes, row.live_count)));
    let is_coarse = least != min_bytes && min_bytes != 0;
    let note = is_coarse.then(|| {
        format!("Sizes are kept by powers of two: what has at least {} is here.", units::bytes(least))
    });
    Ok((live, note))
}

/// Memory that is live at the end and was allocated by threads of such names.
fn of_threads(recording: &Recording, names: &[Regex]) -> Result<Live, Refusal> {
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
