//! The rules by which one frame leads to its caller: native frames by [`Row`]s, HotSpot's by the JVM's own tables.
//! The processor's part in them (slots, offsets, instructions) is in [`crate::arch`].
//!
//! Owns the rules alone. Memory, tables and searches are a [`WalkSource`]: the BPF programs have one
//! over user reads and maps, user space one over saved stack bytes, and both walk by this very
//! code. Must stay free of panics, of loops without a constant bound and of values larger than a
//! few words, so that every verifier accepts it inlined into one program.
//!
//! Every frame but the innermost, and one that a signal interrupted, is at a call: its pc is a
//! return address, and the instruction to look up is the byte before it (a call that does not
//! return may be the last of its function).

mod java;

use crate::arch;
use crate::config::Jvm;
use crate::unwind::{Frame, Row, Stop, frame_kind, rule};

pub use self::java::{Blob, Hop, MAX_SEGMENT_HOPS, find_blob, segment_hop};
pub use crate::arch::{MAX_RESTORES, SlowPathFrame};

/// Halvings that a search among `2^MAX_BISECT_STEPS` rows or modules needs at most.
pub const MAX_BISECT_STEPS: u32 = 24;

/// Position of a walk: the registers of the frame to be emitted next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub pc: u64,
    /// Stack pointer as it is after the callee's return.
    pub sp: u64,
    pub fp: u64,
    /// 1: `pc` is a return address. 0: it is the very next instruction to run.
    pub return_address: u64,
    /// Bits of [`way`]: what the walk came by.
    pub way: u64,
}

/// Facts about the way that a walk took so far.
pub mod way {
    /// The frame before this one is native.
    pub const FROM_NATIVE: u64 = 1;
    /// Frames of a virtual thread are missing.
    pub const PAST_CONTINUATION: u64 = 2;
    /// The bits that are part of where a walk is; the others only tell how it came there.
    pub const PLACE: u64 = FROM_NATIVE | PAST_CONTINUATION;
    /// The frame pointer led somewhere, since it was loaded.
    pub const FP_USED: u64 = 4;
}

impl State {
    /// State at a probe or system call: `pc` is exact.
    #[inline(always)]
    pub fn exact(pc: u64, sp: u64, fp: u64) -> Self {
        Self { pc, sp, fp, return_address: 0, way: way::FROM_NATIVE }
    }

    /// `return_address` and `way` in one number: [`crate::record::StackRecord::last_flags`].
    #[inline(always)]
    pub fn flags(&self) -> u32 {
        (self.return_address | (self.way & way::PLACE) << 1) as u32
    }

    /// The frame pointer, as an address that leads to the caller.
    #[inline(always)]
    fn use_fp(&mut self) -> u64 {
        self.way |= way::FP_USED;
        self.fp
    }

    /// Loads the caller's frame pointer, which was saved at `address`.
    #[inline(always)]
    fn load_fp<S: WalkSource>(&mut self, source: &S, address: u64) -> Result<(), Stop> {
        self.fp = source.read_fp(address, self.way & way::FP_USED != 0).ok_or(Stop::ReadFault)?;
        self.way &= !way::FP_USED;
        Ok(())
    }

    /// The state with these registers and [`Self::flags`].
    #[inline(always)]
    pub fn with_flags(pc: u64, sp: u64, fp: u64, flags: u32) -> Self {
        Self { pc, sp, fp, return_address: u64::from(flags & 1), way: u64::from(flags >> 1) }
    }

    /// State at a return address: `pc` follows a call that native code is under way for.
    #[inline(always)]
    pub fn returned(pc: u64, sp: u64, fp: u64) -> Self {
        Self { return_address: 1, ..Self::exact(pc, sp, fp) }
    }
}

/// Position of the rows of the module that holds a pc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleRows {
    /// [`crate::unwind::Module::bias`].
    pub bias: u64,
    pub first_row: u32,
    /// 0: the module has no call-frame information.
    pub row_count: u32,
}

/// The target's memory, and searches in it. Every method is to be inlined in BPF.
pub trait CodeSource {
    /// The 8 bytes at `address` of the target's memory.
    fn read(&self, address: u64) -> Option<u64>;
    /// The 4 bytes at `address`.
    fn read_u32(&self, address: u64) -> Option<u32>;
    /// The byte at `address`.
    fn read_u8(&self, address: u64) -> Option<u8>;
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
}

/// The memory and tables that a walk reads. Every method is to be inlined in BPF.
pub trait WalkSource: CodeSource {
    /// The word at `address` of the stack that is walked. Where a walk goes on depends on such words, on the
    /// registers at its start, and on what does not change while the code is loaded.
    #[inline(always)]
    fn read_stack(&self, address: u64) -> Option<u64> {
        self.read(address)
    }
    /// The same for the frame pointer, which is saved at `address`: code that does not use it as one has anything in
    /// its register, and only if it is used does the walk depend on it. `was_used`: the one before was.
    #[inline(always)]
    fn read_fp(&self, address: u64, _was_used: bool) -> Option<u64> {
        self.read(address)
    }
    /// The JVM's tables; [`Jvm::ZERO`] if there is none.
    fn jvm(&self) -> &Jvm;
    /// The module that holds `pc`.
    fn module(&self, pc: u64) -> Option<ModuleRows>;
    /// The last row of `module` with `row.pc <= relative_pc`. A search is [`Bisect`].
    fn row(&self, module: ModuleRows, relative_pc: u32) -> Option<Row>;
    /// The code blob whose instructions are at `pc`.
    ///
    /// # Errors
    /// As for [`find_blob`].
    fn blob(&self, pc: u64) -> Result<Blob, Stop>
    where
        Self: Sized,
    {
        let mut blob = Blob::EMPTY;
        find_blob(pc, self, self.jvm(), &mut blob).map(|()| blob)
    }
    /// Distance of the stack pointer below the frame at the call that returns to `pc`, bytes: a [`SlowPathFrame`], of
    /// at most [`MAX_RESTORES`] instructions.
    fn slow_path_bytes(&self, pc: u64) -> u64 {
        let mut frame = SlowPathFrame::after(pc);
        let mut count = 0;
        while frame.wants() && count < MAX_RESTORES {
            let Some(word) = self.read(frame.pc) else { return 0 };
            frame.take(word);
            count += 1;
        }
        frame.bytes()
    }
    /// The address at which return probes make functions return; 0 if it is not known or there is none.
    fn trampoline(&self) -> u64;
    /// The return address that a return probe replaced at `stack_slot`.
    fn original_return(&self, stack_slot: u64) -> Option<u64>;
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
pub fn step<S: WalkSource>(state: &mut State, source: &S, frame: &mut Frame) -> Option<Stop> {
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
    let stop = if java::is_code(state.pc, jvm) {
        let stop = java::step(state, source, jvm, frame);
        state.way &= !way::FROM_NATIVE;
        stop
    } else {
        let stop = step_native(state, source, frame);
        state.way |= way::FROM_NATIVE;
        stop
    };
    stop.err()
}

/// A [`step`] for a pc at which sp is what it was at the function's entry: the caller is found without a row. Never
/// ends a walk for lack of one.
#[inline(always)]
pub fn step_entry<S: WalkSource>(state: &mut State, source: &S, frame: &mut Frame) -> Option<Stop> {
    frame.pc = state.pc;
    frame.aux = 0;
    frame.kind = frame_kind::NATIVE;
    frame.extra = 1;
    let Some(pc) = source.read(state.sp) else { return Some(Stop::ReadFault) };
    advance(state, pc, state.sp.wrapping_add(8)).err()
}

/// A frame of a native module.
#[inline(always)]
fn step_native<S: WalkSource>(state: &mut State, source: &S, frame: &mut Frame) -> Result<(), Stop> {
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
        rule::SP => state.sp.wrapping_add(offset),
        rule::FP => state.use_fp().wrapping_add(offset),
        rule::PLT => arch::plt_cfa(state.pc, state.sp, u64::from(row.cfa_words)),
        rule::FP_INDIRECT => source.read_stack(state.use_fp().wrapping_sub(offset)).ok_or(Stop::ReadFault)?,
        rule::SIGNAL => return step_signal(state, source),
        rule::ROOT if state.way & way::PAST_CONTINUATION != 0 => return Err(Stop::VirtualThread),
        rule::ROOT => return Err(Stop::Complete),
        rule::GAP => return Err(Stop::NoRow),
        _ => return Err(Stop::UnsupportedRule),
    };
    if cfa <= state.sp {
        return Err(Stop::BadFrame);
    }
    let saved_fp = if row.rule == rule::FP_INDIRECT {
        state.fp
    } else {
        cfa.wrapping_add(((row.fp_words as i64) << 3) as u64)
    };
    if row.fp_words != 0 {
        state.load_fp(source, saved_fp)?;
    }
    let pc = source.read_stack(cfa.wrapping_sub(8)).ok_or(Stop::ReadFault)?;
    advance(state, pc, cfa)
}

/// A signal trampoline: the interrupted frame may be anywhere, on another stack too.
#[inline(always)]
fn step_signal<S: WalkSource>(state: &mut State, source: &S) -> Result<(), Stop> {
    let sp = state.sp;
    state.load_fp(source, sp.wrapping_add(arch::SIGNAL_FP))?;
    state.pc = source.read_stack(sp.wrapping_add(arch::SIGNAL_PC)).ok_or(Stop::ReadFault)?;
    state.sp = source.read_stack(sp.wrapping_add(arch::SIGNAL_SP)).ok_or(Stop::ReadFault)?;
    state.return_address = 0;
    Ok(())
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

#[cfg(test)]
mod tests;
