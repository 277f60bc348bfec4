//! Harness of the tests that trace real processes: builds the fixtures, runs targets and the recorder, and knows
//! what must hold for every recording.
//!
//! Waits for what programs say (`started`, `ready:`), never for a time to pass. Every wait has a limit, and whatever
//! was started is ended by its own pid.
#![allow(dead_code, reason = "each test binary uses its part of the harness")]

pub(crate) mod control_group;
pub(crate) mod core;
pub(crate) mod earlier_recordings;
pub(crate) mod fixture;
pub(crate) mod lying_core;
pub(crate) mod lying_jvm;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod recorder;
pub(crate) mod report;
pub(crate) mod schema;
pub(crate) mod state;
pub(crate) mod wait;

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lock for privileged tests: probes slow every process down, and two recorders would share two cores.
static TURN: Mutex<()> = Mutex::new(());

/// A privileged test's turn, or `None` when it cannot run here, which is said (and fails when
/// `TRACER_REQUIRE_ROOT` is set).
pub(crate) fn privileged() -> Option<MutexGuard<'static, ()>> {
    let obstacle = if !rustix::process::geteuid().is_root() {
        "needs root"
    } else if !tracer::probe::load::has_programs() {
        "needs the BPF programs (cargo xtask build)"
    } else {
        return Some(TURN.lock().unwrap_or_else(PoisonError::into_inner));
    };
    skip(obstacle);
    None
}

/// Says that the current test does not run and why; fails when nothing may be skipped.
pub(crate) fn skip(reason: &str) {
    let required = std::env::var("TRACER_REQUIRE_ROOT").is_ok_and(|value| !value.is_empty() && value != "0");
    assert!(!required, "TRACER_REQUIRE_ROOT is set, but this test {reason}");
    let thread = std::thread::current();
    // Not by `eprintln!`, which the test runner keeps to itself when a test passes.
    let _ = writeln!(std::io::stderr().lock(), "skipped: {}: {reason}", thread.name().unwrap_or("test"));
}
