//! The live allocations at the end of a session, added up by thread, by time of birth, and by size: as the recording
//! has them.
//!
//! Takes each live allocation; gives rows. Pure.

use std::collections::HashMap;

use tracer_common::{sampling::WeightedSize, stack::StackId, table::Allocation};

use crate::process::Tid;
use crate::recording::{LiveSize, Survivors, ThreadLive};

/// Slices of a session by which births are told apart.
const SLICES: u64 = 32;
/// Epochs that are told apart at most; neighbours are one where there were more.
const EPOCHS: u32 = 128;

/// The live allocations of a session, added up.
#[derive(Debug)]
pub(super) struct LiveSummary {
    started_ns: u64,
    slice_ns: u64,
    epoch_shift: u32,
    threads: HashMap<(StackId, Tid), Sum>,
    births: HashMap<(StackId, u32, u64), Sum>,
    /// Sums by the power of two that each allocation is at least as large as.
    sizes: HashMap<(StackId, u64), Sum>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    bytes: u64,
    count: u64,
}

impl Sum {
    fn add(&mut self, weighed: WeightedSize) {
        self.bytes = self.bytes.saturating_add(weighed.bytes());
        self.count = self.count.saturating_add(weighed.count());
    }
}

impl LiveSummary {
    /// Summary of a session from `started_ns` to `end_ns` (`CLOCK_MONOTONIC`) with so many collections.
    pub(super) fn new(started_ns: u64, end_ns: u64, collection_count: usize) -> LiveSummary {
        let collection_count = u32::try_from(collection_count).unwrap_or(u32::MAX);
        let epoch_shift = (0..32).find(|shift| collection_count >> shift <= EPOCHS).unwrap_or(32);
        LiveSummary {
            started_ns,
            slice_ns: end_ns.saturating_sub(started_ns).div_ceil(SLICES).max(1),
            epoch_shift,
            threads: HashMap::new(),
            births: HashMap::new(),
            sizes: HashMap::new(),
        }
    }

    /// Adds a live allocation of the stack with this id.
    pub(super) fn add(&mut self, stack: StackId, allocation: &Allocation) {
        let weighed = allocation.weighed();
        self.threads.entry((stack, Tid(allocation.tid))).or_default().add(weighed);
        let slice = allocation.time_ns.saturating_sub(self.started_ns) / self.slice_ns;
        let born_ns = self.started_ns.saturating_add(slice.min(SLICES - 1) * self.slice_ns);
        let epoch = allocation.epoch.checked_shr(self.epoch_shift).unwrap_or(0) << (self.epoch_shift & 31);
        self.births.entry((stack, epoch, born_ns)).or_default().add(weighed);
        let least_bytes = weighed.size_bytes().checked_ilog2().map_or(0, |power| 1_u64 << power);
        self.sizes.entry((stack, least_bytes)).or_default().add(weighed);
    }

    /// The sums by stack and thread.
    pub(super) fn by_thread(&self) -> Vec<ThreadLive<StackId>> {
        let row = |(&(stack, tid), sum): (&(StackId, Tid), &Sum)| ThreadLive {
            stack,
            tid,
            live_bytes: sum.bytes,
            live_count: sum.count,
        };
        self.threads.iter().map(row).collect()
    }

    /// The sums by stack, epoch, and slice of the session in which they were allocated.
    pub(super) fn survivors(&self) -> Vec<Survivors<StackId>> {
        let row = |(&(stack, epoch, born_ns), sum): (&(StackId, u32, u64), &Sum)| Survivors {
            stack,
            epoch,
            born_ns,
            live_bytes: sum.bytes,
            live_count: sum.count,
        };
        self.births.iter().map(row).collect()
    }

    /// The sums by stack and class of sizes.
    pub(super) fn by_size(&self) -> Vec<LiveSize<StackId>> {
        let row = |(&(stack, least_bytes), sum): (&(StackId, u64), &Sum)| LiveSize {
            stack,
            least_bytes,
            live_bytes: sum.bytes,
            live_count: sum.count,
        };
        self.sizes.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(collections: usize, live: &[(u64, u32)]) -> Vec<(u32, u64, u64, u64)> {
        let mut summary = LiveSummary::new(1_000, 1_000 + 3_200, collections);
        for &(time_ns, epoch) in live {
            summary.add(
                StackId(7),
                &Allocation { weighed: WeightedSize::once(10).0, time_ns, tid: 3, epoch, ..Allocation::ZERO },
            );
        }
        let count = live.len() as u64;
        let all = ThreadLive { stack: StackId(7), tid: Tid(3), live_bytes: 10 * count, live_count: count };
        assert_eq!(summary.by_thread(), [all]);
        let mut rows = summary.survivors();
        rows.sort_unstable_by_key(|row| (row.epoch, row.born_ns));
        rows.iter().map(|row| (row.epoch, row.born_ns, row.live_bytes, row.live_count)).collect()
    }

    #[test]
    fn sizes_are_told_apart_by_powers_of_two() {
        let mut summary = LiveSummary::new(0, 32, 0);
        for size in [0, 1, 1_023, 1_024, 2_047] {
            summary.add(StackId(7), &Allocation { weighed: WeightedSize::once(size).0, ..Allocation::ZERO });
        }
        let mut rows: Vec<_> =
            summary.by_size().iter().map(|row| (row.least_bytes, row.live_bytes, row.live_count)).collect();
        rows.sort_unstable();
        assert_eq!(rows, [(0, 0, 1), (1, 1, 1), (512, 1_023, 1), (1_024, 3_071, 2)]);
    }

    #[test]
    fn births_are_told_apart_by_epoch_and_slice() {
        let rows = summary(2, &[(1_000, 0), (1_099, 0), (1_100, 0), (1_100, 1), (9_999, 2)]);
        assert_eq!(rows, [(0, 1_000, 20, 2), (0, 1_100, 10, 1), (1, 1_100, 10, 1), (2, 4_100, 10, 1)]);
    }

    #[test]
    fn neighbouring_epochs_are_one_where_there_are_many() {
        let rows = summary(1_000, &[(1_000, 0), (1_000, 7), (1_000, 8), (1_000, 999)]);
        assert_eq!(rows, [(0, 1_000, 20, 2), (8, 1_000, 10, 1), (992, 1_000, 10, 1)]);
    }
}
