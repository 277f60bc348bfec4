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
    /// The interval of sampling, bytes. `None` if every allocation was recorded.
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
            let heaviest = tables.heaviest_sample(interval).map_err(unreadable)?;
            Some(HeaviestSample { bytes: heaviest.bytes, count: heaviest.count })
        }
    };
    writer.quality(&quality_of(&counters, counts.completed, heaviest_sample))?;
    Ok(lost.iter().map(|(_, count)| count).sum())
}

/// Use of a counter in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// The counter is a loss of this name.
    Loss(&'static str),
    /// The counter is another number, under this name.
    Number(&'static str),
    /// The counter tells how the programs worked, and says nothing of the numbers.
    Work,
}

const fn used_as(counter: Counter) -> Use {
    match counter {
        Counter::LostLiveFull => Use::Loss("lost_live_table_full"),
        Counter::LostStackFull => Use::Loss("lost_stack_table_full"),
        Counter::LostStackRecord => Use::Loss("lost_stack_record"),
        Counter::LostEvent => Use::Loss("lost_event"),
        Counter::LostPending => Use::Loss("lost_pending"),
        Counter::LostScratch => Use::Loss("lost_scratch"),
        Counter::LostPointerRead => Use::Loss("lost_pointer_read"),
        Counter::MissedFrees => Use::Loss("missed_frees"),
        Counter::MemoMismatch => Use::Loss("memo_mismatch"),
        Counter::UnmatchedFrees => Use::Number("unmatched_frees"),
        Counter::WalksMade => Use::Number("stacks_remembered"),
        Counter::WriteFaults => Use::Number("fault_count"),
        Counter::HeapWriteFaults => Use::Number("java_heap_fault_count"),
        // The walks that these ended or mended are counted by their end.
        Counter::TrampolinesReplaced | Counter::UnknownMapping => Use::Work,
        // Beside a count that is told.
        Counter::LostLiveFullBytes => Use::Work,
        // It says when the table is to be looked at.
        Counter::InflateChanges => Use::Work,
    }
}

/// Losses by reason; reasons without a loss are left out.
fn lost(counters: &Counters, malformed_count: u64) -> Vec<(&'static str, u64)> {
    let counted = Counter::ALL.into_iter().filter_map(|counter| match used_as(counter) {
        Use::Loss(name) => Some((name, counters.get(counter))),
        Use::Number(_) | Use::Work => None,
    });
    counted.chain([("malformed_records", malformed_count)]).filter(|(_, count)| *count > 0).collect()
}

/// Trust in the numbers: how much of them is exact or complete. `completed_count` stacks are complete though the kernel
/// did not finish them. `heaviest_sample` is there if allocations were sampled: then a free of one that was left out
/// looks like a free of one that is older than the session.
fn quality_of(counters: &Counters, completed_count: u64, heaviest_sample: Option<HeaviestSample>) -> Quality {
    let walked = counters.stops.iter().sum::<u64>();
    // A walk that found no room was not made, but its allocation has no stack either.
    let stacks_total = walked.saturating_add(counters.get(Counter::LostScratch));
    Quality {
        unmatched_frees: match heaviest_sample {
            Some(_) => None,
            None => Some(counters.get(Counter::UnmatchedFrees)),
        },
        stacks_total: Some(stacks_total),
        stacks_remembered: Some(walked.saturating_sub(counters.get(Counter::WalksMade))),
        // Frames that did not arrive, or had no place in the table, are not there, however far they were walked.
        stacks_complete: Some(counters.sent_complete.saturating_add(completed_count)),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_allocation_without_a_walk_has_no_whole_stack() {
        let mut counters =
            Counters { values: [0; Counter::COUNT], stops: [0; Stop::COUNT], sent_complete: 85 };
        for (counter, count) in [
            (Counter::LostScratch, 3),
            (Counter::LostStackRecord, 2),
            (Counter::WalksMade, 40),
            (Counter::UnmatchedFrees, 9),
        ] {
            counters.values[counter as usize] = count;
        }
        counters.stops[Stop::Complete as usize] = 90;
        counters.stops[Stop::NoRow as usize] = 10;
        let quality = quality_of(&counters, 4, None);
        assert_eq!(quality.stacks_total, Some(90 + 10 + 3));
        // Five were walked whole, and did not arrive.
        assert_eq!(quality.stacks_complete, Some(85 + 4));
        assert_eq!((quality.stacks_remembered, quality.unmatched_frees), (Some(60), Some(9)));
        // Sampled, a free of a block that was left out looks the same as one of an older block.
        assert_eq!(quality_of(&counters, 4, Some(HeaviestSample::default())).unmatched_frees, None);
    }

    #[test]
    fn every_counter_and_every_stop_has_a_name_of_its_own() {
        let name = |counter| match used_as(counter) {
            Use::Loss(name) | Use::Number(name) => Some(name),
            Use::Work => None,
        };
        let named: Vec<&str> = Counter::ALL.into_iter().filter_map(name).collect();
        assert_eq!(named.iter().collect::<BTreeSet<_>>().len(), named.len());
        let losses = Counter::ALL.into_iter().filter(|counter| matches!(used_as(*counter), Use::Loss(_)));
        assert_eq!(losses.count(), 9);
        // 0 is none.
        let stops: BTreeSet<&str> = (1..Stop::COUNT as u32).map(stop_name).collect();
        assert_eq!(stops.len(), Stop::COUNT - 1);
        assert!(!stops.contains("unknown"));
        assert_eq!(stop_name(Stop::COUNT as u32), "unknown");
    }
}
