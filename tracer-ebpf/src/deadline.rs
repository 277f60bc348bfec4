//! The deadline of the programs, which user space renews as long as it runs: past it they return at once.
//!
//! Every program asks, so it must be cheap. Times are compared a few times a second; in between, the kernel's count of
//! clock ticks says that it was compared lately, which is one load.

use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_jiffies64};
use tracer_common::table::Deadline;

use crate::{atomic, config, maps};

/// Times are compared again after so long.
const COMPARED_FOR_NS: u64 = 250_000_000;

/// Is recording to go on?
#[inline(always)]
pub fn is_ahead() -> bool {
    let Some(deadline) = maps::DEADLINE.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: a helper without arguments, and a map value.
    let (now, until) =
        unsafe { (bpf_jiffies64(), atomic::read(&raw const (*deadline).checked_until_jiffies)) };
    now < until || compare(deadline, now)
}

/// Is user space alive, whether recording is to go on or not?
#[inline(always)]
pub fn has_user_space() -> bool {
    let Some(deadline) = maps::DEADLINE.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: a map value, and a helper without arguments.
    unsafe {
        let silent_from_ns = atomic::read(&raw const (*deadline).silent_from_ns);
        silent_from_ns == 0 || bpf_ktime_get_ns() < silent_from_ns
    }
}

/// Compares the times, and notes until when the answer holds if it is yes.
#[inline(never)]
fn compare(deadline: *mut Deadline, now: u64) -> bool {
    // SAFETY: a map value, and a helper without arguments. Two CPUs may note at once: both are right.
    unsafe {
        let silent_from_ns = at_or_never(atomic::read(&raw const (*deadline).silent_from_ns));
        let end_ns = at_or_never(atomic::read(&raw const (*deadline).end_ns));
        let last_ns = if silent_from_ns < end_ns { silent_from_ns } else { end_ns };
        let now_ns = bpf_ktime_get_ns();
        if now_ns >= last_ns {
            return false;
        }
        let left_ns = last_ns - now_ns;
        let for_ns = if left_ns < COMPARED_FOR_NS { left_ns } else { COMPARED_FOR_NS };
        // Without ticks the times are compared each time.
        let ticks = for_ns.checked_div(config::get().tick_ns as u64).unwrap_or(0);
        atomic::write(&raw mut (*deadline).checked_until_jiffies, now + ticks);
    }
    true
}

#[inline(always)]
fn at_or_never(time_ns: u64) -> u64 {
    if time_ns == 0 { u64::MAX } else { time_ns }
}
