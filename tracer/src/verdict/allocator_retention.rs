//! Retention: what malloc keeps and nobody uses, by the balance of the process's memory.

use super::advice::advice;
use super::history::Point;
use super::{Kind, Verdict};
use crate::units;

/// malloc keeps some memory for what comes next: what is less is no finding.
const KEPT_MIN_BYTES: u64 = 16 << 20;

/// The history of all that was allocated, against which the memory that malloc keeps is judged.
pub struct AllocatorRetention {
    history: Vec<Point>,
    /// The most that compilers held of it.
    compilers_bytes: u64,
    pid: u32,
}

impl AllocatorRetention {
    pub(super) fn new(history: Vec<Point>, compilers_bytes: u64, pid: u32) -> AllocatorRetention {
        AllocatorRetention { history, compilers_bytes, pid }
    }

    /// The meaning of the resident bytes that malloc keeps free, beside those that are in use.
    pub fn verdict(&self, kept_bytes: u64, used_bytes: u64) -> Verdict {
        let (kind, evidence) = self.judge(kept_bytes, used_bytes);
        Verdict { kind, evidence, advice: advice(kind, "allocator", None, self.pid) }
    }

    fn judge(&self, kept_bytes: u64, used_bytes: u64) -> (Kind, String) {
        let all_bytes = kept_bytes.saturating_add(used_bytes);
        let peak = self.history.iter().max_by_key(|point| point.live_bytes()).copied().unwrap_or_default();
        let live_bytes = self.history.last().map_or(0, Point::live_bytes);
        let size = units::bytes;
        let kept = format!("malloc keeps {} of its {} free", size(kept_bytes), size(all_bytes));
        // A third: under an even load, glibc keeps less.
        let is_much = kept_bytes >= KEPT_MIN_BYTES && kept_bytes.saturating_mul(3) >= all_bytes;
        // Into what is kept, noticeably.
        let grows = still_grows(&self.history, kept_bytes / 4);
        if is_much && !grows && self.compilers_bytes >= kept_bytes / 2 {
            let held = size(self.compilers_bytes);
            return (
                Kind::Steady,
                format!("{kept}; compilers held up to {held} of it, and take it for the next methods"),
            );
        }
        let fell = peak.live_bytes().saturating_sub(live_bytes) >= kept_bytes / 2;
        if !is_much || grows {
            return (Kind::Steady, kept);
        }
        let live = if fell {
            let at_s = peak.time_ns as f64 / 1e9;
            let (peak, live) = (size(peak.live_bytes()), size(live_bytes));
            format!("live bytes fell from {peak} at {at_s:.1} s to {live}")
        } else {
            "live bytes did not grow in the session".to_owned()
        };
        (Kind::Retention, format!("{kept}: {live}"))
    }
}

/// Is more live at the end than half-way through, by so much at least?
pub(super) fn still_grows(history: &[Point], least_bytes: u64) -> bool {
    let Some(end) = history.last() else { return false };
    let middle = history.iter().rfind(|point| point.time_ns <= end.time_ns / 2);
    let before = middle.map_or(0, Point::live_bytes);
    end.live_bytes().saturating_sub(before) >= least_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Live bytes by second.
    fn kept(live: &[u64]) -> AllocatorRetention {
        let point = |(second, &live): (u64, &u64)| Point {
            time_ns: second * 1_000_000_000,
            allocated_bytes: 1_000 * MIB,
            freed_bytes: (1_000 - live) * MIB,
            collected_bytes: 0,
        };
        AllocatorRetention { history: (0..).zip(live).map(point).collect(), compilers_bytes: 0, pid: 1 }
    }

    #[test]
    fn what_is_kept_after_a_burst_is_retention() {
        let (kind, evidence) = kept(&[0, 50, 100, 25, 25, 25]).judge(75 * MIB, 30 * MIB);
        assert_eq!(kind, Kind::Retention);
        assert_eq!(
            evidence,
            "malloc keeps 75.0 MiB of its 105.0 MiB free: live bytes fell from 100.0 MiB at 2.0 s to 25.0 MiB"
        );
        let (kind, evidence) = kept(&[5, 5, 5, 5]).judge(75 * MIB, 30 * MIB);
        assert_eq!(kind, Kind::Retention, "{evidence}");
        assert_eq!(kept(&[0, 50, 100, 25, 25, 25]).judge(10 * MIB, 30 * MIB).0, Kind::Steady);
        assert_eq!(kept(&[0, 50, 100, 95]).judge(20 * MIB, 300 * MIB).0, Kind::Steady);
        // A burst of compilations.
        let compilers = AllocatorRetention { compilers_bytes: 60 * MIB, ..kept(&[0, 50, 100, 25, 25, 25]) };
        assert_eq!(compilers.judge(75 * MIB, 30 * MIB).0, Kind::Steady);
        // It will be used.
        assert_eq!(kept(&[0, 10, 20, 30, 40, 50]).judge(75 * MIB, 30 * MIB).0, Kind::Steady);
    }
}
