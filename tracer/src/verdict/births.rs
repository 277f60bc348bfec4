//! Births of what is live: when each stack's live allocations were made.

use super::classify::Birth;
use crate::recording::{ByStack, Recording, Source, Survivors};

/// Births of what is live, by stack; of the allocator alone.
pub(super) struct Births(ByStack<Birth>);

impl Births {
    /// `since`: a moment of CLOCK_MONOTONIC, since the session started.
    pub(super) fn of(recording: &Recording, since: impl Fn(u64) -> u64) -> Self {
        let birth = |survivors: &Survivors| {
            let born_ns = since(survivors.born_ns);
            let (epoch, live_bytes) = (survivors.epoch, survivors.live_bytes);
            (survivors.stack, Birth { born_ns, epoch, live_bytes })
        };
        Self(recording.survivors.iter().map(birth).collect())
    }

    /// Births of some rows of the recording's totals, by time.
    pub(super) fn of_rows(&self, recording: &Recording, rows: &[usize]) -> Vec<Birth> {
        let totals = rows.iter().filter_map(|&row| recording.totals.get(row));
        let stacks = totals.filter(|total| total.source == Source::Allocator).map(|total| total.stack);
        let mut births: Vec<Birth> = stacks.flat_map(|stack| self.0.of(stack)).copied().collect();
        births.sort_unstable_by_key(|birth| (birth.born_ns, birth.epoch));
        births
    }
}
