//! Atomic operations of several CPUs on one word of a map.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd, atomic_xchg};

/// Adds to a word.
///
/// # Safety
/// `word` must be in a map value.
#[inline(always)]
pub unsafe fn add(word: *mut u64, amount: u64) {
    // Relaxed, this becomes an instruction that does not fetch: its result would be `amount`.
    // SAFETY: the caller's.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, amount) };
}

/// Adds 1 to a word, and gives what it was.
///
/// # Safety
/// `word` must be in a map value.
#[inline(always)]
pub unsafe fn next(word: *mut u64) -> u64 {
    // SAFETY: the caller's.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(word, 1) }
}

/// Makes a word `new` if it is `old`; true if it was.
///
/// # Safety
/// `word` must be in a map value.
#[inline(always)]
pub unsafe fn replace(word: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: the caller's.
    unsafe { found(word, old, new) == old }
}

/// A [`replace`] that gives the word's value before.
///
/// # Safety
/// `word` must be in a map value.
#[inline(always)]
pub unsafe fn found(word: *mut u64, old: u64, new: u64) -> u64 {
    // SAFETY: the caller's.
    unsafe { atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new).0 }
}

/// Writes a word, after all that was written before.
///
/// # Safety
/// `word` must be in a map value.
#[inline(always)]
pub unsafe fn set(word: *mut u64, value: u64) {
    // SAFETY: the caller's.
    unsafe { atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(word, value) };
}

/// A field that another CPU may be writing.
///
/// # Safety
/// `field` must be in a map value.
#[inline(always)]
pub unsafe fn read<T: Copy>(field: *const T) -> T {
    // SAFETY: the caller's.
    unsafe { core::ptr::read_volatile(field) }
}

/// Writes a field; these writes stay in their order.
///
/// # Safety
/// `field` must be in a map value.
#[inline(always)]
pub unsafe fn write<T: Copy>(field: *mut T, value: T) {
    // SAFETY: the caller's.
    unsafe { core::ptr::write_volatile(field, value) }
}
