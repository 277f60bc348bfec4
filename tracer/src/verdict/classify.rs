//! The verdict of one group, from its history, the collections of the session, and when what is live was born.
//!
//! `docs/attribution.md` says why each threshold is what it is.

use super::clauses::Sentence;
use super::collected::Collected;
use super::growth::Growth;
use super::history::Point;
use super::reachability::Reachability;
use super::sentence::Figures;
use super::shape::Shape;
use super::{ClassGrowth, CommandPid, Proof, VerdictKind, timing};
use crate::attribute::Nature;
use crate::recording::Collection;

/// Bytes below which nothing is a finding: a JVM's own tables move by as much in any session.
pub(super) const SMALL_BYTES: u64 = 128 << 10;
/// Memory that the application or a library asks for is not the JVM's own bookkeeping: if that much leaks steadily, it is one.
pub(super) const TRICKLE_BYTES: u64 = 32 << 10;
/// A shorter session has too few samples for a slope to be more than chance.
const SESSION_MIN_NS: u64 = 5_000_000_000;
/// A group that was first allocated so late was not watched long enough to tell where it goes.
const WATCHED_MIN_NS: u64 = 3_000_000_000;
/// The part of what collections could have freed that they must have freed to be what frees it.
pub(super) const COLLECTED_SHARE: f64 = 0.5;
/// The part of what is live that must have been through collections to say that it survives them.
pub(super) const TESTED_SHARE: f64 = 0.25;
/// The same where nothing of what was there is gone: a smaller sample tells as much.
pub(super) const TESTED_WHOLE_SHARE: f64 = 0.05;

/// Live memory at the end that was allocated at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Birth {
    /// Time of birth since the session started: up to a 32nd of the session earlier than the allocation.
    pub(super) born_ns: u64,
    /// Collections that had ended by then.
    pub(super) epoch: u32,
    pub(super) live_bytes: u64,
}

/// Evidence that a verdict rests on. Times are nanoseconds since the session started.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub(super) nature: Nature,
    /// Points by time; the first is 0.
    pub(super) history: &'a [Point],
    /// Collections by begin. `None` if this JVM does not tell of its collections.
    pub(super) collections: Option<&'a [Collection]>,
    /// Births by time. Empty: not known.
    pub(super) births: &'a [Birth],
    /// Cause of the growth of memory for classes.
    pub(super) classes: ClassGrowth,
    /// Class loaders were let go of. Otherwise what falls when a collection runs was working memory.
    pub(super) unloads: bool,
    /// Asked for by the application or a library, not by the JVM for itself.
    pub(super) is_applications: bool,
    /// Bytes below which nothing is a finding.
    pub(super) usual_bytes: u64,
    /// Bytes below which a difference may be the chance of sampling.
    pub(super) noise_bytes: u64,
    pub(super) pid: CommandPid,
    /// Reachability at the end. `None` if nobody looked, or nothing is known of them.
    pub(super) reachability: Option<Reachability>,
    /// Threads that the bytes stand for. `None` if nothing is said about threads.
    pub(super) threads: Option<Threads>,
}

/// The threads whose stacks the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Threads {
    pub(super) started_count: u64,
    pub(super) running_count: u64,
}

impl Evidence<'_> {
    /// Bytes below which nothing is a finding: it is usual, or nothing at all.
    pub(super) fn least_bytes(&self) -> u64 {
        SMALL_BYTES.max(self.usual_bytes).max(self.noise_bytes)
    }

    /// The last moment.
    pub(super) fn end(&self) -> Point {
        self.history.last().copied().unwrap_or_default()
    }
}

/// A kind with its evidence.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) kind: VerdictKind,
    pub(super) proof: Proof,
    pub(super) evidence: Sentence,
    pub(super) figures: Figures,
    /// Advice more to the point than what holds for the category.
    pub(super) advice: Option<&'static str>,
}

impl Finding {
    pub(super) fn new(
        kind: VerdictKind,
        proof: Proof,
        evidence: impl Into<Sentence>,
        figures: Figures,
    ) -> Finding {
        Finding { kind, proof, evidence: evidence.into(), figures, advice: None }
    }
}

/// The verdict of a group.
pub(super) fn classify_growth(case: &Evidence<'_>) -> Finding {
    let mut figures = Figures::default();
    let end = case.end();
    for (name, bytes) in [
        ("allocated_bytes", end.allocated_bytes),
        ("freed_bytes", end.freed_bytes),
        ("live_bytes", end.live_bytes()),
    ] {
        figures.keep(name, bytes);
    }
    let too_short =
        |evidence: String, figures| Finding::new(VerdictKind::TooShort, Proof::None, evidence, figures);
    let shape = Shape::of(case.history);
    let session = figures.time("watched_ns", end.time_ns);
    if end.time_ns < SESSION_MIN_NS {
        return too_short(
            format!("it was watched for {session}: too short to tell growth from a start"),
            figures,
        );
    }
    let peak = figures.bytes("peak_bytes", shape.peak_bytes);
    let steady =
        |evidence: String, figures| Finding::new(VerdictKind::Steady, Proof::Course, evidence, figures);
    if shape.peak_bytes == 0 {
        let all = figures.bytes("allocated_bytes", end.allocated_bytes);
        return steady(format!("all {all} allocated was freed by the next sample"), figures);
    }
    if shape.peak_bytes < if case.is_applications { TRICKLE_BYTES } else { SMALL_BYTES } {
        return steady(format!("never more than {peak} were live"), figures);
    }
    if shape.peak_bytes < case.noise_bytes {
        let evidence = format!("{peak} live at most, which is too few samples to tell growth from chance");
        return too_short(evidence, figures);
    }
    let followed = timing::followed(case);
    let case = &match &followed {
        Some(followed) => Evidence { history: &followed.history, ..*case },
        None => *case,
    };
    let collected = Collected::of(case);
    if collected.frees_most() {
        return collected_mostly(case, &collected, followed.as_ref(), figures);
    }
    if let Some(finding) = redefined(case, &figures) {
        return finding;
    }
    let growth = match collected.matters() {
        true => Growth::of_survivors(case, &collected),
        false => Growth::of_live(case),
    };
    if let Some(growth) = growth.filter(|growth| growth.is_real(case)) {
        return grows(case, &collected, &growth, figures);
    }
    if let Some(finding) = shape.enlarged(case, &mut figures) {
        return finding;
    }
    let seen_ns = end.time_ns.saturating_sub(shape.first_ns);
    if seen_ns < WATCHED_MIN_NS && end.live_bytes().saturating_mul(2) > shape.peak_bytes {
        let seen = figures.time("seen_ns", seen_ns);
        return too_short(format!("first seen {seen} before the end of the session"), figures);
    }
    shape.settled(case, &collected, figures)
}

/// The verdict of what collections free most of.
fn collected_mostly(
    case: &Evidence<'_>,
    collected: &Collected,
    followed: Option<&timing::Followed>,
    mut figures: Figures,
) -> Finding {
    let mut evidence = Sentence::from(collected.describe(&mut figures));
    if let Some(followed) = followed {
        evidence = evidence.then(": ", followed.describe(&mut figures));
    }
    let growth = Growth::of_survivors(case, collected);
    let (kind, evidence) = match growth.filter(|growth| growth.is_real(case) && collected.survives()) {
        // Young collections find young garbage alone: most of it is dropped, and so may the rest be.
        Some(growth) if !collected.has_full() => {
            let grew = growth.describe(None, &mut figures);
            let doubt = "which may be older garbage, as no collection was full";
            (VerdictKind::GcPending, evidence.and("; ", grew).then(", ", doubt))
        }
        Some(growth) => (VerdictKind::Leak, evidence.and("; but ", growth.describe(None, &mut figures))),
        None => (VerdictKind::GcPending, evidence),
    };
    Finding::new(kind, Proof::Collection, evidence, figures)
}

/// The verdict of what grows.
fn grows(case: &Evidence<'_>, collected: &Collected, growth: &Growth, mut figures: Figures) -> Finding {
    // Bytes of threads are those that their stacks map, of which most are never touched.
    let subject = case.threads.map(|_| "the address space of their stacks");
    let mut grew = growth.describe(subject, &mut figures);
    if let Some(threads) = case.threads {
        let running = figures.count("threads_running_count", threads.running_count);
        let started = figures.counted("threads_started_count", threads.started_count, "thread");
        grew = grew.then(" ", format!("({running} of {started} still run)"));
    }
    if case.nature == Nature::Bounded {
        let evidence = grew.then(", ", "within a limit that the JVM was given");
        return Finding::new(VerdictKind::Pool, Proof::Course, evidence, figures);
    }
    // Not classes: what else the JVM keeps for the program goes when the program lets go of it, too.
    let nature = match (case.nature, case.classes) {
        (Nature::Unloaded, ClassGrowth::Other) => Nature::Collected,
        (Nature::Unloaded, ClassGrowth::Redefinition) => Nature::Owned,
        (nature, _) => nature,
    };
    let is_of_classes = case.nature == Nature::Unloaded;
    let is_uneven = is_of_classes && case.classes != ClassGrowth::Churn && !growth.is_even();
    if nature == Nature::Unloaded && case.classes == ClassGrowth::Loading || is_uneven {
        let evidence = grew
            .then(", but ", "little of it is of classes that are made again and again")
            .then(": ", "what an application loads and compiles levels off once it is warm");
        return Finding::new(VerdictKind::TooShort, Proof::None, evidence, figures);
    }
    if let Some(forgotten) = growth.forgotten(&mut figures) {
        let unknown = "it may level off, which a longer session would show";
        let evidence = grew.then(", but ", forgotten).then(": ", unknown);
        return Finding::new(VerdictKind::TooShort, Proof::None, evidence, figures);
    }
    if let Some(waits) = growth.waits(&mut figures) {
        let evidence = grew.then(", though ", "older allocations are freed").then(": ", waits);
        let advice = "what takes it off is slower than what puts it on, or keeps a part: bound the queue or buffer, and \
                      see who frees it";
        let finding = Finding::new(VerdictKind::Leak, Proof::Course, evidence, figures);
        return Finding { advice: Some(advice), ..finding };
    }
    let mut advice = None;
    match case.classes {
        ClassGrowth::Other if is_of_classes => {
            grew = grew.then(", ", "with hardly a class defined meanwhile");
            advice = Some(KEEP_FEWER);
        }
        ClassGrowth::Redefinition if is_of_classes => {
            grew = grew.then(", ", "as classes that are there already are defined anew");
            advice = Some(REDEFINE_ONCE);
        }
        _ => {}
    }
    if let Some(proven) = case.reachability.and_then(|it| it.proves(&mut figures)) {
        let evidence = grew.and("; ", proven.told);
        let finding = Finding::new(proven.kind, Proof::Reachability, evidence, figures);
        return Finding { advice: proven.advice, ..finding };
    }
    let (kind, proof, evidence) = reachable(case, nature, collected, grew, &mut figures);
    let finding = Finding::new(kind, proof, evidence, figures);
    Finding { advice, ..finding }
}

const KEEP_FEWER: &str = "see who keeps what it makes, such as strings that are interned (String.intern(): a map of your \
                          own can be bounded), or names that are looked up and never met again";

const REDEFINE_ONCE: &str = "redefine or retransform classes once, not over and over: the versions that are replaced \
                             stay until a full collection, at the least";

/// The verdict of what redefinition made grow until a full collection, whose room is used since. `None` if it did not.
fn redefined(case: &Evidence<'_>, figures: &Figures) -> Option<Finding> {
    let is_of_classes = case.nature == Nature::Unloaded && case.classes == ClassGrowth::Redefinition;
    let full = case.collections.filter(|_| is_of_classes)?.iter().rev().find(|it| it.full)?;
    let (first, then) = (case.history.first()?, between(case.history, full.begin_ns, u64::MAX).first()?);
    let end = case.end();
    let grown = |from: &Point, to: &Point| to.live_bytes().saturating_sub(from.live_bytes());
    let since_ns = end.time_ns.saturating_sub(then.time_ns);
    let rate = |bytes: u64, time_ns: u64| bytes as f64 / time_ns.max(1) as f64;
    let (before_bytes, since_bytes) = (grown(first, then), grown(then, &end));
    let stopped = rate(since_bytes, since_ns) * 4.0 <= rate(before_bytes, then.time_ns);
    if before_bytes < case.least_bytes() || since_ns < WATCHED_MIN_NS || !stopped {
        return None;
    }
    let mut figures = figures.clone();
    let before = figures.bytes("grown_bytes", before_bytes);
    let when = figures.time("collection_begin_ns", full.begin_ns);
    let since = figures.bytes("since_grown_bytes", since_bytes);
    let time = figures.time("since_ns", since_ns);
    let evidence = Sentence::from(format!(
        "it grew by {before} until a full GC at {when}, as classes that are there already are defined anew, and by {since} \
         in the {time} after it"
    ));
    let evidence = evidence.then(": ", "what that freed is used again");
    let finding = Finding::new(VerdictKind::GcPending, Proof::Collection, evidence, figures);
    Some(Finding { advice: Some(REDEFINE_ONCE), ..finding })
}

const STAYS: &str = "older allocations stay";

/// Whether collections had a chance to free what grows, and what that says.
fn reachable(
    case: &Evidence<'_>,
    nature: Nature,
    collected: &Collected,
    grew: Sentence,
    figures: &mut Figures,
) -> (VerdictKind, Proof, Sentence) {
    let pid = case.pid;
    // Threads are no garbage while they run.
    let survived =
        case.threads.is_none().then(|| collected.survived(case.end().live_bytes(), figures)).flatten();
    match (nature, survived) {
        // Young collections, of which there may be many, look for no class loaders.
        (Nature::Unloaded, Some(_)) if !collected.has_full() && !case.unloads => {
            let unknown = "no collection is known to have looked for unreachable class loaders";
            let help = format!("jcmd {pid} GC.run while recording makes sure");
            (VerdictKind::GcPending, Proof::None, grew.then("; ", unknown).then(": ", help))
        }
        (Nature::Collected | Nature::Unloaded, Some(survived)) if !collected.has_full() => {
            let other = "garbage that had grown old would wait for a full one";
            let help = format!("jcmd {pid} GC.run while recording makes sure");
            let evidence = Sentence::from(survived).and(", and ", grew).then("; ", other).then(": ", help);
            (VerdictKind::Leak, Proof::Collection, evidence)
        }
        (_, Some(survived)) => {
            (VerdictKind::Leak, Proof::Collection, Sentence::from(survived).and(", and ", grew))
        }
        (Nature::Owned, None) if collected.count() == 0 && case.threads.is_none() => {
            let unseen = "no collection ran, so no Cleaner could free it";
            (VerdictKind::Leak, Proof::Course, grew.then(", and ", STAYS).then("; ", unseen))
        }
        (Nature::Owned, None) => (VerdictKind::Leak, Proof::Course, grew.then(", and ", STAYS)),
        (_, None) => {
            let unknown = "so it cannot be told whether it is still reachable";
            let why = match (case.collections, collected.count()) {
                (None, _) => "this JVM does not tell when it collects".to_owned(),
                (_, 0) => "no collection ran".to_owned(),
                (_, count) => {
                    let ran = figures.counted("collections_count", count, "collection");
                    format!("{ran} ran before most of it was allocated")
                }
            };
            let help = format!("trigger one (jcmd {pid} GC.run) while recording");
            (VerdictKind::GcPending, Proof::None, grew.then("; ", why).then(", ", unknown).then(": ", help))
        }
    }
}

/// The points after one moment and up to another.
pub(super) fn between(history: &[Point], after_ns: u64, until_ns: u64) -> &[Point] {
    let place = |time_ns: u64| history.partition_point(|point| point.time_ns <= time_ns);
    history.get(place(after_ns)..place(until_ns)).unwrap_or_default()
}

/// The last point up to `time_ns`.
pub(super) fn at(history: &[Point], time_ns: u64) -> Point {
    let after = history.partition_point(|point| point.time_ns <= time_ns);
    after.checked_sub(1).and_then(|last| history.get(last)).copied().unwrap_or_default()
}
