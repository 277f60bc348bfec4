//! The hand-off from an allocator call's entry to its return.
//!
//! Only a thread's outermost call counts: what an allocator calls in itself (malloc in
//! posix_memalign, free in realloc) is that call's own business. So one place for each thread is
//! enough, and its stack pointer tells the outermost call's return from an inner one's.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_NO_PREALLOC},
    helpers::bpf_probe_read_user,
    macros::map,
    maps::{Array, HashMap},
};
use tracer_common::{counter::Counter, stack::StackIndex, table::Allocation};

use crate::{atomic, counters, unwind::trampoline};

/// An allocator call under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    /// Owner of the call, pid and tid; 0: nobody's.
    pub thread: u64,
    /// The stack pointer at entry: the address of the return address. 0: no call is under way.
    pub sp: u64,
    /// The size asked for, bytes.
    pub size_bytes: u64,
    /// realloc: the old address. posix_memalign: where the result goes. [`function::INSIDE`]: the return address.
    pub argument: u64,
    /// The function, one of [`function`].
    pub function: u64,
    /// realloc: what was at the old address (`stack` = 0: not in the live table).
    pub old: Allocation,
    /// The index of the stack, if it is walked at entry.
    pub stack: StackIndex,
}

/// The function of a [`Call`], as far as its return differs.
pub mod function {
    /// The result is the address.
    pub const ALLOCATE: u64 = 0;
    /// The result is the new address, and the old one was freed.
    pub const REALLOCATE: u64 = 1;
    /// The result is 0, and the address is in memory.
    pub const POSIX_MEMALIGN: u64 = 2;
    /// Noted inside the function, not at its entry; there is no return probe.
    pub const INSIDE: u64 = 3;
}

/// A power of two.
const CALL_SLOTS: u32 = 1 << 13;
/// Threads that can be without a slot of their own.
const THREADS: u32 = 1 << 15;

/// Calls by the lower bits of the tid: most threads have a slot of their own, which is found at once.
#[map]
static CALLS: Array<Call> = Array::with_max_entries(CALL_SLOTS, 0);

/// Calls by pid and tid, of threads whose slot in [`CALLS`] another thread has.
#[map]
static CALLS_OVERFLOW: HashMap<u64, Call> = HashMap::with_max_entries(THREADS, BPF_F_NO_PREALLOC);

/// The slot of `thread` in [`CALLS`], which this or another thread may have, or nobody.
#[inline(always)]
fn own_slot(thread: u64) -> Option<*mut Call> {
    CALLS.get_ptr_mut(thread as u32 & (CALL_SLOTS - 1))
}

/// Slot in which `thread` keeps its call, if it has called anything yet.
#[inline(always)]
fn find(thread: u64) -> Option<*mut Call> {
    let slot = own_slot(thread)?;
    // SAFETY: a valid map value.
    if unsafe { (*slot).thread } == thread { Some(slot) } else { CALLS_OVERFLOW.get_ptr_mut(thread) }
}

/// The slot of `thread` in [`CALLS`], if nobody has it.
#[inline(always)]
fn claim_own_slot(thread: u64) -> Option<*mut Call> {
    let slot = own_slot(thread)?;
    // SAFETY: a map value.
    let is_taken = unsafe { atomic::replace(&raw mut (*slot).thread, 0, thread) };
    is_taken.then_some(slot)
}

/// Notes that `call.thread` entered an allocator call, and gives where. `None` if it is an inner call, to be
/// ignored, or there is no room (counted).
#[inline(always)]
pub fn enter(call: &Call) -> Option<*mut Call> {
    let Some(slot) = find(call.thread) else {
        if let Some(slot) = claim_own_slot(call.thread) {
            // SAFETY: a valid map value, which only this thread uses.
            unsafe { *slot = *call };
            return Some(slot);
        }
        if CALLS_OVERFLOW.insert(call.thread, call, BPF_ANY as u64).is_err() {
            counters::add(Counter::LostPending, 1);
        }
        return CALLS_OVERFLOW.get_ptr_mut(call.thread);
    };
    // SAFETY: a valid map value, which only this thread uses.
    unsafe {
        if (*slot).sp != 0 && still_pending(slot, call.sp) {
            return None;
        }
        *slot = *call;
    }
    Some(slot)
}

/// Is the call whose return address is at `sp` the outermost of `thread`? If it was noted, it is over with this.
#[inline(always)]
pub fn is_outermost(thread: u64, sp: u64) -> bool {
    let Some(slot) = find(thread) else {
        return true;
    };
    // SAFETY: a valid map value, which only this thread uses.
    unsafe {
        if (*slot).sp != 0 {
            if still_pending(slot, sp) {
                return false;
            }
            (*slot).sp = 0;
        }
    }
    true
}

/// The outermost call of `thread`, whose return leaves the stack pointer at `sp`; inner ones and
/// such as were entered before attach give none.
#[inline(always)]
pub fn leave(thread: u64, sp: u64) -> Option<*mut Call> {
    let slot = find(thread)?;
    // SAFETY: a valid map value, which only this thread uses.
    let entry_sp = unsafe { (*slot).sp };
    if entry_sp == 0 || entry_sp != sp.wrapping_sub(8) {
        return None;
    }
    // SAFETY: as above.
    unsafe { (*slot).sp = 0 };
    Some(slot)
}

/// The size of the call of `thread` that was noted inside its function, whose return address is at `sp`, and which is
/// over with this.
#[inline(always)]
pub fn leave_inside(thread: u64, sp: u64) -> Option<u64> {
    let slot = find(thread)?;
    // SAFETY: a valid map value, which only this thread uses.
    unsafe {
        if (*slot).sp != sp || (*slot).function != function::INSIDE {
            return None;
        }
        (*slot).sp = 0;
        Some((*slot).size_bytes)
    }
}

/// Is `thread` inside an allocator call?
#[inline(always)]
pub fn inside(thread: u64) -> bool {
    // SAFETY: a valid map value.
    find(thread).is_some_and(|slot| unsafe { (*slot).sp != 0 })
}

/// Forgets a thread that ended.
#[inline(always)]
pub fn forget(thread: u64) {
    if let Some(slot) = own_slot(thread)
        // SAFETY: a valid map value, and no other thread's.
        && unsafe { (*slot).thread } == thread
    {
        // SAFETY: as above.
        unsafe {
            (*slot).sp = 0;
            atomic::set(&raw mut (*slot).thread, 0);
        }
        return;
    }
    let _ = CALLS_OVERFLOW.remove(thread);
}

/// Is the call in `slot` still under way, when another is entered at `sp`? It is as long as its return address is
/// the return probe's trampoline, or the one that was there: a call left without returning (longjmp,
/// an exception) would otherwise hide every later one below it.
///
/// # Safety
/// `slot` must be a valid map value, which only this thread uses.
#[inline(always)]
unsafe fn still_pending(slot: *const Call, sp: u64) -> bool {
    // SAFETY: the caller's.
    let (entry_sp, function, return_address) = unsafe { ((*slot).sp, (*slot).function, (*slot).argument) };
    if sp > entry_sp {
        return false;
    }
    if function == function::INSIDE {
        // SAFETY: a user address; the helper checks it.
        return sp < entry_sp && unsafe { bpf_probe_read_user(entry_sp as *const u64) } == Ok(return_address);
    }
    let trampoline = trampoline::trampoline_address();
    if trampoline == 0 {
        return sp < entry_sp;
    }
    // SAFETY: a user address; the helper checks it.
    let return_address = unsafe { bpf_probe_read_user(entry_sp as *const u64) };
    return_address == Ok(trampoline)
}
