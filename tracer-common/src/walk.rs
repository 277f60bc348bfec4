//! The rules by which one frame leads to its caller, for x86-64: native frames by [`Row`]s,
//! HotSpot's by the JVM's own tables.
//!
//! Owns the rules alone. Memory, tables and searches are a [`Source`]: the BPF programs have one
//! over user reads and maps, user space one over saved stack bytes, and both walk by this very
//! code. Must stay free of panics, of loops without a constant bound and of values larger than a
//! few words, so that every verifier accepts it inlined into one program.
//!
//! Every frame but the innermost, and one that a signal interrupted, is at a call: its pc is a
//! return address, and the instruction to look up is the byte before it (a call that does not
//! return may be the last of its function).

use crate::config::Jvm;
use crate::unwind::{Frame, Row, Stop, frame_kind, rule};

/// How far above sp the frame pointer of an interpreter or stub frame may be, bytes: the largest
/// operand stack of a Java method (65,535 words) and its locks lie between them.
const MAX_FP_ABOVE_SP_BYTES: u64 = 1 << 20;
/// How far below sp the frame pointer of an interpreter frame may be, bytes: its fixed slots.
const MAX_FP_BELOW_SP_BYTES: u64 = 64;

/// Interpreter slots, bytes below fp (HotSpot, `frame_x86.hpp`: words −1, −3; the same since 8).
const SENDER_SP_BELOW_FP: u64 = 8;
const METHOD_BELOW_FP: u64 = 24;
/// Where the bytecode pointer lies since JDK 9, if [`Jvm::interpreter_bcp_below_fp`] is 0.
const BCP_BELOW_FP: u64 = 64;

/// From sp in a signal trampoline: `ucontext.uc_mcontext.gregs` (Linux, x86-64), and registers 10
/// (rbp), 15 (rsp) and 16 (rip) of it.
const SIGNAL_RBP: u64 = 40 + 8 * 10;
const SIGNAL_RSP: u64 = 40 + 8 * 15;
const SIGNAL_RIP: u64 = 40 + 8 * 16;

/// Hops through a code heap's segment map before a search is given up. Up to 10 were seen.
pub const MAX_SEGMENT_HOPS: u32 = 32;
/// Halvings that a search among `2^MAX_BISECT_STEPS` rows or modules needs at most.
pub const MAX_BISECT_STEPS: u32 = 24;

/// Where a walk is: the registers of the frame to be emitted next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub pc: u64,
    /// As it is after the callee's return.
    pub sp: u64,
    /// rbp.
    pub fp: u64,
    /// 1: `pc` is a return address. 0: it is the very next instruction to run.
    pub return_address: u64,
}

impl State {
    /// At a probe or system call: `pc` is exact.
    #[inline(always)]
    pub fn exact(pc: u64, sp: u64, fp: u64) -> Self {
        Self { pc, sp, fp, return_address: 0 }
    }
}

/// Where to find the rows of the module that holds a pc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleRows {
    /// [`crate::unwind::Module::bias`].
    pub bias: u64,
    pub first_row: u32,
    /// 0: the module has no call-frame information.
    pub row_count: u32,
}

/// What a walk needs to know. Every method is to be inlined in BPF.
pub trait Source {
    /// The 8 bytes at `address` of the target's memory.
    fn read(&self, address: u64) -> Option<u64>;
    /// The 4 bytes at `address`.
    fn read_u32(&self, address: u64) -> Option<u32>;
    /// The byte at `address`.
    fn read_u8(&self, address: u64) -> Option<u8>;
    /// The JVM's tables; [`Jvm::ZERO`] if there is none.
    fn jvm(&self) -> &Jvm;
    /// The module that holds `pc`.
    fn module(&self, pc: u64) -> Option<ModuleRows>;
    /// The last row of `module` with `row.pc <= relative_pc`. A search is [`Bisect`].
    fn row(&self, module: ModuleRows, relative_pc: u32) -> Option<Row>;
    /// The first segment of the block that holds segment `index`: hops of [`segment_hop`], at most
    /// [`MAX_SEGMENT_HOPS`].
    ///
    /// # Errors
    /// [`Stop::NoBlob`] for a free segment, [`Stop::ReadFault`], [`Stop::Search`] for too many hops.
    fn block_index(&self, segment_map: u64, index: u64) -> Result<u64, Stop> {
        let mut index = index;
        let mut hops = 0;
        while hops < MAX_SEGMENT_HOPS {
            let Some(tag) = self.read_u8(segment_map.wrapping_add(index)) else {
                return Err(Stop::ReadFault);
            };
            match segment_hop(index, tag) {
                Hop::Found => return Ok(index),
                Hop::Free => return Err(Stop::NoBlob),
                Hop::Next(next) => index = next,
            }
            hops += 1;
        }
        Err(Stop::Search)
    }
    /// The address at which return probes make functions return; 0 if it is not known or there is none.
    fn trampoline(&self) -> u64;
    /// The return address that a return probe replaced at `stack_slot`.
    fn original_return(&self, stack_slot: u64) -> Option<u64>;
}

/// What a byte of a segment map says.
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

/// A search for the last of `count` sorted elements that is not above a value, one halving at a
/// time so that BPF can loop in its own way:
/// `while let Some(i) = bisect.middle() { bisect.narrow(i, element(i) <= value) }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bisect {
    /// Elements below this index are not above the value.
    low: u32,
    /// Elements from this index on are above it.
    high: u32,
    first: u32,
}

impl Bisect {
    /// Among the elements with indices `[first, first + count)`.
    #[inline(always)]
    pub fn new(first: u32, count: u32) -> Self {
        Self { low: first, high: first.wrapping_add(count), first }
    }

    /// The index of the next element to compare. `None`: the search is over.
    #[inline(always)]
    pub fn middle(&self) -> Option<u32> {
        if self.low < self.high { Some(self.low + ((self.high - self.low) >> 1)) } else { None }
    }

    /// Tells how the element at `middle` compared.
    #[inline(always)]
    pub fn narrow(&mut self, middle: u32, not_above: bool) {
        if not_above {
            self.low = middle.wrapping_add(1);
        } else {
            self.high = middle;
        }
    }

    /// The index found, once `middle` gives `None`.
    #[inline(always)]
    pub fn found(&self) -> Option<u32> {
        if self.low > self.first { Some(self.low - 1) } else { None }
    }
}

/// Writes the frame at `state` to `frame` (always), and moves `state` to its caller.
///
/// `Some` ends the walk: `frame` is then the last one, and `state` is unspecified but for its pc.
#[inline(always)]
pub fn step<S: Source>(state: &mut State, source: &S, frame: &mut Frame) -> Option<Stop> {
    frame.pc = state.pc;
    frame.aux = 0;
    frame.kind = frame_kind::NATIVE;
    frame.extra = 1 - (state.return_address as u32 & 1);

    let trampoline = source.trampoline();
    if trampoline != 0 && state.pc == trampoline {
        let Some(original) = source.original_return(state.sp.wrapping_sub(8)) else {
            return Some(Stop::Trampoline);
        };
        state.pc = original;
        frame.pc = original;
    }

    let jvm = source.jvm();
    let stop = if state.pc >= jvm.code_low && state.pc < jvm.code_high {
        step_java(state, source, jvm, frame)
    } else {
        step_native(state, source, frame)
    };
    stop.err()
}

/// A frame of a native module.
#[inline(always)]
fn step_native<S: Source>(state: &mut State, source: &S, frame: &mut Frame) -> Result<(), Stop> {
    let module = source.module(state.pc).ok_or(Stop::NoMapping)?;
    // Tells apart two modules that were mapped at the same address one after the other.
    frame.aux = u64::from(module.first_row);
    let relative_pc = state.pc.wrapping_sub(module.bias).wrapping_sub(state.return_address);
    if module.row_count == 0 || relative_pc > u64::from(u32::MAX) {
        return Err(Stop::NoRow);
    }
    let row = source.row(module, relative_pc as u32).ok_or(Stop::NoRow)?;

    let offset = u64::from(row.cfa_words) << 3;
    let cfa = match row.rule {
        rule::RSP => state.sp.wrapping_add(offset),
        rule::RBP => state.fp.wrapping_add(offset),
        rule::PLT => {
            let pushed = u64::from((state.pc & 15) >= u64::from(row.cfa_words)) << 3;
            state.sp.wrapping_add(8).wrapping_add(pushed)
        }
        rule::RBP_INDIRECT => source.read(state.fp.wrapping_sub(offset)).ok_or(Stop::ReadFault)?,
        rule::SIGNAL => return step_signal(state, source),
        rule::ROOT => return Err(Stop::Complete),
        rule::GAP => return Err(Stop::NoRow),
        _ => return Err(Stop::UnsupportedRule),
    };
    if cfa <= state.sp {
        return Err(Stop::BadFrame);
    }
    let saved_fp = if row.rule == rule::RBP_INDIRECT {
        state.fp
    } else {
        cfa.wrapping_add(((row.rbp_words as i64) << 3) as u64)
    };
    if row.rbp_words != 0 {
        state.fp = source.read(saved_fp).ok_or(Stop::ReadFault)?;
    }
    let pc = source.read(cfa.wrapping_sub(8)).ok_or(Stop::ReadFault)?;
    advance(state, pc, cfa)
}

/// A signal trampoline: the interrupted frame may be anywhere, on another stack too.
#[inline(always)]
fn step_signal<S: Source>(state: &mut State, source: &S) -> Result<(), Stop> {
    let sp = state.sp;
    state.fp = source.read(sp.wrapping_add(SIGNAL_RBP)).ok_or(Stop::ReadFault)?;
    state.pc = source.read(sp.wrapping_add(SIGNAL_RIP)).ok_or(Stop::ReadFault)?;
    state.sp = source.read(sp.wrapping_add(SIGNAL_RSP)).ok_or(Stop::ReadFault)?;
    state.return_address = 0;
    Ok(())
}

/// A frame of code in HotSpot's code cache.
#[inline(always)]
fn step_java<S: Source>(state: &mut State, source: &S, jvm: &Jvm, frame: &mut Frame) -> Result<(), Stop> {
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
        // The older frames of a virtual thread are in the heap. rbp leads past them, to the
        // carrier's frames.
        frame.kind = frame_kind::CONTINUATION;
        return step_linked(state, source);
    }
    let blob = find_blob(state.pc, source, jvm)?;
    frame.aux = blob;
    let frame_words =
        source.read_u32(blob.wrapping_add(u64::from(jvm.blob_frame_size))).ok_or(Stop::ReadFault)? as i32;
    if frame_words <= 0 {
        return step_linked(state, source);
    }
    if is_nmethod(blob, source, jvm)? {
        describe_nmethod(state, blob, source, jvm, frame)?;
    }
    let sp = state.sp.wrapping_add((frame_words as u32 as u64) << 3);
    // Compiled code saves rbp below its return address, though it uses it as any other register.
    state.fp = source.read(sp.wrapping_sub(16)).ok_or(Stop::ReadFault)?;
    let pc = source.read(sp.wrapping_sub(8)).ok_or(Stop::ReadFault)?;
    advance(state, pc, sp)
}

/// An interpreter frame: everything lies around rbp.
#[inline(always)]
fn step_interpreted<S: Source>(
    state: &mut State,
    source: &S,
    jvm: &Jvm,
    frame: &mut Frame,
) -> Result<(), Stop> {
    let fp = state.fp;
    check_fp(state, MAX_FP_BELOW_SP_BYTES)?;
    let bcp_below_fp = match jvm.interpreter_bcp_below_fp {
        0 => BCP_BELOW_FP,
        bytes => u64::from(bytes),
    };
    let method = source.read(fp.wrapping_sub(METHOD_BELOW_FP)).ok_or(Stop::ReadFault)?;
    let bcp = source.read(fp.wrapping_sub(bcp_below_fp)).ok_or(Stop::ReadFault)?;
    frame.kind = frame_kind::INTERPRETED;
    frame.pc = method;
    frame.aux = bcp;
    // Not worth ending the walk for: only the name depends on it.
    let const_method = source.read(method.wrapping_add(u64::from(jvm.method_const_method))).unwrap_or(0);
    frame.extra = (const_method >> 3) as u32;
    // Not fp + 16: adapters between compiled and interpreted code extend the caller's frame.
    let sp = source.read(fp.wrapping_sub(SENDER_SP_BELOW_FP)).ok_or(Stop::ReadFault)?;
    let pc = source.read(fp.wrapping_add(8)).ok_or(Stop::ReadFault)?;
    state.fp = source.read(fp).ok_or(Stop::ReadFault)?;
    advance(state, pc, sp)
}

/// A stub that keeps a frame link in rbp.
#[inline(always)]
fn step_linked<S: Source>(state: &mut State, source: &S) -> Result<(), Stop> {
    let fp = state.fp;
    check_fp(state, 0)?;
    let pc = source.read(fp.wrapping_add(8)).ok_or(Stop::ReadFault)?;
    state.fp = source.read(fp).ok_or(Stop::ReadFault)?;
    advance(state, pc, fp.wrapping_add(16))
}

/// Is fp where a frame link of this frame can be?
#[inline(always)]
fn check_fp(state: &State, below_sp_bytes: u64) -> Result<(), Stop> {
    let above_bytes = state.fp.wrapping_sub(state.sp.wrapping_sub(below_sp_bytes));
    if above_bytes > MAX_FP_ABOVE_SP_BYTES { Err(Stop::BadFrame) } else { Ok(()) }
}

/// The caller is at `pc` with `sp`: on the same stack, so further up.
#[inline(always)]
fn advance(state: &mut State, pc: u64, sp: u64) -> Result<(), Stop> {
    if sp <= state.sp || sp & 7 != 0 {
        return Err(Stop::BadFrame);
    }
    state.pc = pc;
    state.sp = sp;
    state.return_address = 1;
    Ok(())
}

/// The code blob that holds `pc`.
#[inline(always)]
fn find_blob<S: Source>(pc: u64, source: &S, jvm: &Jvm) -> Result<u64, Stop> {
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
fn is_nmethod<S: Source>(blob: u64, source: &S, jvm: &Jvm) -> Result<bool, Stop> {
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

/// Fills `frame` for the nmethod at `blob`. A deoptimized frame returns to a handler; where it was
/// is kept in its frame.
#[inline(always)]
fn describe_nmethod<S: Source>(
    state: &State,
    blob: u64,
    source: &S,
    jvm: &Jvm,
    frame: &mut Frame,
) -> Result<(), Stop> {
    frame.kind = frame_kind::COMPILED;
    frame.extra =
        source.read_u32(blob.wrapping_add(u64::from(jvm.nmethod_compile_id))).ok_or(Stop::ReadFault)?;
    let handler = deopt_handler(blob, jvm.nmethod_deopt_handler, source, jvm);
    if state.pc != handler && state.pc != deopt_handler(blob, jvm.nmethod_deopt_mh_handler, source, jvm) {
        return Ok(());
    }
    let orig_pc_offset = source
        .read_u32(blob.wrapping_add(u64::from(jvm.nmethod_orig_pc_offset)))
        .ok_or(Stop::ReadFault)? as i32;
    let original = source.read(state.sp.wrapping_add(orig_pc_offset as i64 as u64)).ok_or(Stop::ReadFault)?;
    // The handlers lie behind the method's own instructions. A value elsewhere is not believed:
    // the frame then keeps the handler's pc, which names the method but no line.
    if original > blob && original < state.pc {
        frame.pc = original;
    }
    Ok(())
}

/// The address of one of an nmethod's deopt handlers; 0 if it cannot be read or there is none.
#[inline(always)]
fn deopt_handler<S: Source>(blob: u64, offset: u32, source: &S, jvm: &Jvm) -> u64 {
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

#[cfg(test)]
mod tests;
