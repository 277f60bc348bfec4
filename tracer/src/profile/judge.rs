//! Each row's verdict and growth, from what the recording has of the stacks behind it.

use super::Verdict;
use super::crowd::Crowd;
use super::growth::{Course, Point};
use super::verdict::trend::Trend;
use super::verdict::{Birth, Case, Finding, advice, judge};
use crate::attribute::Rules;
use crate::recording::{Collection, Recording, Source};

/// Time that growth must span.
const SPAN_MIN_NS: u64 = 1_000_000_000;

/// All that verdicts on the rows of one profile rest on.
pub(super) struct Judge<'a> {
    recording: &'a Recording,
    rules: &'a Rules,
    course: Course,
    /// Relative to the session's start.
    collections: Option<Vec<Collection>>,
    /// By group, by birth; of the allocator alone.
    births: Vec<Vec<Birth>>,
}

impl<'a> Judge<'a> {
    /// `groups`: the groups (rows) of each row of the recording's totals.
    pub(super) fn new(
        recording: &'a Recording,
        rules: &'a Rules,
        groups: &[Vec<usize>],
        group_count: usize,
    ) -> Judge<'a> {
        let course = Course::of(recording, groups, group_count);
        let started_ns = course.started_ns();
        let since = |time_ns: u64| time_ns.saturating_sub(started_ns);
        let relative = |collection: &Collection| Collection {
            begin_ns: since(collection.begin_ns),
            end_ns: collection.end_ns.map(since),
            full: collection.full,
        };
        let collections =
            recording.session.gc_probes.then(|| recording.collections.iter().map(relative).collect());
        Judge { recording, rules, collections, births: births(recording, groups, group_count, since), course }
    }

    /// Bytes a second: the median of the slopes between all pairs of moments. None: too few of them.
    pub(super) fn growth(&self, group: usize) -> Option<i64> {
        let history = self.course.history(group);
        if history.last()?.time_ns < SPAN_MIN_NS {
            return None;
        }
        let seconds = |point: &Point| (point.time_ns as f64 / 1e9, point.live_bytes() as f64);
        Trend::of(&history.iter().map(seconds).collect::<Vec<_>>()).map(|trend| trend.slope.round() as i64)
    }

    /// What the course of a group of this category, or of this kind of it, means.
    pub(super) fn verdict(&self, group: usize, category: &str, kind: Option<&str>) -> Verdict {
        let pid = self.recording.target.pid;
        let history = self.course.history(group);
        // A stack is in use by its thread: glibc keeps the mapping for the next one.
        let threads = Crowd::of(self.recording, &self.course, group).filter(|_| category == "thread-stack");
        let (history, things) = match &threads {
            Some(crowd) => crowd.history(&history, &self.course),
            None => (history, String::new()),
        };
        let Finding { kind: found, evidence } = judge(&Case {
            nature: self.rules.nature(category, kind),
            history: &history,
            collections: self.collections.as_deref(),
            births: self.births.get(group).map_or(&[], Vec::as_slice),
            pid,
            things: &things,
        });
        Verdict { kind: found, evidence, advice: advice(found, category, kind, pid) }
    }
}

fn births(
    recording: &Recording,
    groups: &[Vec<usize>],
    group_count: usize,
    since: impl Fn(u64) -> u64,
) -> Vec<Vec<Birth>> {
    let mut births = vec![Vec::new(); group_count];
    let allocator = |(row, groups): (usize, &'_ Vec<usize>)| {
        let total = recording.totals.get(row).filter(|total| total.source == Source::Allocator)?;
        Some((total.stack, groups.clone()))
    };
    let of_stack: std::collections::HashMap<u32, Vec<usize>> =
        groups.iter().enumerate().filter_map(allocator).collect();
    for survivors in &recording.survivors {
        let birth = Birth {
            born_ns: since(survivors.born_ns),
            epoch: survivors.epoch,
            live_bytes: survivors.live_bytes,
        };
        for &group in of_stack.get(&survivors.stack).into_iter().flatten() {
            if let Some(births) = births.get_mut(group) {
                births.push(birth);
            }
        }
    }
    for births in &mut births {
        births.sort_unstable_by_key(|birth| (birth.born_ns, birth.epoch));
    }
    births
}
