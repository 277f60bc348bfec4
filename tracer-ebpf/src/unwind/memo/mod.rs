//! The verified memo: pieces of stacks that were walked before, and need not be walked again.
//!
//! Where a walk goes depends on the registers at its start, on the words of the stack that it reads,
//! and on tables and code that an epoch guards. A [`Segment`] keeps a piece of a walk: the state at
//! its start, every word that it read, and where it came out. If the state is the same again and all of
//! the words are, a walk would read the same and come out at the same place: so it is taken from here,
//! after one read of the stack and a comparison ([`lookup`]).
//!
//! A segment goes from the walk's start, or from the first frame in a block of [`BLOCK_BYTES`] of
//! addresses, to the first frame in another block. So stacks that differ near the leaf alone share
//! the segments of their callers, wherever they begin.
//!
//! Not remembered ([`build`]) are frames in stubs and adapters of the JVM (whose code can go without a
//! word), interrupted frames, return addresses that a return probe replaced, and, where the JVM does not
//! tell when code and classes go, all Java frames.

pub mod build;
pub mod lookup;

use core::ffi::c_void;

use aya_ebpf::{helpers::generated::bpf_probe_read_user as raw_read_user, macros::map, maps::Array};

use super::scratch::Slot;
use crate::config;

/// Addresses that a segment covers, but for the rest of its last frame.
const BLOCK_BYTES: u64 = 2048;
/// Bytes that a frame can read below its stack pointer: an interpreter frame's slots, which are 64 below a
/// frame pointer that can be 64 below it.
const BELOW_BYTES: u64 = 128;
/// The words around a segment's start, up to the end of a frame that goes a little beyond its block.
const NEAR_WORDS: u64 = 288;
const NEAR_BYTES: u64 = NEAR_WORDS * 8;
/// The words of a last frame that goes far beyond.
const TAIL_WORDS: u64 = 16;
const TAIL_BYTES: u64 = TAIL_WORDS * 8;
/// Words of the stack that are read at once, at most.
const AHEAD_WORDS: usize = 512;
const AHEAD_BYTES: u64 = AHEAD_WORDS as u64 * 8;
/// Words of the window: of a segment's own, behind all that begin before it.
const WINDOW_WORDS: usize = 1024;
/// Masks by which the verifier sees that a segment begins in what is read at once, and how far its words reach.
const FIRST_MASK: usize = AHEAD_BYTES as usize - 8;
const PLACE_MASK: usize = ((NEAR_BYTES + TAIL_BYTES) as usize).next_power_of_two() - 8;
/// Words of the stack that a segment remembers.
const MAX_WORDS: usize = 128;
/// The most that one frame reads.
const FRAME_WORDS: u32 = 7;
/// Compared at once.
const CHUNK_WORDS: usize = 16;

const _: () = assert!(FIRST_MASK + PLACE_MASK + 8 <= 8 * WINDOW_WORDS && AHEAD_WORDS.is_power_of_two());

/// A piece of a walk. All bytes zero: none.
#[repr(C)]
pub struct Segment {
    /// Odd while the rest is being written.
    version: u64,
    /// Registers at which the piece begins.
    pc: u64,
    sp: u64,
    fp: u64,
    /// The epoch in which it was made.
    epoch: u64,
    /// [`State::flags`] where it begins.
    flags: u32,
    /// 1: the frame pointer at the start led somewhere, and must be the same.
    fp_used: u32,
    frame_count: u32,
    /// The [`Stop`](tracer_common::unwind::Stop) that ended the walk here; 0: it goes on.
    stop: u32,
    /// The sum of its frames, as [`Path`] makes it.
    path: Path,
    /// Registers at which the piece comes out.
    end_pc: u64,
    end_sp: u64,
    end_flags: u32,
    /// Place of the frame pointer there, as of the words; [`NOT_LOADED`]: it is the one at the start.
    /// It may be any: the segment does not depend on it unless it is among the words.
    fp_place: u32,
    /// The words are in the `near_bytes` from [`base`] on, and in [`TAIL_BYTES`] at `tail_base` if that is not 0.
    tail_base: u64,
    near_bytes: u32,
    word_count: u32,
    /// 0: not to be kept.
    is_sound: u64,
    values: [u64; MAX_WORDS],
    /// Distance of each word, bytes: above [`base`]; from [`NEAR_BYTES`] on, above `tail_base`.
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

/// Scratch memory of a walk that uses and makes segments.
#[repr(C)]
pub struct Scratch {
    /// The sum of the whole walk so far.
    pub path: Path,
    /// The segment in the making.
    making: Segment,
    /// A copy of the stack: `window_bytes` at `window_base`.
    window: [u64; WINDOW_WORDS],
    window_base: u64,
    window_bytes: u64,
    /// Byte of the window at which the part begins that a segment is about.
    first: u64,
    /// The word that [`build::stack_word`] read.
    pub word: u64,
    /// Address from which the frame pointer was loaded in this segment, and its value. 0: it was not.
    fp_address: u64,
    fp: u64,
}

impl Scratch {
    /// Copies `bytes` of the stack at `base` into the window.
    ///
    /// # Safety
    /// They must be at most the window's.
    #[inline(always)]
    unsafe fn read_window(&mut self, base: u64, bytes: u64) -> bool {
        // SAFETY: the caller's; the helper checks the user address.
        let status =
            unsafe { raw_read_user((&raw mut self.window).cast(), bytes as u32, base as *const c_void) };
        self.window_base = base;
        self.window_bytes = if status == 0 { bytes } else { 0 };
        status == 0
    }
}

#[map]
static MEMO: Array<Segment> = Array::with_max_entries(1, 0);

/// Prepares for a walk.
///
/// # Safety
/// `slot` must be a slot claimed by the caller.
#[inline(always)]
pub unsafe fn start(slot: *mut Slot) {
    // SAFETY: the caller's.
    unsafe {
        (*slot).memo.path = Path::EMPTY;
        (*slot).memo.window_bytes = 0;
    }
}

/// The lowest address that a segment reads that begins at this stack pointer.
#[inline(always)]
fn base(sp: u64) -> u64 {
    sp.wrapping_sub(BELOW_BYTES) & !7
}

/// The first of the [`MEMO_WAYS`](tracer_common::config::MEMO_WAYS) places for segments that begin here.
#[inline(always)]
fn set(pc: u64, sp: u64) -> u32 {
    let hash = (pc ^ sp.rotate_left(27)).wrapping_mul(FACTOR);
    (hash >> 40) as u32 & config::get().memo_sets.wrapping_sub(1)
}
