//! The walk: the rules of `tracer_common::walk` over user memory and the maps.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_loop, generated::bpf_probe_read_user as raw_read_user};
use tracer_common::{
    config::{Jvm, memo as memo_mode},
    counter::Counter,
    record::{SAVED_BYTES, SAVED_FRAMES, SAVED_PAGE_BYTES},
    stack::StackId,
    unwind::{Frame, MAX_FRAMES, Row, Stop, frame_kind},
    walk::{self, Blob, CodeSource, ModuleRows, State, WalkSource},
};

use super::{
    blobs, memo,
    scratch::{self, Slot},
    search, trampoline,
};
use crate::{config, counters, maps};

/// Stacks that a CPU saves at most in a session, each up to 128 KB of the ring buffer: there are a few for each
/// library that is loaded.
const MAX_SAVED_STACKS: u64 = 8192;
/// No stack is saved while more than this waits in the ring buffer: the rest of it is for what cannot be
/// told later.
const MAX_WAITING_BYTES: u64 = 12 << 20;

/// The state that the walk's steps share. It lives on the BPF stack, as `bpf_loop` demands.
struct Walk {
    slot: *mut Slot,
    index: u32,
    jvm: &'static Jvm,
    /// 0 until a frame is walked.
    trampoline: u64,
    class_epoch: u64,
    first_module: u32,
    module_count: u32,
    /// The epoch in which segments of the memo must have been made; [`NO_MEMO`]: none are taken or made.
    epoch: u64,
    /// The epoch in which blobs must have been found; 0: each is looked for.
    blob_epoch: u64,
    /// Another segment begins here.
    is_fresh: u64,
}

/// No epoch: see [`Walk::epoch`].
const NO_MEMO: u64 = 0;

/// Walks from the given registers, and fills the record and the frames of the slot with this index.
/// Nothing is taken from the memo if `use_memo` is 0.
///
/// A global function: the verifier goes through it once for each program, whatever led to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk(index: u32, pc: u64, sp: u64, fp: u64, use_memo: u64) -> i32 {
    let Some(slot) = scratch::at(index) else {
        return 0;
    };
    // SAFETY: the caller claimed the slot.
    let record = unsafe {
        (*slot).state = State { return_address: (*slot).begins & 1, ..State::exact(pc, sp, fp) };
        (*slot).start = [pc, sp, fp];
        (*slot).taken = 0;
        (*slot).walked = 0;
        memo::start(slot);
        &mut (*slot).record
    };
    record.stack = StackId::ABSENT;
    record.frame_count = 0;
    record.stop = Stop::Truncated as u32;
    record.saved_bytes = 0;
    // Before what it guards is looked at.
    let epoch = if use_memo != 0 { maps::memo_epoch() } else { NO_MEMO };
    if use_memo != 0 {
        // SAFETY: as above.
        unsafe { (*slot).epoch = epoch };
    }
    let (Some(table), Some(jvm)) = (maps::MODULE_TABLE.get(0), maps::JVM.get(0)) else {
        return 0;
    };
    let mut walk = Walk {
        slot,
        index,
        jvm,
        trampoline: 0,
        class_epoch: maps::CONTROL.get(0).map_or(0, |control| control.class_epoch as u64),
        first_module: table.first,
        module_count: table.count,
        epoch,
        // A walk that checks the memo relies on nothing that was remembered.
        blob_epoch: if use_memo == 0 && config::get().memo == memo_mode::CHECKED {
            0
        } else {
            maps::memo_epoch()
        },
        is_fresh: 1,
    };
    // SAFETY: the callback has the helper's form, and `walk` outlives the call.
    unsafe {
        bpf_loop(config::get().max_frames, step as *mut c_void, (&raw mut walk).cast(), 0);
    }
    // SAFETY: the caller's.
    let (state, taken) = unsafe { (&(*slot).state, (*slot).taken) };
    record.last_pc = state.pc;
    record.last_sp = state.sp;
    record.last_fp = state.fp;
    record.last_flags = state.flags();
    // SAFETY: the caller's.
    record.stack = StackId(unsafe { (*slot).memo.path.hash });
    if record.stop == Stop::NoMapping as u32 && taken == 0 {
        counters::add(Counter::UnknownMapping, 1);
        // SAFETY: the caller's.
        unsafe {
            // A mere sample is not worth it.
            if (*slot).begins != super::INTERRUPTED {
                save(slot);
            }
        }
    }
    // The reason for the walk's end belongs to the stack: a truncated one is not the complete one.
    let stack = StackId(finish(mix(record.stack.0, record.stop as u64)));
    record.stack = if stack <= StackId::NOT_WALKED { StackId(stack.0 + 3) } else { stack };
    0
}

/// Keeps the stack of a walk that met an unknown module, so that user space can go on with it when it
/// knows the module. Such a stack is its own, whatever its frames so far: callers may differ.
///
/// # Safety
/// `slot` must be a slot claimed by the caller, after a walk.
#[inline(always)]
unsafe fn save(slot: *mut Slot) {
    // SAFETY: the caller's.
    let record = unsafe { &mut (*slot).record };
    // 0: how many bytes wait to be read.
    let waiting_bytes = maps::EVENTS.query(0);
    if record.frame_count as usize > SAVED_FRAMES
        || waiting_bytes > MAX_WAITING_BYTES
        || counters::get(Counter::UnknownMapping) > MAX_SAVED_STACKS
    {
        return;
    }
    // SAFETY: within the slot, which has the room, and behind the frames that are in use. The
    // addresses are user addresses, which the helper checks.
    unsafe {
        let to = (&raw mut (*slot).frames).cast::<Frame>().add(SAVED_FRAMES).cast::<u8>();
        let start = record.last_sp & !(SAVED_PAGE_BYTES as u64 - 1);
        // A stack that the C library made ends at the thread's own structure.
        let above = trampoline::thread_structure().wrapping_sub(start);
        for page in 0..SAVED_BYTES / SAVED_PAGE_BYTES {
            let offset = page * SAVED_PAGE_BYTES;
            let from = (start as *const c_void).wrapping_byte_add(offset);
            if offset as u64 >= above {
                break;
            }
            // A page that was never touched cannot be read here, and is zeros; so is its copy then.
            if raw_read_user(to.add(offset).cast(), SAVED_PAGE_BYTES as u32, from) == 0 {
                record.saved_bytes = (offset + SAVED_PAGE_BYTES) as u32;
            }
        }
        if record.saved_bytes != 0 {
            record.stack = StackId(mix(record.stack.0, bpf_ktime_get_ns()));
        }
    }
}

#[inline(always)]
fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

#[inline(always)]
fn finish(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

/// One frame, or a segment of the memo. Returns 1 to end the loop.
unsafe extern "C" fn step(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `bpf_loop` passes on what `walk` gave it.
    let walk = unsafe { &mut *walk };
    let slot = walk.slot;
    if walk.is_fresh != 0 {
        // SAFETY: the slot is this walk's.
        unsafe {
            if walk.epoch != NO_MEMO {
                let taken = memo::lookup::take_segment(walk.index, walk.epoch);
                if taken != memo::lookup::NOTHING {
                    (*slot).taken = 1;
                    return (taken == memo::lookup::END) as i64;
                }
            }
            (*slot).walked = 1;
            memo::build::begin(slot, walk.epoch);
        }
        walk.trampoline = trampoline::trampoline_address();
        walk.is_fresh = 0;
        // SAFETY: as above.
        unsafe {
            // Another one's return probe is at the very function that the probe is in.
            if (*slot).state.pc == walk.trampoline
                && (*slot).state.return_address != 0
                && walk.trampoline != 0
            {
                let address_slot = (*slot).state.sp.wrapping_sub(8);
                (*slot).state.pc = trampoline::original_return_address(address_slot, walk.trampoline);
                // The trampoline says nothing of where a walk began.
                walk.epoch = NO_MEMO;
            }
        }
    }
    // SAFETY: as above.
    let index = unsafe { (*slot).record.frame_count };
    if index as usize >= MAX_FRAMES || index >= config::get().max_frames {
        return 1;
    }
    // SAFETY: the slot is this walk's, and `index` is within its frames.
    let (state, frame) = unsafe {
        let slot = &mut *slot;
        (&mut slot.state, &mut *(&raw mut slot.frames).cast::<Frame>().add(index as usize))
    };
    let stop = walk::step(state, walk, frame).map_or(0, |stop| stop as u32);
    let next = add_frame(walk.index, stop, walk.class_epoch, walk.epoch);
    walk.is_fresh = (next == SEGMENT_ENDS) as u64;
    (next == WALK_ENDS) as i64
}

/// Outcomes of [`add_frame`].
const GOES_ON: u32 = 0;
const SEGMENT_ENDS: u32 = 1;
const WALK_ENDS: u32 = 2;

/// Adds the frame that was made last to the stack, and to the segment of the memo in the making. `stop`: the reason why
/// the walk ends with it; 0: it goes on.
///
/// A global function: the verifier goes through it once for each program, whatever led to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn add_frame(slot_index: u32, stop: u32, class_epoch: u64, epoch: u64) -> u32 {
    let Some(slot) = scratch::at(slot_index) else {
        return WALK_ENDS;
    };
    // SAFETY: the slot is the caller's walk's.
    let index = unsafe { (*slot).record.frame_count };
    if index as usize >= MAX_FRAMES {
        return WALK_ENDS;
    }
    // SAFETY: as above, and `index` is within its frames.
    let (frame, record) = unsafe {
        let slot = &mut *slot;
        (&*(&raw const slot.frames).cast::<Frame>().add(index as usize), &mut slot.record)
    };
    let hash = mix(0, frame.pc);
    let hash = mix(hash, frame.aux);
    let hash = mix(hash, (frame.kind as u64) << 32 | frame.extra as u64);
    // After classes were unloaded the same addresses can be another method's. Without a branch: the
    // verifier would follow both ways of it.
    let not_interpreted = (frame.kind ^ frame_kind::INTERPRETED) as u64;
    let mask = (not_interpreted.wrapping_sub(1) as i64 >> 63) as u64;
    let hash = finish(hash ^ (class_epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask));
    record.frame_count = index + 1;
    // SAFETY: as above.
    let ends = unsafe { memo::build::add(slot, frame, hash, epoch & maps::KEEPS_JAVA != 0) };
    let next = if stop != 0 {
        record.stop = stop;
        WALK_ENDS
    } else if ends {
        SEGMENT_ENDS
    } else {
        return GOES_ON;
    };
    if epoch != NO_MEMO && (stop == 0 || memo::build::is_remembered(stop)) {
        memo::build::keep_segment(slot_index, stop);
    }
    next
}

impl Walk {
    #[inline(always)]
    fn stack_word(&self, address: u64, how: u32) -> Option<u64> {
        if memo::build::stack_word(self.index, address, how) != 0 {
            return None;
        }
        // SAFETY: the slot is this walk's.
        Some(unsafe { (*self.slot).memo.word })
    }
}

impl CodeSource for Walk {
    #[inline(always)]
    fn read(&self, address: u64) -> Option<u64> {
        blobs::Code.read(address)
    }

    #[inline(always)]
    fn read_u32(&self, address: u64) -> Option<u32> {
        blobs::Code.read_u32(address)
    }

    #[inline(always)]
    fn read_u8(&self, address: u64) -> Option<u8> {
        blobs::Code.read_u8(address)
    }

    #[inline(always)]
    fn block_index(&self, segment_map: u64, index: u64) -> Result<u64, Stop> {
        blobs::Code.block_index(segment_map, index)
    }
}

impl WalkSource for Walk {
    #[inline(always)]
    fn read_stack(&self, address: u64) -> Option<u64> {
        self.stack_word(address, memo::build::WORD)
    }

    #[inline(always)]
    fn read_fp(&self, address: u64, was_used: bool) -> Option<u64> {
        self.stack_word(address, memo::build::FP_AFTER_UNUSED + was_used as u32)
    }

    #[inline(always)]
    fn jvm(&self) -> &Jvm {
        self.jvm
    }

    #[inline(always)]
    fn module(&self, pc: u64) -> Option<ModuleRows> {
        let module = search::module(self.first_module, self.module_count, pc)?;
        if pc >= module.end {
            return None;
        }
        Some(ModuleRows { bias: module.bias, first_row: module.first_row, row_count: module.row_count })
    }

    #[inline(always)]
    fn row(&self, module: ModuleRows, relative_pc: u32) -> Option<Row> {
        search::row(module.first_row, module.row_count, relative_pc)
    }

    #[inline(always)]
    fn blob(&self, pc: u64) -> Result<Blob, Stop> {
        match search::stop(blobs::load_blob(self.index, pc, self.blob_epoch)) {
            // SAFETY: the slot is this walk's.
            None => Ok(unsafe { (*self.slot).blob }),
            Some(stop) => Err(stop),
        }
    }

    #[inline(always)]
    fn slow_path_bytes(&self, pc: u64) -> u64 {
        search::slow_path_bytes(pc)
    }

    #[inline(always)]
    fn trampoline(&self) -> u64 {
        self.trampoline
    }

    #[inline(always)]
    fn original_return(&self, stack_slot: u64) -> Option<u64> {
        // SAFETY: the slot is this walk's.
        unsafe { memo::build::spoil(self.slot) };
        match trampoline::original_return_address(stack_slot, self.trampoline) {
            0 => None,
            address => Some(address),
        }
    }
}
