//! The live table and the totals of each stack.
//!
//! An allocation is inserted when its call returns and removed when its free begins, so an address
//! that is used again never meets its former self.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::bpf_get_current_comm,
};
use tracer_common::{
    counter::Counter,
    record::{AllocationRecord, Header, kind},
    sampling::Weighed,
    table::{self, Allocation, StackTotals},
};

use crate::{config, counters, emit, maps};

/// Adds to a value that other CPUs add to as well.
///
/// # Safety
/// `value` must point to a map value.
#[inline(always)]
pub unsafe fn atomic_add(value: *mut u64, amount: u64) {
    // SAFETY: the caller's.
    unsafe {
        core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(
            value, amount,
        )
    };
}

/// Enters a new allocation of the calling thread at `address`, which is in its stack's totals already.
///
/// Apart: what it needs of the BPF stack would lie below every walk.
#[inline(never)]
pub fn insert(address: u64, weighed: Weighed, stack: u64) {
    let header = emit::header(0);
    let allocation = &Allocation {
        weighed: weighed.0,
        stack,
        time_ns: header.time_ns,
        tid: header.tid,
        epoch: header.epoch,
    };
    if maps::LIVE.insert(address, allocation, BPF_NOEXIST as u64).is_err() {
        if let Some(missed) = take(address) {
            counters::add(Counter::MissedFrees, 1);
            book_free(address, &missed);
        }
        if maps::LIVE.insert(address, allocation, BPF_ANY as u64).is_err() {
            counters::add(Counter::LostLiveFull, 1);
            counters::add(Counter::LostLiveFullBytes, weighed.bytes());
            if let Some(totals) = maps::STACKS.get_ptr_mut(allocation.stack) {
                // SAFETY: a valid map value.
                unsafe {
                    atomic_add(&raw mut (*totals).allocated_bytes, weighed.bytes().wrapping_neg());
                    atomic_add(&raw mut (*totals).allocated_count, weighed.count().wrapping_neg());
                    if weighed.log2() != 0 {
                        let [bytes, count] = [weighed.bytes_variance(), weighed.count_variance()];
                        atomic_add(&raw mut (*totals).allocated_bytes_variance, bytes.wrapping_neg());
                        atomic_add(&raw mut (*totals).allocated_count_variance, count.wrapping_neg());
                    }
                }
            }
            return;
        }
    }
    if config::get().events != 0 {
        event(kind::ALLOCATION, address, allocation);
    }
}

/// Books an allocation on `stack`, if that has totals; [`Weighed::NONE`]: none.
#[inline(always)]
pub fn book_allocation(stack: u64, weighed: Weighed) {
    if weighed != Weighed::NONE
        && let Some(totals) = maps::STACKS.get_ptr_mut(stack)
    {
        // SAFETY: a valid map value.
        unsafe { add_allocation(totals, weighed) };
    }
}

/// Adds an allocation to a stack's totals.
///
/// # Safety
/// `totals` must be a map value.
#[inline(always)]
pub unsafe fn add_allocation(totals: *mut StackTotals, weighed: Weighed) {
    // SAFETY: the caller's.
    unsafe {
        atomic_add(&raw mut (*totals).allocated_bytes, weighed.bytes());
        atomic_add(&raw mut (*totals).allocated_count, weighed.count());
        if weighed.log2() != 0 {
            atomic_add(&raw mut (*totals).allocated_bytes_variance, weighed.bytes_variance());
            atomic_add(&raw mut (*totals).allocated_count_variance, weighed.count_variance());
        }
    }
}

/// Books that an allocation of weight 1 which [`take`] removed had grown by so much since it was made.
#[inline(always)]
pub fn grow(allocation: &mut Allocation, bytes: u64) {
    if let Some(totals) = maps::STACKS.get_ptr_mut(allocation.stack) {
        // SAFETY: a valid map value.
        unsafe { atomic_add(&raw mut (*totals).allocated_bytes, bytes) };
    }
    allocation.weighed += bytes;
}

/// Puts back an allocation that [`take`] removed: it was not freed after all.
#[inline(always)]
pub fn restore(address: u64, allocation: &Allocation) {
    if maps::LIVE.insert(address, allocation, BPF_ANY as u64).is_err() {
        // Its bytes stay in the stack's totals; that it can no longer be seen freed is counted.
        counters::add(Counter::LostLiveFull, 1);
    }
}

/// Removes the allocation at `address`, if it is in the table.
#[inline(always)]
pub fn take(address: u64) -> Option<Allocation> {
    let found = maps::LIVE.get_ptr(address)?;
    // SAFETY: a valid map value; nobody else frees this address before this call returns.
    let allocation = unsafe { *found };
    // Of two that free the same address at once (an error of the target's), one counts.
    if maps::LIVE.remove(address).is_err() {
        return None;
    }
    Some(allocation)
}

/// Books the free of an allocation that [`take`] removed.
#[inline(always)]
pub fn book_free(address: u64, allocation: &Allocation) {
    if let Some(totals) = maps::STACKS.get_ptr_mut(allocation.stack) {
        // SAFETY: a valid map value.
        unsafe {
            let weighed = allocation.weighed();
            atomic_add(&raw mut (*totals).freed_bytes, weighed.bytes());
            atomic_add(&raw mut (*totals).freed_count, weighed.count());
            if weighed.log2() != 0 {
                atomic_add(&raw mut (*totals).freed_bytes_variance, weighed.bytes_variance());
                atomic_add(&raw mut (*totals).freed_count_variance, weighed.count_variance());
            }
            if frees_for_the_collector() {
                atomic_add(&raw mut (*totals).collected_bytes, weighed.bytes());
            }
        }
    }
    if config::get().events != 0 {
        event(kind::FREE, address, allocation);
    }
}

/// Is the calling thread one of those that free what unreachable Java objects held?
#[inline(always)]
fn frees_for_the_collector() -> bool {
    let Ok(comm) = bpf_get_current_comm() else {
        return false;
    };
    table::frees_for_the_collector(&comm)
}

/// Apart: its record would lie on the BPF stack below every walk.
#[inline(never)]
fn event(kind: u32, address: u64, allocation: &Allocation) {
    emit::send(&AllocationRecord {
        header: Header { detail: allocation.weighed().log2(), ..emit::header(kind) },
        address: address & table::key::ADDRESS,
        size_bytes: allocation.weighed().size_bytes(),
        stack: allocation.stack,
    });
}
