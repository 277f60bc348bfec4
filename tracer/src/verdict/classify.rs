//! The verdict of one group, from its history, the collections of the session, and when what is live was born.
//!
//! `docs/attribution.md` says why each threshold is what it is.

use super::collected::Collected;
use super::growth::Growth;
use super::history::Point;
use super::{Kind, timing};
use crate::attribute::Nature;
use crate::recording::Collection;
use crate::units;

/// Less than this is no finding: a JVM's own books move by as much in any session.
pub(super) const SMALL_BYTES: u64 = 128 << 10;
/// What the application or a library asks for is no book of the JVM's: if that much leaks steadily, it is one.
pub(super) const TRICKLE_BYTES: u64 = 32 << 10;
/// A shorter session has too few samples for a slope to be more than chance.
const SESSION_MIN_NS: u64 = 5_000_000_000;
/// What was first allocated so late was not watched long enough to tell where it goes.
const WATCHED_MIN_NS: u64 = 3_000_000_000;
/// The part of what collections could have freed that they must have freed to be what frees it.
pub(super) const COLLECTED_SHARE: f64 = 0.5;
/// The part of what is live that must have been through collections to say that it survives them.
pub(super) const TESTED_SHARE: f64 = 0.25;

/// What is live at the end of what was allocated at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Birth {
    /// Since the session started: up to a 32nd of the session earlier than the allocation.
    pub(super) born_ns: u64,
    /// Collections that had ended by then.
    pub(super) epoch: u32,
    pub(super) live_bytes: u64,
}

/// All that a verdict rests on. Times are nanoseconds since the session started.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub(super) nature: Nature,
    /// By time; the first is 0.
    pub(super) history: &'a [Point],
    /// By begin. None: this JVM does not tell of its collections.
    pub(super) collections: Option<&'a [Collection]>,
    /// By birth. Empty: not known.
    pub(super) births: &'a [Birth],
    /// Class loaders are made and stay, or classes are generated over and over, and this is of them.
    pub(super) makes_classes: bool,
    /// Class loaders were let go of. Otherwise what falls when a collection runs was working memory.
    pub(super) unloads: bool,
    /// Asked for by the application or a library, not by the JVM for itself.
    pub(super) is_applications: bool,
    /// Less is no finding.
    pub(super) usual_bytes: u64,
    /// Less may be the chance of sampling.
    pub(super) noise_bytes: u64,
    pub(super) pid: u32,
    /// What the bytes are beside bytes: `12 threads`; empty: nothing is said.
    pub(super) things: &'a str,
}

impl Evidence<'_> {
    /// Less is no finding: it is usual, or nothing at all.
    pub(super) fn least_bytes(&self) -> u64 {
        SMALL_BYTES.max(self.usual_bytes).max(self.noise_bytes)
    }
}

/// A kind with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) evidence: String,
}

/// The verdict of a case.
pub(super) fn classify_growth(case: &Evidence<'_>) -> Finding {
    let finding = |kind, evidence| Finding { kind, evidence };
    let end = case.history.last().copied().unwrap_or_default();
    let session = units::duration(end.time_ns);
    let shape = Shape::of(case.history);
    if end.time_ns < SESSION_MIN_NS {
        return finding(
            Kind::TooShort,
            format!("the session took {session}: too short to tell growth from a start"),
        );
    }
    let peak = units::bytes(shape.peak_bytes);
    if shape.peak_bytes == 0 {
        let all = units::bytes(end.allocated_bytes);
        return finding(Kind::Steady, format!("all {all} allocated was freed by the next sample"));
    }
    if shape.peak_bytes < if case.is_applications { TRICKLE_BYTES } else { SMALL_BYTES } {
        return finding(Kind::Steady, format!("never more than {peak} were live"));
    }
    if shape.peak_bytes < case.noise_bytes {
        return finding(
            Kind::TooShort,
            format!("{peak} live at most, which is too few samples to tell growth from chance"),
        );
    }
    let followed = timing::followed(case);
    let case = &match &followed {
        Some(followed) => Evidence { history: &followed.history, ..*case },
        None => *case,
    };
    let collected = Collected::of(case);
    if let Some(evidence) = collected.mostly() {
        let evidence = match &followed {
            Some(followed) => format!("{evidence}: {}", followed.told),
            None => evidence,
        };
        let growth = Growth::of_survivors(case, &collected);
        return match growth.filter(|growth| growth.is_real(case) && collected.survives()) {
            // Young collections find young garbage alone: most of it is dropped, and so may the rest be.
            Some(growth) if !collected.has_full() => finding(
                Kind::GcPending,
                format!(
                    "{evidence}; {}, which may be older garbage, as no collection was full",
                    growth.told()
                ),
            ),
            Some(growth) => finding(Kind::Leak, format!("{evidence}; but {}", growth.told())),
            None => finding(Kind::GcPending, evidence),
        };
    }
    let watched_ns = end.time_ns.saturating_sub(shape.first_ns);
    let growth = match collected.matters() {
        true => Growth::of_survivors(case, &collected),
        false => Growth::of_live(case),
    };
    if let Some(growth) = growth.filter(|growth| growth.is_real(case)) {
        return grows(case, &collected, &growth, end.live_bytes());
    }
    if watched_ns < WATCHED_MIN_NS && end.live_bytes() * 2 > shape.peak_bytes {
        let seen = units::duration(watched_ns);
        return finding(Kind::TooShort, format!("first seen {seen} before the end of the session"));
    }
    shape.settled(case, &collected)
}

/// The verdict of what grows.
fn grows(case: &Evidence<'_>, collected: &Collected, growth: &Growth, live_bytes: u64) -> Finding {
    let finding = |kind, evidence| Finding { kind, evidence };
    let things = if case.things.is_empty() { String::new() } else { format!(" ({})", case.things) };
    let grew = format!("{}{things}", growth.told());
    if case.nature == Nature::Bounded {
        return finding(Kind::Pool, format!("{grew}, within a limit that the JVM was given"));
    }
    if case.nature == Nature::Unloaded && !case.makes_classes {
        return finding(
            Kind::TooShort,
            format!(
                "{grew}, but little of it is of classes that are made again and again: what an application loads and \
                 compiles levels off once it is warm"
            ),
        );
    }
    if growth.forgets {
        return finding(
            Kind::TooShort,
            format!("{grew}, but {}: it may level off, which a longer session would show", growth.forgotten),
        );
    }
    // Threads are no garbage while they run.
    let survived = collected.survived(live_bytes).filter(|_| case.things.is_empty());
    match (case.nature, survived) {
        // Young collections, of which there may be many, look for no class loaders.
        (Nature::Unloaded, Some(_)) if !collected.has_full() && !case.unloads => {
            let unknown = "no collection is known to have looked for unreachable class loaders";
            let help = format!("jcmd {} GC.run while recording makes sure", case.pid);
            finding(Kind::GcPending, format!("{grew}; {unknown}: {help}"))
        }
        (Nature::Collected | Nature::Unloaded, Some(survived)) if !collected.has_full() => {
            let other = "garbage that had grown old would wait for a full one";
            let help = format!("jcmd {} GC.run while recording makes sure", case.pid);
            finding(Kind::Leak, format!("{survived}, and {grew}; {other}: {help}"))
        }
        (_, Some(survived)) => finding(Kind::Leak, format!("{survived}, and {grew}")),
        (Nature::Owned, None) if collected.count() == 0 && case.things.is_empty() => {
            let unseen = "no collection ran, so no Cleaner could free it";
            finding(Kind::Leak, format!("{grew}, and older allocations stay; {unseen}"))
        }
        (Nature::Owned, None) => finding(Kind::Leak, format!("{grew}, and older allocations stay")),
        (_, None) => {
            let unknown = "so it cannot be told whether it is still reachable";
            let why = match (case.collections, collected.count()) {
                (None, _) => "this JVM does not tell when it collects".to_owned(),
                (_, 0) => "no collection ran".to_owned(),
                (_, count) => {
                    format!("{} ran before most of it was allocated", units::counted(count, "collection"))
                }
            };
            let help = format!("trigger one (jcmd {} GC.run) while recording", case.pid);
            finding(Kind::GcPending, format!("{grew}; {why}, {unknown}: {help}"))
        }
    }
}

/// The outline of a history.
pub(super) struct Shape {
    /// When something was first live.
    pub(super) first_ns: u64,
    peak_bytes: u64,
    peak_ns: u64,
}

impl Shape {
    pub(super) fn of(history: &[Point]) -> Shape {
        let peak = history.iter().max_by_key(|point| (point.live_bytes(), std::cmp::Reverse(point.time_ns)));
        let first = history.iter().position(|point| point.allocated_bytes > 0);
        // It was allocated after the moment before.
        let first_ns =
            first.and_then(|at| history.get(at.saturating_sub(1))).map_or(0, |point| point.time_ns);
        Shape {
            first_ns,
            peak_bytes: peak.map_or(0, Point::live_bytes),
            peak_ns: peak.map_or(0, |point| point.time_ns),
        }
    }

    /// The verdict of what does not grow.
    fn settled(&self, case: &Evidence<'_>, collected: &Collected) -> Finding {
        let finding = |kind, evidence| Finding { kind, evidence };
        let end = case.history.last().copied().unwrap_or_default();
        let live = end.live_bytes();
        let size = units::bytes;
        let second = |time_ns: u64| format!("{:.1} s", time_ns as f64 / 1e9);
        if live.saturating_mul(2) <= self.peak_bytes && !self.recurs(case.history) {
            let (peak, when) = (size(self.peak_bytes), second(self.peak_ns));
            return finding(Kind::Transient, format!("rose to {peak} by {when} and fell to {}", size(live)));
        }
        let (from, to) = (self.first_ns, end.time_ns);
        let late_ns = from + (to - from) / 3 * 2;
        let before = at(case.history, late_ns);
        let late_allocated = end.allocated_bytes.saturating_sub(before.allocated_bytes);
        let early_rate = before.allocated_bytes as f64 / (late_ns.saturating_sub(from)).max(1) as f64;
        let late_rate = late_allocated as f64 / (to.saturating_sub(late_ns)).max(1) as f64;
        let freed_share = end.freed_bytes as f64 / end.allocated_bytes.max(1) as f64;
        if freed_share > 0.9 && late_rate < early_rate / 4.0 {
            let (allocated, freed) = (size(end.allocated_bytes), size(end.freed_bytes));
            return finding(
                Kind::Transient,
                format!("of {allocated}, most of it allocated before {}, {freed} was freed", second(late_ns)),
            );
        }
        let half = from + (to - from) / 2;
        let held_bytes = match case.births {
            [] if end.freed_bytes.saturating_mul(2) < end.allocated_bytes => live,
            [] => 0,
            births => births.iter().filter(|birth| birth.born_ns < half).map(|birth| birth.live_bytes).sum(),
        };
        if held_bytes.saturating_mul(2) >= live {
            let level = live.saturating_sub(live / 10);
            let reached = case.history.iter().find(|point| point.live_bytes() >= level);
            let since = to.saturating_sub(reached.map_or(to, |point| point.time_ns));
            let mut evidence = format!(
                "rose to {} by {}, and stayed for {}",
                size(live),
                second(to.saturating_sub(since)),
                units::duration(since)
            );
            let more = end.allocated_bytes.saturating_sub(reached.map_or(0, |point| point.allocated_bytes));
            if more >= SMALL_BYTES {
                evidence += &format!(" while {} more was allocated and freed", size(more));
            }
            return finding(Kind::Pool, evidence);
        }
        let mut evidence =
            format!("no growth: {} live at the end, {} at most", size(live), size(self.peak_bytes));
        evidence +=
            &format!("; {} of {} allocated was freed", size(end.freed_bytes), size(end.allocated_bytes));
        if let Some(freed) = collected.told_in_passing() {
            evidence += &format!(", {freed}");
        }
        finding(Kind::Steady, evidence)
    }

    /// Is a fall from the peak one of several, as of work that comes in waves?
    fn recurs(&self, history: &[Point]) -> bool {
        let (high, low) = (self.peak_bytes / 4 * 3, self.peak_bytes / 2);
        let mut is_high = false;
        let mut rises = 0;
        for point in history {
            let live = point.live_bytes();
            if !is_high && live >= high {
                (is_high, rises) = (true, rises + 1);
            } else if is_high && live <= low {
                is_high = false;
            }
        }
        rises > 2
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
