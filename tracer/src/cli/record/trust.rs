//! The names under which losses and the ends of walks stand in a recording.

use tracer_common::{counter::Counter, unwind::Stop};

use crate::{
    ingest::tables::Counters,
    recording::{HeaviestSample, Trust},
};

/// What was lost, by reason; reasons without a loss are left out.
pub(super) fn lost(counters: &Counters, malformed_count: u64) -> Vec<(&'static str, u64)> {
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

/// How far the numbers can be trusted. `completed_count` stacks are complete that the kernel did not
/// finish. `heaviest_sample`: if it was sampled; a free of what was left out looks like one of what is older than
/// the session.
pub(super) fn trust(
    counters: &Counters,
    completed_count: u64,
    heaviest_sample: Option<HeaviestSample>,
) -> Trust {
    let stacks_total = counters.stops.iter().sum::<u64>();
    Trust {
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

/// Why a walk ended, in words. `stop` is a number of [`Stop`].
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
