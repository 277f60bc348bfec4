//! The walk in user space: over a process's memory, or over saved registers and stack bytes, by
//! the rules that the BPF programs use ([`tracer_common::walk`]).
//!
//! For tests and second opinions. Knows nothing of return probes: only the kernel has the
//! addresses that they replaced.

use std::ops::Range;

use tracer_common::config::Jvm;
use tracer_common::unwind::{Frame, MAX_FRAMES, Module, Row, Stop};
use tracer_common::walk::{self, Bisect, CodeSource, ModuleRows, State, WalkSource};

use super::modules::ModuleTables;
use crate::process::memory::ProcessMemory;

/// The memory and tables that a walk in user space reads.
#[derive(Debug)]
pub struct Walker<'a, M> {
    memory: &'a M,
    rows: &'a [Row],
    modules: &'a [Module],
    jvm: Jvm,
    /// Start of the `[uprobes]` mapping, 0 if there is none.
    trampoline: u64,
}

/// A stack, leaf first, and why it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    pub frames: Vec<Frame>,
    pub stop: Stop,
}

impl<'a, M: ProcessMemory> Walker<'a, M> {
    /// A walker over `memory` with `tables`. `jvm` is [`Jvm::ZERO`] for a process that is none.
    pub fn new(memory: &'a M, tables: &'a ModuleTables, jvm: Jvm) -> Self {
        Self { memory, rows: tables.rows(), modules: tables.modules(), jvm, trampoline: 0 }
    }

    /// Names the address to which return probes make functions return.
    #[must_use]
    pub fn with_trampoline(self, trampoline: u64) -> Self {
        Self { trampoline, ..self }
    }

    /// Walks from `state`, at most [`MAX_FRAMES`] frames.
    pub fn walk(&self, state: State) -> Stack {
        self.walk_within(state, 0..u64::MAX)
    }

    /// The same, but for a walk that leaves `stack`: it ends as one that cannot read it.
    pub fn walk_within(&self, mut state: State, stack: Range<u64>) -> Stack {
        let mut frames = Vec::new();
        while frames.len() < MAX_FRAMES {
            if !stack.contains(&state.sp) {
                return Stack { frames, stop: Stop::ReadFault };
            }
            let mut frame = Frame::ZERO;
            let stop = walk::step(&mut state, self, &mut frame);
            frames.push(frame);
            if let Some(stop) = stop {
                return Stack { frames, stop };
            }
        }
        Stack { frames, stop: Stop::Truncated }
    }
}

impl<M: ProcessMemory> CodeSource for Walker<'_, M> {
    fn read(&self, address: u64) -> Option<u64> {
        self.memory.read_u64(address).ok()
    }

    fn read_u32(&self, address: u64) -> Option<u32> {
        self.memory.read_u32(address).ok()
    }

    fn read_u8(&self, address: u64) -> Option<u8> {
        self.memory.read_u8(address).ok()
    }
}

impl<M: ProcessMemory> WalkSource for Walker<'_, M> {
    fn jvm(&self) -> &Jvm {
        &self.jvm
    }

    fn module(&self, pc: u64) -> Option<ModuleRows> {
        let count = u32::try_from(self.modules.len()).ok()?;
        let index = bisect(0, count, |index| {
            self.modules.get(index as usize).is_some_and(|module| module.start <= pc)
        })?;
        let module = self.modules.get(index as usize).filter(|module| pc < module.end)?;
        let Module { bias, first_row, row_count, .. } = *module;
        Some(ModuleRows { bias, first_row, row_count })
    }

    fn row(&self, module: ModuleRows, relative_pc: u32) -> Option<Row> {
        let index = bisect(module.first_row, module.row_count, |index| {
            self.rows.get(index as usize).is_some_and(|row| row.pc <= relative_pc)
        })?;
        self.rows.get(index as usize).copied()
    }

    fn trampoline(&self) -> u64 {
        self.trampoline
    }

    fn original_return(&self, _stack_slot: u64) -> Option<u64> {
        None
    }
}

/// The last index in `[first, first + count)` for which `not_above` holds.
fn bisect(first: u32, count: u32, not_above: impl Fn(u32) -> bool) -> Option<u32> {
    let mut bisect = Bisect::new(first, count);
    while let Some(middle) = bisect.middle() {
        bisect.narrow(middle, not_above(middle));
    }
    bisect.found()
}

#[cfg(test)]
mod tests;
