//! Groups of the rows of a recording's totals, and the history of each through the session.

use crate::recording::{Recording, State, Totals};

/// A moment of a group. Totals are cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Since the session started.
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

/// One group of [`RowGroups`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(usize);

/// Groups of rows of a recording's totals: a site, a category, and whatever else a verdict is wanted for. A row may
/// be in several groups, and in none.
#[derive(Debug, Default)]
pub struct RowGroups {
    /// By group: its rows.
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

    /// All groups.
    pub fn iter(&self) -> impl Iterator<Item = GroupId> {
        (0..self.rows.len()).map(GroupId)
    }
}

/// The samples of a recording, by row of its totals; groups are put together when they are asked for.
pub(super) struct History {
    /// Nanoseconds since the session started; the first is 0, when nothing was allocated.
    times_ns: Vec<u64>,
    /// CLOCK_MONOTONIC at time 0.
    started_ns: u64,
    /// By row, by time.
    changes: Vec<Vec<Change>>,
}

/// The totals of a row from a moment on.
struct Change {
    /// Index into [`History::times_ns`].
    moment: usize,
    totals: Totals,
}

impl History {
    /// The samples of a recording.
    pub(super) fn of(recording: &Recording) -> History {
        // Counted back from the end: `started_ns` may lie before the probes were attached.
        let started_ns = match (&recording.state, recording.series.last()) {
            (State::Finished(_), Some(last)) => last.time_ns.saturating_sub(recording.duration_ns),
            _ => recording.session.started_ns,
        };
        let mut times_ns = vec![0];
        let mut changes: Vec<Vec<Change>> = recording.totals.iter().map(|_| Vec::new()).collect();
        for sample in &recording.series {
            let time_ns = sample.time_ns.saturating_sub(started_ns);
            // The last tick and the end may be one moment.
            if times_ns.last() != Some(&time_ns) {
                times_ns.push(time_ns);
            }
            for row in &sample.rows {
                let at = usize::try_from(row.total).unwrap_or(usize::MAX);
                if let Some(changes) = changes.get_mut(at) {
                    changes.push(Change { moment: times_ns.len() - 1, totals: row.totals });
                }
            }
        }
        History { times_ns, started_ns, changes }
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
        for &row in rows {
            let mut changes = self.changes.get(row).into_iter().flatten().peekable();
            let mut now = Totals::default();
            for (moment, point) in points.iter_mut().enumerate() {
                while let Some(change) = changes.next_if(|change| change.moment <= moment) {
                    now = change.totals;
                }
                point.allocated_bytes = point.allocated_bytes.saturating_add(now.allocated_bytes);
                point.freed_bytes = point.freed_bytes.saturating_add(now.freed_bytes);
                point.allocated_count = point.allocated_count.saturating_add(now.allocated_count);
                point.freed_count = point.freed_count.saturating_add(now.freed_count);
                point.collected_bytes = point.collected_bytes.saturating_add(now.collected_bytes);
            }
        }
        points
    }
}
