//! The threads that a group of stacks started, and what their own stacks take while they run.

use std::collections::HashSet;

use super::growth::{Course, Point};
use super::units;
use crate::recording::Recording;

/// Threads of the session: when each started and ended, in nanoseconds since the session started.
pub(super) struct Crowd {
    threads: Vec<(u64, Option<u64>)>,
}

impl Crowd {
    /// Those that a group started. None: none is known.
    pub(super) fn of(recording: &Recording, course: &Course, group: usize) -> Option<Crowd> {
        let totals = course.rows(group).iter().filter_map(|&row| recording.totals.get(row));
        let callers: HashSet<&[u32]> = totals.filter_map(|total| caller(recording, total.stack)).collect();
        let since = |time_ns: u64| time_ns.saturating_sub(course.started_ns());
        let is_ours = |creator: u32| caller(recording, creator).is_some_and(|it| callers.contains(it));
        let of_group = recording.threads.iter().filter(|thread| thread.creator.is_some_and(is_ours));
        let threads: Vec<_> = of_group
            .filter_map(|thread| Some((since(thread.started_ns?), thread.ended_ns.map(since))))
            .collect();
        (!threads.is_empty()).then_some(Crowd { threads })
    }

    /// What their stacks take, of what `mapped` says of each on average; and how many threads that is.
    pub(super) fn history(&self, mapped: &[Point], course: &Course) -> (Vec<Point>, String) {
        let by = |time_ns: u64| {
            let started = self.threads.iter().filter(|thread| thread.0 <= time_ns).count() as u64;
            let ended =
                self.threads.iter().filter(|thread| thread.1.is_some_and(|end| end <= time_ns)).count()
                    as u64;
            (started, ended)
        };
        let (started, ended) = by(u64::MAX);
        // Each mapping serves one thread at a time: as many at least as ran at once.
        let most = course.times_ns().iter().map(|&time| by(time).0 - by(time).1).max().unwrap_or(0).max(1);
        let each = mapped.last().map_or(0, |point| point.allocated_bytes) / most.max(1);
        let point = |&time_ns: &u64| {
            let (started, ended) = by(time_ns);
            Point {
                time_ns,
                allocated_bytes: started.saturating_mul(each),
                freed_bytes: ended.saturating_mul(each),
                collected_bytes: 0,
            }
        };
        let told =
            format!("{} of {} still run", units::count(started - ended), units::counted(started, "thread"));
        (course.times_ns().iter().map(point).collect(), told)
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
