//! The states of processes and threads, as the kernel tells them.

use std::fs;
use std::path::Path;

use tracer::process::Pid;

use super::wait::wait_for;

/// Looks in a row, 2 ms apart, at a process whose threads all sleep: one that has work sleeps now and then, for a lock.
const RESTING_LOOKS: u32 = 10;

/// Waits until none of a process's threads has anything to do: what a JVM compiles and cleans up in the background is
/// done, however late it came to it.
pub(crate) fn until_at_rest(pid: Pid) {
    let mut looks = 0;
    wait_for("a process comes to rest", || {
        looks = if all_threads_are(pid, 'S') { looks + 1 } else { 0 };
        looks == RESTING_LOOKS
    });
}

/// The state of a process or thread, by its folder in `/proc`, as the kernel has it: `T` is stopped, `S` sleeps, `R`
/// runs or waits for a CPU. `None` if it is gone.
pub(crate) fn state(folder: &Path) -> Option<char> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    Some(state.unwrap_or_else(|| panic!("no state: {stat:?}")))
}

/// Are all threads of a process in this state, but those that end meanwhile?
pub(crate) fn all_threads_are(pid: Pid, wanted: char) -> bool {
    let mut tids = pid.threads().expect("the threads");
    tids.all(|tid| state(&pid.thread_path(tid, "")).is_none_or(|state| state == wanted))
}
