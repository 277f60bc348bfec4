//! The code blob at a pc: found in the JVM's code cache by a dozen small reads, and remembered for the next walk that
//! comes by there.
//!
//! What is remembered counts in one epoch of the memo, which ends when the JVM frees code. Only nmethods are: the JVM
//! says nothing when another blob goes.

use aya_ebpf::{helpers::bpf_probe_read_user, macros::map, maps::Array};
use tracer_common::{
    unwind::Stop,
    walk::{Blob, CodeSource, find_blob},
};

use super::{scratch, search};
use crate::{atomic, maps};

/// A blob that was found before.
#[repr(C)]
struct Remembered {
    /// Odd while the rest is being written.
    version: u64,
    pc: u64,
    epoch: u64,
    blob: Blob,
}

/// Return addresses in compiled code that are remembered: some thousand are in use in a large server.
const COUNT: u32 = 1 << 14;

#[map]
static BLOBS: Array<Remembered> = Array::with_max_entries(COUNT, 0);

/// Puts the blob at `pc` into [`scratch::Slot::blob`] of the slot with this index. Gives 0, or the [`Stop`] that the
/// walk ends with. `epoch` is the memo's when the walk began; 0: nothing is remembered.
///
/// A global function: the verifier goes through it once for each program, whatever led to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn load_blob(slot: u32, pc: u64, epoch: u64) -> u64 {
    let Some(slot) = scratch::at(slot) else {
        return Stop::NoBlob as u64;
    };
    let hash = pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let Some(place) = BLOBS.get_ptr_mut(hash as u32 & (COUNT - 1)) else {
        return Stop::NoBlob as u64;
    };
    // SAFETY: the slot is the caller's. The place is a map value, which another CPU may be writing: what is read of it
    // counts only if its version is even, and the same before and after.
    unsafe {
        let blob = &raw mut (*slot).blob;
        let version = atomic::read(&raw const (*place).version);
        let is_it = version & 1 == 0
            && atomic::read(&raw const (*place).pc) == pc
            && atomic::read(&raw const (*place).epoch) == epoch;
        if is_it {
            copy(&raw const (*place).blob, blob);
            if atomic::read(&raw const (*place).version) == version {
                return 0;
            }
        }
        let Some(jvm) = maps::JVM.get(0) else {
            return Stop::NoBlob as u64;
        };
        if let Err(stop) = find_blob(pc, &Code, jvm, &mut *blob) {
            return stop as u64;
        }
        let is_kept = epoch & maps::KEEPS_JAVA != 0 && (*blob).is_nmethod != 0;
        if is_kept && version & 1 == 0 && atomic::replace(&raw mut (*place).version, version, version + 1) {
            atomic::write(&raw mut (*place).pc, pc);
            atomic::write(&raw mut (*place).epoch, epoch);
            copy(blob, &raw mut (*place).blob);
            atomic::set(&raw mut (*place).version, version + 2);
        }
    }
    0
}

/// Copies a blob word by word: as a whole it would go by the BPF stack.
///
/// # Safety
/// Both are in map values.
#[inline(always)]
unsafe fn copy(from: *const Blob, to: *mut Blob) {
    const WORDS: usize = size_of::<Blob>() / 8;
    let (from, to) = (from.cast::<u64>(), to.cast::<u64>());
    for word in 0..WORDS {
        // SAFETY: the caller's; within the blobs.
        unsafe { atomic::write(to.add(word), atomic::read(from.add(word))) };
    }
}

/// The target's memory, and the JVM's code cache in it.
pub(super) struct Code;

impl CodeSource for Code {
    #[inline(always)]
    fn read(&self, address: u64) -> Option<u64> {
        // SAFETY: a user address; the helper checks it.
        unsafe { bpf_probe_read_user(address as *const u64) }.ok()
    }

    #[inline(always)]
    fn read_u32(&self, address: u64) -> Option<u32> {
        // SAFETY: as above.
        unsafe { bpf_probe_read_user(address as *const u32) }.ok()
    }

    #[inline(always)]
    fn read_u8(&self, address: u64) -> Option<u8> {
        // SAFETY: as above.
        unsafe { bpf_probe_read_user(address as *const u8) }.ok()
    }

    #[inline(always)]
    fn block_index(&self, segment_map: u64, index: u64) -> Result<u64, Stop> {
        search::block_index(segment_map, index)
    }
}
