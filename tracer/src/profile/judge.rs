//! Each row's verdict and growth, from what the recording has of the stacks behind it.

pub(super) use super::kept::Kept;

use super::Verdict;
use super::crowd::Crowd;
use super::growth::{Course, Point};
use super::kept;
use super::series::RowSeries;
use super::verdict::trend;
use super::verdict::{Birth, Case, Finding, advice, judge};
use crate::attribute::Rules;
use crate::recording::{CodeSample, Collection, Recording, Source};

/// Time that growth must span.
const SPAN_MIN_NS: u64 = 1_000_000_000;

/// What a hundred class loaders take, at the least.
const LOADERS_MIN_BYTES: u64 = 16 << 10;

/// All that verdicts on the rows of one profile rest on.
pub(super) struct Judge<'a> {
    recording: &'a Recording,
    rules: &'a Rules,
    course: Course,
    /// Relative to the session's start.
    collections: Option<Vec<Collection>>,
    /// By group, by birth; of the allocator alone.
    births: Vec<Vec<Birth>>,
    makes_loaders: bool,
}

impl<'a> Judge<'a> {
    /// `groups`: the groups (rows) of each row of the recording's totals. `loaders`: the group of what
    /// class loaders themselves take.
    pub(super) fn new(
        recording: &'a Recording,
        rules: &'a Rules,
        groups: &[Vec<usize>],
        group_count: usize,
        loaders: usize,
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
        let births = births(recording, groups, group_count, since);
        let makes_loaders = kept::still_grows(&course.history(loaders), LOADERS_MIN_BYTES);
        Judge { recording, rules, collections, births, makes_loaders, course }
    }

    /// The moments of the session, in nanoseconds since it started.
    pub(super) fn times_ns(&self) -> &[u64] {
        self.course.times_ns()
    }

    /// A moment of `CLOCK_MONOTONIC`, since the session started.
    pub(super) fn since(&self, time_ns: u64) -> u64 {
        time_ns.saturating_sub(self.course.started_ns())
    }

    /// How a group went.
    pub(super) fn series(&self, group: usize) -> RowSeries {
        RowSeries::of(&self.course.history(group))
    }

    /// How fast a group grows, and what its course means: `category`: its category, `kind`: what of it.
    pub(super) fn row(&self, group: usize, category: &str, kind: Option<&str>) -> (Option<i64>, Verdict) {
        let history = self.course.history(group);
        (growth(&history), self.verdict(group, history, category, kind))
    }

    /// The compiled code that was installed in the session.
    fn code(&self) -> Vec<Point> {
        let mut samples = self.recording.code_series.iter().peekable();
        let mut now = Point::default();
        let point = |&time_ns: &u64| {
            let ends =
                |sample: &&CodeSample| sample.time_ns.saturating_sub(self.course.started_ns()) <= time_ns;
            while let Some(sample) = samples.next_if(ends) {
                (now.allocated_bytes, now.freed_bytes) = (sample.loaded_bytes, sample.unloaded_bytes);
            }
            Point { time_ns, ..now }
        };
        self.course.times_ns().iter().map(point).collect()
    }

    /// How all that was allocated went, for what malloc keeps of it. `all`: its group.
    pub(super) fn allocator(&self, all: usize, recording: &Recording) -> Option<Kept> {
        recording.memory.heap.as_ref().filter(|_| recording.session.probes != crate::recording::LIGHT)?;
        Some(Kept { history: self.course.history(all), pid: recording.target.pid })
    }

    fn verdict(&self, group: usize, course: Vec<Point>, category: &str, kind: Option<&str>) -> Verdict {
        let pid = self.recording.target.pid;
        let history = match category {
            "code-cache" if !self.recording.code_series.is_empty() => self.code(),
            _ => course,
        };
        // A stack is in use by its thread: glibc keeps the mapping for the next one.
        let threads = match category {
            "thread-stack" => Crowd::of(self.recording, &self.course, group),
            _ => None,
        };
        let (history, things) = match &threads {
            Some(crowd) => crowd.history(&history, &self.course),
            None => (history, String::new()),
        };
        let Finding { kind: found, evidence } = judge(&Case {
            nature: self.rules.nature(category, kind),
            history: &history,
            collections: self.collections.as_deref(),
            births: self.births.get(group).filter(|_| category != "code-cache").map_or(&[], Vec::as_slice),
            makes_loaders: self.makes_loaders,
            usual_bytes: self.rules.usual_bytes(category),
            pid,
            things: &things,
        });
        Verdict { kind: found, evidence, advice: advice(found, category, kind, pid) }
    }
}

/// Bytes a second: the median of the slopes between all pairs of moments. None: too few of them.
fn growth(history: &[Point]) -> Option<i64> {
    if history.last()?.time_ns < SPAN_MIN_NS {
        return None;
    }
    let seconds = |point: &Point| (point.time_ns as f64 / 1e9, point.live_bytes() as f64);
    let points: Vec<_> = history.iter().map(seconds).collect();
    Some(trend::slope(&points)?.round() as i64)
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
