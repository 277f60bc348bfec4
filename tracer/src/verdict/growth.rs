//! Does a group grow, and how fast? Growth is told of what is live, or, where collections keep freeing, of
//! what survived them.

use super::classify::{self, Birth, Evidence, TRICKLE_BYTES};
use super::clauses::{GrowthClause, Sentence};
use super::collected::Collected;
use super::history::Point;
use super::queue::Stays;
use super::sentence::Figures;
use super::shape::{ENLARGED_MAX, Shape};
use super::trend::Trend;

/// The second and the last third of the time must each bring at least this part of an average third: what
/// slows down more is levelling off, and what came at the end alone may be a burst.
const LATE_SHARE: f64 = 0.25;

/// The same for what brings less than is worth a finding otherwise: evenly.
const TRICKLE_SHARE: f64 = 0.5;
/// Moments (there are 32 of a session) at which what is left of it was allocated.
const TRICKLE_BIRTHS: usize = 16;

/// Part of one to which growth slows down if an interval brings less.
const SLOW_SHARE: f64 = 0.8;

/// Growth that goes on as before brings this part of an average third in each of the last two.
const EVEN_SHARE: f64 = 0.65;

/// Part of what is held by which the load must have grown at least so that what is held follows it.
const LOAD_SHARE: f64 = 0.5;
/// Calls in the last third of the time that tell how much is asked for.
const CALLS_MIN: u64 = 5;

/// The part of what grew in the first two thirds of the time that must be left of what was allocated then.
const OLD_SHARE: f64 = 0.5;

/// A course, upwards or not.
#[derive(Debug)]
pub(super) struct Growth {
    trend: Trend,
    grown_bytes: f64,
    /// Bytes that the second and the last third of the time added to it.
    middle_bytes: f64,
    late_bytes: f64,
    span_s: f64,
    of_survivors: bool,
    /// Turnover of older allocations meanwhile. `None` if they stay.
    turnover: Option<Turnover>,
}

/// Turnover: how older allocations are freed while what is live grows.
#[derive(Debug)]
enum Turnover {
    /// Growth slows down, and less is left of the first third of the time than of the second.
    Slows { first_share: f64, second_share: f64 },
    /// Held memory is young, and grows as what is asked for does: it follows the load.
    FollowsLoad { left_bytes: u64, of_bytes: u64 },
    /// Held memory is young, and grows though no more is asked for than before: each allocation stays longer.
    StaysLonger { middle_per_s: f64, late_per_s: f64, of_bytes: bool },
    /// The same of a queue, freed in the order in which it came.
    Queues(Stays),
}

impl Growth {
    /// Growth of live memory, from when it was first seen to the end.
    pub(super) fn of_live(case: &Evidence<'_>) -> Option<Growth> {
        let first_ns = Shape::of(case.history).first_ns;
        let watched = case.history.iter().filter(|point| point.time_ns >= first_ns);
        let points: Vec<_> = watched.map(|point| (point.time_ns, point.live_bytes())).collect();
        let mut growth = Growth::of(&points)?;
        // Memory that lives for a limited time grows ever more slowly until as much dies as is born.
        let slows = growth.late_bytes * 3.0 < growth.grown_bytes * SLOW_SHARE;
        let forgotten = forgotten(case, first_ns).filter(|_| slows);
        growth.turnover = match forgotten.or_else(|| growth.young(case, first_ns)) {
            Some(turnover @ (Turnover::Slows { .. } | Turnover::FollowsLoad { .. })) => {
                Some(Stays::ever_longer(case.history, first_ns).map_or(turnover, Turnover::Queues))
            }
            turnover => turnover,
        };
        Some(growth)
    }

    /// Growth of memory that is live at the end and survived the last collection, by the time when it was allocated.
    pub(super) fn of_survivors(case: &Evidence<'_>, collected: &Collected) -> Option<Growth> {
        let last_ns = collected.last_ns()?;
        let first_ns = Shape::of(case.history).first_ns;
        if case.births.is_empty() {
            return Growth::of_floors(case, first_ns);
        }
        let mut points = vec![(first_ns, 0)];
        let mut sum = 0_u64;
        let times = case.history.iter().map(|point| point.time_ns);
        let mut births = case.births.iter().peekable();
        for time_ns in times.filter(|&time| first_ns < time && time <= last_ns).chain([last_ns]) {
            while let Some(birth) = births.next_if(|birth| birth.born_ns < time_ns) {
                sum = sum.saturating_add(birth.live_bytes);
            }
            points.push((time_ns, sum));
        }
        let growth = Growth::of(&points)?;
        Some(Growth { of_survivors: true, ..growth })
    }

    /// Growth of the least that was live after each collection.
    fn of_floors(case: &Evidence<'_>, first_ns: u64) -> Option<Growth> {
        let collections = case.collections.unwrap_or_default();
        let mut points = Vec::new();
        for (number, collection) in collections.iter().enumerate() {
            let next_ns = collections.get(number + 1).map_or(u64::MAX, |next| next.begin_ns);
            let since = classify::between(case.history, collection.begin_ns, next_ns);
            let least = since.iter().min_by_key(|point| point.live_bytes());
            points.extend(
                least.filter(|point| point.time_ns >= first_ns).map(|it| (it.time_ns, it.live_bytes())),
            );
        }
        Growth::of(&points)
    }

    /// Growth of values at times.
    pub(super) fn of(points: &[(u64, u64)]) -> Option<Growth> {
        let seconds: Vec<_> = points.iter().map(|&(time, live)| (time as f64 / 1e9, live as f64)).collect();
        let trend = Trend::of(&seconds)?;
        let (from, to) = (seconds.first()?, seconds.last()?);
        let span_s = to.0 - from.0;
        let middle = between(&seconds, from.0 + span_s / 3.0)?;
        let late = between(&seconds, from.0 + span_s / 3.0 * 2.0)?;
        Some(Growth {
            trend,
            grown_bytes: to.1 - from.1,
            middle_bytes: late - middle,
            late_bytes: to.1 - late,
            span_s,
            of_survivors: false,
            turnover: None,
        })
    }

    /// Verdict for growth that is made up of young memory: a leak is as old as the growth.
    fn young(&self, case: &Evidence<'_>, first_ns: u64) -> Option<Turnover> {
        let end_ns = case.history.last().filter(|_| !case.births.is_empty())?.time_ns;
        let span_ns = end_ns.saturating_sub(first_ns) / 3 * 2;
        let born = case.births.iter().filter(|birth| birth.born_ns < first_ns + span_ns);
        let left_bytes = born.map(|birth| birth.live_bytes).fold(0, u64::saturating_add);
        let grown_bytes = self.trend.slope * span_ns as f64 / 1e9;
        ((left_bytes as f64) < grown_bytes * OLD_SHARE).then(|| {
            let of_bytes = classify::at(case.history, first_ns + span_ns).allocated_bytes;
            // The time that each of many blocks stays tells more; but one that is enlarged is asked for anew each time.
            let is_few = case.end().live_count() <= ENLARGED_MAX;
            let stays_longer = (is_few && self.brings(TRICKLE_SHARE))
                .then(|| stays_longer(case.history, first_ns))
                .flatten();
            stays_longer.unwrap_or(Turnover::FollowsLoad { left_bytes, of_bytes })
        })
    }

    /// Do the second and the last third of the time each bring at least this part of an average third?
    fn brings(&self, share: f64) -> bool {
        self.middle_bytes.min(self.late_bytes) >= self.grown_bytes * share / 3.0
    }

    /// Is growth as fast at the end as before? Loading when an application starts slows down.
    pub(super) fn is_even(&self) -> bool {
        self.brings(EVEN_SHARE)
    }

    /// Does what is live rise all the time, and hardly more slowly at the end?
    pub(super) fn goes_on(&self) -> bool {
        self.trend.rises() && self.is_even() && self.late_bytes * 3.0 >= self.grown_bytes * SLOW_SHARE
    }

    /// Sentence on how older allocations are freed, so that growth may level off. `None` if they stay, or stay ever
    /// longer.
    pub(super) fn forgotten(&self, figures: &mut Figures) -> Option<String> {
        match *self.turnover.as_ref()? {
            Turnover::Slows { first_share, second_share } => {
                let first = figures.share("first_third_left_share", first_share);
                let second = figures.share("second_third_left_share", second_share);
                Some(format!("only {first} is left of the first third of it, and {second} of the second"))
            }
            Turnover::FollowsLoad { left_bytes, of_bytes } => {
                let left = figures.bytes("left_bytes", left_bytes);
                let of = figures.bytes("left_of_bytes", of_bytes);
                Some(format!("only {left} is left of the {of} allocated in the first two thirds of the time"))
            }
            Turnover::StaysLonger { .. } | Turnover::Queues(_) => None,
        }
    }

    /// Verdict that each allocation stays longer than the ones before. `None` if older allocations are not freed, or no
    /// more than asked for.
    pub(super) fn waits(&self, figures: &mut Figures) -> Option<String> {
        if let Some(Turnover::Queues(stays)) = &self.turnover {
            let early = figures.time("early_stay_ns", stays.early_ns);
            let late = figures.time("late_stay_ns", stays.late_ns);
            return Some(format!(
                "each stays longer than the ones before, {early} at first and {late} at the end"
            ));
        }
        let Some(Turnover::StaysLonger { middle_per_s, late_per_s, of_bytes }) = self.turnover else {
            return None;
        };
        Some(if of_bytes {
            let middle = figures.bytes_per_s("middle_allocated_bytes_per_s", middle_per_s);
            let late = figures.bytes_per_s("late_allocated_bytes_per_s", late_per_s);
            format!("each stays longer than the ones before, at {middle} and then {late} allocated")
        } else {
            let middle = figures.count_per_s("middle_allocations_per_s", middle_per_s);
            let late = figures.count_per_s("late_allocations_per_s", late_per_s);
            format!(
                "each stays longer than the ones before, at {middle} and then {late} allocations a second"
            )
        })
    }

    /// Is growth more than chance, more than nothing, and does it go on all the time?
    pub(super) fn is_real(&self, case: &Evidence<'_>) -> bool {
        let bytes = self.grown_bytes.min(self.trend.slope * self.span_s);
        let is_much = bytes >= case.least_bytes() as f64;
        // The first third may be a start that ended.
        let is_chance = self.middle_bytes + self.late_bytes < case.noise_bytes as f64;
        // A trickle: less, but drop by drop, all the time.
        let trickles = case.is_applications
            && bytes >= TRICKLE_BYTES as f64
            && self.brings(TRICKLE_SHARE)
            && spread_births(case) >= TRICKLE_BIRTHS;
        self.trend.rises() && !is_chance && (is_much && self.brings(LATE_SHARE) || trickles)
    }

    /// Growth as a sentence; `subject`: the name of what grows, if not the row's own memory.
    pub(super) fn describe(&self, subject: Option<&'static str>, figures: &mut Figures) -> Sentence {
        let Trend { slope, low, high } = self.trend;
        let rate = figures.bytes_per_s("growth_bytes_per_s", slope);
        let low = figures.bytes_per_s("growth_low_bytes_per_s", low);
        let high = figures.bytes_per_s("growth_high_bytes_per_s", high);
        figures.keep("grown_bytes", self.grown_bytes.max(0.0) as u64);
        let subject = if self.of_survivors { Some("what survives") } else { subject };
        Sentence::from(GrowthClause { subject, rate, interval: format!("95 %: {low} to {high}") })
    }
}

/// Whether what is held grows though no more is asked for than before: what is live, and what is asked for a second, in
/// the last third of the time against the second. `None` if it grows as the load does.
fn stays_longer(history: &[Point], first_ns: u64) -> Option<Turnover> {
    let end = history.last()?;
    let third_ns = end.time_ns.saturating_sub(first_ns) / 3;
    let (one_ns, two_ns) = (first_ns + third_ns, first_ns + 2 * third_ns);
    let [one, two] = [one_ns, two_ns].map(|time_ns| classify::at(history, time_ns));
    // A block that is enlarged by realloc is asked for anew each time, ever larger: calls tell the load, if they are
    // known.
    let of_bytes = end.allocated_count == 0;
    let asked = |point: Point| if of_bytes { point.allocated_bytes } else { point.allocated_count };
    let rate = |from: Point, to: Point| {
        let seconds = to.time_ns.saturating_sub(from.time_ns).max(1) as f64 / 1e9;
        asked(to).saturating_sub(asked(from)) as f64 / seconds
    };
    let (middle_per_s, late_per_s) = (rate(one, two), rate(two, *end));
    let live = |from_ns: u64, to_ns: u64| {
        let points = classify::between(history, from_ns, to_ns);
        points.iter().map(|point| point.live_bytes() as f64).sum::<f64>() / points.len().max(1) as f64
    };
    let (middle_live, late_live) = (live(one_ns, two_ns), live(two_ns, end.time_ns));
    let is_known =
        middle_per_s > 0.0 && middle_live > 0.0 && (of_bytes || asked(*end) - asked(two) >= CALLS_MIN);
    let more = |late: f64, middle: f64| late / middle - 1.0;
    let is_longer = is_known && more(late_per_s, middle_per_s) < more(late_live, middle_live) * LOAD_SHARE;
    is_longer.then_some(Turnover::StaysLonger { middle_per_s, late_per_s, of_bytes })
}

/// Number of moments at which something was allocated that is left.
fn spread_births(case: &Evidence<'_>) -> usize {
    let mut moments: Vec<u64> =
        case.births.iter().filter(|it| it.live_bytes > 0).map(|it| it.born_ns).collect();
    moments.dedup();
    moments.len()
}

/// The value at a time, on the line between the points around it.
fn between(points: &[(f64, f64)], time: f64) -> Option<f64> {
    let after = points.iter().position(|point| point.0 >= time)?;
    let (one, other) = (points.get(after.saturating_sub(1))?, points.get(after)?);
    let share = (time - one.0) / (other.0 - one.0).max(f64::EPSILON);
    Some(one.1 + (other.1 - one.1) * share.clamp(0.0, 1.0))
}

/// Memory that is left of the first third of the time and of the second, if lifetimes are finite, as far as births
/// tell: less of the first.
fn forgotten(case: &Evidence<'_>, first_ns: u64) -> Option<Turnover> {
    if case.births.is_empty() {
        return None;
    }
    let end = case.history.last()?;
    let third_ns = end.time_ns.saturating_sub(first_ns) / 3;
    let (one_ns, two_ns) = (first_ns + third_ns, first_ns + 2 * third_ns);
    let allocated = |time_ns| classify::at(case.history, time_ns).allocated_bytes;
    let left = |from_ns: u64, to_ns: u64| -> u64 {
        let born = |birth: &&Birth| from_ns <= birth.born_ns && birth.born_ns < to_ns;
        case.births.iter().filter(born).map(|birth| birth.live_bytes).fold(0, u64::saturating_add)
    };
    let (one, two) = (allocated(one_ns), allocated(two_ns).saturating_sub(allocated(one_ns)));
    let (left_one, left_two) = (left(0, one_ns), left(one_ns, two_ns));
    let share = |left: u64, of: u64| left.min(of) as f64 / of.max(1) as f64;
    let (first_share, second_share) = (share(left_one, one), share(left_two, two));
    let gone = one.saturating_sub(left_one);
    let forgets = first_share < second_share / 2.0 && gone.saturating_mul(4) >= end.live_bytes();
    forgets.then_some(Turnover::Slows { first_share, second_share })
}
