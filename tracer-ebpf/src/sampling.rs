//! Choice of the allocations that are recorded: see `tracer_common::sampling`.

use aya_ebpf::{helpers::bpf_get_prandom_u32, macros::map, maps::Array};
use tracer_common::sampling::{OFF, WeightedSize, room_log2};

use crate::atomic;

/// The interval in bytes, which user space may change at any time; 0: every allocation is recorded; [`OFF`]: none.
#[map]
static SAMPLING: Array<u32> = Array::with_max_entries(1, 0);

/// Allocations that there were, taken or left, for `tracer_common::sampling::heaviest_sample`.
#[map]
static SAMPLED_ROOM: Array<u64> = Array::with_max_entries(1, 0);

#[inline(always)]
pub fn interval() -> u32 {
    SAMPLING.get(0).map_or(0, |interval| *interval)
}

/// Did the recording give up on the allocator? Calls that are under way are finished.
#[inline(always)]
pub fn is_off() -> bool {
    interval() == OFF
}

/// Whether an allocation of this size is recorded, and with which weight.
#[inline(always)]
pub fn draw(size_bytes: u64) -> Option<WeightedSize> {
    match interval() {
        0 => Some(WeightedSize::once(size_bytes)),
        interval => {
            note(1 << room_log2(size_bytes, interval));
            // SAFETY: a helper without arguments.
            WeightedSize::draw(size_bytes, interval, unsafe { bpf_get_prandom_u32() })
        }
    }
}

/// Notes a bit in `SAMPLED_ROOM`: a write for each of few kinds of allocations.
#[inline(always)]
fn note(room: u64) {
    if let Some(noted) = SAMPLED_ROOM.get_ptr_mut(0) {
        // SAFETY: a map value.
        unsafe {
            let before = atomic::read(noted);
            if before & room == 0 {
                // Another CPU may have been faster; then the next one of this kind notes it.
                atomic::replace(noted, before, before | room);
            }
        }
    }
}
