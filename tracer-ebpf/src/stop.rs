//! Stops (SIGSTOP) a target that was started for the recording, where user space, which may be late, must do something
//! first.

use aya_ebpf::helpers::generated::bpf_send_signal;
use tracer_common::{
    record::{Header, kind},
    table::may_stop,
};

use crate::{atomic, deadline, emit, maps};

/// asm/signal.h.
const SIGSTOP: u32 = 19;

/// Stops the target where a walk met code that nobody knows yet, if it may be: what it does next would meet the same
/// code.
#[inline(never)]
pub fn at_unknown_code() {
    stop_at(may_stop::AT_UNKNOWN_CODE);
}

/// Stops the target, which is about to end, if it may be.
#[inline(always)]
pub fn at_end() {
    stop_at(may_stop::AT_END);
}

#[inline(always)]
fn stop_at(place: u32) {
    let Some(control) = maps::CONTROL.get_ptr_mut(0) else {
        return;
    };
    // Nobody would resume it.
    if !deadline::has_user_space() {
        return;
    }
    // SAFETY: a map value. Two threads may stop the target at once: it is let run on twice then.
    unsafe {
        if atomic::read(&raw const (*control).may_stop) < place {
            return;
        }
        // Without room to tell it, nobody would resume it.
        let Some(mut entry) = maps::EVENTS.reserve::<Header>(0) else {
            return;
        };
        atomic::write(&raw mut (*control).may_stop, may_stop::NOT);
        // Before it is told: a SIGCONT takes a SIGSTOP away only if that was sent already.
        bpf_send_signal(SIGSTOP);
        entry.write(Header { detail: place, ..emit::header(kind::STOPPED) });
        entry.submit(0);
    }
}
