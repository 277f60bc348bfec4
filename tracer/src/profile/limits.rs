//! The limits of a recording: how fast each is approached, when it is met, and since when it is used up.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::{Fits, Limit};
use crate::recording::{LimitSample, Recording};
use crate::verdict::Trend;
use crate::vmmap::Owner;

/// A limit of which this part is used is used up: a request that is larger than what is left fails. Percent.
const FULL_PERCENT: u64 = 99;
/// Seconds beyond which nobody waits: a month.
const MAX_SECONDS: u64 = 30 * 24 * 60 * 60;

/// The limits with their course. `None` if the recording does not have them.
pub(super) fn build(recording: &Recording) -> Option<Vec<Limit>> {
    let mut limits = recording.memory.limits.clone()?;
    let mut courses: BTreeMap<&str, Vec<&LimitSample>> = BTreeMap::new();
    for sample in &recording.limit_series {
        courses.entry(&sample.id).or_default().push(sample);
    }
    // Moments at which it was looked at: a limit has a sample only where it changed.
    let looks: BTreeSet<u64> = recording.memory_series.iter().map(|sample| sample.time_ns).collect();
    let started_ns = recording.session.started_ns;
    for limit in &mut limits {
        let Some(samples) = courses.get(&*limit.id) else { continue };
        let points = points(samples, &looks, started_ns);
        let trend = Trend::of(&points);
        limit.growth_per_s = trend.map(|trend| trend.slope);
        limit.seconds_left = trend.filter(Trend::rises).and_then(|trend| seconds_left(limit, trend.slope));
        limit.reached_ns = reached_ns(samples, started_ns);
        // A limit is met in the session as often as its counter rose in it.
        let hits = samples.first().and_then(|sample| sample.hits);
        limit.hits = limit.hits.zip(hits).map(|(last, first)| last.saturating_sub(first)).or(limit.hits);
    }
    Some(limits)
}

/// Seconds since the start, and what was needed of a limit, at each moment at which it was looked at.
fn points(samples: &[&LimitSample], looks: &BTreeSet<u64>, started_ns: u64) -> Vec<(f64, f64)> {
    let mut next = samples.iter().peekable();
    let mut needed = None;
    let times: BTreeSet<u64> =
        looks.iter().copied().chain(samples.iter().map(|sample| sample.time_ns)).collect();
    let point = |time_ns: u64| {
        while let Some(sample) = next.next_if(|sample| sample.time_ns <= time_ns) {
            needed = sample.needed;
        }
        Some((time_ns.saturating_sub(started_ns) as f64 / 1e9, needed? as f64))
    };
    times.into_iter().filter_map(point).collect()
}

/// Time until the limit is met if it goes on like this; none if that is far away.
fn seconds_left(limit: &Limit, growth_per_s: f64) -> Option<u64> {
    let left = limit.limit?.saturating_sub(limit.needed()?);
    let seconds = left as f64 / growth_per_s;
    (growth_per_s > 0.0 && seconds < MAX_SECONDS as f64).then_some(seconds as u64)
}

/// Time since which the limit is used up, without a break up to the end.
fn reached_ns(samples: &[&LimitSample], started_ns: u64) -> Option<u64> {
    let is_full = |sample: &&&LimitSample| {
        let used = sample.needed.zip(sample.most).filter(|(_, most)| *most > 0);
        used.is_some_and(|(needed, most)| {
            u128::from(needed) * 100 >= u128::from(most) * u128::from(FULL_PERCENT)
        })
    };
    let first = samples.iter().rev().take_while(is_full).last()?;
    Some(first.time_ns.saturating_sub(started_ns))
}

/// Whether the Java heap's maximum and everything else fit the memory limit, at the end.
pub(super) fn fits(recording: &Recording) -> Option<Fits> {
    let memory = &recording.memory;
    let parts = memory.parts.iter().filter(|part| part.id != Owner::JavaHeap.id());
    let rest_bytes = parts.filter_map(|part| part.resident_bytes).fold(0, u64::saturating_add);
    Fits::of(memory.limits.as_deref()?, rest_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u64, used: u64, most: u64) -> LimitSample {
        LimitSample {
            time_ns: second * 1_000_000_000,
            id: "direct-buffers".to_owned(),
            used: Some(used),
            needed: Some(used),
            most: Some(most),
            hits: None,
        }
    }

    #[test]
    fn a_limit_is_full_since_it_was_met_for_good() {
        let samples = [
            sample(0, 10, 100),
            sample(1, 100, 100),
            sample(2, 50, 100),
            sample(3, 99, 100),
            sample(4, 100, 100),
        ];
        let of = |samples: &[LimitSample]| reached_ns(&samples.iter().collect::<Vec<_>>(), 0);
        assert_eq!(of(&samples), Some(3_000_000_000));
        assert_eq!(of(&samples[..3]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn what_does_not_change_counts_at_each_look() {
        let samples = [sample(0, 10, 100), sample(4, 90, 100)];
        let looks = BTreeSet::from_iter((0..6).map(|second| second * 1_000_000_000));
        let points = points(&samples.iter().collect::<Vec<_>>(), &looks, 0);
        assert_eq!(
            points.iter().map(|point| point.1).collect::<Vec<_>>(),
            [10.0, 10.0, 10.0, 10.0, 90.0, 90.0]
        );
    }

    #[test]
    fn seconds_follow_from_what_is_left() {
        let limit = Limit { used: Some(40), limit: Some(100), ..Limit::default() };
        assert_eq!(seconds_left(&limit, 2.0), Some(30));
        assert_eq!(seconds_left(&limit, 0.0), None);
        assert_eq!(seconds_left(&limit, 1e-9), None, "in years");
    }
}
