//! The live table.
//!
//! An allocation is inserted when its call returns and removed when its free begins, so an address
//! that is used again never meets its former self, and no two CPUs are at one address at the same time.
//!
//! `LIVE` has a small set of places for each hash of an address; a place is taken and given back by exchanging its
//! address. An allocation that finds its set full goes to `LIVE_OVERFLOW`, a hash map, whose every operation costs more
//! than all of this: a call, a hash, a lock, memory.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    helpers::{bpf_ktime_get_ns, generated::bpf_get_current_comm},
    macros::map,
    maps::{Array, HashMap},
};
use tracer_common::{
    counter::Counter,
    record::{AllocationRecord, Header, kind},
    sampling::WeightedSize,
    stack::{StackId, StackIndex},
    table::{self, Allocation, BEING_WRITTEN, LIVE_SETS, LIVE_WAYS, LiveSet},
};

use crate::{atomic, config, counters, emit, maps, stacks};

/// User space reads it through a mapping.
#[map]
static LIVE: Array<LiveSet> = Array::with_max_entries(LIVE_SETS, BPF_F_MMAPABLE);

/// Allocations that found their set full, by address; sized at load.
#[map]
static LIVE_OVERFLOW: HashMap<u64, Allocation> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// Enters a new allocation of the thread `tid` at `address`, which is in the totals of its stack already.
///
/// Apart: what it needs of the BPF stack would lie below every walk.
#[inline(always)]
pub fn insert(address: u64, weighed: WeightedSize, stack: StackIndex, tid: u32) {
    insert_live(address, weighed.0, stack.0, tid);
}

/// [`insert`] as a global function: the verifier goes through it once for each program, whatever led to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn insert_live(address: u64, weighed: u64, stack: u32, tid: u32) -> i32 {
    // The verifier takes numbers alone.
    let (weighed, stack) = (WeightedSize(weighed), StackIndex(stack));
    let Some(set) = LIVE.get_ptr_mut(table::live_set(address)) else {
        return 0;
    };
    if may_have(set, address)
        && let Some(missed) = take(address)
    {
        counters::add(Counter::MissedFrees, 1);
        book_free(address, &missed);
    }
    // SAFETY: a helper without arguments.
    let time_ns = unsafe { bpf_ktime_get_ns() };
    let allocation =
        Allocation { weighed: weighed.0, time_ns, tid, epoch: maps::epoch(), stack, reserved: 0 };
    if !put(set, address, &allocation) {
        counters::add(Counter::LostLiveFull, 1);
        counters::add(Counter::LostLiveFullBytes, weighed.bytes());
        stacks::unbook_allocation(stack, weighed);
        return 0;
    }
    if config::get().events != 0 {
        event(kind::ALLOCATION, address, &allocation);
    }
    0
}

/// Can `address` be in the table?
#[inline(always)]
fn may_have(set: *mut LiveSet, address: u64) -> bool {
    // SAFETY: a map value.
    unsafe {
        let mut may = atomic::read(&raw const (*set).overflow_count) != 0;
        for way in 0..LIVE_WAYS {
            may |= atomic::read(address_at(set, way)) == address;
        }
        may
    }
}

/// The word of a set that has the address of its allocation number `way`.
///
/// # Safety
/// `set` must be a map value, and `way` less than [`LIVE_WAYS`].
#[inline(always)]
unsafe fn address_at(set: *mut LiveSet, way: usize) -> *mut u64 {
    // SAFETY: the caller's.
    unsafe { (&raw mut (*set).addresses).cast::<u64>().add(way) }
}

/// Allocation number `way` of a set.
///
/// # Safety
/// As for [`address_at`].
#[inline(always)]
unsafe fn allocation_at(set: *mut LiveSet, way: usize) -> *mut Allocation {
    // SAFETY: the caller's.
    unsafe { (&raw mut (*set).allocations).cast::<Allocation>().add(way) }
}

/// Puts an allocation into the table, which has not its address. Returns false if there is no room.
#[inline(always)]
fn put(set: *mut LiveSet, address: u64, allocation: &Allocation) -> bool {
    for way in 0..LIVE_WAYS {
        // SAFETY: a map value.
        unsafe {
            let address_word = address_at(set, way);
            if atomic::read(address_word) == 0 && atomic::replace(address_word, 0, BEING_WRITTEN) {
                let entry = allocation_at(set, way);
                atomic::write(&raw mut (*entry).weighed, allocation.weighed);
                atomic::write(&raw mut (*entry).time_ns, allocation.time_ns);
                atomic::write(&raw mut (*entry).tid, allocation.tid);
                atomic::write(&raw mut (*entry).epoch, allocation.epoch);
                atomic::write(&raw mut (*entry).stack, allocation.stack);
                // Whoever frees it learns the address from this thread, after this.
                atomic::write(address_word, address);
                return true;
            }
        }
    }
    put_overflow(set, address, allocation)
}

#[inline(never)]
fn put_overflow(set: *mut LiveSet, address: u64, allocation: &Allocation) -> bool {
    let is_in = LIVE_OVERFLOW.insert(address, allocation, BPF_ANY as u64).is_ok();
    if is_in {
        // SAFETY: a map value. Nobody looks for this address before this call returns.
        unsafe { atomic::add(&raw mut (*set).overflow_count, 1) };
    }
    is_in
}

/// Books that an allocation of weight 1 which [`take`] removed had grown by so much since it was made.
#[inline(always)]
pub fn grow(allocation: &mut Allocation, bytes: u64) {
    stacks::book_growth(allocation.stack, bytes);
    allocation.weighed += bytes;
}

/// The bytes of the allocation at `address`, if it is in the table.
#[inline(always)]
pub fn size_bytes(address: u64) -> Option<u64> {
    let set = LIVE.get_ptr_mut(table::live_set(address))?;
    for way in 0..LIVE_WAYS {
        // SAFETY: a map value.
        unsafe {
            if atomic::read(address_at(set, way)) == address {
                return Some((*allocation_at(set, way)).weighed().size_bytes());
            }
        }
    }
    // SAFETY: as above.
    LIVE_OVERFLOW.get_ptr(address).map(|found| unsafe { (*found).weighed().size_bytes() })
}

/// Puts back an allocation that [`take`] removed: it was not freed after all.
#[inline(never)]
pub fn restore(address: u64, allocation: &Allocation) {
    let Some(set) = LIVE.get_ptr_mut(table::live_set(address)) else {
        return;
    };
    if !put(set, address, allocation) {
        // Its bytes stay in the stack's totals; that it can no longer be seen freed is counted.
        counters::add(Counter::LostLiveFull, 1);
    }
}

/// Removes the allocation at `address`, if it is in the table.
#[inline(always)]
pub fn take(address: u64) -> Option<Allocation> {
    if address <= BEING_WRITTEN {
        return None;
    }
    let set = LIVE.get_ptr_mut(table::live_set(address))?;
    for way in 0..LIVE_WAYS {
        // SAFETY: a map value.
        unsafe {
            let address_word = address_at(set, way);
            if atomic::read(address_word) == address {
                let allocation = *allocation_at(set, way);
                // One of two threads that free the same address at once (an error of the target's) counts.
                return atomic::replace(address_word, address, 0).then_some(allocation);
            }
        }
    }
    // SAFETY: as above.
    if unsafe { atomic::read(&raw const (*set).overflow_count) } == 0 {
        return None;
    }
    let found = LIVE_OVERFLOW.get_ptr(address)?;
    // SAFETY: a map value; nobody else frees this address before this call returns.
    let allocation = unsafe { *found };
    if LIVE_OVERFLOW.remove(address).is_err() {
        return None;
    }
    // SAFETY: as above.
    unsafe { atomic::add(&raw mut (*set).overflow_count, u64::MAX) };
    Some(allocation)
}

/// Books the free of an allocation that [`take`] removed.
#[inline(always)]
pub fn book_free(address: u64, allocation: &Allocation) {
    stacks::book_free(allocation.stack, allocation.weighed(), frees_for_the_collector());
    if config::get().events != 0 {
        event(kind::FREE, address, allocation);
    }
}

/// Is the calling thread one of those that free what unreachable Java objects held?
#[inline(always)]
fn frees_for_the_collector() -> bool {
    let mut name = [0u64; 2];
    // SAFETY: a buffer of the size that is given.
    let status = unsafe { bpf_get_current_comm((&raw mut name).cast(), size_of_val(&name) as u32) };
    status == 0 && table::frees_for_the_collector(name)
}

/// Sends an event. A function of its own: its record would lie on the BPF stack below every walk.
#[inline(never)]
fn event(kind: u32, address: u64, allocation: &Allocation) {
    // SAFETY: a map value.
    let stack = stacks::at(allocation.stack).map_or(StackId::ABSENT, |entry| unsafe { (*entry).id });
    emit::send(&AllocationRecord {
        header: Header { detail: allocation.weighed().log2(), ..emit::header(kind) },
        address: address & table::key::ADDRESS,
        size_bytes: allocation.weighed().size_bytes(),
        stack,
    });
}
