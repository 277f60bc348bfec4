//! Making a segment out of a walk, a frame at a time.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_loop, bpf_probe_read_user, generated::bpf_probe_read_kernel as raw_read_kernel};
use tracer_common::{
    config::MEMO_WAYS,
    unwind::{Frame, Stop, frame_kind},
    walk::way,
};

use super::{
    BLOCK_BYTES, CHUNK_WORDS, FACTOR, FRAME_WORDS, MAX_WORDS, MEMO, NEAR_BYTES, NOT_LOADED, Path, Scratch,
    Segment, TAIL_BYTES, WINDOW_WORDS, base, set,
};
use crate::{
    atomic::{self, read},
    unwind::scratch::{self, Slot},
};

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
        let base = base(state.sp);
        if base != memo.window_base || memo.window_bytes < NEAR_BYTES {
            // Near the stack's upper end there is less: words are then read one by one.
            memo.read_window(base, NEAR_BYTES);
        }
    }
}

/// Ways in which [`stack_word`] reads: a word that the segment in the making depends on; or a frame pointer, on which
/// it depends only if it is used, after one that was not used or was.
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
    let offset = address.wrapping_sub(memo.window_base);
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

/// Place of the word at `address`, which the segment is made to reach. If it cannot, the segment is not kept.
#[inline(always)]
fn place(making: &mut Segment, address: u64) -> u32 {
    if address & 7 != 0 {
        making.is_sound = 0;
    }
    let offset = address.wrapping_sub(base(making.sp));
    if offset < NEAR_BYTES {
        if offset as u32 + 8 > making.near_bytes {
            making.near_bytes = offset as u32 + 8;
        }
        return offset as u32;
    }
    if making.tail_base == 0 {
        making.tail_base = address.wrapping_sub(TAIL_BYTES / 2) & !7;
    }
    let offset = address.wrapping_sub(making.tail_base);
    if offset >= TAIL_BYTES {
        making.is_sound = 0;
    }
    (NEAR_BYTES + offset) as u32
}

/// A word that was read cannot be read again: the segment in the making is not kept.
///
/// # Safety
/// `slot` must be a slot claimed by the caller.
#[inline(always)]
pub unsafe fn spoil(slot: *mut Slot) {
    // SAFETY: the caller's.
    unsafe { (*slot).memo.making.is_sound = 0 };
}

/// Adds a frame whose hash is `hash` to the walk and to the segment in the making, the slot's state being
/// behind it. Returns true if the segment ends here.
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

        let Some(place) = MEMO.get_ptr_mut(place_for(making)) else {
            return 0;
        };
        let version = read(&raw const (*place).version);
        if version & 1 != 0 {
            return 0;
        }
        if !atomic::replace(&raw mut (*place).version, version, version + 1) {
            return 0;
        }
        let from = (&raw const making.pc).cast::<c_void>();
        raw_read_kernel((&raw mut (*place).pc).cast(), (size_of::<Segment>() - 8) as u32, from);
        atomic::set(&raw mut (*place).version, version + 2);
    }
    0
}

/// Index of the place for this segment: the one that has its like, or else one that nobody can use any more, or else
/// any. Threads that go the same way have the same sums, so the sum alone would give all of them the same way of a set.
#[inline(always)]
fn place_for(making: &Segment) -> u32 {
    let first = set(making.pc, making.sp) * MEMO_WAYS;
    let mut chosen = first + making.path.hash as u32 % MEMO_WAYS;
    for way in 0..MEMO_WAYS {
        let Some(place) = MEMO.get_ptr(first + way) else {
            break;
        };
        // SAFETY: a map value. What another CPU writes meanwhile makes a worse choice at most.
        unsafe {
            if read(&raw const (*place).epoch) != making.epoch {
                chosen = first + way;
            } else if read(&raw const (*place).path.hash) == making.path.hash
                && read(&raw const (*place).pc) == making.pc
                && read(&raw const (*place).sp) == making.sp
            {
                return first + way;
            }
        }
    }
    chosen
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
pub fn is_remembered(stop: u32) -> bool {
    const REMEMBERED: u32 = 1 << Stop::Complete as u32
        | 1 << Stop::VirtualThread as u32
        | 1 << Stop::NoRow as u32
        | 1 << Stop::UnsupportedRule as u32;
    REMEMBERED >> (stop & 31) & 1 != 0
}
