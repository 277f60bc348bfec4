//! Slopes with their confidence: the median of the slopes between all pairs of moments (Theil and Sen),
//! its 95 % interval by the ranks of those slopes, and the test for a trend (Mann and Kendall) that goes
//! with it. One step, such as a pool that fills, does not bend the median; no distribution is assumed.
//!
//! Sen, Journal of the American Statistical Association 63 (1968) 1379; Gilbert, Statistical Methods for
//! Environmental Pollution Monitoring (1987), 16.4 and 17.3.

/// Points that a slope is made of at most: all pairs of them are compared, for each of many sites.
const POINTS_MAX: usize = 40;
/// Number of points below which the ranks of an interval lie outside of what was measured.
const POINTS_MIN: usize = 4;
/// Two-sided 95 % of the normal distribution.
const Z: f64 = 1.96;

/// A slope, in units of the value per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    pub(crate) slope: f64,
    /// The 95 % interval.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Trend {
    /// Trend of values at times (seconds), by time. `None` if there are too few points, or all at one moment.
    pub(crate) fn of(points: &[(f64, f64)]) -> Option<Trend> {
        let points = spread(points);
        if points.len() < POINTS_MIN {
            return None;
        }
        let mut slopes = slopes(&points);
        let slope = median(&mut slopes)?;
        // What is not larger than the median is in front of it by now.
        let (count, half) = (slopes.len() as f64, half(slopes.len()));
        let (lower, upper) = slopes.split_at_mut(half);
        // The ranks between which the slope lies: as many pairs as the test statistic may differ by chance.
        let spread = Z * variance(&points).sqrt();
        let mut rank = |rank: f64| {
            let rank = rank.clamp(0.0, count - 1.0) as usize;
            match rank.checked_sub(lower.len()) {
                Some(rank) => ranked(upper, rank),
                None => ranked(lower, rank),
            }
        };
        let low = rank(((count - spread) / 2.0).floor())?.min(slope);
        let high = rank(((count + spread) / 2.0).ceil())?.max(slope);
        Some(Trend { slope, low, high })
    }

    /// Does the line rise, by more than chance?
    pub(crate) fn rises(&self) -> bool {
        self.low > 0.0
    }
}

/// The slope of [`Trend::of`] alone, for a small part of the time.
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let points = spread(points);
    if points.len() < POINTS_MIN { None } else { median(&mut slopes(&points)) }
}

/// Slopes of all pairs of points that are not at one moment.
fn slopes(points: &[(f64, f64)]) -> Vec<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (at, one) in points.iter().enumerate() {
        let later = points.iter().skip(at + 1).filter(|other| other.0 > one.0);
        slopes.extend(later.map(|other| (other.1 - one.1) / (other.0 - one.0)));
    }
    slopes
}

/// Values that are not larger than the median, of so many: with it, if it is one of them.
const fn half(count: usize) -> usize {
    count.div_ceil(2)
}

/// The median; puts the [`half`] that is not larger in front.
fn median(values: &mut [f64]) -> Option<f64> {
    let is_even = values.len().is_multiple_of(2);
    let last = half(values.len()).checked_sub(1).filter(|&last| last < values.len())?;
    let (_, &mut median, upper) = values.select_nth_unstable_by(last, f64::total_cmp);
    let next = upper.iter().copied().min_by(f64::total_cmp).filter(|_| is_even);
    Some(next.map_or(median, |next| (median + next) / 2.0))
}

/// The value that would be at this place if they were sorted, which takes several times longer.
fn ranked(values: &mut [f64], rank: usize) -> Option<f64> {
    if rank >= values.len() {
        return None;
    }
    Some(*values.select_nth_unstable_by(rank, f64::total_cmp).1)
}

/// Points spread evenly, at most [`POINTS_MAX`], the last among them.
fn spread(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(POINTS_MAX).max(1);
    let mut kept: Vec<_> = points.iter().rev().step_by(step).copied().collect();
    kept.reverse();
    kept
}

/// The variance of Kendall's statistic without a trend; values that are equal make it smaller.
fn variance(points: &[(f64, f64)]) -> f64 {
    let term = |count: f64| count * (count - 1.0) * (2.0 * count + 5.0);
    let mut values: Vec<f64> = points.iter().map(|point| point.1).collect();
    values.sort_unstable_by(f64::total_cmp);
    let ties: f64 = values.chunk_by(|one, other| one == other).map(|group| term(group.len() as f64)).sum();
    ((term(points.len() as f64) - ties) / 18.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(count: u32, slope: f64, noise: impl Fn(u32) -> f64) -> Vec<(f64, f64)> {
        (0..count).map(|at| (f64::from(at), f64::from(at) * slope + noise(at))).collect()
    }

    #[test]
    fn a_line_has_its_slope_and_an_interval_of_nothing() {
        let trend = Trend::of(&line(20, 7.0, |_| 3.0)).expect("trend");
        assert_eq!(trend, Trend { slope: 7.0, low: 7.0, high: 7.0 });
        assert!(trend.rises());
        assert!(!Trend::of(&line(20, 0.0, |_| 3.0)).expect("trend").rises());
        assert!(!Trend::of(&line(20, -1.0, |_| 3.0)).expect("trend").rises());
        assert_eq!(Trend::of(&line(3, 7.0, |_| 0.0)), None);
        assert_eq!(Trend::of(&[(1.0, 1.0); 9]), None);
    }

    #[test]
    fn a_step_is_no_trend() {
        for step in [1, 2, 7, 23, 29] {
            let pool = line(30, 0.0, |at| if at < step { 0.0 } else { 1e6 });
            assert_eq!(Trend::of(&pool).expect("trend").slope, 0.0, "{step}");
        }
    }

    #[test]
    fn the_interval_holds_the_truth_about_as_often_as_it_says() {
        // A small generator of its own: noise of a known kind, the same at each run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        let (mut held, mut rising) = (0, 0);
        for _ in 0..1_000 {
            let noisy: Vec<_> =
                line(15, 2.0, |_| 0.0).iter().map(|&(t, v)| (t, v + 20.0 * random())).collect();
            let trend = Trend::of(&noisy).expect("trend");
            held += u32::from(trend.low <= 2.0 && 2.0 <= trend.high);
            let flat: Vec<_> = noisy.iter().map(|&(t, v)| (t, v - 2.0 * t)).collect();
            rising += u32::from(Trend::of(&flat).expect("trend").rises());
        }
        assert!((930..=990).contains(&held), "{held} of 1000 intervals hold the slope");
        assert!(rising <= 40, "{rising} of 1000 flat series seem to rise");
    }

    proptest! {
        #[test]
        fn a_rank_is_that_of_the_sorted(values in prop::collection::vec(-1e6_f64..1e6, 0..50), rank in 0_usize..60) {
            let mut sorted = values.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            prop_assert_eq!(ranked(&mut values.clone(), rank), sorted.get(rank).copied());
            let mut halved = values;
            let (middle, half) = (median(&mut halved), half(halved.len()));
            let of_sorted = match (sorted.get((sorted.len().max(1) - 1) / 2), sorted.get(sorted.len() / 2)) {
                (Some(&one), Some(&other)) => Some(if one == other { one } else { (one + other) / 2.0 }),
                _ => None,
            };
            prop_assert_eq!(middle, of_sorted);
            let (lower, upper) = halved.split_at(half);
            prop_assert!(lower.iter().all(|one| upper.iter().all(|other| one <= other)));
        }

        #[test]
        fn an_interval_holds_its_slope(values in prop::collection::vec(0_u32..1_000_000, 0..200)) {
            let points: Vec<_> = (0..).zip(&values).map(|(at, &v)| (f64::from(at), f64::from(v))).collect();
            if let Some(trend) = Trend::of(&points) {
                prop_assert!(trend.low <= trend.slope && trend.slope <= trend.high, "{:?}", trend);
            } else {
                prop_assert!(points.len() < 4);
            }
        }
    }
}
