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

/// Time in which the threads of process `pid` were ready to run and waited for a CPU, ns; 0 if the kernel does not tell
/// (`/proc/PID/task/TID/schedstat`, the second number).
pub fn waited(pid: Pid) -> u64 {
    let tids = pid.threads().into_iter().flatten();
    let waited = tids.filter_map(|tid| {
        let text = fs::read_to_string(pid.thread_path(tid, "schedstat")).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    });
    waited.fold(0, u64::saturating_add)
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
