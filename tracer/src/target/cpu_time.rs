//! How long a process ran, and how long it waited for a CPU.

use std::fs;

/// CPU time of all threads of process `pid`, those that have ended among them, ns. None: there is none.
pub fn of_process(pid: u32) -> Option<u64> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let pid = libc::pid_t::try_from(pid).ok()?;
    // SAFETY: both write to what they are given, and only if they succeed.
    let told = unsafe {
        libc::clock_getcpuclockid(pid, &raw mut clock) == 0 && libc::clock_gettime(clock, &raw mut time) == 0
    };
    let (seconds, ns) = (u64::try_from(time.tv_sec).ok()?, u64::try_from(time.tv_nsec).ok()?);
    told.then(|| seconds * 1_000_000_000 + ns)
}

/// How long the threads of process `pid` were ready to run and waited for a CPU, ns; 0 if the kernel does not tell
/// (`/proc/PID/task/TID/schedstat`, the second number).
pub fn waited(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let waited = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    });
    waited.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_takes_time() {
        let own = std::process::id();
        let before = of_process(own).expect("this process");
        let mut sum = 0_u64;
        while of_process(own).expect("this process") < before + 2_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(sum > 0);
        // Pids end at 2^22.
        assert_eq!(of_process(1 << 23), None);
        assert_eq!(waited(1 << 23), 0);
    }
}
