//! Counters of what was lost, and of how walks ended.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use tracer_common::{counter::Counter, unwind::Stop};

use crate::atomic;

#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT as u32, 0);

/// Walks of stacks that found no room in their table, by the reason for which they ended; index: [`Stop`].
#[map]
static STOPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Stop::COUNT as u32, 0);

#[inline(always)]
pub fn add(counter: Counter, amount: u64) {
    bump(&COUNTERS, counter as u32, amount);
}

/// The value that this CPU counted.
#[inline(always)]
pub fn get(counter: Counter) -> u64 {
    // SAFETY: a valid map value; one CPU's alone.
    COUNTERS.get_ptr(counter as u32).map_or(0, |value| unsafe { *value })
}

#[inline(always)]
pub fn stopped(stop: u32) {
    bump(&STOPS, stop, 1);
}

#[inline(always)]
fn bump(map: &PerCpuArray<u64>, index: u32, amount: u64) {
    if let Some(value) = map.get_ptr_mut(index) {
        // SAFETY: a valid map value. Another task may enter on the same CPU in between, so the
        // addition must be atomic.
        unsafe { atomic::add(value, amount) };
    }
}
