//! The hand-off from an allocator call's entry to its return.
//!
//! Only a thread's outermost call counts: what an allocator calls in itself (malloc in
//! posix_memalign, free in realloc) is that call's own business. So one slot for each thread is
//! enough, and its stack pointer tells the outermost call's return from an inner one's.

use aya_ebpf::{bindings::BPF_ANY, helpers::bpf_probe_read_user, macros::map, maps::HashMap};
use tracer_common::{counter::Counter, table::Allocation};

use crate::{counters, unwind::trampoline};

/// An allocator call under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    /// The stack pointer at entry: the address of the return address. 0: no call is under way.
    pub sp: u64,
    /// The size asked for, bytes.
    pub size_bytes: u64,
    /// realloc: the old address. posix_memalign: where the result goes.
    pub argument: u64,
    /// One of [`function`].
    pub function: u64,
    /// realloc: what was at the old address (`stack` = 0: not in the live table).
    pub old: Allocation,
}

/// What a [`Call`] calls, as far as its return differs.
pub mod function {
    /// The result is the address.
    pub const ALLOCATE: u64 = 0;
    /// The result is the new address, and the old one was freed.
    pub const REALLOCATE: u64 = 1;
    /// The result is 0, and the address is in memory.
    pub const POSIX_MEMALIGN: u64 = 2;
}

const THREADS: u32 = 1 << 15;

/// By pid and tid.
#[map]
static PENDING: HashMap<u64, Call> =
    HashMap::with_max_entries(THREADS, aya_ebpf::bindings::BPF_F_NO_PREALLOC);

/// Notes that `thread` entered an allocator call, and gives its slot. None: it is an inner call, to be
/// ignored, or there is no room (counted).
#[inline(always)]
pub fn enter(thread: u64, call: &Call) -> Option<*mut Call> {
    let Some(slot) = PENDING.get_ptr_mut(thread) else {
        if PENDING.insert(thread, call, BPF_ANY as u64).is_err() {
            counters::add(Counter::LostPending, 1);
        }
        return PENDING.get_ptr_mut(thread);
    };
    // SAFETY: a valid map value, which only this thread uses.
    unsafe {
        if (*slot).sp != 0 && still_pending((*slot).sp, call.sp) {
            return None;
        }
        *slot = *call;
    }
    Some(slot)
}

/// The outermost call of `thread`, whose return leaves the stack pointer at `sp`; inner ones and
/// such as were entered before attach give none.
#[inline(always)]
pub fn leave(thread: u64, sp: u64) -> Option<*mut Call> {
    let slot = PENDING.get_ptr_mut(thread)?;
    // SAFETY: a valid map value, which only this thread uses.
    let entry_sp = unsafe { (*slot).sp };
    if entry_sp == 0 || entry_sp != sp.wrapping_sub(8) {
        return None;
    }
    // SAFETY: as above.
    unsafe { (*slot).sp = 0 };
    Some(slot)
}

/// Is `thread` inside an allocator call?
#[inline(always)]
pub fn inside(thread: u64) -> bool {
    match PENDING.get_ptr(thread) {
        // SAFETY: a valid map value.
        Some(slot) => unsafe { (*slot).sp != 0 },
        None => false,
    }
}

/// Forgets a thread that ended.
#[inline(always)]
pub fn forget(thread: u64) {
    let _ = PENDING.remove(thread);
}

/// Is the call entered at `entry_sp` still under way, when another is entered at `sp`? It is as long
/// as its return address is the return probe's trampoline: a call left without returning (longjmp,
/// an exception) would otherwise hide every later one below it.
#[inline(always)]
fn still_pending(entry_sp: u64, sp: u64) -> bool {
    if sp > entry_sp {
        return false;
    }
    let trampoline = trampoline::address();
    if trampoline == 0 {
        return sp < entry_sp;
    }
    // SAFETY: a user address; the helper checks it.
    let return_address = unsafe { bpf_probe_read_user(entry_sp as *const u64) };
    return_address == Ok(trampoline)
}
