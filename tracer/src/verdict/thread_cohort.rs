//! The threads that a group of stacks started, and what their own stacks take while they run.

use std::collections::HashSet;

use super::classify::Threads;
use super::history::{History, Point};
use crate::recording::{Collection, Recording, StackRef, Thread};

/// Times after a collection in which threads end that wait for it: at once, or when they look the next time.
const NOTICE_NS: [u64; 2] = [1_000_000_000, 4_000_000_000];
/// The part of those that ran when it began, and of all that ended, which must do so.
const FOLLOW_SHARE: f64 = 0.9;
/// The part of that time that a collection must have left before the session's end, to count as one that nobody followed.
const ASKED_PART: f64 = 0.5;
/// Number of ends below which they tell nothing.
const ENDS_MIN: usize = 8;

/// Threads of the session: when each started and ended, in nanoseconds since the session started.
pub(super) struct ThreadCohort {
    threads: Vec<Life>,
}

/// The time in which a thread ran.
struct Life {
    started_ns: u64,
    /// `None` if it runs at the end.
    ended_ns: Option<u64>,
}

impl Life {
    /// `None` if it ran when the session started.
    fn of(thread: &Thread, history: &History<'_>) -> Option<Life> {
        let started_ns = history.since(thread.started_ns?);
        Some(Life { started_ns, ended_ns: thread.ended_ns.map(|end| history.since(end)) })
    }
}

impl ThreadCohort {
    /// Threads that started in the session.
    pub(super) fn all(recording: &Recording, history: &History<'_>) -> ThreadCohort {
        ThreadCohort {
            threads: recording.threads.iter().filter_map(|thread| Life::of(thread, history)).collect(),
        }
    }

    /// Threads that a group started. `None` if none is known.
    pub(super) fn of(recording: &Recording, history: &History<'_>, rows: &[usize]) -> Option<ThreadCohort> {
        let totals = rows.iter().filter_map(|&row| recording.totals.get(row));
        let callers: HashSet<&[u32]> = totals.filter_map(|total| caller(recording, total.stack)).collect();
        let is_ours = |creator: StackRef| caller(recording, creator).is_some_and(|it| callers.contains(it));
        let of_group = recording.threads.iter().filter(|thread| thread.creator.is_some_and(is_ours));
        let threads: Vec<_> = of_group.filter_map(|thread| Life::of(thread, history)).collect();
        (!threads.is_empty()).then_some(ThreadCohort { threads })
    }

    /// Memory that their stacks take, of what `mapped` says of each on average; and how many threads that is.
    /// `others_follow`: the session's threads as a whole end when collections ask them to.
    pub(super) fn history(
        &self,
        mapped: &[Point],
        times_ns: &[u64],
        collections: &[Collection],
        others_follow: bool,
    ) -> (Vec<Point>, Threads) {
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
        let end_ns = times_ns.last().copied().unwrap_or_default();
        let follows = self.follows(collections, end_ns, others_follow);
        let point = |&time_ns: &u64| {
            let (started, ended) = by(time_ns);
            Point {
                time_ns,
                allocated_bytes: started.saturating_mul(each),
                freed_bytes: ended.saturating_mul(each),
                allocated_count: started,
                freed_count: ended,
                collected_bytes: if follows { ended.saturating_mul(each) } else { 0 },
            }
        };
        let threads = Threads { started_count: started, running_count: started.saturating_sub(ended) };
        (times_ns.iter().map(point).collect(), threads)
    }

    /// Do the threads end when a collection has found that nobody needs them, and hardly ever otherwise?
    pub(super) fn follows(&self, collections: &[Collection], end_ns: u64, others_follow: bool) -> bool {
        let [at_once, later] = self.answers(collections, end_ns);
        // After one alone they must end at once, which is no chance, or as others did after several.
        at_once > 0 || later > usize::from(!others_follow)
    }

    /// Do the threads follow more than one collection?
    pub(super) fn follows_several(&self, collections: &[Collection], end_ns: u64) -> bool {
        self.answers(collections, end_ns).into_iter().any(|count| count > 1)
    }

    /// The collections after which they ended, at once and when they looked the next time.
    fn answers(&self, collections: &[Collection], end_ns: u64) -> [usize; 2] {
        NOTICE_NS.map(|notice_ns| self.answered(collections, notice_ns, end_ns))
    }

    /// The collections after which nearly all that ran when it began ended within `notice_ns`; 0 where they end
    /// otherwise as well.
    fn answered(&self, collections: &[Collection], notice_ns: u64, end_ns: u64) -> usize {
        let ends = || self.threads.iter().filter_map(|thread| thread.ended_ns);
        let (mut asked, mut answered, mut time_ns, mut followed) = (0, 0, 0, 0);
        let mut until_ns = 0;
        for collection in collections {
            let from_ns = collection.begin_ns;
            let to_ns = from_ns.saturating_add(notice_ns).min(end_ns);
            let ran = |thread: &&Life| {
                thread.started_ns < from_ns && thread.ended_ns.is_none_or(|end| end >= from_ns)
            };
            let ran: Vec<&Life> = self.threads.iter().filter(ran).collect();
            let ended = ran.iter().filter(|thread| thread.ended_ns.is_some_and(|end| end <= to_ns)).count();
            // One that is cut off by the end of the session has less time.
            let part = to_ns.saturating_sub(from_ns) as f64 / notice_ns as f64;
            if ran.len() < ENDS_MIN / 2 {
                continue;
            }
            let has_answered = ended as f64 >= ran.len() as f64 * FOLLOW_SHARE * part;
            // There was hardly time to answer the last one.
            asked += usize::from(has_answered || part >= ASKED_PART);
            answered += usize::from(has_answered);
            let fresh_ns = from_ns.max(until_ns);
            time_ns += to_ns.saturating_sub(fresh_ns);
            followed += ends().filter(|&end| fresh_ns <= end && end <= to_ns).count();
            until_ns = to_ns.max(until_ns);
        }
        let all = ends().count();
        let is_so = answered * 3 >= asked * 2
            && all >= ENDS_MIN
            && followed as f64 >= all as f64 * FOLLOW_SHARE
            && time_ns.saturating_mul(2) <= end_ns;
        if is_so { answered } else { 0 }
    }
}

/// Caller that asked for a thread: the frames beyond `pthread_create`, which maps the stack on one way and makes the
/// thread on another.
fn caller(recording: &Recording, stack: StackRef) -> Option<&[u32]> {
    let frames = &recording.stack(stack)?.frames;
    let creates = |frame: &u32| {
        let frame = usize::try_from(*frame).ok().and_then(|frame| recording.frames.get(frame));
        frame.is_some_and(|frame| frame.function.trim_start_matches('_').starts_with("pthread_create"))
    };
    frames.get(frames.iter().rposition(creates)? + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// Three threads a second; `ends` gives the second in which one that started in another ended.
    fn cohort(ends: impl Fn(u64) -> Option<u64>) -> ThreadCohort {
        let life = |number: u64| Life {
            started_ns: number * SECOND_NS / 3,
            ended_ns: ends(number / 3).map(|second| second * SECOND_NS + SECOND_NS / 2),
        };
        ThreadCohort { threads: (0..78).map(life).collect() }
    }

    fn follows(cohort: &ThreadCohort, at: &[u64]) -> bool {
        follows_beside(cohort, at, false)
    }

    fn follows_beside(cohort: &ThreadCohort, at: &[u64], others_follow: bool) -> bool {
        let collections: Vec<_> = at.iter().map(|&second| collection(second * SECOND_NS)).collect();
        cohort.follows(&collections, 26 * SECOND_NS, others_follow)
    }

    fn collection(begin_ns: u64) -> Collection {
        Collection { begin_ns, end_ns: Some(begin_ns), full: false }
    }

    /// One begins just before the session ends: nobody had time to follow it.
    #[test]
    fn the_last_collection_may_come_too_late() {
        let cohort = cohort(|born| (born < 10).then_some(10));
        let follows = |last_ns: u64| {
            cohort.follows(&[collection(10 * SECOND_NS), collection(last_ns)], 26 * SECOND_NS, false)
        };
        assert!(follows(26 * SECOND_NS - SECOND_NS / 5));
        assert!(!follows(22 * SECOND_NS));
    }

    #[test]
    fn threads_that_a_collection_ends() {
        let cleared = |at: &'static [u64]| move |born| at.iter().copied().find(|&second| second > born);
        assert!(follows(&cohort(cleared(&[10])), &[10]));
        assert!(follows(&cohort(cleared(&[9, 18])), &[9, 18]));
        // Each looks every three seconds.
        let polled =
            |born: u64| [9, 18].into_iter().find(|&second| second > born).map(|second| second + born % 3);
        assert!(follows(&cohort(polled), &[9, 18]));
        // After one collection alone that is no chance where others do so, too.
        let once = |born: u64| (born < 9).then_some(9 + born % 3);
        assert!(!follows(&cohort(once), &[9]) && follows_beside(&cohort(once), &[9], true));
    }

    #[test]
    fn threads_that_end_otherwise() {
        // After four seconds each; never; all at once, long after a collection; too often to tell.
        assert!(!follows(&cohort(|born| (born < 22).then_some(born + 4)), &[9, 18]));
        assert!(!follows(&cohort(|_| None), &[9, 18]));
        let four_seconds = |born: u64| (born < 22).then_some(born + 4);
        assert!(
            !follows_beside(&cohort(four_seconds), &[9], true)
                && !follows_beside(&cohort(|_| None), &[9], true)
        );
        assert!(!follows(&cohort(|born| (born < 15).then_some(15)), &[9]));
        let often: Vec<u64> = (1..26).collect();
        assert!(!follows(&cohort(|born| (born < 25).then_some(born + 1)), &often));
    }
}
