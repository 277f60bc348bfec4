//! Groups of the rows of a recording's totals, and the history of each through the session.

use crate::recording::{MomentTotals, Recording, RecordingState, SeriesRow};

/// A moment of a group. Totals are cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Time since the session started.
    pub time_ns: u64,
    pub allocated_bytes: u64,
    pub freed_bytes: u64,
    /// Allocations; 0 where only bytes are known.
    pub allocated_count: u64,
    pub freed_count: u64,
    /// Part of `freed_bytes` that was freed by threads that work off what collections found.
    pub collected_bytes: u64,
}

impl Point {
    /// Allocated and not freed by then.
    pub fn live_bytes(&self) -> u64 {
        self.allocated_bytes.saturating_sub(self.freed_bytes)
    }

    /// Allocations that were not freed by then.
    pub fn live_count(&self) -> u64 {
        self.allocated_count.saturating_sub(self.freed_count)
    }
}

/// A group of [`RowGroups`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(usize);

/// Groups of rows of a recording's totals: a site, a category, and whatever else a verdict is wanted for. A row may
/// be in several groups, and in none.
#[derive(Debug, Default)]
pub struct RowGroups {
    /// Rows of each group.
    rows: Vec<Vec<usize>>,
}

impl RowGroups {
    /// Makes a new group, without rows.
    pub fn add(&mut self) -> GroupId {
        self.rows.push(Vec::new());
        GroupId(self.rows.len() - 1)
    }

    /// Puts a row of the recording's totals into a group.
    pub fn put(&mut self, row: usize, group: GroupId) {
        if let Some(rows) = self.rows.get_mut(group.0) {
            rows.push(row);
        }
    }

    /// The rows of a group, as they were put.
    pub fn rows(&self, group: GroupId) -> &[usize] {
        self.rows.get(group.0).map_or(&[], Vec::as_slice)
    }
}

/// The samples of a recording, by row of its totals; groups are put together when they are asked for.
pub(super) struct History<'a> {
    /// Nanoseconds since the session started; the first is 0, when nothing was allocated.
    times_ns: Vec<u64>,
    /// CLOCK_MONOTONIC at time 0.
    started_ns: u64,
    /// Changes by row of the recording's totals, by time.
    changes: Vec<Change<'a>>,
    /// The place where the changes of each row end. They begin where those of the row before end.
    ends: Vec<usize>,
}

/// The totals of a row from a moment on.
#[derive(Clone, Copy)]
struct Change<'a> {
    /// Index into [`History::times_ns`].
    moment: usize,
    totals: &'a MomentTotals,
}

impl<'a> History<'a> {
    /// The samples of a recording.
    pub(super) fn of(recording: &'a Recording) -> Self {
        // Counted back from the end: `started_ns` may lie before the probes were attached.
        let started_ns = match (&recording.state, recording.series.last()) {
            (RecordingState::Finished(_), Some(last)) => last.time_ns.saturating_sub(recording.duration_ns),
            _ => recording.session.started_ns,
        };
        let moments: Vec<u64> =
            recording.series.iter().map(|sample| sample.time_ns.saturating_sub(started_ns)).collect();
        let mut times_ns = vec![0];
        times_ns.extend(&moments);
        // The last tick and the end may be one moment.
        times_ns.dedup();
        // Each row's changes get as much room as it has, side by side, and are put there in the order of time.
        let place = |row: &SeriesRow| usize::try_from(row.total).ok();
        let mut ends = vec![0; recording.totals.len()];
        let rows = || recording.series.iter().flat_map(|sample| &sample.rows);
        for row in rows() {
            if let Some(count) = place(row).and_then(|row| ends.get_mut(row)) {
                *count += 1;
            }
        }
        let mut all = 0;
        for count in &mut ends {
            all += std::mem::replace(count, all);
        }
        // All of them are put there below; until then any will do.
        let mut changes: Vec<Change<'a>> =
            rows().next().map_or_else(Vec::new, |row| vec![Change { moment: 0, totals: &row.totals }; all]);
        let mut moment = 0;
        for (sample, time_ns) in recording.series.iter().zip(&moments) {
            moment += usize::from(times_ns.get(moment) != Some(time_ns));
            for row in &sample.rows {
                let next = place(row).and_then(|row| ends.get_mut(row));
                let change = next.and_then(|next| {
                    *next += 1;
                    changes.get_mut(*next - 1)
                });
                if let Some(change) = change {
                    *change = Change { moment, totals: &row.totals };
                }
            }
        }
        History { times_ns, started_ns, changes, ends }
    }

    /// CLOCK_MONOTONIC at time 0.
    pub(super) fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// A moment of `CLOCK_MONOTONIC`, since the session started.
    pub(super) fn since(&self, time_ns: u64) -> u64 {
        time_ns.saturating_sub(self.started_ns)
    }

    /// The moments, in nanoseconds since the session started; the first is 0.
    pub(super) fn times_ns(&self) -> &[u64] {
        &self.times_ns
    }

    /// The sum of some rows at each moment.
    pub(super) fn of_rows(&self, rows: &[usize]) -> Vec<Point> {
        let mut points: Vec<Point> =
            self.times_ns.iter().map(|&time_ns| Point { time_ns, ..Point::default() }).collect();
        // First by how much the sum changes at each moment. The sum itself is known to fit, and so is right although
        // a difference below zero wraps.
        for &row in rows {
            let mut before = &MomentTotals::default();
            for Change { moment, totals } in self.of_row(row) {
                if let Some(point) = points.get_mut(*moment) {
                    point.add(totals);
                    point.subtract(before);
                }
                before = totals;
            }
        }
        let mut sum = Point::default();
        for point in &mut points {
            sum = Point {
                time_ns: point.time_ns,
                allocated_bytes: sum.allocated_bytes.wrapping_add(point.allocated_bytes),
                freed_bytes: sum.freed_bytes.wrapping_add(point.freed_bytes),
                allocated_count: sum.allocated_count.wrapping_add(point.allocated_count),
                freed_count: sum.freed_count.wrapping_add(point.freed_count),
                collected_bytes: sum.collected_bytes.wrapping_add(point.collected_bytes),
            };
            *point = sum;
        }
        points
    }

    /// The changes of a row, by time.
    fn of_row(&self, row: usize) -> &[Change<'a>] {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        let end = self.ends.get(row).copied().unwrap_or_default();
        self.changes.get(start..end).unwrap_or_default()
    }
}

impl Point {
    fn add(&mut self, totals: &MomentTotals) {
        self.allocated_bytes = self.allocated_bytes.wrapping_add(totals.allocated_bytes);
        self.freed_bytes = self.freed_bytes.wrapping_add(totals.freed_bytes);
        self.allocated_count = self.allocated_count.wrapping_add(totals.allocated_count);
        self.freed_count = self.freed_count.wrapping_add(totals.freed_count);
        self.collected_bytes = self.collected_bytes.wrapping_add(totals.collected_bytes);
    }

    fn subtract(&mut self, totals: &MomentTotals) {
        self.allocated_bytes = self.allocated_bytes.wrapping_sub(totals.allocated_bytes);
        self.freed_bytes = self.freed_bytes.wrapping_sub(totals.freed_bytes);
        self.allocated_count = self.allocated_count.wrapping_sub(totals.allocated_count);
        self.freed_count = self.freed_count.wrapping_sub(totals.freed_count);
        self.collected_bytes = self.collected_bytes.wrapping_sub(totals.collected_bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::recording::{Sample, fixture};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The sum of rows at a moment is that of what each was last said to have.
        #[test]
        fn a_group_is_the_sum_of_its_rows(
            said in prop::collection::vec(prop::collection::btree_map(0_usize..7, 0_u64..1_000, 0..7), 0..20),
            rows in prop::collection::vec(0_usize..9, 0..9),
        ) {
            let (_folder, path) = fixture::finished();
            let mut recording = crate::recording::read(&path).expect("read");
            let sample = |(time_ns, said): (u64, &std::collections::BTreeMap<usize, u64>)| Sample {
                time_ns,
                rows: said
                    .iter()
                    .map(|(&row, &bytes)| SeriesRow {
                        total: u32::try_from(row).expect("small"),
                        totals: MomentTotals {
                            allocated_bytes: bytes,
                            freed_count: 2 * bytes,
                            ..MomentTotals::default()
                        },
                    })
                    .collect(),
            };
            recording.state = RecordingState::Unfinished;
            recording.session.started_ns = 0;
            recording.series = (1..).zip(&said).map(sample).collect();
            let history = History::of(&recording);
            let points = history.of_rows(&rows);
            prop_assert_eq!(points.len(), said.len() + 1);
            for (moment, point) in points.iter().enumerate() {
                let last = |row: &usize| said.iter().take(moment).rev().find_map(|said| said.get(row)).copied();
                let bytes: u64 = rows.iter().filter_map(last).sum();
                prop_assert_eq!(point.time_ns, moment as u64);
                prop_assert_eq!((point.allocated_bytes, point.freed_count), (bytes, 2 * bytes));
                prop_assert_eq!(point.freed_bytes, 0);
            }
        }
    }
}
