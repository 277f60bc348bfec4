//! The verified memo: pieces of stacks that were walked before, and need not be walked again.
//!
//! Where a walk goes depends on the registers at its start, on the words of the stack that it reads,
//! and on tables and code that an epoch guards. A [`Segment`] keeps a piece of a walk: the state at
//! its start, every word that it read, and where it came out. If the state is the same again and all of
//! the words are, a walk would read the same and come out at the same place: so it is taken from here,
//! after one read of the stack and a comparison.
//!
//! A segment goes from the walk's start, or from the first frame in a block of [`BLOCK_BYTES`] of
//! addresses, to the first frame in another block. So stacks that differ near the leaf alone share
//! the segments of their callers, wherever they begin.
//!
//! What is not remembered: frames in stubs and adapters of the JVM (whose code can go without a word),
//! interrupted frames, return addresses that a return probe replaced, and, where the JVM does not
//! tell when code and classes go, all Java frames.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::{
        bpf_loop, bpf_probe_read_user,
        generated::{bpf_probe_read_kernel as raw_read_kernel, bpf_probe_read_user as raw_read_user},
    },
    macros::map,
    maps::Array,
};
use tracer_common::{
    config::MEMO_WAYS,
    unwind::{Frame, Stop, frame_kind},
    walk::{State, way},
};

use super::scratch::{self, Slot};
use crate::config;

/// Addresses that a segment covers, but for the rest of its last frame.
const BLOCK_BYTES: u64 = 1024;
/// What a frame can read below its stack pointer: an interpreter frame's slots, which are 64 below a
/// frame pointer that can be 64 below it.
const BELOW_BYTES: u64 = 128;
/// The words around a segment's start, up to the end of a frame that goes a little beyond its block.
const NEAR_WORDS: u64 = 160;
const NEAR_BYTES: u64 = NEAR_WORDS * 8;
/// The words of a last frame that goes far beyond.
const TAIL_WORDS: u64 = 16;
const TAIL_BYTES: u64 = TAIL_WORDS * 8;
/// Both, and the power of two that bounds an index.
const WINDOW_WORDS: usize = 256;
/// Words of the stack that a segment remembers.
const MAX_WORDS: usize = 64;
/// The most that one frame reads.
const FRAME_WORDS: u32 = 7;
/// Compared at once.
const CHUNK_WORDS: usize = 16;

const _: () = assert!((NEAR_WORDS + TAIL_WORDS) as usize <= WINDOW_WORDS);

/// A piece of a walk. All bytes zero: none.
#[repr(C)]
pub struct Segment {
    /// Odd while the rest is being written.
    version: u64,
    /// Where it begins.
    pc: u64,
    sp: u64,
    fp: u64,
    /// What held besides the stack.
    epoch: u64,
    /// [`State::flags`] where it begins.
    flags: u32,
    /// 1: the frame pointer at the start led somewhere, and must be the same.
    fp_used: u32,
    frame_count: u32,
    /// The [`Stop`] that ended the walk here; 0: it goes on.
    stop: u32,
    /// Of its frames, as [`Path`] sums them.
    path: Path,
    /// Where it comes out.
    end_pc: u64,
    end_sp: u64,
    end_flags: u32,
    /// Of the frame pointer there, its index in [`Scratch::window`]; [`NOT_LOADED`]: it is the one at the start.
    /// It may be any: the segment does not depend on it unless it is among the words.
    fp_place: u32,
    /// The words are `near_bytes` at `base` of the stack, and [`TAIL_BYTES`] at `tail_base` if that is not 0.
    base: u64,
    tail_base: u64,
    near_bytes: u32,
    word_count: u32,
    /// 0: not to be kept.
    is_sound: u64,
    values: [u64; MAX_WORDS],
    /// Of each word, its index in [`Scratch::window`].
    places: [u16; MAX_WORDS],
}

/// The sum of frames in their order: the same whether they are added one by one or in segments.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Path {
    pub hash: u64,
    /// [`FACTOR`] to the power of the frame count.
    power: u64,
}

/// Odd, without a pattern.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Path {
    pub const EMPTY: Self = Self { hash: 0, power: 1 };

    /// Adds what comes behind.
    #[inline(always)]
    fn push(&mut self, hash: u64, power: u64) {
        self.hash = self.hash.wrapping_add(self.power.wrapping_mul(hash));
        self.power = self.power.wrapping_mul(power);
    }
}

const NOT_LOADED: u32 = u32::MAX;

/// What a walk needs to use and make segments.
#[repr(C)]
pub struct Scratch {
    /// Of the whole walk so far.
    pub path: Path,
    /// The segment in the making.
    making: Segment,
    /// A copy of the stack: `window_bytes` at `making.base`, and the tail.
    window: [u64; WINDOW_WORDS],
    window_bytes: u64,
    /// What [`stack_word`] read.
    pub word: u64,
    /// Where the frame pointer was loaded from in this segment, and what it is. 0: it was not.
    fp_address: u64,
    fp: u64,
}

#[map]
static MEMO: Array<Segment> = Array::with_max_entries(1, 0);

/// What [`take`] took: nothing, a piece after which the walk goes on, or one in which it ended.
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
    let state = unsafe { &(*slot).state };
    let mut search = Search { slot, set: set(state.pc, state.sp), epoch, found: NOT_FOUND };
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

/// Prepares for the segment that begins at the slot's state, be it taken or made.
///
/// # Safety
/// `slot` must be a slot claimed by the caller.
#[inline(always)]
pub unsafe fn approach(slot: *mut Slot) {
    // SAFETY: the caller's.
    unsafe {
        (*slot).memo.making.base = (*slot).state.sp.wrapping_sub(BELOW_BYTES) & !7;
        (*slot).memo.window_bytes = 0;
    }
}

/// The first of the [`MEMO_WAYS`] places for segments that begin here.
#[inline(always)]
fn set(pc: u64, sp: u64) -> u32 {
    let hash = (pc ^ sp.rotate_left(27)).wrapping_mul(FACTOR);
    (hash >> 40) as u32 & config::get().memo_sets.wrapping_sub(1)
}

/// A search among the segments that can begin at a state.
struct Search {
    slot: *mut Slot,
    set: u32,
    epoch: u64,
    /// [`NOT_FOUND`], or what the segment's `stop` is.
    found: u64,
}

unsafe extern "C" fn way_step(way: u32, search: *mut Search) -> i64 {
    // SAFETY: `bpf_loop` passes on what `take` gave it.
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
        if !is_on_stack(segment, memo) {
            return 0;
        }
        let frame_count = record.frame_count.wrapping_add(read(&raw const (*segment).frame_count));
        let (hash, power) = (read(&raw const (*segment).path.hash), read(&raw const (*segment).path.power));
        let (pc, sp) = (read(&raw const (*segment).end_pc), read(&raw const (*segment).end_sp));
        let fp_place = read(&raw const (*segment).fp_place);
        let fp = if fp_place == NOT_LOADED {
            state.fp
        } else {
            *(&raw const memo.window).cast::<u64>().add(fp_place as usize & (WINDOW_WORDS - 1))
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

/// A field of a segment that another CPU may be writing.
#[inline(always)]
unsafe fn read<T: Copy>(field: *const T) -> T {
    // SAFETY: the caller's: inside a valid map value.
    unsafe { core::ptr::read_volatile(field) }
}

/// Are all words of `segment` on the stack?
///
/// # Safety
/// `segment` must be a valid map value.
#[inline(always)]
unsafe fn is_on_stack(segment: *const Segment, memo: &mut Scratch) -> bool {
    // SAFETY: the caller's. The addresses are user addresses, which the helper checks; both pieces are
    // within the window.
    unsafe {
        let near_bytes = read(&raw const (*segment).near_bytes) as u64;
        if near_bytes > NEAR_BYTES {
            return false;
        }
        if near_bytes > memo.window_bytes {
            let from = memo.making.base as *const c_void;
            if raw_read_user((&raw mut memo.window).cast(), near_bytes as u32, from) != 0 {
                return false;
            }
            memo.window_bytes = near_bytes;
        }
        let tail_base = read(&raw const (*segment).tail_base);
        if tail_base != 0 {
            let to = (&raw mut memo.window).cast::<u64>().add(NEAR_WORDS as usize);
            if raw_read_user(to.cast(), TAIL_BYTES as u32, tail_base as *const c_void) != 0 {
                return false;
            }
        }
        let mut comparison = Comparison { segment, window: &raw const memo.window, difference: 0 };
        let chunks = (read(&raw const (*segment).word_count) as u64).div_ceil(CHUNK_WORDS as u64) as u32;
        bpf_loop(chunks, compare_step as *mut c_void, (&raw mut comparison).cast(), 0);
        core::ptr::read_volatile(&raw const comparison.difference) == 0
    }
}

struct Comparison {
    segment: *const Segment,
    window: *const [u64; WINDOW_WORDS],
    difference: u64,
}

unsafe extern "C" fn compare_step(chunk: u32, comparison: *mut Comparison) -> i64 {
    // SAFETY: `bpf_loop` passes on what `is_on_stack` gave it; indices are bounded by masks.
    unsafe {
        let comparison = &mut *comparison;
        let first = (chunk as usize & (MAX_WORDS / CHUNK_WORDS - 1)) * CHUNK_WORDS;
        let values = (&raw const (*comparison.segment).values).cast::<u64>().add(first);
        let places = (&raw const (*comparison.segment).places).cast::<u16>().add(first);
        let window = comparison.window.cast::<u64>();
        let mut difference = 0;
        // Without a branch, and unrolled: the verifier goes through it once.
        for i in 0..CHUNK_WORDS {
            let place = read(places.add(i)) as usize & (WINDOW_WORDS - 1);
            difference |= *window.add(place) ^ read(values.add(i));
        }
        comparison.difference = difference;
        (difference != 0) as i64
    }
}

/// Begins a segment at the slot's state.
///
/// # Safety
/// `slot` must be a slot claimed by the caller.
#[inline(always)]
pub unsafe fn begin(slot: *mut Slot, epoch: u64) {
    // SAFETY: the caller's. The window has the room.
    unsafe {
        let (state, memo) = (&mut (*slot).state, &mut (*slot).memo);
        state.way &= way::PLACE;
        let making = &mut memo.making;
        making.pc = state.pc;
        making.sp = state.sp;
        making.fp = state.fp;
        making.epoch = epoch;
        making.flags = state.flags();
        making.frame_count = 0;
        making.path = Path::EMPTY;
        making.tail_base = 0;
        making.near_bytes = 0;
        making.word_count = 0;
        making.is_sound = 1;
        making.fp_used = 0;
        memo.fp_address = 0;
        if memo.window_bytes < NEAR_BYTES {
            // Near the stack's upper end there is less: words are then read one by one.
            let from = making.base as *const c_void;
            let status = raw_read_user((&raw mut memo.window).cast(), NEAR_BYTES as u32, from);
            memo.window_bytes = if status == 0 { NEAR_BYTES } else { 0 };
        }
    }
}

/// How [`stack_word`] reads: a word that the segment in the making depends on; or a frame pointer, on which it
/// depends only if it is used, after one that was not used or was.
pub const WORD: u32 = 0;
pub const FP_AFTER_UNUSED: u32 = 1;
pub const FP_AFTER_USED: u32 = 2;

/// Reads the word at `address` of the stack into [`Scratch::word`], from the window if that has it, and notes it for
/// the segment in the making. 0, or -1 if it cannot be read.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn stack_word(slot: u32, address: u64, how: u32) -> i32 {
    let Some(slot) = scratch::at(slot) else {
        return -1;
    };
    // SAFETY: the caller claimed the slot; the index is bounded, and the address is checked by the helper.
    let memo = unsafe { &mut (*slot).memo };
    let offset = address.wrapping_sub(memo.making.base);
    // The window's size is a whole number of words.
    let value = if offset < memo.window_bytes && offset & 7 == 0 {
        // SAFETY: as above.
        unsafe { *(&raw const memo.window).cast::<u64>().add((offset >> 3) as usize & (WINDOW_WORDS - 1)) }
    } else {
        // SAFETY: as above.
        match unsafe { bpf_probe_read_user(address as *const u64) } {
            Ok(value) => value,
            Err(_) => return -1,
        }
    };
    memo.word = value;
    if how == WORD {
        note(&mut memo.making, address, value);
        return 0;
    }
    if how == FP_AFTER_USED {
        note_fp(memo);
    }
    memo.fp_address = address;
    memo.fp = value;
    0
}

/// Notes that the segment in the making depends on the frame pointer.
#[inline(always)]
fn note_fp(memo: &mut Scratch) {
    if memo.fp_address == 0 {
        memo.making.fp_used = 1;
    } else {
        note(&mut memo.making, memo.fp_address, memo.fp);
    }
}

/// Notes that the segment in the making depends on `value` at `address` of the stack.
#[inline(never)]
fn note(making: &mut Segment, address: u64, value: u64) {
    let place = place(making, address);
    let count = making.word_count as usize;
    if count >= MAX_WORDS {
        making.is_sound = 0;
        return;
    }
    // SAFETY: the index is bounded.
    unsafe {
        *(&raw mut making.values).cast::<u64>().add(count & (MAX_WORDS - 1)) = value;
        *(&raw mut making.places).cast::<u16>().add(count & (MAX_WORDS - 1)) = place as u16;
    }
    making.word_count = count as u32 + 1;
}

/// Where the word at `address` is in the window, which is made to have it. If that cannot be, the segment is
/// not kept.
#[inline(always)]
fn place(making: &mut Segment, address: u64) -> u32 {
    if address & 7 != 0 {
        making.is_sound = 0;
    }
    let offset = address.wrapping_sub(making.base);
    if offset < NEAR_BYTES {
        if offset as u32 + 8 > making.near_bytes {
            making.near_bytes = offset as u32 + 8;
        }
        return (offset >> 3) as u32;
    }
    if making.tail_base == 0 {
        making.tail_base = address.wrapping_sub(TAIL_BYTES / 2) & !7;
    }
    let offset = address.wrapping_sub(making.tail_base);
    if offset >= TAIL_BYTES {
        making.is_sound = 0;
    }
    (NEAR_WORDS + (offset >> 3)) as u32
}

/// What was read cannot be read again: the segment in the making is not kept.
///
/// # Safety
/// `slot` must be a slot claimed by the caller.
#[inline(always)]
pub unsafe fn spoil(slot: *mut Slot) {
    // SAFETY: the caller's.
    unsafe { (*slot).memo.making.is_sound = 0 };
}

/// Adds a frame whose hash is `hash` to the walk and to the segment in the making, the slot's state being
/// behind it. True: the segment ends here.
///
/// # Safety
/// `slot` must be a slot claimed by the caller.
#[inline(always)]
pub unsafe fn add(slot: *mut Slot, frame: &Frame, hash: u64, keeps_java: bool) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let (state, memo) = (&(*slot).state, &mut (*slot).memo);
        memo.path.push(hash, FACTOR);
        let making = &mut memo.making;
        making.path.push(hash, FACTOR);
        making.frame_count += 1;
        let is_java = frame.kind == frame_kind::COMPILED || frame.kind == frame_kind::INTERPRETED;
        if (is_java && !keeps_java)
            || (frame.kind == frame_kind::STUB && frame.aux != 0)
            || state.return_address == 0
        {
            making.is_sound = 0;
        }
        (state.sp ^ making.sp) >= BLOCK_BYTES || making.word_count > MAX_WORDS as u32 - FRAME_WORDS
    }
}

/// Keeps the segment in the making, which ends at the slot's state: with the walk, for the reason `stop`, or
/// because another begins (0).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn keep_segment(slot: u32, stop: u32) -> i32 {
    let Some(slot) = scratch::at(slot) else {
        return 0;
    };
    // SAFETY: the caller claimed the slot.
    unsafe {
        let (state, memo) = (&(*slot).state, &mut (*slot).memo);
        if state.way & way::FP_USED != 0 {
            note_fp(memo);
        }
        let fp_address = memo.fp_address;
        let making = &mut memo.making;
        making.fp_place = if fp_address == 0 { NOT_LOADED } else { place(making, fp_address) };
        if making.is_sound == 0 {
            return 0;
        }
        making.stop = stop;
        making.end_pc = state.pc;
        making.end_sp = state.sp;
        making.end_flags = state.flags();
        // The rest of the last chunk is its first word again.
        let mut padding = Padding { slot };
        bpf_loop(CHUNK_WORDS as u32 - 1, pad_step as *mut c_void, (&raw mut padding).cast(), 0);

        let (set, way) = (set(making.pc, making.sp), making.path.hash as u32 % MEMO_WAYS);
        let Some(place) = MEMO.get_ptr_mut(set * MEMO_WAYS + way) else {
            return 0;
        };
        let version = read(&raw const (*place).version);
        if version & 1 != 0 {
            return 0;
        }
        let (_, is_claimed) = core::intrinsics::atomic_cxchg::<
            u64,
            { core::intrinsics::AtomicOrdering::SeqCst },
            { core::intrinsics::AtomicOrdering::SeqCst },
        >(&raw mut (*place).version, version, version + 1);
        if !is_claimed {
            return 0;
        }
        let from = (&raw const making.pc).cast::<c_void>();
        raw_read_kernel((&raw mut (*place).pc).cast(), (size_of::<Segment>() - 8) as u32, from);
        core::intrinsics::atomic_xchg::<u64, { core::intrinsics::AtomicOrdering::SeqCst }>(
            &raw mut (*place).version,
            version + 2,
        );
    }
    0
}

struct Padding {
    slot: *mut Slot,
}

unsafe extern "C" fn pad_step(index: u32, padding: *mut Padding) -> i64 {
    // SAFETY: `bpf_loop` passes on what `keep` gave it; the index is bounded.
    unsafe {
        let making = &mut (*(*padding).slot).memo.making;
        let i = making.word_count as usize + index as usize;
        if i.is_multiple_of(CHUNK_WORDS) || i >= MAX_WORDS {
            return 1;
        }
        *(&raw mut making.values).cast::<u64>().add(i & (MAX_WORDS - 1)) = making.values[0];
        *(&raw mut making.places).cast::<u16>().add(i & (MAX_WORDS - 1)) = making.places[0];
    }
    0
}

/// Is a walk that ended so to be remembered? Others depend on more, or have to be told.
#[inline(always)]
pub fn is_kept(stop: Stop) -> bool {
    matches!(stop, Stop::Complete | Stop::VirtualThread | Stop::NoRow | Stop::UnsupportedRule)
}
