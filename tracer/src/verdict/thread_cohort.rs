//! The threads that a group of stacks started, and what their own stacks take while they run.

use std::collections::HashSet;

use super::classify::Threads;
use super::history::{History, Point};
use crate::recording::Recording;

/// Threads of the session: when each started and ended, in nanoseconds since the session started.
pub(super) struct ThreadCohort {
    threads: Vec<Life>,
}

/// The time in which a thread ran.
struct Life {
    started_ns: u64,
    /// None: it runs at the end.
    ended_ns: Option<u64>,
}

impl ThreadCohort {
    /// Those that a group started. None: none is known.
    pub(super) fn of(recording: &Recording, history: &History, rows: &[usize]) -> Option<ThreadCohort> {
        let totals = rows.iter().filter_map(|&row| recording.totals.get(row));
        let callers: HashSet<&[u32]> = totals.filter_map(|total| caller(recording, total.stack)).collect();
        let is_ours = |creator: u32| caller(recording, creator).is_some_and(|it| callers.contains(it));
        let of_group = recording.threads.iter().filter(|thread| thread.creator.is_some_and(is_ours));
        let threads: Vec<_> = of_group
            .filter_map(|thread| {
                let started_ns = history.since(thread.started_ns?);
                Some(Life { started_ns, ended_ns: thread.ended_ns.map(|end| history.since(end)) })
            })
            .collect();
        (!threads.is_empty()).then_some(ThreadCohort { threads })
    }

    /// What their stacks take, of what `mapped` says of each on average; and how many threads that is.
    pub(super) fn history(&self, mapped: &[Point], times_ns: &[u64]) -> (Vec<Point>, Threads) {
        let by = |time_ns: u64| {
            let started = self.threads.iter().filter(|thread| thread.started_ns <= time_ns).count() as u64;
            let ended = self
                .threads
                .iter()
                .filter(|thread| thread.ended_ns.is_some_and(|end| end <= time_ns))
                .count() as u64;
            (started, ended)
        };
        let (started, ended) = by(u64::MAX);
        // Each mapping serves one thread at a time: as many at least as ran at once.
        let most = times_ns.iter().map(|&time| by(time).0 - by(time).1).max().unwrap_or(0).max(1);
        let each = mapped.last().map_or(0, |point| point.allocated_bytes) / most.max(1);
        let point = |&time_ns: &u64| {
            let (started, ended) = by(time_ns);
            Point {
                time_ns,
                allocated_bytes: started.saturating_mul(each),
                freed_bytes: ended.saturating_mul(each),
                allocated_count: started,
                freed_count: ended,
                collected_bytes: 0,
            }
        };
        let threads = Threads { started_count: started, running_count: started.saturating_sub(ended) };
        (times_ns.iter().map(point).collect(), threads)
    }
}

/// Who asked for a thread: the frames beyond `pthread_create`, which maps the stack on one way and makes the
/// thread on another.
fn caller(recording: &Recording, stack: u32) -> Option<&[u32]> {
    let frames = &recording.stacks.get(usize::try_from(stack).ok()?)?.frames;
    let creates = |frame: &u32| {
        let frame = usize::try_from(*frame).ok().and_then(|frame| recording.frames.get(frame));
        frame.is_some_and(|frame| frame.function.trim_start_matches('_').starts_with("pthread_create"))
    };
    frames.get(frames.iter().rposition(creates)? + 1..)
}
