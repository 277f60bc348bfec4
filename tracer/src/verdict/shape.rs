//! The outline of a history, and the verdict of what does not grow.

use super::classify::{Evidence, Finding, SMALL_BYTES, at};
use super::collected::Collected;
use super::history::Point;
use super::sentence::Figures;
use super::{Proof, VerdictKind};

/// A block that grows by this factor at once was enlarged.
const STEP: f64 = 1.25;
/// Steps that tell a block which is enlarged again and again from one that got its size.
const STEPS_MIN: usize = 3;
/// Blocks that are enlarged: a table or two of one piece of code.
pub(super) const ENLARGED_MAX: u64 = 8;

/// The outline of a history.
pub(super) struct Shape {
    /// Time at which something was first live.
    pub(super) first_ns: u64,
    pub(super) peak_bytes: u64,
    peak_ns: u64,
}

impl Shape {
    pub(super) fn of(history: &[Point]) -> Shape {
        let peak = history.iter().max_by_key(|point| (point.live_bytes(), std::cmp::Reverse(point.time_ns)));
        let first = history.iter().position(|point| point.allocated_bytes > 0);
        // It was allocated after the moment before.
        let first_ns =
            first.and_then(|at| history.get(at.saturating_sub(1))).map_or(0, |point| point.time_ns);
        Shape {
            first_ns,
            peak_bytes: peak.map_or(0, Point::live_bytes),
            peak_ns: peak.map_or(0, |point| point.time_ns),
        }
    }

    /// The verdict of a few blocks that are enlarged again and again, as a table is to which something is added all
    /// the time: it doubles ever more seldom, and is flat between. `None` if they are not.
    pub(super) fn enlarged(&self, case: &Evidence<'_>, figures: &mut Figures) -> Option<Finding> {
        let end = case.end();
        let span_ns = end.time_ns.saturating_sub(self.first_ns);
        let early = at(case.history, self.first_ns + span_ns / 4);
        let is_few = (1..=ENLARGED_MAX).contains(&end.live_count()) && end.live_count() <= early.live_count();
        let mut steps: Vec<(Point, Point)> = Vec::new();
        for pair in case.history.windows(2) {
            let [before, after] = pair else { continue };
            if before.live_bytes() > 0 && after.live_bytes() as f64 >= before.live_bytes() as f64 * STEP {
                steps.push((*before, *after));
            }
        }
        let (first, last) = (steps.first()?.0, steps.last()?.1);
        let before_last = steps.iter().rev().nth(1)?.1;
        let goes_on =
            last.time_ns > self.first_ns + span_ns / 2 && before_last.time_ns > self.first_ns + span_ns / 8;
        let never_falls = end.live_bytes() >= last.live_bytes() && end.live_bytes() >= self.peak_bytes;
        let grown_bytes = end.live_bytes().saturating_sub(first.live_bytes());
        let is_found =
            is_few && goes_on && never_falls && steps.len() >= STEPS_MIN && grown_bytes >= case.least_bytes();
        is_found.then(|| {
            let blocks = figures.counted("live_count", end.live_count(), "block");
            let from = figures.bytes("first_bytes", first.live_bytes());
            let to = figures.bytes("live_bytes", end.live_bytes());
            let count = figures.counted("steps_count", steps.len() as u64, "step");
            let when = figures.time("last_step_ns", last.time_ns);
            let is = if end.live_count() == 1 { "was" } else { "were" };
            let evidence = format!(
                "{blocks} {is} enlarged from {from} to {to} in {count}, the last by {when}, and nothing was taken out"
            );
            Finding::new(VerdictKind::Leak, Proof::Course, evidence, std::mem::take(figures))
        })
    }

    /// The verdict of what does not grow.
    pub(super) fn settled(
        &self,
        case: &Evidence<'_>,
        collected: &Collected,
        mut figures: Figures,
    ) -> Finding {
        let end = case.end();
        let live = end.live_bytes();
        let (peak, live_text) =
            (figures.bytes("peak_bytes", self.peak_bytes), figures.bytes("live_bytes", live));
        let finding = |kind, evidence: String, figures| Finding::new(kind, Proof::Course, evidence, figures);
        if live.saturating_mul(2) <= self.peak_bytes && !self.recurs(case.history) {
            let when = figures.time("peak_ns", self.peak_ns);
            return finding(
                VerdictKind::Transient,
                format!("rose to {peak} by {when} and fell to {live_text}"),
                figures,
            );
        }
        let (from, to) = (self.first_ns, end.time_ns);
        let late_ns = from + (to - from) / 3 * 2;
        let before = at(case.history, late_ns);
        let late_allocated = end.allocated_bytes.saturating_sub(before.allocated_bytes);
        let early_rate = before.allocated_bytes as f64 / (late_ns.saturating_sub(from)).max(1) as f64;
        let late_rate = late_allocated as f64 / (to.saturating_sub(late_ns)).max(1) as f64;
        let freed_share = end.freed_bytes as f64 / end.allocated_bytes.max(1) as f64;
        let allocated = figures.bytes("allocated_bytes", end.allocated_bytes);
        let freed = figures.bytes("freed_bytes", end.freed_bytes);
        if freed_share > 0.9 && late_rate < early_rate / 4.0 {
            let when = figures.time("late_ns", late_ns);
            let evidence = format!("of {allocated}, most of it allocated before {when}, {freed} was freed");
            return finding(VerdictKind::Transient, evidence, figures);
        }
        let half = from + (to - from) / 2;
        let held_bytes = match case.births {
            [] if end.freed_bytes.saturating_mul(2) < end.allocated_bytes => live,
            [] => 0,
            births => births.iter().filter(|birth| birth.born_ns < half).map(|birth| birth.live_bytes).sum(),
        };
        if live > 0 && held_bytes.saturating_mul(2) >= live {
            return self.pool(case, figures);
        }
        let late = case.history.iter().filter(|point| point.time_ns >= half).map(Point::live_bytes);
        let low = figures.bytes("late_low_bytes", late.clone().min().unwrap_or(live));
        let high = figures.bytes("late_high_bytes", late.max().unwrap_or(live));
        let mut evidence = format!(
            "{live_text} live at the end, and from {low} to {high} in the second half of the time; {freed} of {allocated} \
             allocated was freed"
        );
        if let Some(collected) = collected.in_passing(&mut figures) {
            evidence += &format!(", {collected}");
        }
        finding(VerdictKind::Steady, evidence, figures)
    }

    /// The verdict of what rose and stayed.
    fn pool(&self, case: &Evidence<'_>, mut figures: Figures) -> Finding {
        let end = case.end();
        let live = end.live_bytes();
        let level = live.saturating_sub(live / 10);
        let reached = case.history.iter().find(|point| point.live_bytes() >= level).copied().unwrap_or(end);
        let to = figures.bytes("reached_bytes", reached.live_bytes());
        let by = figures.time("reached_ns", reached.time_ns);
        let stayed = figures.time("stayed_ns", end.time_ns.saturating_sub(reached.time_ns));
        let live_text = figures.bytes("live_bytes", live);
        let mut evidence = format!("rose to {to} by {by}, and is {live_text} after another {stayed}");
        let more_allocated = end.allocated_bytes.saturating_sub(reached.allocated_bytes);
        let more_freed = end.freed_bytes.saturating_sub(reached.freed_bytes);
        if more_allocated.min(more_freed) >= SMALL_BYTES {
            let allocated = figures.bytes("more_allocated_bytes", more_allocated);
            let freed = figures.bytes("more_freed_bytes", more_freed);
            evidence += &format!(", in which {allocated} more was allocated and {freed} was freed");
        }
        Finding::new(VerdictKind::Pool, Proof::Course, evidence, figures)
    }

    /// Is a fall from the peak one of several, as of work that comes in waves?
    fn recurs(&self, history: &[Point]) -> bool {
        let (high, low) = (self.peak_bytes / 4 * 3, self.peak_bytes / 2);
        let mut is_high = false;
        let mut rises = 0;
        for point in history {
            let live = point.live_bytes();
            if !is_high && live >= high {
                (is_high, rises) = (true, rises + 1);
            } else if is_high && live <= low {
                is_high = false;
            }
        }
        rises > 2
    }
}
