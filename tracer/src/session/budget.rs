//! Part of the target's work that recording may take, and which step follows when it takes more. Pure: what was measured
//! is given, and so is the time. What a step does to the probes is in `recorder::budget_steps`.

use tracer_common::sampling::MAX_WEIGHT;

/// Time for which it must be too much.
const PATIENCE_NS: u64 = 2_000_000_000;
/// Percentage of one CPU below which recording never takes too much: what hardly runs has little to lose.
pub const LEAST_PERCENT_OF_CPU: f64 = 5.0;
/// Sampling aims below the budget.
const AIM: f64 = 0.5;
const MIN_INTERVAL_BYTES: u32 = 64 << 10;
const MAX_INTERVAL_BYTES: u32 = 64 << 20;
/// Factor by which an interval grows that was too small.
const FACTOR: u32 = 16;

/// Measurements of a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    pub span_ns: u64,
    /// CPU time of the target, with what recording takes.
    pub target_ns: u64,
    /// The part for each kind: the traps of allocator probes, their programs, and all other probes.
    pub traps_ns: u64,
    pub programs_ns: u64,
    pub others_ns: u64,
    /// CPU time that recording takes beside the target: of the recorder, and of probes in other processes.
    pub beside_ns: u64,
    /// Mean size of the allocations of the session.
    pub mean_bytes: u64,
}

impl Reading {
    /// Time that recording takes.
    pub fn taken_ns(&self) -> u64 {
        self.traps_ns + self.programs_ns + self.others_ns
    }

    /// Overhead in the target as a part of its CPU time, 0 to 1.
    pub fn share(&self) -> f64 {
        self.of_target(self.taken_ns())
    }

    /// All that recording takes, in the target and beside it, as a part of the target's CPU time, 0 to 1.
    pub fn whole_share(&self) -> f64 {
        self.of_target(self.whole_ns())
    }

    fn whole_ns(&self) -> u64 {
        self.taken_ns() + self.beside_ns
    }

    fn of_target(&self, part_ns: u64) -> f64 {
        part_ns as f64 / self.target_ns.max(part_ns).max(1) as f64
    }

    /// Time that the allocator's programs may take for all to be within `limit`.
    fn left_ns(&self, limit: f64) -> f64 {
        limit * self.target_ns as f64 - (self.traps_ns + self.others_ns + self.beside_ns) as f64
    }
}

/// Amount that is recorded of allocator calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Exact,
    /// One allocation is recorded in about so many bytes.
    Sampled(u32),
    /// `None` if their probes are gone.
    Light,
    /// No probe is left.
    Detached,
}

/// The state of a session.
#[derive(Debug)]
pub struct Budget {
    limit: f64,
    level: Level,
    over_ns: u64,
}

impl Budget {
    /// `percent` of the target's CPU time; `level`: what the session begins with.
    pub fn new(percent: u32, level: Level) -> Budget {
        Budget { limit: f64::from(percent) / 100.0, level, over_ns: 0 }
    }

    /// Takes in what was measured since the reading before, `since_ns` ago. Gives the level to go to, if that is
    /// another one.
    pub fn observe(&mut self, since_ns: u64, reading: &Reading) -> Option<Level> {
        let least_ns = LEAST_PERCENT_OF_CPU / 100.0 * reading.span_ns as f64;
        if reading.whole_share() <= self.limit || (reading.whole_ns() as f64) < least_ns {
            self.over_ns = 0;
            return None;
        }
        self.over_ns = self.over_ns.saturating_add(since_ns);
        if self.over_ns < PATIENCE_NS {
            return None;
        }
        self.over_ns = 0;
        self.level = self.below(reading)?;
        Some(self.level)
    }

    /// The next level down.
    fn below(&self, reading: &Reading) -> Option<Level> {
        match self.level {
            Level::Exact => Some(Level::Sampled(self.interval(reading))),
            Level::Sampled(bytes) if bytes < MAX_INTERVAL_BYTES && reading.left_ns(self.limit) > 0.0 => {
                Some(Level::Sampled(bytes.saturating_mul(FACTOR).min(MAX_INTERVAL_BYTES)))
            }
            Level::Sampled(_) => Some(Level::Light),
            Level::Light => Some(Level::Detached),
            Level::Detached => None,
        }
    }

    /// The interval with which so many allocations are recorded as the budget has room for.
    fn interval(&self, reading: &Reading) -> u32 {
        let left = reading.left_ns(self.limit).max(0.0) * AIM;
        let part = (left / reading.programs_ns.max(1) as f64).clamp(1.0 / f64::from(MAX_WEIGHT), 1.0);
        let bytes = reading.mean_bytes.max(1) as f64 / part;
        (bytes.min(f64::from(MAX_INTERVAL_BYTES)) as u32)
            .next_power_of_two()
            .clamp(MIN_INTERVAL_BYTES, MAX_INTERVAL_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH_NS: u64 = 100_000_000;
    const HALF_NS: u64 = 500_000_000;

    /// Reading of a target that is always busy, in percent of its time.
    fn busy(traps: u64, programs: u64, others: u64) -> Reading {
        let percent = TENTH_NS / 100;
        Reading {
            span_ns: TENTH_NS,
            target_ns: TENTH_NS,
            traps_ns: traps * percent,
            programs_ns: programs * percent,
            others_ns: others * percent,
            beside_ns: 0,
            mean_bytes: 100,
        }
    }

    /// The levels that a session goes through in so many readings, and at which.
    fn levels(budget: &mut Budget, readings: &[Reading]) -> Vec<(usize, Level)> {
        let observed = readings.iter().enumerate();
        observed.filter_map(|(at, reading)| Some((at + 1, budget.observe(HALF_NS, reading)?))).collect()
    }

    #[test]
    fn within_the_budget_nothing_happens() {
        let mut budget = Budget::new(10, Level::Exact);
        assert_eq!(levels(&mut budget, &[busy(6, 3, 1); 100]), []);
    }

    #[test]
    fn a_burst_is_no_reason() {
        let mut budget = Budget::new(10, Level::Exact);
        let burst = [busy(50, 30, 0), busy(50, 30, 0), busy(50, 30, 0), busy(1, 1, 0)];
        assert_eq!(levels(&mut budget, &burst.repeat(20)), []);
    }

    #[test]
    fn a_tight_loop_is_sampled_and_then_left_alone() {
        let mut budget = Budget::new(10, Level::Exact);
        let steps = levels(&mut budget, &[busy(60, 35, 0); 100]);
        // The traps alone are too much, which sampling does not make less.
        assert!(matches!(steps[..2], [(4, Level::Sampled(_)), (8, Level::Light)]), "{steps:?}");
        assert_eq!(steps[2..], [(12, Level::Detached)]);
    }

    #[test]
    fn the_interval_is_what_the_budget_has_room_for() {
        let mut budget = Budget::new(10, Level::Exact);
        // 2 % are left for what takes 40 %; half of that is aimed at.
        let reading = Reading { mean_bytes: 4 << 10, ..busy(8, 40, 0) };
        assert_eq!(levels(&mut budget, &[reading; 4]), [(4, Level::Sampled(256 << 10))]);
        // It was not enough.
        assert_eq!(levels(&mut budget, &[busy(8, 3, 0); 4]), [(4, Level::Sampled(4 << 20))]);
        assert_eq!(levels(&mut budget, &[busy(8, 1, 0); 50]), []);
    }

    #[test]
    fn what_hardly_runs_has_little_to_lose() {
        let mut budget = Budget::new(10, Level::Exact);
        let idle =
            Reading { span_ns: TENTH_NS, target_ns: 1_500_000, traps_ns: 1_400_000, ..Reading::default() };
        assert!(idle.share() > 0.9);
        assert_eq!(levels(&mut budget, &[idle; 100]), []);
        assert_eq!(levels(&mut budget, &[Reading::default(); 100]), []);
    }

    #[test]
    fn what_is_taken_beside_the_target_counts() {
        let reading = |beside_ns| Reading { beside_ns, ..busy(3, 3, 1) };
        assert_eq!(levels(&mut Budget::new(10, Level::Exact), &[reading(3_000_000); 100]), []);
        let steps = levels(&mut Budget::new(10, Level::Exact), &[reading(3_100_000); 4]);
        assert!(matches!(steps[..], [(4, Level::Sampled(_))]), "{steps:?}");
        assert_eq!(reading(3_100_000).share(), 0.07);
    }

    #[test]
    fn a_hundred_percent_is_no_limit() {
        let mut budget = Budget::new(100, Level::Exact);
        assert_eq!(levels(&mut budget, &[busy(80, 60, 0); 100]), []);
    }

    proptest::proptest! {
        /// Levels only go down, each takes two seconds at least, and the last is reached once.
        #[test]
        fn levels_go_down(parts in proptest::collection::vec((0..100_u64, 0..100_u64, 0..20_u64), 0..200)) {
            let mut budget = Budget::new(10, Level::Exact);
            let readings: Vec<_> = parts.iter().map(|&(traps, programs, others)| busy(traps, programs, others)).collect();
            let steps = levels(&mut budget, &readings);
            let rank = |level: Level| match level {
                Level::Exact => 0,
                Level::Sampled(bytes) => u64::from(bytes),
                Level::Light => u64::MAX - 1,
                Level::Detached => u64::MAX,
            };
            for pair in steps.windows(2) {
                proptest::prop_assert!(rank(pair[0].1) < rank(pair[1].1) && pair[1].0 - pair[0].0 >= 4);
            }
        }
    }
}
