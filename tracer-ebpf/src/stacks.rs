//! Each stack's entry in `STACKS`: its totals, and whether its frames were sent.
//!
//! Entries are made once and stay, so they are known by their index: an allocation keeps that, and its free
//! needs no search. `STACK_INDEX` leads from a stack's id to it: a word for each, at the first free place
//! from where the id says. A map of the kernel's would cost a call and a hash for each allocation.

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use tracer_common::{
    counter::Counter,
    sampling::WeightedSize,
    stack::{StackId, StackIndex},
    table::{STACK_INDEX_BITS, STACK_PLACES, StackEntry, StackTotals},
};

use crate::{atomic, config, counters};

/// Stacks by index. User space reads them through a mapping.
#[map]
static STACKS: Array<StackEntry> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The index for each stack id, and bits of the id. Sized at load: [`STACK_PLACES`] for each stack.
#[map]
static STACK_INDEX: Array<u64> = Array::with_max_entries(1, 0);

/// Number of indices that were given out, from [`StackIndex::FIRST_WALKED`] on.
#[map]
static STACK_COUNT: Array<u64> = Array::with_max_entries(1, 0);

/// Places tried. At most one of [`STACK_PLACES`] is taken, so hardly ever are as many in a row; a stack
/// that finds none is booked as if the table were full.
const TRIES: u32 = 16;
/// The bits of a word of `STACK_INDEX` that are an index.
const INDEX: u64 = (1 << STACK_INDEX_BITS) - 1;

/// The entry of a stack.
#[inline(always)]
pub fn at(index: StackIndex) -> Option<*mut StackEntry> {
    STACKS.get_ptr_mut(index.0)
}

/// The index of the stack `id`, whose walk ended with `stop`; it is entered if need be. [`StackIndex::OVERFLOW`] if
/// there is no room.
#[inline(always)]
pub fn index(id: StackId, stop: u32) -> StackIndex {
    match place(id, 0).and_then(|place| matching(place, id)) {
        Some(index) => index,
        None => StackIndex(search_stack(id.0, stop)),
    }
}

/// The place of `id` that is looked at when `tried` were in vain.
#[inline(always)]
fn place(id: StackId, tried: u32) -> Option<*mut u64> {
    let mask = config::get().stack_count.wrapping_mul(STACK_PLACES).wrapping_sub(1);
    STACK_INDEX.get_ptr_mut(((id.0 >> 32) as u32).wrapping_add(tried) & mask)
}

/// The index in a place, if that is for `id`.
#[inline(always)]
fn matching(place: *mut u64, id: StackId) -> Option<StackIndex> {
    // SAFETY: a map value.
    let word = unsafe { atomic::read(place) };
    if word & !INDEX != id.0 & !INDEX {
        return None;
    }
    let index = StackIndex((word & INDEX) as u32);
    // SAFETY: a map value, in which this was written before the word.
    (unsafe { atomic::read(&raw const (*at(index)?).id) } == id).then_some(index)
}

/// Searches for a stack that is not where it is looked for first. A function of its own: few are not. A global
/// function: the verifier goes through it once for each program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn search_stack(id: u64, stop: u32) -> u32 {
    // The verifier takes numbers alone.
    let id = StackId(id);
    let mut index = StackIndex(0);
    for tried in 0..TRIES {
        let Some(place) = place(id, tried) else {
            break;
        };
        // SAFETY: a map value.
        if unsafe { atomic::read(place) } == 0 {
            if index.0 == 0 {
                index = new(id, stop);
            }
            if index.0 == 0 {
                break;
            }
            // SAFETY: as above.
            if unsafe { atomic::replace(place, 0, id.0 & !INDEX | index.0 as u64) } {
                return index.0;
            }
        }
        // Another CPU may have been here in between, for the same stack.
        if let Some(found) = matching(place, id) {
            give_up(index);
            return found.0;
        }
    }
    give_up(index);
    counters::add(Counter::LostStackFull, 1);
    StackIndex::OVERFLOW.0
}

/// A new entry, which nobody knows of yet; 0 if there is no room.
#[inline(always)]
fn new(id: StackId, stop: u32) -> StackIndex {
    const NONE: StackIndex = StackIndex(0);
    let Some(count) = STACK_COUNT.get_ptr_mut(0) else {
        return NONE;
    };
    // SAFETY: a map value.
    let index = unsafe { atomic::next(count) }.wrapping_add(StackIndex::FIRST_WALKED.0 as u64);
    if index >= config::get().stack_count as u64 {
        return NONE;
    }
    let index = StackIndex(index as u32);
    let Some(entry) = at(index) else {
        return NONE;
    };
    // SAFETY: a map value that is nobody else's.
    unsafe {
        atomic::write(&raw mut (*entry).stop, stop);
        atomic::write(&raw mut (*entry).id, id);
    }
    index
}

/// Leaves an entry of [`new`] unused.
#[inline(always)]
fn give_up(index: StackIndex) {
    if index.0 != 0
        && let Some(entry) = at(index)
    {
        // SAFETY: a map value that nobody else knows of.
        unsafe { atomic::write(&raw mut (*entry).id, StackId::ABSENT) };
    }
}

/// Books an allocation on a stack; [`WeightedSize::NONE`]: none.
#[inline(always)]
pub fn book_allocation(index: StackIndex, weighed: WeightedSize) {
    if weighed != WeightedSize::NONE
        && let Some(entry) = at(index)
    {
        // SAFETY: a map value.
        unsafe { add_allocation(&raw mut (*entry).totals, weighed) };
    }
}

/// Books an allocation.
///
/// # Safety
/// `totals` must be in a map value.
#[inline(always)]
pub unsafe fn add_allocation(totals: *mut StackTotals, weighed: WeightedSize) {
    // SAFETY: the caller's.
    unsafe {
        atomic::add(&raw mut (*totals).allocated_bytes, weighed.bytes());
        atomic::add(&raw mut (*totals).allocated_count, weighed.count());
        if weighed.log2() != 0 {
            atomic::add(&raw mut (*totals).allocated_bytes_variance, weighed.bytes_variance());
            atomic::add(&raw mut (*totals).allocated_count_variance, weighed.count_variance());
        }
    }
}

/// Takes back what [`book_allocation`] booked.
#[inline(always)]
pub fn unbook_allocation(index: StackIndex, weighed: WeightedSize) {
    if let Some(entry) = at(index) {
        // SAFETY: a map value.
        unsafe {
            let totals = &raw mut (*entry).totals;
            atomic::add(&raw mut (*totals).allocated_bytes, weighed.bytes().wrapping_neg());
            atomic::add(&raw mut (*totals).allocated_count, weighed.count().wrapping_neg());
            if weighed.log2() != 0 {
                let [bytes, count] = [weighed.bytes_variance(), weighed.count_variance()];
                atomic::add(&raw mut (*totals).allocated_bytes_variance, bytes.wrapping_neg());
                atomic::add(&raw mut (*totals).allocated_count_variance, count.wrapping_neg());
            }
        }
    }
}

/// Books that an allocation had more bytes than was booked.
#[inline(always)]
pub fn book_growth(index: StackIndex, bytes: u64) {
    if let Some(entry) = at(index) {
        // SAFETY: a map value.
        unsafe { atomic::add(&raw mut (*entry).totals.allocated_bytes, bytes) };
    }
}

/// Books a free on the stack that allocated.
#[inline(always)]
pub fn book_free(index: StackIndex, weighed: WeightedSize, is_collected: bool) {
    if let Some(entry) = at(index) {
        // SAFETY: a map value.
        unsafe {
            let totals = &raw mut (*entry).totals;
            atomic::add(&raw mut (*totals).freed_bytes, weighed.bytes());
            atomic::add(&raw mut (*totals).freed_count, weighed.count());
            if weighed.log2() != 0 {
                atomic::add(&raw mut (*totals).freed_bytes_variance, weighed.bytes_variance());
                atomic::add(&raw mut (*totals).freed_count_variance, weighed.count_variance());
            }
            if is_collected {
                atomic::add(&raw mut (*totals).collected_bytes, weighed.bytes());
            }
        }
    }
}
