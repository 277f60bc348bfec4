//! The verdict and the growth of each group of rows, from all that the recording has of the stacks behind it.

use std::borrow::Cow;

use super::births::Births;
use super::classify::{Evidence, Finding, classify_growth};
use super::history::{GroupId, History, Point, RowGroups};
use super::reachability::{OfStacks, Reachability};
use super::thread_cohort::ThreadCohort;
use super::trend::{self, Trend};
use super::{AllocatorRetention, ClassChurn, ClassGrowth, CommandPid, Verdict, metaspace};
use super::{advice::advice, allocator_retention::still_grows};
use crate::attribute::{Nature, Rules};
use crate::recording::{BudgetStep, CodeSample, Collection, Recording, Source};
use tracer_common::sampling::VARIANCE_UNIT;

/// Time that growth must span.
const SPAN_MIN_NS: u64 = 1_000_000_000;
/// Bytes that some class loaders take.
const UNLOADED_MIN_BYTES: u64 = 1 << 10;
/// Bytes that a hundred class loaders take, at the least.
const LOADERS_MIN_BYTES: u64 = 16 << 10;

/// Bytes that defining a hundred generated classes allocates, at the least.
const GENERATED_MIN_BYTES: u64 = 64 << 10;

/// Bytes of metaspace, at most, for each byte that loading a class allocates: a class takes some 10 KiB of it, and some
/// hundreds of bytes of tables and names.
const METASPACE_PER_LOADED: u64 = 64;

/// The time in which a group was watched.
struct Watched {
    until_ns: u64,
    why: &'static str,
}

/// Verdicts on the groups of one recording, and all that they rest on.
pub struct GroupVerdicts<'a> {
    recording: &'a Recording,
    rules: &'a Rules,
    groups: &'a RowGroups,
    history: History<'a>,
    /// Relative to the session's start. `None` if this JVM does not tell of its collections.
    collections: Option<Vec<Collection>>,
    /// The session's threads, as a whole, end when a collection has found that nobody needs them.
    threads_follow: bool,
    births: Births,
    makes_classes: bool,
    /// The group of all stacks on which classes are loaded.
    loading: GroupId,
    /// Membership of each row of the recording's totals in that group.
    loads: Vec<bool>,
    /// The group of all stacks on which classes that are there already are defined anew.
    redefining: GroupId,
    /// Bytes of code that such classes have at the end; `None` if it is not known.
    generated_bytes: Option<u64>,
    unloads: bool,
    /// `None` if nobody looked who keeps it.
    reachability: Option<OfStacks>,
}

impl<'a> GroupVerdicts<'a> {
    /// Reads what verdicts on `groups` need. `churn`: which of them tell whether classes are made over and over.
    pub fn new(
        recording: &'a Recording,
        rules: &'a Rules,
        groups: &'a RowGroups,
        churn: &ClassChurn,
    ) -> GroupVerdicts<'a> {
        let history = History::of(recording);
        let since = |time_ns: u64| history.since(time_ns);
        let relative = |collection: &Collection| Collection {
            begin_ns: since(collection.begin_ns),
            end_ns: collection.end_ns.map(since),
            full: collection.full,
        };
        let collections: Option<Vec<Collection>> =
            recording.session.gc_probes.then(|| recording.collections.iter().map(relative).collect());
        let threads_follow = collections.as_deref().is_some_and(|collections| {
            let end_ns = history.times_ns().last().copied().unwrap_or_default();
            ThreadCohort::all(recording, &history).follows_several(collections, end_ns)
        });
        let births = Births::of(recording, since);
        let loaders = history.of_rows(groups.rows(churn.loaders));
        let unloads = loaders.last().is_some_and(|end| end.freed_bytes >= UNLOADED_MIN_BYTES);
        // A line has one class generated for it, once; a line that has them all the time makes them per call.
        let is_over_and_over = |history: &[Point], least_bytes: u64| {
            late_allocated(history) >= least_bytes && allocates_on(history)
        };
        let noise_bytes = noise_bytes(recording, groups.rows(churn.loaders), &loaders);
        let least_bytes = LOADERS_MIN_BYTES.max(noise_bytes);
        let is_generating =
            |&line: &GroupId| is_over_and_over(&history.of_rows(groups.rows(line)), GENERATED_MIN_BYTES);
        let makes_classes = is_over_and_over(&loaders, least_bytes) && still_grows(&loaders, least_bytes)
            || churn.generating.iter().any(is_generating);
        let generated_bytes = churn.generated_bytes;
        let mut loads = vec![false; recording.totals.len()];
        for &row in groups.rows(churn.loading) {
            if let Some(loads) = loads.get_mut(row) {
                *loads = true;
            }
        }
        GroupVerdicts {
            recording,
            rules,
            groups,
            history,
            collections,
            threads_follow,
            births,
            makes_classes,
            loading: churn.loading,
            loads,
            redefining: churn.redefining,
            generated_bytes,
            unloads,
            reachability: OfStacks::of(recording),
        }
    }

    /// The moments of the session, in nanoseconds since it started.
    pub fn times_ns(&self) -> &[u64] {
        self.history.times_ns()
    }

    /// A moment of `CLOCK_MONOTONIC`, since the session started.
    pub fn since(&self, time_ns: u64) -> u64 {
        self.history.since(time_ns)
    }

    /// A group at each moment.
    pub fn history(&self, group: GroupId) -> Vec<Point> {
        self.history.of_rows(self.groups.rows(group))
    }

    /// Growth of a group (bytes a second; `None` if the session was too short), and what its course means. `category`:
    /// its category, `kind`: what of it.
    pub fn of_group(&self, group: GroupId, category: &str, kind: Option<&str>) -> (Option<i64>, Verdict) {
        let (history, watched) = self.watched_history(group);
        let spans = history.last().is_some_and(|end| end.time_ns >= SPAN_MIN_NS);
        let mut verdict = self.verdict(group, &history, category, kind);
        if let Some(watched) = watched {
            let until = verdict.figures.time("watched_until_ns", watched.until_ns);
            let watched = format!("it was watched until {until}, when {}", watched.why);
            verdict.evidence = verdict.evidence.then("; ", watched);
        }
        // The sentence and the column are one number.
        let told = verdict.figures.rate("growth_bytes_per_s").filter(|_| spans);
        (told.or_else(|| growth(&history)), verdict)
    }

    /// Live allocations that a group gains each second: the median of the slopes, as for bytes. `None` if the session
    /// was too short.
    pub fn growth_count_per_s(&self, group: GroupId) -> Option<f64> {
        let (history, _) = self.watched_history(group);
        if history.last()?.time_ns < SPAN_MIN_NS {
            return None;
        }
        let live = |point: &Point| point.allocated_count.saturating_sub(point.freed_count);
        let points: Vec<_> =
            history.iter().map(|point| (point.time_ns as f64 / 1e9, live(point) as f64)).collect();
        Some((trend::slope(&points)? * 1e3).round() / 1e3)
    }

    /// The same of metaspace, by what the JVM's statistics say was committed of it. `None` if they were not read often
    /// enough.
    pub fn of_metaspace(&self, category: &str) -> Option<(Option<i64>, Verdict)> {
        let history = metaspace::history(self.recording, self.history.started_ns())?;
        let classes = self.metaspace_growth(&history);
        let verdict = self.verdict_of(&self.evidence(&history, classes, (category, None)), (category, None));
        let seconds = |point: &Point| (point.time_ns as f64 / 1e9, point.live_bytes() as f64);
        let trend = Trend::of(&history.iter().map(seconds).collect::<Vec<_>>());
        Some((trend.map(|trend| trend.slope.round() as i64), verdict))
    }

    /// Memory that malloc keeps of all that was allocated. `all`: its group; `compilers`: that of what compilers
    /// allocated. `None` if malloc is not glibc's, or was not watched.
    pub fn of_allocator(&self, all: GroupId, compilers: Option<GroupId>) -> Option<AllocatorRetention> {
        let recording = self.recording;
        recording.memory.heap.as_ref().filter(|_| recording.session.probes != crate::recording::LIGHT)?;
        let compilers = compilers.map(|group| self.history(group)).unwrap_or_default();
        let compilers_bytes = compilers.iter().map(Point::live_bytes).max().unwrap_or_default();
        Some(AllocatorRetention::new(self.history(all), compilers_bytes, CommandPid::of(recording)))
    }

    /// A group at each moment in which it was watched.
    fn watched_history(&self, group: GroupId) -> (Vec<Point>, Option<Watched>) {
        let mut history = self.history(group);
        let watched = self.watched(group);
        if let Some(watched) = &watched {
            history.retain(|point| point.time_ns <= watched.until_ns);
        }
        (history, watched)
    }

    /// Span in which a group was watched. `None` means to the end of the session.
    fn watched(&self, group: GroupId) -> Option<Watched> {
        let sources = self.groups.rows(group).iter().filter_map(|&row| self.recording.totals.get(row));
        let is_of_allocator = sources.map(|total| &total.source).all(|source| *source == Source::Allocator);
        let ends = |step: &&BudgetStep| step.level == "detached" || step.level == "light" && is_of_allocator;
        let step = self.recording.session.steps.iter().find(ends)?;
        let why = match step.level.as_str() {
            "light" => "malloc was left alone to keep within the budget",
            _ => "recording ended to keep within the budget",
        };
        Some(Watched { until_ns: self.since(step.time_ns), why })
    }

    /// Cause of the growth of a group of memory for classes: stacks that load some, over and over or not, or others.
    fn class_growth(&self, group: GroupId, history: &[Point], category: &str) -> ClassGrowth {
        let is_code = category == "code-cache";
        if self.makes_classes && (!is_code || self.is_generated(history)) {
            return ClassGrowth::Churn;
        }
        let loads = |row: &usize| self.loads.get(*row).copied().unwrap_or_default();
        let (loads, others): (Vec<usize>, Vec<usize>) =
            self.groups.rows(group).iter().partition(|&row| loads(row));
        let late = |rows: &[usize]| late_grown(&self.history.of_rows(rows));
        if is_code || late(&loads) >= late(&others) {
            return ClassGrowth::Loading;
        }
        let is_of_loaders = matches!(category, "metaspace" | "class");
        if is_of_loaders && self.redefines() { ClassGrowth::Redefinition } else { ClassGrowth::Other }
    }

    /// Are classes defined anew, more than others are loaded?
    fn redefines(&self) -> bool {
        let late = |group| late_allocated(&self.history(group));
        let redefining = late(self.redefining);
        redefining > 0 && redefining >= late(self.loading)
    }

    /// The same of metaspace, of which no stack is known: against what defining classes allocates beside it.
    fn metaspace_growth(&self, history: &[Point]) -> ClassGrowth {
        if self.makes_classes {
            return ClassGrowth::Churn;
        }
        if self.redefines() {
            return ClassGrowth::Redefinition;
        }
        let loading = late_allocated(&self.history(self.loading));
        match loading.saturating_mul(METASPACE_PER_LOADED) >= late_grown(history) {
            true => ClassGrowth::Loading,
            false => ClassGrowth::Other,
        }
    }

    /// The compiled code that was installed in the session.
    fn code(&self) -> Vec<Point> {
        let mut samples = self.recording.code_series.iter().peekable();
        let mut now = Point::default();
        let point = |&time_ns: &u64| {
            let ends = |sample: &&CodeSample| self.since(sample.time_ns) <= time_ns;
            while let Some(sample) = samples.next_if(ends) {
                (now.allocated_bytes, now.freed_bytes) = (sample.loaded_bytes, sample.unloaded_bytes);
            }
            Point { time_ns, ..now }
        };
        self.times_ns().iter().map(point).collect()
    }

    fn verdict(&self, group: GroupId, history: &[Point], category: &str, kind: Option<&str>) -> Verdict {
        let history = match category {
            "code-cache" if !self.recording.code_series.is_empty() => Cow::Owned(self.code()),
            _ => Cow::Borrowed(history),
        };
        // A stack is in use by its thread: glibc keeps the mapping for the next one.
        let threads = match category {
            "thread-stack" => ThreadCohort::of(self.recording, &self.history, self.groups.rows(group)),
            _ => None,
        };
        let (history, threads) = match &threads {
            Some(cohort) => {
                let collections = self.collections.as_deref().unwrap_or_default();
                let (history, threads) =
                    cohort.history(&history, self.times_ns(), collections, self.threads_follow);
                (Cow::Owned(history), Some(threads))
            }
            None => (history, None),
        };
        let births = match category {
            "code-cache" => Vec::new(),
            _ => self.births.of_rows(self.recording, self.groups.rows(group)),
        };
        let noise_bytes = noise_bytes(self.recording, self.groups.rows(group), &history);
        let classes = self.class_growth(group, &history, category);
        let reachability = self.reachability(group);
        let evidence = self.evidence(&history, classes, (category, kind));
        let evidence = Evidence { births: &births, noise_bytes, threads, reachability, ..evidence };
        self.verdict_of(&evidence, (category, kind))
    }

    /// Reachability at the end of what the allocator's rows of a group have.
    fn reachability(&self, group: GroupId) -> Option<Reachability> {
        let totals = self.groups.rows(group).iter().filter_map(|&row| self.recording.totals.get(row));
        let stacks = totals.filter(|total| total.source == Source::Allocator).map(|total| total.stack);
        self.reachability.as_ref()?.sum(stacks)
    }

    /// The evidence in a history of a category, or of this kind of it; the births, threads and holders of its memory
    /// are not known.
    fn evidence<'e>(
        &'e self,
        history: &'e [Point],
        classes: ClassGrowth,
        (category, kind): (&str, Option<&str>),
    ) -> Evidence<'e> {
        Evidence {
            nature: self.rules.nature(category, kind),
            history,
            collections: self.collections.as_deref(),
            births: &[],
            classes,
            unloads: self.unloads,
            is_applications: self.is_applications(category),
            usual_bytes: self.rules.usual_bytes(category),
            noise_bytes: 0,
            pid: CommandPid::of(self.recording),
            reachability: None,
            threads: None,
        }
    }

    /// The meaning of what is known of a category, or of this kind of it.
    fn verdict_of(&self, evidence: &Evidence<'_>, (category, kind): (&str, Option<&str>)) -> Verdict {
        let Finding { kind: found, proof, evidence, figures, advice: own } = classify_growth(evidence);
        let pid = CommandPid::of(self.recording);
        let advice = own.map_or_else(|| advice(found, category, kind, pid), str::to_owned);
        Verdict { kind: found, proof, evidence, advice, figures }
    }

    /// Can half of the code that was added be of generated classes? The rest levels off.
    fn is_generated(&self, code: &[Point]) -> bool {
        let added_bytes = code.last().map_or(0, Point::live_bytes);
        self.generated_bytes.is_none_or(|bytes| bytes.saturating_mul(2) >= added_bytes)
    }

    /// Is memory of this category asked for by the application or a library, not by the JVM for itself?
    fn is_applications(&self, category: &str) -> bool {
        category.starts_with("native:") || self.rules.nature(category, None) == Nature::Collected
    }
}

/// Is something allocated in most moments of the second half of the time? Code that loads at once does so in a few.
fn allocates_on(history: &[Point]) -> bool {
    let Some(end) = history.last() else { return false };
    let late = history.windows(2).filter(|pair| pair.last().is_some_and(|to| to.time_ns > end.time_ns / 2));
    let grows = |pair: &&[Point]| match pair {
        [from, to] => to.allocated_bytes > from.allocated_bytes,
        _ => false,
    };
    late.clone().filter(grows).count() * 2 > late.count()
}

/// Bytes by which more is live at the end than half-way through.
fn late_grown(history: &[Point]) -> u64 {
    let Some(end) = history.last() else { return 0 };
    let middle = history.iter().rfind(|point| point.time_ns <= end.time_ns / 2);
    end.live_bytes().saturating_sub(middle.map_or(0, Point::live_bytes))
}

/// Allocated in the second half of the time.
fn late_allocated(history: &[Point]) -> u64 {
    let Some(end) = history.last() else { return 0 };
    let middle = history.iter().rfind(|point| point.time_ns <= end.time_ns / 2);
    end.allocated_bytes.saturating_sub(middle.map_or(0, |point| point.allocated_bytes))
}

/// Bytes a second: the median of the slopes between all pairs of moments. `None` if there are too few of them.
fn growth(history: &[Point]) -> Option<i64> {
    if history.last()?.time_ns < SPAN_MIN_NS {
        return None;
    }
    let seconds = |point: &Point| (point.time_ns as f64 / 1e9, point.live_bytes() as f64);
    let points: Vec<_> = history.iter().map(seconds).collect();
    Some(trend::slope(&points)?.round() as i64)
}

/// Bytes by which what is live may seem to grow or fall by the chance of sampling alone: three standard errors of the
/// difference between two moments.
fn noise_bytes(recording: &Recording, rows: &[usize], history: &[Point]) -> u64 {
    let totals = rows.iter().filter_map(|&row| recording.totals.get(row)).map(|total| &total.totals);
    let (variance, bytes) = totals.fold((0.0, 0.0), |(variance, bytes), totals| {
        (variance + totals.allocated_bytes_variance as f64, bytes + totals.allocated_bytes as f64)
    });
    let peak = history.iter().map(Point::live_bytes).max().unwrap_or_default();
    // Live memory is taken for as variable as all that was allocated.
    let live_variance = variance * VARIANCE_UNIT as f64 / f64::max(bytes, 1.0) * peak as f64;
    (3.0 * (2.0 * live_variance).sqrt()).ceil() as u64
}
