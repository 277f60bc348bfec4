//! The clock of everything that is recorded: `CLOCK_MONOTONIC`, which the BPF programs read as well.

use rustix::time::{ClockId, clock_gettime};

/// The present moment of `CLOCK_MONOTONIC`, ns.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
