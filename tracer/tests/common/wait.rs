//! Waiting for what a process does, with a limit.

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
