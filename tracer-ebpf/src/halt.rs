//! A target that was started for the recording stands still (SIGSTOP) where user space, which may be late, must do
//! something first.

use aya_ebpf::helpers::generated::bpf_send_signal;
use tracer_common::record::{Header, halt, kind};

use crate::{atomic, emit, maps};

/// asm/signal.h.
const SIGSTOP: u32 = 19;

/// Stops the target where a walk met code that nobody knows yet, if that is allowed so often: what it does next
/// would meet the same code.
#[inline(never)]
pub fn at_unknown_code() {
    let Some(control) = maps::CONTROL.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a map value. Two threads at once may count one halt: no harm.
    unsafe {
        let left = atomic::read(&raw const (*control).halts_left);
        if left != 0 && stop(halt::UNKNOWN_CODE) {
            atomic::write(&raw mut (*control).halts_left, left - 1);
        }
    }
}

/// Stops the target and tells so: there is room in the ring buffer, or nobody would let it run on.
#[inline(always)]
pub fn stop(why: u32) -> bool {
    let Some(mut entry) = maps::EVENTS.reserve::<Header>(0) else {
        return false;
    };
    // Before it is told: a SIGCONT takes a SIGSTOP away only if that was sent already.
    // SAFETY: a helper that takes a number.
    unsafe {
        bpf_send_signal(SIGSTOP);
    }
    entry.write(Header { detail: why, ..emit::header(kind::HALT) });
    entry.submit(0);
    true
}
