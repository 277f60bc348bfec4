//! How the bytes of groups of stacks went through the session, from the recording's samples.

use crate::recording::{Recording, State, Totals};

/// A moment of a group. Totals are cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Point {
    /// Since the session started.
    pub time_ns: u64,
    pub allocated_bytes: u64,
    pub freed_bytes: u64,
    /// Of `freed_bytes`: freed by threads that work off what collections found.
    pub collected_bytes: u64,
}

impl Point {
    /// Allocated and not freed by then.
    pub(super) fn live_bytes(&self) -> u64 {
        self.allocated_bytes.saturating_sub(self.freed_bytes)
    }
}

/// The samples of a recording, by row of its totals; groups are put together when they are asked for.
pub(super) struct Course {
    /// Nanoseconds since the session started; the first is 0, when nothing was allocated.
    times_ns: Vec<u64>,
    /// CLOCK_MONOTONIC at time 0.
    started_ns: u64,
    /// By row: (moment, totals from then on).
    changes: Vec<Vec<(usize, Totals)>>,
    /// By group: its rows.
    members: Vec<Vec<usize>>,
}

impl Course {
    /// The course of groups: `groups` tells the groups of each row of the recording's totals.
    pub(super) fn of(recording: &Recording, groups: &[Vec<usize>], group_count: usize) -> Course {
        let mut members = vec![Vec::new(); group_count];
        for (row, groups) in groups.iter().enumerate() {
            for &group in groups {
                if let Some(members) = members.get_mut(group) {
                    members.push(row);
                }
            }
        }
        // Counted back from the end: `started_ns` may lie before the probes were attached.
        let started_ns = match (&recording.state, recording.series.last()) {
            (State::Finished(_), Some(last)) => last.time_ns.saturating_sub(recording.duration_ns),
            _ => recording.session.started_ns,
        };
        let mut times_ns = vec![0];
        let mut changes = vec![Vec::new(); recording.totals.len()];
        for sample in &recording.series {
            let time_ns = sample.time_ns.saturating_sub(started_ns);
            // The last tick and the end may be one moment.
            if times_ns.last() != Some(&time_ns) {
                times_ns.push(time_ns);
            }
            for row in &sample.rows {
                let at = usize::try_from(row.total).unwrap_or(usize::MAX);
                if let Some(changes) = changes.get_mut(at) {
                    changes.push((times_ns.len() - 1, row.totals));
                }
            }
        }
        Course { times_ns, started_ns, changes, members }
    }

    /// CLOCK_MONOTONIC at time 0.
    pub(super) fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// The moments, in nanoseconds since the session started; the first is 0.
    pub(super) fn times_ns(&self) -> &[u64] {
        &self.times_ns
    }

    /// The rows of a group.
    pub(super) fn rows(&self, group: usize) -> &[usize] {
        self.members.get(group).map_or(&[], Vec::as_slice)
    }

    /// A group at each moment.
    pub(super) fn history(&self, group: usize) -> Vec<Point> {
        let mut points: Vec<Point> =
            self.times_ns.iter().map(|&time_ns| Point { time_ns, ..Point::default() }).collect();
        for &row in self.members.get(group).into_iter().flatten() {
            let mut changes = self.changes.get(row).into_iter().flatten().peekable();
            let mut now = Totals::default();
            for (moment, point) in points.iter_mut().enumerate() {
                while let Some((_, totals)) = changes.next_if(|(at, _)| *at <= moment) {
                    now = *totals;
                }
                point.allocated_bytes = point.allocated_bytes.saturating_add(now.allocated_bytes);
                point.freed_bytes =
                    point.freed_bytes.saturating_add(now.freed_bytes.min(now.allocated_bytes));
                point.collected_bytes = point.collected_bytes.saturating_add(now.collected_bytes);
            }
        }
        points
    }
}
