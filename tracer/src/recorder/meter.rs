//! CPU time that recording takes from the target, measured in short windows, against its budget.

use std::collections::HashMap;

use crate::{
    probe::{
        calibrate::TrapCosts,
        points,
        probes::Probes,
        run_times::{Counting, Runs},
    },
    process::{Pid, cpu_time},
    recording::Overhead,
    session::budget::{Budget, Level, Reading},
};

/// See the module.
pub(super) struct Meter {
    pid: Pid,
    percent: u32,
    traps: TrapCosts,
    budget: Budget,
    window: Option<(Counting, Moment)>,
    /// Time at which the window before ended.
    ended_ns: u64,
    /// Overhead of all windows.
    overhead: Overhead,
    begun_ns: u64,
}

/// Time after the begin for which the recorder's own CPU time is not held against it: it learns the names of what it
/// meets for the first time, which recording less would not spare.
const LEARNS_NS: u64 = 10_000_000_000;

/// What recording took in a window, percent of the target's CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Took {
    pub(super) percent: u32,
    /// The part of it that was taken beside the target.
    pub(super) beside_percent: u32,
}

/// A target that runs less, percent of one CPU, in a window has no CPU time of which a part could be told.
const IDLE_PERCENT: u64 = 1;

/// Readings of the counters at one moment.
struct Moment {
    time_ns: u64,
    target_ns: u64,
    waited_ns: u64,
    fault_count: u64,
    /// CPU time of the recorder.
    own_ns: u64,
    runs: Vec<Runs>,
}

impl Meter {
    /// A meter of a session of process `pid` that begins with `level`.
    ///
    /// # Errors
    /// The kernel refuses to tell what probes cost.
    pub(super) fn new(pid: Pid, percent: u32, level: Level, probes: &Probes) -> Result<Meter, String> {
        let traps = TrapCosts::measure().map_err(|error| error.to_string())?;
        tracing::debug!(traps.entry_ns, traps.return_ns, "cost of a trap");
        probes.count_runs().map_err(|error| error.to_string())?;
        Ok(Meter {
            pid,
            percent,
            traps,
            budget: Budget::new(percent, level),
            window: None,
            ended_ns: 0,
            overhead: Overhead::default(),
            begun_ns: 0,
        })
    }

    /// Percent of the target's CPU time.
    pub(super) fn limit_percent(&self) -> u32 {
        self.percent
    }

    /// Overhead that was measured so far.
    pub(super) fn overhead(&self) -> Overhead {
        self.overhead
    }

    /// Begins a window.
    pub(super) fn open(&mut self, time_ns: u64, probes: &mut Probes) {
        self.window = probes.count_runs().ok().and_then(|counting| {
            let moment = self.moment(time_ns, &counting, probes)?;
            Some((counting, moment))
        });
        if self.ended_ns == 0 {
            self.ended_ns = time_ns;
            self.begun_ns = time_ns;
        }
    }

    /// Ends it. Gives the level to go to, if recording took too much, and what it took in the window.
    pub(super) fn close(
        &mut self,
        time_ns: u64,
        probes: &mut Probes,
        mean_bytes: u64,
    ) -> Option<(Level, Took)> {
        let (counting, begun) = self.window.take()?;
        let ended = self.moment(time_ns, &counting, probes)?;
        let mut reading = Reading { mean_bytes, ..reading(&self.traps, &begun, &ended) };
        if time_ns.saturating_sub(self.begun_ns) >= LEARNS_NS {
            reading.beside_ns += ended.own_ns.saturating_sub(begun.own_ns);
        }
        tracing::debug!(?reading, share = reading.share(), "overhead");
        add(&mut self.overhead, &reading);
        let since_ns = time_ns.saturating_sub(std::mem::replace(&mut self.ended_ns, time_ns));
        let level = self.budget.observe(since_ns, &reading)?;
        let percent = |share: f64| (share * 100.0).round() as u32;
        let whole = percent(reading.whole_share());
        Some((level, Took { percent: whole, beside_percent: whole.saturating_sub(percent(reading.share())) }))
    }

    fn moment(&self, time_ns: u64, counting: &Counting, probes: &mut Probes) -> Option<Moment> {
        Some(Moment {
            time_ns,
            target_ns: cpu_time::of_process(self.pid)?,
            waited_ns: cpu_time::waited(self.pid),
            fault_count: cpu_time::fault_count(self.pid),
            own_ns: cpu_time::of_process(Pid::own()).unwrap_or_default(),
            runs: counting.runs(probes).ok()?,
        })
    }
}

/// Adds a window to those before, unless the target was idle.
fn add(overhead: &mut Overhead, reading: &Reading) {
    if reading.target_ns >= reading.span_ns / 100 * IDLE_PERCENT {
        overhead.probes_ns += reading.taken_ns();
        overhead.target_ns += reading.target_ns.max(reading.taken_ns());
        overhead.span_ns += reading.span_ns;
    }
}

/// CPU time that was taken between two moments.
fn reading(traps: &TrapCosts, begun: &Moment, ended: &Moment) -> Reading {
    let before: HashMap<&str, &Runs> = begun.runs.iter().map(|runs| (runs.program.as_str(), runs)).collect();
    let target_ns = ended.target_ns.saturating_sub(begun.target_ns);
    // Programs are timed by the clock, which goes on while the target waits for a CPU.
    let waited_ns = ended.waited_ns.saturating_sub(begun.waited_ns);
    let running = target_ns as f64 / target_ns.saturating_add(waited_ns).max(1) as f64;
    let fault_count = ended.fault_count.saturating_sub(begun.fault_count);
    let mut reading =
        Reading { span_ns: ended.time_ns.saturating_sub(begun.time_ns), target_ns, ..Reading::default() };
    for runs in &ended.runs {
        let (count, time_ns) =
            before.get(runs.program.as_str()).map_or((0, 0), |before| (before.count, before.time_ns));
        let count = runs.count.saturating_sub(count);
        // It runs at the faults of every process, and asks there whose they are.
        let of_target = match runs.program == points::FAULTS.program {
            true => (fault_count as f64 / count.max(1) as f64).min(1.0),
            false => 1.0,
        };
        let all_ns = runs.time_ns.saturating_sub(time_ns) as f64;
        let time_ns = (all_ns * running * of_target) as u64;
        reading.beside_ns += (all_ns * (1.0 - of_target)) as u64;
        let trap_ns = match points::point_of(&runs.program) {
            points::Point::Entry => traps.entry_ns,
            points::Point::Return => traps.return_ns,
            points::Point::Kernel => 0,
        };
        let traps_ns = count.saturating_mul(trap_ns);
        if points::is_of_allocator(&runs.program) {
            reading.traps_ns += traps_ns;
            reading.programs_ns += time_ns;
        } else {
            reading.others_ns += traps_ns + time_ns;
        }
    }
    reading
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_cost_their_traps_and_their_programs_time() {
        let moment = |time_ns, target_ns, waited_ns, runs: &[(&str, u64, u64)]| Moment {
            time_ns,
            target_ns,
            waited_ns,
            fault_count: time_ns / 1_000,
            own_ns: time_ns,
            runs: runs
                .iter()
                .map(|&(program, count, time_ns)| Runs { program: program.to_owned(), count, time_ns })
                .collect(),
        };
        let begun = moment(1_000, 500, 0, &[("malloc_enter", 10, 1_000), ("sys_exit_mapping", 1, 70)]);
        let ended = moment(
            101_000,
            100_500,
            100_000,
            &[
                ("malloc_enter", 20, 2_000),
                ("allocate_return", 10, 6_000),
                ("free_enter", 10, 1_000),
                ("gc_end", 1, 100),
                ("sys_exit_mapping", 2, 270),
                // 100 of them are the target's.
                ("page_fault_user", 1_000, 4_000),
            ],
        );
        let costs = TrapCosts { entry_ns: 700, return_ns: 600 };
        // Half of the time it waited.
        let expected = Reading {
            span_ns: 100_000,
            target_ns: 100_000,
            traps_ns: 10 * 700 + 10 * 600 + 10 * 700,
            programs_ns: 500 + 3_000 + 500,
            others_ns: 700 + 100 + 50 + 200,
            // 900 of 1,000 page faults were other processes'.
            beside_ns: 3_600,
            mean_bytes: 0,
        };
        assert_eq!(reading(&costs, &begun, &ended), expected);
    }

    #[test]
    fn windows_of_an_idle_target_do_not_count() {
        let window = |target_ns| Reading { span_ns: 100_000, target_ns, traps_ns: 700, ..Reading::default() };
        let mut overhead = Overhead::default();
        add(&mut overhead, &window(999));
        assert_eq!(overhead, Overhead::default());
        add(&mut overhead, &window(1_000));
        assert_eq!((overhead.probes_ns, overhead.target_ns, overhead.span_ns), (700, 1_000, 100_000));
    }
}
