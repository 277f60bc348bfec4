//! Scratch memory for a walk.
//!
//! Uprobe programs can be preempted, and another task on the same CPU can enter them in the middle:
//! so each CPU has several slots, each claimed by an atomic exchange and released at the end. When a
//! CPU's are all taken, its neighbours' are tried.

use aya_ebpf::{helpers::bpf_get_smp_processor_id, macros::map, maps::Array};
use tracer_common::{
    record::{SAVED_BYTES, SAVED_FRAMES, StackRecord},
    unwind::{Frame, MAX_FRAMES},
    walk::{Blob, State},
};

use super::memo;
use crate::{atomic, config};

/// Bytes that a saved stack needs beyond the frames that it lies over.
const ROOM_BYTES: usize =
    (SAVED_FRAMES * size_of::<Frame>() + SAVED_BYTES).saturating_sub(MAX_FRAMES * size_of::<Frame>());

/// A walk under way, and the record that it makes.
#[repr(C)]
pub struct Slot {
    pub busy: u64,
    pub state: State,
    /// Registers at which the walk began: pc, sp, fp.
    pub start: [u64; 3],
    /// [`super::RETURNED`], [`super::EXACT`] or [`super::INTERRUPTED`].
    pub begins: u64,
    /// The memo's epoch when a walk that may use the memo began.
    pub epoch: u64,
    /// 1: a piece of the walk was taken from the memo, and its frames are missing.
    pub taken: u64,
    /// 1: a piece was walked.
    pub walked: u64,
    /// The blob that was looked for last.
    pub blob: Blob,
    pub memo: memo::Scratch,
    pub record: StackRecord,
    pub frames: [Frame; MAX_FRAMES],
    /// Bytes for the saved stack behind [`SAVED_FRAMES`] frames.
    _room: [u8; ROOM_BYTES],
}

/// `slots_per_cpu` for each CPU; sized at load.
#[map]
static SCRATCH: Array<Slot> = Array::with_max_entries(1, 0);

/// Slots tried. More walks than this under way on one CPU need as many threads that were all preempted
/// in the middle of one; whoever finds no slot counts it.
const TRIES: u32 = 16;

/// The slot `index`.
#[inline(always)]
pub fn at(index: u32) -> Option<*mut Slot> {
    SCRATCH.get_ptr_mut(index)
}

/// A slot for the caller alone, and its index; none if all that were tried are taken.
#[inline(always)]
pub fn claim() -> Option<(*mut Slot, u32)> {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    let config = config::get();
    let (first, count) = (cpu * config.slots_per_cpu, config.cpu_count * config.slots_per_cpu);
    for i in 0..TRIES {
        if i >= count {
            break;
        }
        let index = (first + i) % count;
        let slot = at(index)?;
        // SAFETY: a map value.
        if unsafe { atomic::replace(&raw mut (*slot).busy, 0, 1) } {
            return Some((slot, index));
        }
    }
    None
}

/// Gives back a slot of [`claim`].
#[inline(always)]
pub fn release(slot: *mut Slot) {
    // SAFETY: a map value, claimed by the caller.
    unsafe { atomic::set(&raw mut (*slot).busy, 0) };
}
