//! The only writer of the ring buffer. A record that finds no room is counted.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use tracer_common::{counter::Counter, record::Header};

use crate::{counters, maps};

/// A header for a record of `kind` about the calling thread, now.
#[inline(always)]
pub fn header(kind: u32) -> Header {
    Header {
        kind,
        tid: bpf_get_current_pid_tgid() as u32,
        // SAFETY: a helper without arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
        epoch: maps::epoch(),
        detail: 0,
    }
}

/// Sends a record.
#[inline(always)]
pub fn send<T>(record: &T) {
    if maps::EVENTS.output::<T>(record, 0).is_err() {
        counters::add(Counter::LostEvent, 1);
    }
}
