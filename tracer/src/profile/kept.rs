//! What malloc keeps and nobody uses: a category of its own, by the balance of the process's memory.

use super::growth::Point;
use super::memory::Memory;
use super::verdict::{Kind, advice};
use super::{Category, Totals, Verdict, units};
use crate::attribute::Rules;

/// malloc keeps some memory for what comes next: what is less is no finding.
const KEPT_MIN_BYTES: u64 = 16 << 20;

/// The course of all that was allocated.
pub(super) struct Kept {
    pub(super) history: Vec<Point>,
    /// The most that compilers held of it.
    pub(super) compilers_bytes: u64,
    pub(super) pid: u32,
}

impl Kept {
    /// The category. None: the balance does not tell what malloc keeps.
    pub(super) fn category(&self, memory: &Memory, rules: &Rules) -> Option<Category> {
        let resident = |id: &str| memory.parts.iter().find(|part| part.id == id)?.resident_bytes;
        let kept_bytes = resident("malloc-free")?;
        let used_bytes = resident("malloc-live").unwrap_or(0) + resident("malloc-before").unwrap_or(0);
        let (kind, evidence) = self.verdict(kept_bytes, used_bytes);
        let advice = advice(kind, "allocator", None, self.pid);
        Some(Category {
            id: "allocator".to_owned(),
            name: rules.category_name("allocator"),
            source: "allocator",
            totals: Totals::default(),
            resident_bytes: Some(kept_bytes),
            owners: Vec::new(),
            growth_bytes_per_s: None,
            verdict: Some(Verdict { kind, evidence, advice }),
        })
    }

    fn verdict(&self, kept_bytes: u64, used_bytes: u64) -> (Kind, String) {
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
    fn kept(live: &[u64]) -> Kept {
        let point = |(second, &live): (u64, &u64)| Point {
            time_ns: second * 1_000_000_000,
            allocated_bytes: 1_000 * MIB,
            freed_bytes: (1_000 - live) * MIB,
            collected_bytes: 0,
        };
        Kept { history: (0..).zip(live).map(point).collect(), compilers_bytes: 0, pid: 1 }
    }

    #[test]
    fn what_is_kept_after_a_burst_is_retention() {
        let (kind, evidence) = kept(&[0, 50, 100, 25, 25, 25]).verdict(75 * MIB, 30 * MIB);
        assert_eq!(kind, Kind::Retention);
        assert_eq!(
            evidence,
            "malloc keeps 75.0 MiB of its 105.0 MiB free: live bytes fell from 100.0 MiB at 2.0 s to 25.0 MiB"
        );
        let (kind, evidence) = kept(&[5, 5, 5, 5]).verdict(75 * MIB, 30 * MIB);
        assert_eq!(kind, Kind::Retention, "{evidence}");
        assert_eq!(kept(&[0, 50, 100, 25, 25, 25]).verdict(10 * MIB, 30 * MIB).0, Kind::Steady);
        assert_eq!(kept(&[0, 50, 100, 95]).verdict(20 * MIB, 300 * MIB).0, Kind::Steady);
        // A burst of compilations.
        let compilers = Kept { compilers_bytes: 60 * MIB, ..kept(&[0, 50, 100, 25, 25, 25]) };
        assert_eq!(compilers.verdict(75 * MIB, 30 * MIB).0, Kind::Steady);
        // It will be used.
        assert_eq!(kept(&[0, 10, 20, 30, 40, 50]).verdict(75 * MIB, 30 * MIB).0, Kind::Steady);
        assert!(kept(&[]).category(&Memory::default(), &Rules::builtin()).is_none());
    }
}
