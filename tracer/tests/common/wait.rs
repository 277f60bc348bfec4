//! Waiting for what a process does, with a limit.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that waits longer hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Waits until `condition` holds.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited for this in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Looks in a row, 2 ms apart, at a process whose threads all sleep: one that has work sleeps now and then, for a lock.
const RESTING_LOOKS: u32 = 10;

/// Waits until none of a process's threads has anything to do: what a JVM compiles and cleans up in the background is
/// done, however late it came to it.
pub(crate) fn until_at_rest(pid: u32) {
    let mut looks = 0;
    wait_for("a process comes to rest", || {
        looks = if all_threads_are(pid, 'S') { looks + 1 } else { 0 };
        looks == RESTING_LOOKS
    });
}

/// Are all threads of a process in this state, as the kernel has it? `T` is stopped, `S` sleeps, `R` runs or waits for
/// a CPU.
pub(crate) fn all_threads_are(pid: u32, state: char) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads");
    let is_so = |task: PathBuf| match fs::read_to_string(task.join("stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state)),
        // It ended meanwhile.
        Err(_) => true,
    };
    tasks.flatten().all(|task| is_so(task.path()))
}
