//! Does a group grow, and how fast? Growth is told of what is live, or, where collections keep freeing, of
//! what survived them.

use super::classify::{self, Birth, Evidence, Shape, TRICKLE_BYTES};
use super::collected::Collected;
use super::trend::Trend;
use crate::units;

/// The second and the last third of the time must each bring at least this part of an average third: what
/// slows down more is levelling off, and what came at the end alone may be a burst.
const LATE_SHARE: f64 = 0.25;

/// The same for what brings less than is worth a finding otherwise: evenly.
const TRICKLE_SHARE: f64 = 0.5;
/// Moments (there are 32 of a session) at which what is left of it was allocated.
const TRICKLE_BIRTHS: usize = 16;

/// If it brings less than this part of one, growth slows down.
const SLOW_SHARE: f64 = 0.8;

/// The part of what grew in the first two thirds of the time that must be left of what was allocated then.
const OLD_SHARE: f64 = 0.5;

/// A course, upwards or not.
#[derive(Debug)]
pub(super) struct Growth {
    trend: Trend,
    grown_bytes: f64,
    /// What the second and the last third of the time added to it.
    middle_bytes: f64,
    late_bytes: f64,
    span_s: f64,
    of_survivors: bool,
    /// Older allocations are being freed, so that it may level off.
    pub(super) forgets: bool,
    /// The evidence for that.
    pub(super) forgotten: String,
}

impl Growth {
    /// Of what is live, from when it was first seen to the end.
    pub(super) fn of_live(case: &Evidence<'_>) -> Option<Growth> {
        let first_ns = Shape::of(case.history).first_ns;
        let watched = case.history.iter().filter(|point| point.time_ns >= first_ns);
        let points: Vec<_> = watched.map(|point| (point.time_ns, point.live_bytes())).collect();
        let mut growth = Growth::of(&points)?;
        // What lives for a limited time grows ever more slowly until as much dies as is born.
        let slows = growth.late_bytes * 3.0 < growth.grown_bytes * SLOW_SHARE;
        let forgotten = forgotten(case, first_ns).filter(|_| slows);
        if let Some(forgotten) = forgotten.or_else(|| growth.is_young(case, first_ns)) {
            (growth.forgets, growth.forgotten) = (true, forgotten);
        }
        Some(growth)
    }

    /// Of what is live at the end and survived the last collection, by the time when it was allocated.
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
                sum += birth.live_bytes;
            }
            points.push((time_ns, sum));
        }
        let growth = Growth::of(&points)?;
        Some(Growth { of_survivors: true, ..growth })
    }

    /// Of the least that was live after each collection.
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

    fn of(points: &[(u64, u64)]) -> Option<Growth> {
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
            forgets: false,
            forgotten: String::new(),
        })
    }

    /// Is what makes up the growth young? Then it follows the load: what leaks is as old as the growth.
    fn is_young(&self, case: &Evidence<'_>, first_ns: u64) -> Option<String> {
        let end_ns = case.history.last().filter(|_| !case.births.is_empty())?.time_ns;
        let span_ns = end_ns.saturating_sub(first_ns) / 3 * 2;
        let born = case.births.iter().filter(|birth| birth.born_ns < first_ns + span_ns);
        let left_bytes: u64 = born.map(|birth| birth.live_bytes).sum();
        let grown_bytes = self.trend.slope * span_ns as f64 / 1e9;
        ((left_bytes as f64) < grown_bytes * OLD_SHARE).then(|| {
            let allocated = classify::at(case.history, first_ns + span_ns).allocated_bytes;
            let [left, allocated] = [left_bytes, allocated].map(units::bytes);
            format!("only {left} is left of the {allocated} allocated in the first two thirds of the time")
        })
    }

    /// Is it more than chance, more than nothing, and does it go on all the time?
    pub(super) fn is_real(&self, case: &Evidence<'_>) -> bool {
        let bytes = self.grown_bytes.min(self.trend.slope * self.span_s);
        let brings = |share: f64| self.middle_bytes.min(self.late_bytes) >= self.grown_bytes * share / 3.0;
        let is_much = bytes >= case.least_bytes() as f64;
        // The first third may be a start that ended.
        let is_chance = self.middle_bytes + self.late_bytes < case.noise_bytes as f64;
        // A trickle: less, but drop by drop, all the time.
        let trickles = case.is_applications
            && bytes >= TRICKLE_BYTES as f64
            && brings(TRICKLE_SHARE)
            && spread_births(case) >= TRICKLE_BIRTHS;
        self.trend.rises() && !is_chance && (is_much && brings(LATE_SHARE) || trickles)
    }

    /// As the end of a sentence.
    pub(super) fn told(&self) -> String {
        let Trend { slope, low, high } = self.trend;
        let [slope, low, high] = [slope, low, high].map(units::bytes_per_s);
        let what = if self.of_survivors { "what survives grew" } else { "it grew" };
        format!("{what} by {slope} (95 %: {low} to {high})")
    }
}

/// At how many moments was something allocated that is left?
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

/// Are lifetimes finite, as far as births tell: is less left of what was allocated in the first third of
/// the time than of what was allocated in the second?
fn forgotten(case: &Evidence<'_>, first_ns: u64) -> Option<String> {
    if case.births.is_empty() {
        return None;
    }
    let end = case.history.last()?;
    let third_ns = end.time_ns.saturating_sub(first_ns) / 3;
    let (one_ns, two_ns) = (first_ns + third_ns, first_ns + 2 * third_ns);
    let allocated = |time_ns| classify::at(case.history, time_ns).allocated_bytes;
    let left = |from_ns: u64, to_ns: u64| -> u64 {
        let born = |birth: &&Birth| from_ns <= birth.born_ns && birth.born_ns < to_ns;
        case.births.iter().filter(born).map(|birth| birth.live_bytes).sum()
    };
    let (one, two) = (allocated(one_ns), allocated(two_ns).saturating_sub(allocated(one_ns)));
    let (left_one, left_two) = (left(0, one_ns), left(one_ns, two_ns));
    let share = |left: u64, of: u64| left.min(of) as f64 / of.max(1) as f64;
    let gone = one.saturating_sub(left_one);
    let forgets =
        share(left_one, one) < share(left_two, two) / 2.0 && gone.saturating_mul(4) >= end.live_bytes();
    forgets.then(|| {
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let (one, two) = (percent(share(left_one, one)), percent(share(left_two, two)));
        format!("only {one} is left of the first third of it, and {two} of the second")
    })
}
