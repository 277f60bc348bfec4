//! Waiting for what a process does, with a limit.

use std::fmt::Display;
use std::fs;
use std::path::Path;
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
pub(crate) fn until_at_rest(pid: impl Display + Copy) {
    let mut looks = 0;
    wait_for("a process comes to rest", || {
        looks = if all_threads_are(pid, 'S') { looks + 1 } else { 0 };
        looks == RESTING_LOOKS
    });
}

/// The state of a process or thread, by its folder in `/proc`, as the kernel has it: `T` is stopped, `S` sleeps, `R` runs
/// or waits for a CPU. None: it is gone.
pub(crate) fn state(folder: &Path) -> Option<char> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    Some(state.unwrap_or_else(|| panic!("no state: {stat:?}")))
}

/// Are all threads of a process in this state, but those that end meanwhile?
pub(crate) fn all_threads_are(pid: impl Display, wanted: char) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads");
    tasks.flatten().all(|task| state(&task.path()).is_none_or(|state| state == wanted))
}
