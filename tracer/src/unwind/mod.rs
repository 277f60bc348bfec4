//! Native unwinding: from the call-frame information of a target's files to the rows that the BPF
//! programs search, and the same walk in user space.
//!
//! Takes ELF files and mappings; gives rows, modules and, for tests and second opinions, stacks.
//! The rules of a walk are [`tracer_common::walk`]; names are `symbolize`'s.

pub mod modules;
pub mod resume;
mod row;
#[cfg(test)]
pub(crate) mod still;
pub mod table;
pub mod walker;
