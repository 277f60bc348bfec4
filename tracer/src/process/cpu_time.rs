//! Run time of a process, its wait for a CPU, and its page faults.

use std::fs;

use super::Pid;

/// CPU time of all threads of process `pid`, those that have ended among them, ns. `None` if there is none.
pub fn of_process(pid: Pid) -> Option<u64> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both write to what they are given, and only if they succeed.
    let told = unsafe {
        libc::clock_getcpuclockid(pid.raw(), &raw mut clock) == 0
            && libc::clock_gettime(clock, &raw mut time) == 0
    };
    let (seconds, ns) = (u64::try_from(time.tv_sec).ok()?, u64::try_from(time.tv_nsec).ok()?);
    told.then(|| seconds * 1_000_000_000 + ns)
}

/// Time in which the threads of process `pid` were ready to run and waited for a CPU, ns; 0 if the kernel does not tell.
pub fn waited(pid: Pid) -> u64 {
    waits(pid).ns
}

/// Waits for a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    pub ns: u64,
    /// Times that a thread ran.
    pub turns: u64,
}

impl Waits {
    /// Mean wait for one turn since `earlier`, ns; 0 if there was none.
    pub fn mean_ns_since(self, earlier: Self) -> u64 {
        let turns = self.turns.saturating_sub(earlier.turns);
        self.ns.saturating_sub(earlier.ns).checked_div(turns).unwrap_or(0)
    }
}

/// Waits of the threads of process `pid` so far; none if the kernel does not tell (`/proc/PID/task/TID/schedstat`, the
/// second and the third number).
pub fn waits(pid: Pid) -> Waits {
    let of_thread = |tid| {
        let text = fs::read_to_string(pid.thread_path(tid, "schedstat")).ok()?;
        let mut numbers = text.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
        Some(Waits { ns: numbers.next()?.ok()?, turns: numbers.next()?.ok()? })
    };
    let all = pid.threads().into_iter().flatten().filter_map(of_thread);
    all.fold(Waits::default(), |sum, waits| Waits {
        ns: sum.ns.saturating_add(waits.ns),
        turns: sum.turns.saturating_add(waits.turns),
    })
}

/// Page faults of process `pid` so far, in all its threads; 0 if the kernel does not tell (`/proc/PID/stat`: `minflt`
/// and `majflt`).
pub fn fault_count(pid: Pid) -> u64 {
    let stat = fs::read_to_string(pid.path("stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    field(7).saturating_add(field(9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_by_turn() {
        let told = |ns, turns| Waits { ns, turns };
        assert_eq!(told(9_000, 7).mean_ns_since(told(1_000, 3)), 2_000);
        assert_eq!(told(9_000, 7).mean_ns_since(told(9_000, 7)), 0);
        // Threads that ended take theirs along.
        assert_eq!(told(1_000, 3).mean_ns_since(told(9_000, 7)), 0);
        assert!(waits(Pid::own()).turns > 0);
    }

    #[test]
    fn what_runs_takes_time() {
        let own = Pid::own();
        let before = of_process(own).expect("this process");
        let mut sum = 0_u64;
        while of_process(own).expect("this process") < before + 2_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(sum > 0);
        // Pids end at 2^22.
        assert_eq!(of_process(Pid(1 << 23)), None);
        assert_eq!((waited(Pid(1 << 23)), fault_count(Pid(1 << 23))), (0, 0));
    }

    #[test]
    fn fresh_memory_is_faulted_in() {
        let before = fault_count(Pid::own());
        // Too large for malloc to have kept.
        let fresh = std::hint::black_box(vec![1_u8; 33 << 20]);
        assert!(fault_count(Pid::own()) > before, "{}", fresh.len());
    }
}
