//! HotSpot's frames: the interpreter's around the frame pointer, those of code blobs by their size, stubs by their
//! frame link. Offsets and addresses are the JVM's own, as user space read them: [`Jvm`].

use super::{CodeSource, State, WalkSource, advance, way};
use crate::arch::{
    ENTRY_BARRIER_COOKIE, INTERPRETER_BCP_BELOW_FP, INTERPRETER_METHOD_BELOW_FP,
    INTERPRETER_SENDER_SP_BELOW_FP,
};
use crate::config::Jvm;
use crate::unwind::{Frame, Stop, frame_kind};

/// Largest distance of the frame pointer of an interpreter or stub frame above sp, bytes: the largest operand stack of
/// a Java method (65,535 words) and its locks lie between them.
const MAX_FP_ABOVE_SP_BYTES: u64 = 1 << 20;
/// Largest distance of the frame pointer of an interpreter frame below sp, bytes: its fixed slots.
const MAX_FP_BELOW_SP_BYTES: u64 = 64;

/// Hops through a code heap's segment map before a search is given up. Up to 10 were seen.
pub const MAX_SEGMENT_HOPS: u32 = 32;

/// The meaning of a byte of a segment map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// This segment is the first of its block.
    Found,
    /// This segment is free.
    Free,
    /// Look at this earlier segment.
    Next(u64),
}

/// Reads the segment map's byte `tag` of segment `index` (HotSpot, `heap.cpp`: 0xFF free, 0 the
/// block's first segment, else how many segments to go back).
#[inline(always)]
pub fn segment_hop(index: u64, tag: u8) -> Hop {
    let back = u64::from(tag);
    if back == 0 {
        Hop::Found
    } else if back == 0xff || back > index {
        Hop::Free
    } else {
        Hop::Next(index - back)
    }
}

/// Most bytes that the wrapper of a native method can have pushed when it calls the JVM: its arguments, or every
/// register.
const MAX_PUSHED_BYTES: u64 = 4096;

/// Is `pc` in the code cache?
#[inline(always)]
pub(super) fn is_code(pc: u64, jvm: &Jvm) -> bool {
    pc >= jvm.code_low && pc < jvm.code_high
}

/// A frame of code in HotSpot's code cache.
#[inline(always)]
pub(super) fn step<S: WalkSource>(
    state: &mut State,
    source: &S,
    jvm: &Jvm,
    frame: &mut Frame,
) -> Result<(), Stop> {
    frame.kind = frame_kind::STUB;
    frame.extra = 0;
    if state.return_address == 0 {
        // Interrupted anywhere: its frame may be half built, and no frame is guessed.
        return Err(Stop::Interrupted);
    }
    if state.pc >= jvm.interpreter_low && state.pc < jvm.interpreter_high {
        return step_interpreted(state, source, jvm, frame);
    }
    if state.pc == jvm.call_stub_return {
        return step_linked(state, source);
    }
    if state.pc == jvm.return_barrier {
        // The older frames of a virtual thread are in the heap. fp leads past them, to the
        // carrier's frames.
        frame.kind = frame_kind::CONTINUATION;
        state.way |= way::PAST_CONTINUATION;
        return step_linked(state, source);
    }
    let blob = source.blob(state.pc)?;
    frame.aux = blob.address;
    if blob.frame_words <= 0 {
        return step_linked(state, source);
    }
    let mut sp = state.sp.wrapping_add((blob.frame_words as u32 as u64) << 3);
    if blob.is_nmethod != 0 {
        describe_nmethod(state, &blob, source, jvm, frame)?;
        if state.way & way::FROM_NATIVE != 0 {
            sp = sp.wrapping_add(below_frame_bytes(state, sp, &blob, source));
        }
    }
    // Compiled code saves fp below its return address, though it uses it as any other register.
    state.load_fp(source, sp.wrapping_sub(16))?;
    let pc = source.read_stack(sp.wrapping_sub(8)).ok_or(Stop::ReadFault)?;
    advance_in_code(state, pc, sp, jvm)
}

/// Distance of sp below the frame of an nmethod that called the JVM itself, bytes, when `sp` is where the frame would
/// end otherwise.
#[inline(always)]
fn below_frame_bytes<S: WalkSource>(state: &mut State, sp: u64, blob: &Blob, source: &S) -> u64 {
    if blob.level == Blob::UNKNOWN_LEVEL {
        return 0;
    }
    if blob.level != 0 {
        return source.slow_path_bytes(state.pc);
    }
    // The wrapper of a native method pushes registers when it calls the JVM for a lock or a barrier,
    // but keeps a frame link in fp, and native code keeps fp.
    let pushed_bytes = state.use_fp().wrapping_add(16).wrapping_sub(sp);
    if pushed_bytes <= MAX_PUSHED_BYTES { pushed_bytes } else { 0 }
}

/// The caller is at `pc` with `sp`, and must be code of the JVM: native code enters Java by stubs
/// with a frame link alone.
#[inline(always)]
fn advance_in_code(state: &mut State, pc: u64, sp: u64, jvm: &Jvm) -> Result<(), Stop> {
    if is_code(pc, jvm) { advance(state, pc, sp) } else { Err(Stop::BadFrame) }
}

/// An interpreter frame: everything lies around fp.
#[inline(always)]
fn step_interpreted<S: WalkSource>(
    state: &mut State,
    source: &S,
    jvm: &Jvm,
    frame: &mut Frame,
) -> Result<(), Stop> {
    let fp = state.use_fp();
    check_fp(state, MAX_FP_BELOW_SP_BYTES)?;
    let bcp_below_fp = match jvm.interpreter_bcp_below_fp {
        0 => INTERPRETER_BCP_BELOW_FP,
        bytes => u64::from(bytes),
    };
    let method = source.read_stack(fp.wrapping_sub(INTERPRETER_METHOD_BELOW_FP)).ok_or(Stop::ReadFault)?;
    let bcp = source.read_stack(fp.wrapping_sub(bcp_below_fp)).ok_or(Stop::ReadFault)?;
    frame.kind = frame_kind::INTERPRETED;
    frame.pc = method;
    frame.aux = bcp;
    // Not worth ending the walk for: only the name depends on it.
    let const_method = source.read(method.wrapping_add(u64::from(jvm.method_const_method))).unwrap_or(0);
    frame.extra = (const_method >> 3) as u32;
    // Not fp + 16: adapters between compiled and interpreted code extend the caller's frame.
    let sp = source.read_stack(fp.wrapping_sub(INTERPRETER_SENDER_SP_BELOW_FP)).ok_or(Stop::ReadFault)?;
    let pc = source.read_stack(fp.wrapping_add(8)).ok_or(Stop::ReadFault)?;
    state.load_fp(source, fp)?;
    advance_in_code(state, pc, sp, jvm)
}

/// A stub that keeps a frame link in the frame pointer.
#[inline(always)]
fn step_linked<S: WalkSource>(state: &mut State, source: &S) -> Result<(), Stop> {
    let fp = state.use_fp();
    check_fp(state, 0)?;
    let mut sp = fp.wrapping_add(16);
    let mut pc = source.read_stack(fp.wrapping_add(8)).ok_or(Stop::ReadFault)?;
    if pc == ENTRY_BARRIER_COOKIE {
        pc = source.read_stack(sp).ok_or(Stop::ReadFault)?;
        sp = sp.wrapping_add(8);
    }
    state.load_fp(source, fp)?;
    advance(state, pc, sp)
}

/// Is fp where a frame link of this frame can be?
#[inline(always)]
fn check_fp(state: &State, below_sp_bytes: u64) -> Result<(), Stop> {
    let above_bytes = state.fp.wrapping_sub(state.sp.wrapping_sub(below_sp_bytes));
    if above_bytes > MAX_FP_ABOVE_SP_BYTES { Err(Stop::BadFrame) } else { Ok(()) }
}

/// A code blob: what of it a walk needs, and what stays as it is until the JVM frees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Address of the `CodeBlob`.
    pub address: u64,
    /// Addresses of the nmethod's deopt handlers; 0: none.
    pub deopt_handler: u64,
    pub deopt_mh_handler: u64,
    /// Size of the frame; 0 or less: none of a fixed size, and nothing else of the blob is known.
    pub frame_words: i32,
    /// 1: an nmethod, of which the rest is.
    pub is_nmethod: u32,
    pub compile_id: u32,
    /// Level of its compilation; 0: the wrapper of a native method.
    pub level: u32,
}

impl Blob {
    /// None.
    pub const EMPTY: Self = Self {
        address: 0,
        deopt_handler: 0,
        deopt_mh_handler: 0,
        frame_words: 0,
        is_nmethod: 0,
        compile_id: 0,
        level: Self::UNKNOWN_LEVEL,
    };
    /// The level where the JVM's is not known.
    pub const UNKNOWN_LEVEL: u32 = u32::MAX;
}

/// Fills `blob` with the code blob whose instructions are at `pc`. In place: a BPF stack has no room to spare.
///
/// # Errors
/// [`Stop::NoBlob`] if none is in use there, [`Stop::ReadFault`], [`Stop::Search`].
#[inline(always)]
pub fn find_blob<S: CodeSource>(pc: u64, source: &S, jvm: &Jvm, blob: &mut Blob) -> Result<(), Stop> {
    let address = blob_address(pc, source, jvm)?;
    let u32_at =
        |offset: u32| source.read_u32(address.wrapping_add(u64::from(offset))).ok_or(Stop::ReadFault);
    blob.address = address;
    blob.frame_words = u32_at(jvm.blob_frame_size)? as i32;
    blob.is_nmethod = 0;
    if blob.frame_words > 0 && is_nmethod(address, source, jvm)? {
        blob.is_nmethod = 1;
        blob.compile_id = u32_at(jvm.nmethod_compile_id)?;
        blob.deopt_handler = deopt_handler(address, jvm.nmethod_deopt_handler, source, jvm);
        blob.deopt_mh_handler = deopt_handler(address, jvm.nmethod_deopt_mh_handler, source, jvm);
        blob.level = Blob::UNKNOWN_LEVEL;
        if jvm.nmethod_comp_level != 0 {
            let level = source.read_u8(address.wrapping_add(u64::from(jvm.nmethod_comp_level)));
            blob.level = u32::from(level.ok_or(Stop::ReadFault)?);
        }
    }
    Ok(())
}

/// The code blob that holds `pc`.
#[inline(always)]
fn blob_address<S: CodeSource>(pc: u64, source: &S, jvm: &Jvm) -> Result<u64, Stop> {
    let mut low = 0;
    let mut segment_map = 0;
    // Unused heaps are 0..0 and hold nothing.
    for heap in &jvm.heaps {
        if pc >= heap.low && pc < heap.high {
            low = heap.low;
            segment_map = heap.segment_map;
        }
    }
    if segment_map == 0 {
        return Err(Stop::NoBlob);
    }
    let log2_segment_bytes = jvm.log2_segment_bytes & 31;
    let index = source.block_index(segment_map, pc.wrapping_sub(low) >> log2_segment_bytes)?;
    let block = low.wrapping_add(index << log2_segment_bytes);
    match source.read_u8(block.wrapping_add(u64::from(jvm.block_used))) {
        None => Err(Stop::ReadFault),
        Some(0) => Err(Stop::NoBlob),
        Some(_) => Ok(block.wrapping_add(u64::from(jvm.heap_block_bytes))),
    }
}

/// Is `blob` an nmethod (compiled Java, or the wrapper of a native method)?
#[inline(always)]
fn is_nmethod<S: CodeSource>(blob: u64, source: &S, jvm: &Jvm) -> Result<bool, Stop> {
    if jvm.blob_kind != u32::MAX {
        let kind = source.read_u8(blob.wrapping_add(u64::from(jvm.blob_kind))).ok_or(Stop::ReadFault)?;
        return Ok(u32::from(kind) == jvm.kind_nmethod);
    }
    if jvm.name_nmethod == 0 {
        // Cannot be told. Most are, and user space looks again before it names anything.
        return Ok(true);
    }
    let name = source.read(blob.wrapping_add(u64::from(jvm.blob_name))).ok_or(Stop::ReadFault)?;
    Ok(name == jvm.name_nmethod || name == jvm.name_native_nmethod)
}

/// Fills `frame` for an nmethod. A deoptimized frame returns to a handler; where it was
/// is kept in its frame.
#[inline(always)]
fn describe_nmethod<S: WalkSource>(
    state: &State,
    blob: &Blob,
    source: &S,
    jvm: &Jvm,
    frame: &mut Frame,
) -> Result<(), Stop> {
    frame.kind = frame_kind::COMPILED;
    frame.extra = blob.compile_id;
    if state.pc != blob.deopt_handler && state.pc != blob.deopt_mh_handler {
        return Ok(());
    }
    let blob = blob.address;
    let orig_pc_offset = source
        .read_u32(blob.wrapping_add(u64::from(jvm.nmethod_orig_pc_offset)))
        .ok_or(Stop::ReadFault)? as i32;
    let original =
        source.read_stack(state.sp.wrapping_add(orig_pc_offset as i64 as u64)).ok_or(Stop::ReadFault)?;
    // The handlers lie behind the method's own instructions. A value elsewhere is not believed:
    // the frame then keeps the handler's pc, which names the method but no line.
    if original > blob && original < state.pc {
        frame.pc = original;
    }
    Ok(())
}

/// The address of one of an nmethod's deopt handlers; 0 if it cannot be read or there is none.
#[inline(always)]
fn deopt_handler<S: CodeSource>(blob: u64, offset: u32, source: &S, jvm: &Jvm) -> u64 {
    if offset == 0 {
        return 0;
    }
    let field = blob.wrapping_add(u64::from(offset));
    if jvm.deopt_relative == 0 {
        return source.read(field).unwrap_or(0);
    }
    match source.read_u32(field) {
        Some(relative) => blob.wrapping_add(relative as i32 as i64 as u64),
        None => 0,
    }
}
