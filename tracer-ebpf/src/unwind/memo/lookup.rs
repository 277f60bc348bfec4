//! Looking for a remembered segment, and comparing it with the stack.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_loop, generated::bpf_probe_read_user as raw_read_user};
use tracer_common::{arch::PAGE_BYTES, config::MEMO_WAYS, walk::State};

use super::{
    AHEAD_BYTES, CHUNK_WORDS, FIRST_MASK, MAX_WORDS, MEMO, NEAR_BYTES, NEAR_WORDS, NOT_LOADED, PLACE_MASK,
    Scratch, Segment, TAIL_BYTES, base,
};
use crate::{
    atomic::read,
    config,
    unwind::scratch::{self, Slot},
};

/// The outcome of [`take_segment`]: nothing, a piece after which the walk goes on, or one in which it ended.
pub const NOTHING: u64 = 0;
pub const PART: u64 = 1;
pub const END: u64 = 2;

/// Looks for a segment that begins at the state of this slot and, if all of its words are on the stack, takes it:
/// the state is then where it comes out, and the record has the stop if the walk ended there.
///
/// A global function, as the others here that a step calls: the verifier goes through it once, and not again for
/// each way that led to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn take_segment(slot: u32, epoch: u64) -> u64 {
    let Some(slot) = scratch::at(slot) else {
        return NOTHING;
    };
    // SAFETY: the caller claimed the slot.
    let set = unsafe { super::set((*slot).state.pc, (*slot).state.sp) };
    let mut search = Search { slot, set, epoch, found: NOT_FOUND };
    // SAFETY: the callback has the helper's form, and `search` outlives the call.
    unsafe {
        bpf_loop(MEMO_WAYS, way_step as *mut c_void, (&raw mut search).cast(), 0);
        // Written by the callback.
        match core::ptr::read_volatile(&raw const search.found) {
            NOT_FOUND => NOTHING,
            0 => PART,
            _ => END,
        }
    }
}

/// [`Search::found`] while nothing is.
const NOT_FOUND: u64 = u64::MAX;

/// A search among the segments that can begin at a state.
struct Search {
    slot: *mut Slot,
    set: u32,
    epoch: u64,
    /// [`NOT_FOUND`], or what the segment's `stop` is.
    found: u64,
}

unsafe extern "C" fn way_step(way: u32, search: *mut Search) -> i64 {
    // SAFETY: `bpf_loop` passes on what `take_segment` gave it.
    let search = unsafe { &mut *search };
    let Some(segment) = MEMO.get_ptr(search.set.wrapping_mul(MEMO_WAYS).wrapping_add(way)) else {
        return 1;
    };
    // SAFETY: the slot is this walk's. The segment is a valid map value, which another CPU may be writing:
    // all that is read of it counts only if its version is even, and the same before and after.
    unsafe {
        let slot = search.slot;
        let (state, record, memo) = (&mut (*slot).state, &mut (*slot).record, &mut (*slot).memo);
        let version = read(&raw const (*segment).version);
        if version & 1 != 0
            || read(&raw const (*segment).pc) != state.pc
            || read(&raw const (*segment).sp) != state.sp
            || read(&raw const (*segment).epoch) != search.epoch
            || read(&raw const (*segment).flags) != state.flags()
            || (read(&raw const (*segment).fp_used) != 0 && read(&raw const (*segment).fp) != state.fp)
        {
            return 0;
        }
        if !load(segment, memo, base(state.sp)) || !is_on_stack(segment, memo) {
            return 0;
        }
        let frame_count = record.frame_count.wrapping_add(read(&raw const (*segment).frame_count));
        let (hash, power) = (read(&raw const (*segment).path.hash), read(&raw const (*segment).path.power));
        let (pc, sp) = (read(&raw const (*segment).end_pc), read(&raw const (*segment).end_sp));
        let fp_place = read(&raw const (*segment).fp_place);
        let fp = if fp_place == NOT_LOADED {
            state.fp
        } else {
            *memo.part().add(fp_place as usize & PLACE_MASK).cast::<u64>()
        };
        let (flags, stop) = (read(&raw const (*segment).end_flags), read(&raw const (*segment).stop));
        // As many frames as a walk would have made.
        if read(&raw const (*segment).version) != version || frame_count > config::get().max_frames {
            return 0;
        }
        *state = State::with_flags(pc, sp, fp, flags);
        memo.path.push(hash, power);
        record.frame_count = frame_count;
        if stop != 0 {
            record.stop = stop;
        }
        search.found = stop as u64;
    }
    1
}

/// Makes the window have the part of the stack that `segment` is about, from [`Scratch::first`] on; `base` is the
/// lowest address. The memory above, of callers that come next, is read along: a read costs more than its bytes.
/// Returns false if it cannot be read.
///
/// # Safety
/// `segment` must be a valid map value.
#[inline(always)]
unsafe fn load(segment: *const Segment, memo: &mut Scratch, base: u64) -> bool {
    // SAFETY: the caller's. The addresses are user addresses, which the helper checks; all pieces are
    // within the window.
    unsafe {
        let near_bytes = read(&raw const (*segment).near_bytes) as u64;
        if near_bytes > NEAR_BYTES {
            return false;
        }
        let tail_base = read(&raw const (*segment).tail_base);
        let offset = base.wrapping_sub(memo.window_base);
        if tail_base == 0 && offset <= memo.window_bytes && offset + near_bytes <= memo.window_bytes {
            memo.first = offset;
            return true;
        }
        memo.first = 0;
        let bytes = if tail_base == 0 {
            // Not into another page, which could be none of the stack: a read that fails is dear.
            let to_page_end = (base + near_bytes).wrapping_neg() & (PAGE_BYTES - 1);
            (near_bytes + to_page_end).min(AHEAD_BYTES)
        } else {
            near_bytes
        };
        if !memo.read_window(base, bytes) {
            return false;
        }
        if tail_base != 0 {
            let to = (&raw mut memo.window).cast::<u64>().add(NEAR_WORDS as usize);
            if raw_read_user(to.cast(), TAIL_BYTES as u32, tail_base as *const c_void) != 0 {
                return false;
            }
        }
        true
    }
}

impl Scratch {
    /// The part of the window that a segment is about. [`PLACE_MASK`] keeps its words within the window.
    #[inline(always)]
    fn part(&self) -> *const u8 {
        // SAFETY: the mask keeps it within the window.
        unsafe { (&raw const self.window).cast::<u8>().add(self.first as usize & FIRST_MASK) }
    }
}

/// Are all words of `segment` on the stack, of which the window has a copy?
///
/// # Safety
/// `segment` must be a valid map value.
#[inline(always)]
unsafe fn is_on_stack(segment: *const Segment, memo: *const Scratch) -> bool {
    let mut comparison = Comparison { segment, memo, difference: 0 };
    // SAFETY: the caller's; the callback has the helper's form, and `comparison` outlives the call.
    unsafe {
        let chunks = (read(&raw const (*segment).word_count) as u64).div_ceil(CHUNK_WORDS as u64) as u32;
        bpf_loop(chunks, compare_step as *mut c_void, (&raw mut comparison).cast(), 0);
        core::ptr::read_volatile(&raw const comparison.difference) == 0
    }
}

struct Comparison {
    segment: *const Segment,
    memo: *const Scratch,
    difference: u64,
}

unsafe extern "C" fn compare_step(chunk: u32, comparison: *mut Comparison) -> i64 {
    // SAFETY: `bpf_loop` passes on what `is_on_stack` gave it; indices are bounded by masks.
    unsafe {
        let comparison = &mut *comparison;
        let begin = (chunk as usize & (MAX_WORDS / CHUNK_WORDS - 1)) * CHUNK_WORDS;
        let values = (&raw const (*comparison.segment).values).cast::<u64>().add(begin);
        let places = (&raw const (*comparison.segment).places).cast::<u16>().add(begin);
        let part = (*comparison.memo).part();
        let mut difference = 0;
        // Without a branch, and unrolled: the verifier goes through it once.
        for i in 0..CHUNK_WORDS {
            let place = read(places.add(i)) as usize & PLACE_MASK;
            difference |= *part.add(place).cast::<u64>() ^ read(values.add(i));
        }
        comparison.difference = difference;
        (difference != 0) as i64
    }
}
