//! The numbers of a recording, checked when it is read: so the stages after it may add and subtract them freely.
//!
//! Refuses what no recorder writes: numbers beyond what a process can have, sums beyond 2^60, times that go backwards,
//! an end before its start. Corrects the one thing that a recorder may rightly write: its counters are read while they
//! run, so a free may be there whose allocation is not yet. Such rows are counted, never hidden.

use super::model::Totals;
use super::{Collection, Memory, Recording, Thread};

/// The reason under which rows are counted that say more was freed than allocated.
const INCONSISTENT: &str = "inconsistent_totals";
/// Bytes, or things, that a row may have: the largest address space of the processor.
const MAX: u64 = 1 << 56;
/// The sum of a column.
const MAX_SUM: u64 = 1 << 60;
/// Nanoseconds: 73 years, of `CLOCK_MONOTONIC`.
const MAX_NS: u64 = 1 << 61;
/// Frames of a stack.
const MAX_FRAMES: usize = 1 << 12;

/// Reason why a recording is refused.
type Refused = String;

/// Checks all of `recording`, and corrects rows that say more was freed than allocated.
///
/// # Errors
/// In a few words, what cannot be.
pub(super) fn check(recording: &mut Recording) -> Result<(), Refused> {
    times(recording)?;
    stacks(recording)?;
    totals(recording)?;
    process(recording)?;
    memory(&recording.memory)?;
    if let Ok(holders) = &recording.holders {
        sum("the bytes that have holders", holders.stacks.iter().map(|row| row.live_bytes))?;
        sum("the allocations that have holders", holders.stacks.iter().map(|row| row.live_count))?;
        sum("holders", holders.groups.iter().map(|group| group.bytes))?;
        sum("holders", holders.groups.iter().map(|group| group.count))?;
    }
    let quality = &recording.quality;
    let heaviest = quality.heaviest_sample.unwrap_or_default();
    let walks =
        [quality.unmatched_frees, quality.stacks_total, quality.stacks_complete, quality.stacks_remembered];
    sum("the session", recording.session.sample_bytes.into_iter())?;
    sum("what was lost", recording.lost.values().copied())?;
    sum("the quality", walks.into_iter().flatten().chain([heaviest.bytes, heaviest.count]))
}

fn times(recording: &Recording) -> Result<(), Refused> {
    let session = &recording.session;
    time("the session", session.started_ns.max(recording.duration_ns))?;
    ascend("the samples", recording.series.iter().map(|sample| sample.time_ns))?;
    ascend("the collections", recording.collections.iter().map(|collection| collection.begin_ns))?;
    ascend("the looks at the memory", recording.resident.iter().map(|sample| sample.time_ns))?;
    ascend("the parts of the memory", recording.memory_series.iter().map(|sample| sample.time_ns))?;
    ascend("the limits", recording.limit_series.iter().map(|sample| sample.time_ns))?;
    ascend("compiled code", recording.code_series.iter().map(|sample| sample.time_ns))?;
    ascend("the steps of the budget", session.steps.iter().map(|step| step.time_ns))?;
    for Collection { begin_ns, end_ns, .. } in &recording.collections {
        lasts("a collection", Some(*begin_ns), *end_ns)?;
    }
    for Thread { started_ns, ended_ns, .. } in &recording.threads {
        lasts("a thread", *started_ns, *ended_ns)?;
    }
    for born in &recording.survivors {
        time("an allocation", born.born_ns)?;
    }
    for census in &recording.censuses {
        time("a census", census.time_ns)?;
    }
    if let Some(took) = session.overhead {
        for span_ns in [took.probes_ns, took.target_ns, took.span_ns] {
            time("what recording took", span_ns)?;
        }
    }
    time("the memory", recording.memory.time_ns.unwrap_or_default())
}

fn stacks(recording: &Recording) -> Result<(), Refused> {
    let deepest = recording.stacks.iter().map(|stack| stack.frames.len()).max().unwrap_or_default();
    if deepest > MAX_FRAMES { Err(format!("a stack has {deepest} frames")) } else { Ok(()) }
}

/// Sums of allocations and frees, at the end and at each moment.
fn totals(recording: &mut Recording) -> Result<(), Refused> {
    let columns: [fn(&Totals) -> u64; 9] = [
        |totals| totals.allocated_bytes,
        |totals| totals.allocated_count,
        |totals| totals.freed_bytes,
        |totals| totals.freed_count,
        |totals| totals.collected_bytes,
        |totals| totals.allocated_bytes_variance,
        |totals| totals.allocated_count_variance,
        |totals| totals.freed_bytes_variance,
        |totals| totals.freed_count_variance,
    ];
    for column in columns {
        sum("the totals", recording.totals.iter().map(|row| column(&row.totals)))?;
    }
    let mut inconsistent = 0;
    for row in &mut recording.totals {
        inconsistent += u64::from(correct(&mut row.totals));
    }
    if inconsistent > 0 {
        let count = recording.lost.entry(INCONSISTENT.to_owned()).or_default();
        *count = count.saturating_add(inconsistent);
    }
    for sample in &mut recording.series {
        let rows = || sample.rows.iter().map(|row| row.totals);
        sum("a sample", rows().map(|totals| totals.allocated_bytes))?;
        sum("a sample", rows().map(|totals| totals.allocated_count))?;
        sum("a sample", rows().map(|totals| totals.freed_bytes))?;
        sum("a sample", rows().map(|totals| totals.freed_count))?;
        sum("a sample", rows().map(|totals| totals.collected_bytes))?;
        // Totals are counted from the start: a moment has no more than the end.
        for row in &mut sample.rows {
            let end = usize::try_from(row.total).ok().and_then(|total| recording.totals.get(total));
            let (bytes, count) =
                end.map_or((0, 0), |end| (end.totals.allocated_bytes, end.totals.allocated_count));
            let totals = &mut row.totals;
            totals.allocated_bytes = totals.allocated_bytes.min(bytes);
            totals.allocated_count = totals.allocated_count.min(count);
            totals.freed_bytes = totals.freed_bytes.min(totals.allocated_bytes);
            totals.freed_count = totals.freed_count.min(totals.allocated_count);
            totals.collected_bytes = totals.collected_bytes.min(totals.freed_bytes);
        }
    }
    Ok(())
}

/// Makes totals consistent: nothing is freed that was not allocated. Were they not?
fn correct(totals: &mut Totals) -> bool {
    let before = *totals;
    totals.freed_bytes = totals.freed_bytes.min(totals.allocated_bytes);
    totals.freed_count = totals.freed_count.min(totals.allocated_count);
    totals.collected_bytes = totals.collected_bytes.min(totals.freed_bytes);
    (totals.freed_bytes, totals.freed_count) != (before.freed_bytes, before.freed_count)
}

/// Threads, what lives, and compiled code.
fn process(recording: &Recording) -> Result<(), Refused> {
    for sample in &recording.limit_series {
        let numbers = [sample.used, sample.needed, sample.most, sample.hits];
        sum("the limits", numbers.into_iter().flatten())?;
    }
    for limit in recording.memory.limits.iter().flatten() {
        sum("the limits", [limit.used, limit.limit, limit.hits].into_iter().flatten())?;
    }
    sum("what threads hold", recording.live_by_thread.iter().map(|row| row.live_bytes))?;
    sum("what threads hold", recording.live_by_thread.iter().map(|row| row.live_count))?;
    sum("what is live by size", recording.live_sizes.iter().map(|row| row.live_bytes))?;
    sum("what is live by size", recording.live_sizes.iter().map(|row| row.live_count))?;
    sum("what is in memory", recording.live_resident.iter().map(|row| row.resident_bytes))?;
    sum("the survivors", recording.survivors.iter().map(|row| row.live_bytes))?;
    sum("the survivors", recording.survivors.iter().map(|row| row.live_count))?;
    sum("the stacks of threads", recording.thread_stacks.iter().map(|stack| stack.reserved_bytes))?;
    sum("the stacks of threads", recording.thread_stacks.iter().map(|stack| stack.resident_bytes))?;
    for sample in &recording.code_series {
        let loaded = [sample.loaded_bytes, sample.loaded_count];
        sum("compiled code", loaded.into_iter().chain([sample.unloaded_bytes, sample.unloaded_count]))?;
    }
    let heaps = recording.code_cache.heaps.iter();
    sum(
        "the code cache",
        heaps.flat_map(|heap| [heap.reserved_bytes, heap.committed_bytes, heap.used_bytes]).flatten(),
    )?;
    sum("the code cache", recording.code_cache.methods.iter().map(|method| method.bytes))?;
    for sample in &recording.resident {
        sum("the memory", [sample.rss_bytes].into_iter())?;
    }
    for sample in &recording.memory_series {
        sum("the memory", [sample.committed_bytes, sample.resident_bytes].into_iter())?;
    }
    if let Some(touched) = &recording.touched {
        sum("page faults", [touched.fault_count, touched.java_heap_fault_count].into_iter())?;
        let by = touched.by.iter();
        sum("page faults", by.flat_map(|by| [by.sample_count, by.fault_count, by.variance]))?;
    }
    Ok(())
}

fn memory(memory: &Memory) -> Result<(), Refused> {
    let of_process = [
        memory.rss_bytes,
        memory.pss_bytes,
        memory.swap_bytes,
        memory.limit_used_bytes,
        memory.unexplained_bytes,
    ];
    sum("the memory", of_process.into_iter().flatten())?;
    let parts = || memory.parts.iter();
    sum("the memory", parts().filter_map(|part| part.reserved_bytes))?;
    sum("the memory", parts().filter_map(|part| part.committed_bytes))?;
    sum("the memory", parts().filter_map(|part| part.resident_bytes))?;
    sum("the memory", parts().flat_map(|part| [part.pss_bytes, part.swap_bytes]).flatten())?;
    let mapped = memory.mapped.iter();
    sum(
        "what was mapped",
        mapped.flat_map(|row| [row.reserved_bytes, row.committed_bytes, row.resident_bytes]),
    )?;
    let Some(heap) = &memory.heap else { return Ok(()) };
    let arenas = heap.arenas.iter().flat_map(|arena| {
        let sizes = [arena.in_use_bytes, arena.free_bytes, arena.top_bytes, arena.in_use_count];
        sizes.into_iter().chain([arena.thread_count, arena.resident_bytes.unwrap_or_default()])
    });
    sum("the arenas", arenas.chain([heap.mapped_bytes, heap.mapped_count, heap.mapped_resident_bytes]))
}

/// Each number is one that can be, and so is their sum.
fn sum(of: &str, mut numbers: impl Iterator<Item = u64>) -> Result<(), Refused> {
    let sum = numbers.try_fold(0_u64, |sum, number| {
        Some(sum + Some(number).filter(|&number| number <= MAX)?).filter(|&sum| sum <= MAX_SUM)
    });
    sum.map(|_| ()).ok_or_else(|| format!("a number of {of} cannot be"))
}

fn time(of: &str, time_ns: u64) -> Result<(), Refused> {
    if time_ns <= MAX_NS { Ok(()) } else { Err(format!("a time of {of} cannot be")) }
}

/// Times do not go backwards.
fn ascend(of: &str, times: impl Iterator<Item = u64>) -> Result<(), Refused> {
    let mut before = 0;
    for time_ns in times {
        time(of, time_ns)?;
        if time_ns < before {
            return Err(format!("the times of {of} go backwards"));
        }
        before = time_ns;
    }
    Ok(())
}

/// An end comes after its start.
fn lasts(of: &str, start_ns: Option<u64>, end_ns: Option<u64>) -> Result<(), Refused> {
    for time_ns in [start_ns, end_ns].into_iter().flatten() {
        time(of, time_ns)?;
    }
    match (start_ns, end_ns) {
        (Some(start), Some(end)) if end < start => Err(format!("{of} ended before it started")),
        _ => Ok(()),
    }
}
