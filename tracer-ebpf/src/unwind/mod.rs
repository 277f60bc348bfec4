//! Registers → a stack id, its frames sent once.
//!
//! One walk for each capture, in one `bpf_loop`; the rules are in `tracer_common::walk`. Frames go into
//! a scratch slot, which is at once the record that is sent when the stack is new.

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
    counter::Counter,
    record::{SAVED_BYTES, SAVED_OFFSET, StackRecord, kind},
    table::{NO_STACK, StackTotals},
    unwind::{Frame, MAX_FRAMES, Stop},
};

use crate::{counters, emit, live, maps};

/// The stack of the calling thread, which is in a system call.
#[inline(always)]
pub fn capture_syscall() -> u64 {
    // SAFETY: the current task always has user registers here; their layout is the kernel's ABI.
    let regs = unsafe {
        let regs = bpf_task_pt_regs(bpf_get_current_task_btf()) as *const pt_regs;
        bpf_probe_read_kernel(regs)
    };
    match regs {
        Ok(regs) => capture(regs.rip, regs.rsp, regs.rbp),
        Err(_) => NO_STACK,
    }
}

/// The stack whose innermost frame is at `pc`, just after a call (or system call) instruction, with
/// these stack and frame pointers. Its frames are sent if they were not before. [`NO_STACK`] if no
/// scratch slot was free.
///
/// A global function: the verifier goes through it once for each program, whatever led to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn capture(pc: u64, sp: u64, fp: u64) -> u64 {
    let Some(slot) = scratch::claim() else {
        counters::add(Counter::LostScratch, 1);
        return NO_STACK;
    };
    // SAFETY: a map value, claimed for this walk alone.
    let stack = unsafe {
        walk::walk(slot, pc, sp, fp);
        finish(slot)
    };
    scratch::release(slot);
    stack
}

/// The longest record of a stack, bytes.
const LONGEST: u64 = {
    let frames = size_of::<StackRecord>() + MAX_FRAMES * size_of::<Frame>();
    let saved = SAVED_OFFSET + SAVED_BYTES;
    (if frames > saved { frames } else { saved }) as u64
};

/// # Safety
/// `slot` must be a claimed slot.
#[inline(always)]
unsafe fn finish(slot: *mut scratch::Slot) -> u64 {
    // SAFETY: the caller's.
    let record = unsafe { &mut (*slot).record };
    counters::add(Counter::StacksTotal, 1);
    counters::stopped(record.stop);
    if record.stop == Stop::Complete as u32 {
        counters::add(Counter::StacksComplete, 1);
    }
    let stack = record.stack;
    let totals = match maps::STACKS.get_ptr_mut(stack) {
        Some(totals) => totals,
        None => {
            let _ = maps::STACKS.insert(stack, StackTotals::ZERO, BPF_NOEXIST as u64);
            match maps::STACKS.get_ptr_mut(stack) {
                Some(totals) => totals,
                // The table is full: whoever books an allocation on this stack counts it.
                None => return stack,
            }
        }
    };
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
