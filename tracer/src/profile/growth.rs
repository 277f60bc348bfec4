//! How live bytes went through the session: slopes from the recording's samples.

use crate::recording::{Recording, Totals};

/// Moments needed before a slope is told; the start, when nothing was live, is one of them.
const POINTS_MIN: usize = 3;
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
            let time_ns = sample.time_ns.saturating_sub(recording.session.started_ns);
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

    /// Bytes a second, by least squares; None: too few or too close moments.
    pub(super) fn slope(&self, group: usize) -> Option<i64> {
        let live = self.live.get(group)?;
        let span_ns = self.times_ns.last()?;
        if live.len() < POINTS_MIN || *span_ns < SPAN_MIN_NS {
            return None;
        }
        let count = live.len() as f64;
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / count;
        let time_mean = mean(&mut self.times_ns.iter().map(|&time| time as f64));
        let live_mean = mean(&mut live.iter().map(|&live| live as f64));
        let (mut together, mut alone) = (0.0, 0.0);
        for (&time, &live) in self.times_ns.iter().zip(live) {
            let time = time as f64 - time_mean;
            together += time * (live as f64 - live_mean);
            alone += time * time;
        }
        (alone > 0.0).then(|| (together / alone * 1e9).round() as i64)
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
        assert_eq!(course(&[(0, 0)]).slope(1), None);
    }
}
