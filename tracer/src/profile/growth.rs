//! How live bytes went through the session: slopes from the recording's samples.

use crate::recording::{Recording, State, Totals};

/// Moments needed before a slope is told; the start, when nothing was live, is one of them.
const POINTS_MIN: usize = 3;
/// Moments that a slope is made of: the pairs of them are compared, for each of many sites.
const POINTS_MAX: usize = 32;
/// Time that they must span.
const SPAN_MIN_NS: u64 = 1_000_000_000;

/// Live bytes of groups (of rows of totals) at each moment.
pub(super) struct Course {
    /// Nanoseconds since the session started; the first is 0.
    times_ns: Vec<u64>,
    /// By group, then by moment.
    live: Vec<Vec<u64>>,
}

impl Course {
    /// The course of each group: `groups` tells the groups of each row of the recording's totals.
    pub(super) fn of(recording: &Recording, groups: &[Vec<usize>], group_count: usize) -> Course {
        let mut times_ns = vec![0];
        let mut rows = vec![0_u64; recording.totals.len()];
        let mut now = vec![0_u64; group_count];
        let mut live = vec![vec![0_u64]; group_count];
        // Counted back from the end: `started_ns` may lie before the probes were attached.
        let started_ns = match (&recording.state, recording.series.last()) {
            (State::Finished(_), Some(last)) => last.time_ns.saturating_sub(recording.duration_ns),
            _ => recording.session.started_ns,
        };
        for sample in &recording.series {
            for row in &sample.rows {
                let at = usize::try_from(row.total).unwrap_or(usize::MAX);
                let (Some(before), Some(groups)) = (rows.get_mut(at), groups.get(at)) else { continue };
                let after = live_bytes(&row.totals);
                for &group in groups {
                    if let Some(now) = now.get_mut(group) {
                        *now = now.saturating_sub(*before).saturating_add(after);
                    }
                }
                *before = after;
            }
            let time_ns = sample.time_ns.saturating_sub(started_ns);
            // The last tick and the end may be one moment.
            let again = times_ns.last() == Some(&time_ns);
            if !again {
                times_ns.push(time_ns);
            }
            for (course, now) in live.iter_mut().zip(&now) {
                match course.last_mut().filter(|_| again) {
                    Some(last) => *last = *now,
                    None => course.push(*now),
                }
            }
        }
        Course { times_ns, live }
    }

    /// Bytes a second: the median of the slopes between all pairs of moments (Theil and Sen), which
    /// a single step, such as a pool that fills, does not bend. None: too few or too close moments.
    pub(super) fn slope(&self, group: usize) -> Option<i64> {
        let live = self.live.get(group)?;
        if live.len() < POINTS_MIN || *self.times_ns.last()? < SPAN_MIN_NS {
            return None;
        }
        let step = live.len().div_ceil(POINTS_MAX);
        let points: Vec<(f64, f64)> = self
            .times_ns
            .iter()
            .zip(live)
            .step_by(step)
            .map(|(&time, &live)| (time as f64, live as f64))
            .collect();
        let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
        for (at, one) in points.iter().enumerate() {
            let later = points.iter().skip(at + 1).filter(|other| other.0 > one.0);
            slopes.extend(later.map(|other| (other.1 - one.1) / (other.0 - one.0)));
        }
        let middle = slopes.len() / 2;
        if slopes.is_empty() {
            return None;
        }
        let (_, median, _) = slopes.select_nth_unstable_by(middle, f64::total_cmp);
        Some((*median * 1e9).round() as i64)
    }

    /// Is more live at the end than in the middle of the session? None as for the slope.
    pub(super) fn still_grows(&self, group: usize) -> Option<bool> {
        self.slope(group)?;
        let live = self.live.get(group)?;
        let half = self.times_ns.last()? / 2;
        let middle = self.times_ns.iter().rposition(|&time| time <= half)?;
        Some(live.last()? > live.get(middle)?)
    }
}

fn live_bytes(totals: &Totals) -> u64 {
    totals.allocated_bytes.saturating_sub(totals.freed_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(points: &[(u64, u64)]) -> Course {
        Course {
            times_ns: points.iter().map(|&(time, _)| time * 1_000_000_000).collect(),
            live: vec![points.iter().map(|&(_, live)| live).collect()],
        }
    }

    #[test]
    fn slopes() {
        assert_eq!(course(&[(0, 0), (1, 100), (2, 200), (3, 300)]).slope(0), Some(100));
        assert_eq!(course(&[(0, 0), (1, 700), (2, 700), (9, 700)]).still_grows(0), Some(false));
        assert_eq!(course(&[(0, 0), (1, 100), (2, 200), (3, 300)]).still_grows(0), Some(true));
        assert_eq!(course(&[(0, 900), (1, 600), (2, 300), (3, 0)]).slope(0), Some(-300));
        assert_eq!(course(&[(0, 5), (1, 5), (2, 5)]).slope(0), Some(0));
        assert_eq!(course(&[(0, 0), (60, 9)]).slope(0), None);
        assert_eq!(course(&[(0, 0), (0, 4), (0, 9)]).slope(0), None);
        // A pool that fills, and one that fills in the middle.
        let step =
            |at: u64| (0..100).map(|time| (time, if time < at { 0 } else { 4_096 })).collect::<Vec<_>>();
        assert_eq!(course(&step(1)).slope(0), Some(0));
        assert_eq!(course(&step(30)).slope(0), Some(0));
        let line: Vec<(u64, u64)> = (0..1_000).map(|time| (time, time * 77 + time % 2 * 9)).collect();
        assert!(course(&line).slope(0).is_some_and(|slope| (76..=78).contains(&slope)));
        assert_eq!(course(&[(0, 0)]).slope(1), None);
    }
}
