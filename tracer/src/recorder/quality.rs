//! The quality of a recording's numbers: losses, the ends of walks, and the names under which recordings have them.

use tracer_common::{counter::Counter, unwind::Stop};

use super::RecordError;
use crate::{
    ingest::tables::{Counters, Tables},
    recording::{HeaviestSample, Quality, Writer},
};

/// Counts that user space made itself.
pub(super) struct Counts {
    /// Records of the ring buffer that could not be decoded.
    pub(super) malformed: u64,
    /// Stacks that are complete though the kernel did not finish them.
    pub(super) completed: u64,
    /// The interval of sampling, bytes. None: every allocation was recorded.
    pub(super) sample_bytes: Option<u32>,
}

/// Writes how far the numbers can be trusted; gives how much was lost.
///
/// # Errors
/// The tables cannot be read, or the recording cannot be written.
pub(super) fn write(tables: &Tables, counts: &Counts, writer: &mut Writer) -> Result<u64, RecordError> {
    let unreadable = |error| RecordError::unreadable(&error);
    let counters = tables.counters().map_err(unreadable)?;
    let lost = lost(&counters, counts.malformed);
    writer.lost(&lost)?;
    let heaviest_sample = match counts.sample_bytes {
        None => None,
        Some(interval) => {
            let (bytes, count) = tables.heaviest_sample(interval).map_err(unreadable)?;
            Some(HeaviestSample { bytes, count })
        }
    };
    writer.quality(&trust(&counters, counts.completed, heaviest_sample))?;
    Ok(lost.iter().map(|(_, count)| count).sum())
}

/// Losses by reason; reasons without a loss are left out.
fn lost(counters: &Counters, malformed_count: u64) -> Vec<(&'static str, u64)> {
    let reasons = [
        ("lost_live_table_full", counters.get(Counter::LostLiveFull)),
        ("lost_stack_table_full", counters.get(Counter::LostStackFull)),
        ("lost_stack_record", counters.get(Counter::LostStackRecord)),
        ("lost_event", counters.get(Counter::LostEvent)),
        ("lost_pending", counters.get(Counter::LostPending)),
        ("lost_scratch", counters.get(Counter::LostScratch)),
        ("lost_pointer_read", counters.get(Counter::LostPointerRead)),
        ("missed_frees", counters.get(Counter::MissedFrees)),
        ("memo_mismatch", counters.get(Counter::MemoMismatch)),
        ("malformed_records", malformed_count),
    ];
    reasons.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// How far the numbers can be trusted. `completed_count` stacks are complete though the kernel did not finish them.
/// `heaviest_sample` is there if allocations were sampled: then a free of one that was left out looks like a free of one
/// that is older than the session.
fn trust(counters: &Counters, completed_count: u64, heaviest_sample: Option<HeaviestSample>) -> Quality {
    let stacks_total = counters.stops.iter().sum::<u64>();
    Quality {
        unmatched_frees: match heaviest_sample {
            Some(_) => None,
            None => Some(counters.get(Counter::UnmatchedFrees)),
        },
        stacks_total: Some(stacks_total),
        stacks_remembered: Some(stacks_total.saturating_sub(counters.get(Counter::WalksMade))),
        stacks_complete: Some(counters.stops[Stop::Complete as usize] + completed_count),
        heaviest_sample,
    }
}

/// The reason why a walk ended, in words. `stop` is a number of [`Stop`].
pub(super) fn stop_name(stop: u32) -> &'static str {
    const NAMES: [(Stop, &str); 12] = [
        (Stop::Complete, "complete"),
        (Stop::Truncated, "deeper than the limit"),
        (Stop::NoMapping, "no mapping"),
        (Stop::NoRow, "no call-frame information"),
        (Stop::UnsupportedRule, "unsupported call-frame rule"),
        (Stop::ReadFault, "stack not readable"),
        (Stop::BadFrame, "frame out of place"),
        (Stop::NoBlob, "no code blob"),
        (Stop::Trampoline, "return probe without its return address"),
        (Stop::Search, "search too long"),
        (Stop::Interrupted, "interrupted Java code"),
        (Stop::VirtualThread, "virtual thread's older frames in the heap"),
    ];
    NAMES.iter().find(|(known, _)| *known as u32 == stop).map_or("unknown", |(_, name)| name)
}
