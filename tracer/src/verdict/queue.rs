//! Queues: what is freed in the order in which it came, and stays ever longer, though as much is asked for as before.
//!
//! The time that an allocation stays is what is live by what is asked for a second (Little's law). It is looked at from
//! when frees begin: until then those of what was there before the session are not seen, and everything seems to stay.

use super::classify::at;
use super::growth::Growth;
use super::history::Point;
use super::trend::Trend;

/// The part of all frees after which they count as having begun.
const BEGUN_PART: u64 = 20;
/// Time in which they must be watched,
const WATCHED_MIN_NS: u64 = 5_000_000_000;
/// and its part of the whole.
const WATCHED_PART: u64 = 2;
/// Steps in which it is looked at.
const STEPS: u64 = 12;
/// Calls of a step that tell how much is asked for.
const CALLS_MIN: u64 = 5;
/// An allocation must stay longer than at first by this factor.
const LONGER: f64 = 1.2;

/// Time that an allocation stays, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stays {
    /// Time when frees had begun, and at the end.
    pub(super) early_ns: u64,
    pub(super) late_ns: u64,
}

impl Stays {
    /// `None` if they do not stay ever longer, or what is live grows ever more slowly.
    pub(super) fn ever_longer(history: &[Point], first_ns: u64) -> Option<Stays> {
        let end = *history.last()?;
        let begun_bytes = end.freed_bytes.div_ceil(BEGUN_PART).max(1);
        let begun = history.iter().find(|point| point.freed_bytes >= begun_bytes)?.time_ns;
        let span_ns = end.time_ns.saturating_sub(begun);
        let all_ns = end.time_ns.saturating_sub(first_ns);
        if span_ns < WATCHED_MIN_NS || span_ns.saturating_mul(WATCHED_PART) < all_ns {
            return None;
        }
        let since: Vec<_> = history.iter().filter(|point| point.time_ns >= begun).collect();
        let live: Vec<_> = since.iter().map(|point| (point.time_ns, point.live_bytes())).collect();
        if !Growth::of(&live)?.goes_on() {
            return None;
        }
        let mut stays = Vec::new();
        for step in 0..STEPS {
            let [from, to] = [step, step + 1].map(|step| at(history, begun + span_ns / STEPS * step));
            let calls = to.allocated_count.saturating_sub(from.allocated_count);
            let bytes = to.allocated_bytes.saturating_sub(from.allocated_bytes);
            if to.time_ns <= from.time_ns || bytes == 0 || end.allocated_count > 0 && calls < CALLS_MIN {
                continue;
            }
            let per_ns = bytes as f64 / (to.time_ns - from.time_ns) as f64;
            let live = (from.live_bytes() as f64 + to.live_bytes() as f64) / 2.0;
            stays.push((to.time_ns as f64 / 1e9, live / per_ns));
        }
        let trend = Trend::of(&stays)?;
        let [early, late] = [stays.get(..4)?, stays.get(stays.len().checked_sub(4)?..)?].map(median);
        let longer = stays.len() as u64 * 3 >= STEPS * 2 && trend.rises() && late >= early * LONGER;
        longer.then_some(Stays { early_ns: early as u64, late_ns: late as u64 })
    }
}

fn median(values: &[(f64, f64)]) -> f64 {
    let mut values: Vec<f64> = values.iter().map(|value| value.1).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Watched from when `before_s` of it had passed: what is asked for and freed by then, in MiB.
    fn watched(seconds: u64, asked: impl Fn(u64) -> u64, freed: impl Fn(u64) -> u64) -> Vec<Point> {
        let point = |second: u64| Point {
            time_ns: second * 1_000_000_000,
            allocated_bytes: asked(second) * MIB,
            freed_bytes: freed(second) * MIB,
            allocated_count: asked(second) * 64,
            freed_count: freed(second) * 64,
            collected_bytes: 0,
        };
        (0..=seconds).map(point).collect()
    }

    #[test]
    fn a_queue_that_is_worked_off_too_slowly() {
        // A quarter stays; what waited before is freed first, for 4 s.
        let history = watched(26, |s| 12 * s, |s| 9 * s.saturating_sub(4));
        let stays = Stays::ever_longer(&history, 0).expect("ever longer");
        assert!(stays.late_ns > stays.early_ns * 3 / 2, "{stays:?}");
        // The load doubles half-way, and what works it off does so too.
        let asked = |s: u64| 6 * s.min(13) + 12 * s.saturating_sub(13);
        let history = watched(26, asked, |s| asked(s.saturating_sub(1)) * 3 / 4);
        assert!(Stays::ever_longer(&history, 0).is_some());
    }

    #[test]
    fn what_lives_for_a_time_is_no_queue() {
        // For 8 s each: it fills, and is flat.
        let history = watched(26, |s| 12 * s, |s| 12 * s.saturating_sub(8));
        assert_eq!(Stays::ever_longer(&history, 0), None);
        // For 2 s each, under a load that grows.
        let asked = |s: u64| s * s;
        let history = watched(26, asked, |s| asked(s.saturating_sub(2)));
        assert_eq!(Stays::ever_longer(&history, 0), None);
        // For up to 20 s each: the older it is, the more of it is gone.
        let history =
            watched(26, |s| 12 * s, |s| 12 * s.min(20) * s.min(20) / 40 + 12 * s.saturating_sub(20));
        assert_eq!(Stays::ever_longer(&history, 0), None);
        // A leak frees nothing.
        assert_eq!(Stays::ever_longer(&watched(26, |s| s, |_| 0), 0), None);
    }
}
