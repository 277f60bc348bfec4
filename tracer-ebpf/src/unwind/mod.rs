//! Registers → a stack id, its frames sent once.
//!
//! One walk for each capture, in one `bpf_loop`; the rules are in `tracer_common::walk`. Frames go into
//! a scratch slot, which is at once the record that is sent when the stack is new.

mod memo;
mod scratch;
pub mod trampoline;
mod walk;

use aya_ebpf::{
    bindings::{BPF_NOEXIST, pt_regs},
    helpers::{
        bpf_probe_read_kernel,
        generated::{bpf_get_current_task_btf, bpf_ringbuf_output, bpf_task_pt_regs},
    },
};
use tracer_common::{
    config::memo as memo_mode,
    counter::Counter,
    record::{SAVED_BYTES, SAVED_OFFSET, StackRecord, kind},
    sampling::Weighed,
    table::{NO_STACK, OVERFLOW_STACK, StackTotals},
    unwind::{Frame, MAX_FRAMES, Stop},
};

use crate::{config, counters, emit, live, maps};

/// Where a walk begins: at a return address, or at the very instruction that is to run next.
pub const RETURNED: u64 = 1;
pub const EXACT: u64 = 0;

/// As [`EXACT`], for a stack that says nothing of how well stacks are walked: code of the JVM that was interrupted
/// has no frame yet, or no more.
pub const INTERRUPTED: u64 = 2;

/// The stack of the calling thread, which is in a system call.
#[inline(always)]
pub fn capture_syscall() -> u64 {
    capture_user(RETURNED)
}

/// The stack of the calling thread, which is in an exception.
#[inline(always)]
pub fn capture_interrupted() -> u64 {
    capture_user(INTERRUPTED)
}

#[inline(always)]
fn capture_user(begins: u64) -> u64 {
    // SAFETY: the current task always has user registers here; their layout is the kernel's ABI. One by one:
    // all of them would take much of the BPF stack.
    let (pc, sp, fp) = unsafe {
        let regs = bpf_task_pt_regs(bpf_get_current_task_btf()) as *const pt_regs;
        (
            bpf_probe_read_kernel(&raw const (*regs).rip),
            bpf_probe_read_kernel(&raw const (*regs).rsp),
            bpf_probe_read_kernel(&raw const (*regs).rbp),
        )
    };
    match (pc, sp, fp) {
        (Ok(pc), Ok(sp), Ok(fp)) => capture(pc, sp, fp, Weighed::NONE.0, begins),
        _ => NO_STACK,
    }
}

/// The stack whose innermost frame is at `pc`, just after a call (or system call) instruction ([`RETURNED`]), or
/// anywhere ([`EXACT`]), with these stack and frame pointers. Its frames are sent if they were not before. [`NO_STACK`] if no
/// scratch slot was free.
///
/// The allocation `weighed`, a [`Weighed`], is added to the stack's totals; [`Weighed::NONE`]: none is. If the stack
/// has no place in the table of totals, that is done for [`OVERFLOW_STACK`].
///
/// A global function: the verifier goes through it once for each program, whatever led to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn capture(pc: u64, sp: u64, fp: u64, weighed: u64, begins: u64) -> u64 {
    // The verifier takes numbers alone.
    let weighed = Weighed(weighed);
    let Some((slot, index)) = scratch::claim() else {
        counters::add(Counter::LostScratch, 1);
        live::book_allocation(NO_STACK, weighed);
        return NO_STACK;
    };
    // SAFETY: a map value, claimed for this walk alone.
    unsafe { (*slot).begins = begins };
    let mode = config::get().memo;
    let taken = walk::walk(index, pc, sp, fp, (mode != memo_mode::OFF) as u64);
    // SAFETY: a map value, claimed for this walk alone.
    let stack = unsafe {
        let mut totals = totals((*slot).record.stack);
        if taken != 0 {
            counters::add(Counter::WalksRemembered, 1);
            // Frames are missing, or the memo is to be compared.
            let is_known = totals.is_some_and(|totals| (*totals).sent != 0);
            if !is_known || mode == memo_mode::CHECKED || (*slot).record.stop == Stop::NoMapping as u32 {
                let remembered = (*slot).record.stack;
                // Kept there, and not on the BPF stack below the walk.
                let (pc, sp, fp) = ((*slot).start[0], (*slot).start[1], (*slot).start[2]);
                walk::walk(index, pc, sp, fp, 0);
                let is_other = (*slot).record.stack != remembered;
                // A walk that met an unknown module makes a stack of its own; and tables may have changed
                // from one walk to the other.
                let is_comparable = (*slot).record.saved_bytes == 0 && (*slot).epoch == maps::memo_epoch();
                if is_other && is_comparable {
                    counters::add(Counter::MemoMismatch, 1);
                }
                if is_other {
                    totals = self::totals((*slot).record.stack);
                }
            }
        }
        if (*slot).begins != INTERRUPTED {
            counters::stopped((*slot).record.stop);
        }
        match totals {
            Some(totals) => {
                if weighed != Weighed::NONE {
                    live::add_allocation(totals, weighed);
                }
                send(slot, totals)
            }
            None if weighed == Weighed::NONE => (*slot).record.stack,
            None => {
                counters::add(Counter::LostStackFull, 1);
                live::book_allocation(OVERFLOW_STACK, weighed);
                OVERFLOW_STACK
            }
        }
    };
    scratch::release(slot);
    stack
}

/// The totals of `stack`, which is entered into their table if need be; none if it is full.
#[inline(always)]
fn totals(stack: u64) -> Option<*mut StackTotals> {
    /// Not on the BPF stack.
    static ZERO: StackTotals = StackTotals::ZERO;

    let found = maps::STACKS.get_ptr_mut(stack);
    if found.is_some() {
        return found;
    }
    #[expect(clippy::needless_borrows_for_generic_args, reason = "by value it would lie on the BPF stack")]
    let _ = maps::STACKS.insert(stack, &ZERO, BPF_NOEXIST as u64);
    maps::STACKS.get_ptr_mut(stack)
}

/// The longest record of a stack, bytes.
const LONGEST: u64 = {
    let frames = size_of::<StackRecord>() + MAX_FRAMES * size_of::<Frame>();
    let saved = SAVED_OFFSET + SAVED_BYTES;
    (if frames > saved { frames } else { saved }) as u64
};

/// Sends the frames of the slot's stack, unless that is done. `totals` are the stack's.
///
/// # Safety
/// `slot` must be a claimed slot.
#[inline(never)]
unsafe fn send(slot: *mut scratch::Slot, totals: *mut StackTotals) -> u64 {
    // SAFETY: the caller's.
    let record = unsafe { &mut (*slot).record };
    let stack = record.stack;
    // SAFETY: a valid map value. Two CPUs that see it unsent at once send it twice, which is harmless.
    if unsafe { (*totals).sent } != 0 {
        return stack;
    }
    record.header = emit::header(kind::STACK);
    let length = if record.saved_bytes != 0 {
        SAVED_OFFSET as u64 + (record.saved_bytes as u64).min(SAVED_BYTES as u64)
    } else {
        size_of::<StackRecord>() as u64
            + (record.frame_count as u64).min(MAX_FRAMES as u64) * size_of::<Frame>() as u64
    };
    if length > LONGEST {
        return stack;
    }
    // SAFETY: record and frames lie behind each other in the slot, and `length` is within them.
    let status = unsafe {
        bpf_ringbuf_output((&raw const maps::EVENTS).cast_mut().cast(), (&raw mut *record).cast(), length, 0)
    };
    if status == 0 {
        // SAFETY: a valid map value.
        unsafe { live::atomic_add(&raw mut (*totals).sent, 1) };
    } else {
        counters::add(Counter::LostStackRecord, 1);
    }
    stack
}
