//! Registers → a stack id, its frames sent once.
//!
//! One walk for each capture, in one `bpf_loop`; the rules are in `tracer_common::walk`. Frames go into
//! a scratch slot, which is at once the record that is sent when the stack is new.

mod blobs;
mod memo;
mod scratch;
mod search;
pub mod trampoline;
mod walk;

use aya_ebpf::helpers::generated::bpf_ringbuf_output;
use tracer_common::{
    config::memo as memo_mode,
    counter::Counter,
    record::{SAVED_BYTES, SAVED_OFFSET, StackRecord, kind},
    sampling::WeightedSize,
    stack::{StackId, StackIndex},
    table::StackEntry,
    unwind::{Frame, MAX_FRAMES, Stop},
};

use crate::{
    atomic, config, counters, emit, maps,
    regs::{self, Position},
    stacks, stop,
};

/// Beginning of a walk: at a return address, or at the very instruction that is to run next.
pub const RETURNED: u64 = 1;
pub const EXACT: u64 = 0;

/// [`EXACT`] for a stack that says nothing of how well stacks are walked: code of the JVM that was interrupted has no
/// frame yet, or no more.
pub const INTERRUPTED: u64 = 2;

/// The stack of the calling thread, which is in a system call.
#[inline(always)]
pub fn capture_syscall() -> StackId {
    capture_user(RETURNED)
}

/// The stack of the calling thread, which is in an exception.
#[inline(always)]
pub fn capture_interrupted() -> StackId {
    capture_user(INTERRUPTED)
}

#[inline(always)]
fn capture_user(begins: u64) -> StackId {
    match regs::in_user_space() {
        Some(Position { pc, sp, fp }) => {
            let index = capture(pc, sp, fp, WeightedSize::NONE, begins);
            // SAFETY: a map value.
            stacks::at(index).map_or(StackId::NOT_WALKED, |entry| unsafe { (*entry).id })
        }
        None => StackId::NOT_WALKED,
    }
}

/// The index in `STACKS` of the stack whose innermost frame is at `pc`, just after a call (or system call)
/// instruction ([`RETURNED`]), or anywhere ([`EXACT`]), with these stack and frame pointers. Its frames are
/// sent if they were not before. [`StackIndex::NOT_WALKED`] if no scratch slot was free.
///
/// The allocation `weighed`, a [`WeightedSize`], is added to the stack's totals; [`WeightedSize::NONE`]: none is. If the stack
/// has no place in the table, that is done for [`StackIndex::OVERFLOW`].
#[inline(always)]
pub fn capture(pc: u64, sp: u64, fp: u64, weighed: WeightedSize, begins: u64) -> StackIndex {
    StackIndex(capture_stack(pc, sp, fp, weighed.0, begins) as u32)
}

/// [`capture`] as a global function: the verifier goes through it once for each program, whatever led to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn capture_stack(pc: u64, sp: u64, fp: u64, weighed: u64, begins: u64) -> u64 {
    // The verifier takes numbers alone.
    let weighed = WeightedSize(weighed);
    let Some((slot, slot_index)) = scratch::claim() else {
        counters::add(Counter::LostScratch, 1);
        stacks::book_allocation(StackIndex::NOT_WALKED, weighed);
        return StackIndex::NOT_WALKED.0 as u64;
    };
    // SAFETY: a map value, claimed for this walk alone.
    unsafe { (*slot).begins = begins };
    let mode = config::get().memo;
    walk::walk(slot_index, pc, sp, fp, (mode != memo_mode::OFF) as u64);
    // SAFETY: a map value, claimed for this walk alone; and one of the table's.
    let index = unsafe {
        if (*slot).walked != 0 && (*slot).begins != INTERRUPTED {
            counters::add(Counter::WalksMade, 1);
        }
        let mut index = stacks::index((*slot).record.stack, (*slot).record.stop);
        if (*slot).taken != 0 {
            // Frames are missing, or the memo is to be compared.
            let is_known = stacks::at(index).is_some_and(|entry| (*entry).sent != 0);
            if !is_known || mode == memo_mode::CHECKED || (*slot).record.stop == Stop::NoMapping as u32 {
                let remembered = (*slot).record.stack;
                // Kept there, and not on the BPF stack below the walk.
                let (pc, sp, fp) = ((*slot).start[0], (*slot).start[1], (*slot).start[2]);
                walk::walk(slot_index, pc, sp, fp, 0);
                let is_other = (*slot).record.stack != remembered;
                // A walk that met an unknown module makes a stack of its own; and tables may have changed
                // from one walk to the other.
                let is_comparable = (*slot).record.saved_bytes == 0 && (*slot).epoch == maps::memo_epoch();
                if is_other && is_comparable {
                    counters::add(Counter::MemoMismatch, 1);
                }
                if is_other {
                    index = stacks::index((*slot).record.stack, (*slot).record.stop);
                }
            }
        }
        if let Some(entry) = stacks::at(index) {
            if weighed != WeightedSize::NONE {
                stacks::add_allocation(&raw mut (*entry).totals, weighed);
            }
            if (*slot).begins == INTERRUPTED {
                // Such walks are not counted.
            } else if index < StackIndex::FIRST_WALKED {
                counters::stopped((*slot).record.stop);
            } else {
                atomic::add(&raw mut (*entry).walk_count, 1);
            }
            if atomic::read(&raw const (*entry).sent) == 0 {
                send(slot, entry);
            }
        }
        if (*slot).record.stop == Stop::NoMapping as u32 && (*slot).begins != INTERRUPTED {
            stop::at_unknown_code();
        }
        index
    };
    scratch::release(slot);
    index.0 as u64
}

/// The longest record of a stack, bytes.
const LONGEST: u64 = {
    let frames = size_of::<StackRecord>() + MAX_FRAMES * size_of::<Frame>();
    let saved = SAVED_OFFSET + SAVED_BYTES;
    (if frames > saved { frames } else { saved }) as u64
};

/// Sends the frames of the slot's stack. Two CPUs that see it unsent at once send it twice, which is harmless.
///
/// # Safety
/// `slot` must be a claimed slot, and `entry` the stack's.
#[inline(never)]
unsafe fn send(slot: *mut scratch::Slot, entry: *mut StackEntry) {
    // SAFETY: the caller's.
    let record = unsafe { &mut (*slot).record };
    record.header = emit::header(kind::STACK);
    let length = if record.saved_bytes != 0 {
        SAVED_OFFSET as u64 + (record.saved_bytes as u64).min(SAVED_BYTES as u64)
    } else {
        size_of::<StackRecord>() as u64
            + (record.frame_count as u64).min(MAX_FRAMES as u64) * size_of::<Frame>() as u64
    };
    if length > LONGEST {
        return;
    }
    // SAFETY: record and frames lie behind each other in the slot, and `length` is within them.
    let status = unsafe {
        bpf_ringbuf_output((&raw const maps::EVENTS).cast_mut().cast(), (&raw mut *record).cast(), length, 0)
    };
    if status == 0 {
        // SAFETY: a map value.
        unsafe { atomic::write(&raw mut (*entry).sent, 1) };
    } else {
        counters::add(Counter::LostStackRecord, 1);
    }
}
