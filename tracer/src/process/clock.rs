//! The clock of everything that is recorded, `CLOCK_MONOTONIC`, which the BPF programs read as well; and the CPU time of
//! threads, by which work is bounded.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The present moment of `CLOCK_MONOTONIC`, ns.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// The same, ns.
pub fn thread_cpu_ns() -> u64 {
    u64::try_from(thread_cpu().as_nanos()).unwrap_or(u64::MAX)
}
