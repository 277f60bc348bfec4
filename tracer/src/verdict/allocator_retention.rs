//! Retention: what malloc keeps and nobody uses, by the balance of the process's memory.

use super::advice::advice;
use super::clauses::Sentence;
use super::history::Point;
use super::sentence::Figures;
use super::{CommandPid, Proof, Verdict, VerdictKind};

/// malloc keeps some memory for what comes next: what is less is no finding.
const RETAINED_MIN_BYTES: u64 = 16 << 20;
/// Memory that it keeps since before the session is what a start leaves, unless it is more.
const RETAINED_BEFORE_MIN_BYTES: u64 = 64 << 20;

/// The history of all that was allocated, against which the memory that malloc keeps is judged.
pub struct AllocatorRetention {
    history: Vec<Point>,
    /// The most that compilers held of it.
    compilers_bytes: u64,
    pid: CommandPid,
}

impl AllocatorRetention {
    pub(super) fn new(history: Vec<Point>, compilers_bytes: u64, pid: CommandPid) -> AllocatorRetention {
        AllocatorRetention { history, compilers_bytes, pid }
    }

    /// The meaning of the resident bytes that malloc keeps free, beside those that are in use.
    pub fn verdict(&self, retained_bytes: u64, used_bytes: u64) -> Verdict {
        let mut figures = Figures::default();
        let (kind, evidence) = self.classify(retained_bytes, used_bytes, &mut figures);
        let advice = advice(kind, "allocator", None, self.pid);
        Verdict { kind, proof: Proof::Course, evidence, advice, figures }
    }

    fn classify(
        &self,
        retained_bytes: u64,
        used_bytes: u64,
        figures: &mut Figures,
    ) -> (VerdictKind, Sentence) {
        let all_bytes = retained_bytes.saturating_add(used_bytes);
        let peak = self.history.iter().max_by_key(|point| point.live_bytes()).copied().unwrap_or_default();
        let live_bytes = self.history.last().map_or(0, Point::live_bytes);
        let retained = figures.bytes("kept_bytes", retained_bytes);
        let all = figures.bytes("malloc_bytes", all_bytes);
        let retained = Sentence::from(format!("malloc keeps {retained} of its {all} free"));
        let fell = peak.live_bytes().saturating_sub(live_bytes) >= retained_bytes / 2;
        // A third: under an even load, glibc keeps less.
        let least_bytes = if fell { RETAINED_MIN_BYTES } else { RETAINED_BEFORE_MIN_BYTES };
        let is_much = retained_bytes >= least_bytes && retained_bytes.saturating_mul(3) >= all_bytes;
        // Into what is kept, noticeably: in the second half of the time, or in all of it, without a fall from a peak.
        let grows =
            still_grows(&self.history, retained_bytes / 4) || !fell && live_bytes >= retained_bytes / 4;
        if is_much && !grows && self.compilers_bytes >= retained_bytes / 2 {
            let held = figures.bytes("compilers_bytes", self.compilers_bytes);
            let compilers = format!("compilers held up to {held} of it, and take it for the next methods");
            return (VerdictKind::Steady, retained.then("; ", compilers));
        }
        let live = figures.bytes("live_bytes", live_bytes);
        if !is_much || grows {
            let live = format!("{live} of what was allocated in the session is live");
            return (VerdictKind::Steady, retained.then("; ", live));
        }
        let peak_text = figures.bytes("peak_bytes", peak.live_bytes());
        let course = if fell {
            let when = figures.time("peak_ns", peak.time_ns);
            format!("live bytes fell from {peak_text} at {when} to {live}")
        } else {
            format!(
                "of what was allocated in the session {live} is live, and never more than {peak_text} was"
            )
        };
        (VerdictKind::Retention, retained.then(": ", course))
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
    use crate::process::Pid;

    const MIB: u64 = 1 << 20;

    /// Live bytes by second.
    fn retention(live: &[u64]) -> AllocatorRetention {
        let point = |(second, &live): (u64, &u64)| Point {
            time_ns: second * 1_000_000_000,
            allocated_bytes: 1_000 * MIB,
            freed_bytes: (1_000 - live) * MIB,
            ..Point::default()
        };
        AllocatorRetention {
            history: (0..).zip(live).map(point).collect(),
            compilers_bytes: 0,
            pid: CommandPid::of_running(Pid(1)),
        }
    }

    #[test]
    fn what_is_kept_after_a_burst_is_retention() {
        let (kind, evidence) =
            retention(&[0, 50, 100, 25, 25, 25]).classify(75 * MIB, 30 * MIB, &mut Figures::default());
        assert_eq!(kind, VerdictKind::Retention);
        assert_eq!(
            evidence,
            "malloc keeps 75.0 MiB of its 105.0 MiB free: live bytes fell from 100.0 MiB at 2.0 s to 25.0 MiB"
        );
        let (kind, evidence) = retention(&[5, 5, 5, 5]).classify(75 * MIB, 30 * MIB, &mut Figures::default());
        assert_eq!(kind, VerdictKind::Retention, "{evidence}");
        assert_eq!(
            retention(&[0, 50, 100, 25, 25, 25]).classify(10 * MIB, 30 * MIB, &mut Figures::default()).0,
            VerdictKind::Steady
        );
        assert_eq!(
            retention(&[0, 50, 100, 95]).classify(20 * MIB, 300 * MIB, &mut Figures::default()).0,
            VerdictKind::Steady
        );
        // A burst of compilations.
        let compilers =
            AllocatorRetention { compilers_bytes: 60 * MIB, ..retention(&[0, 50, 100, 25, 25, 25]) };
        assert_eq!(compilers.classify(75 * MIB, 30 * MIB, &mut Figures::default()).0, VerdictKind::Steady);
        // It will be used.
        assert_eq!(
            retention(&[0, 10, 20, 30, 40, 50]).classify(75 * MIB, 30 * MIB, &mut Figures::default()).0,
            VerdictKind::Steady
        );
    }
}
