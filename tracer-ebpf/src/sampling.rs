//! Which allocations are recorded: see `tracer_common::sampling`.

use aya_ebpf::{helpers::bpf_get_prandom_u32, macros::map, maps::Array};
use tracer_common::sampling::{OFF, Weighed};

/// The interval in bytes, which user space may change at any time; 0: every allocation is recorded; [`OFF`]: none.
#[map]
static SAMPLING: Array<u32> = Array::with_max_entries(1, 0);

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
pub fn draw(size_bytes: u64) -> Option<Weighed> {
    match interval() {
        0 => Some(Weighed::once(size_bytes)),
        // SAFETY: a helper without arguments.
        interval => Weighed::draw(size_bytes, interval, unsafe { bpf_get_prandom_u32() }),
    }
}
