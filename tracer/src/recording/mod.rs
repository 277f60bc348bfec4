//! The recording: one SQLite file, written while tracing, read by everything after it.
//!
//! Takes named stacks, cumulative totals, threads, collections and losses, and keeps them so that
//! a recorder which dies leaves a readable file. Gives a [`Recording`] on any machine, without
//! root. Knows no live process, no category and no output. `docs/file-format.md` describes the
//! tables for people who ask the file their own questions.

mod by_stack;
mod census;
mod check;
mod columns;
mod create;
mod database;
mod error;
mod holders;
mod ids;
mod limits;
mod live;
mod memory;
mod model;
mod number_list;
mod read;
mod read_tables;
mod rows;
mod schema;
mod series;
mod stack_ref;
mod touched;
mod writer;

pub use crate::attribute::Source;
pub use by_stack::ByStack;
pub use census::{BEGAN_WITH_SESSION, CensusMoment, RecordedCensus};
pub use error::{ReadError, WriteError};
pub use holders::{AboutHolders, HolderGroup, HolderStack, HolderState, NOT_ASKED_FOR, RecordedHolders};
pub use limits::LimitSample;
pub use model::{
    BudgetStep, Call, CodeCache, CodeHeap, CodeSample, Collection, CompiledMethod, End, FirstTouches, Header,
    Heap, HeapArena, HeaviestSample, JvmInfo, LIGHT, LiveResident, LiveSize, MappedMemory, Memory,
    MemoryPart, MemorySample, MomentTotals, Overhead, Quality, Recording, RecordingState, ResidentSample,
    Sample, SeriesRow, SessionInfo, Stack, Survivors, TARGET_EXITED, TargetInfo, Thread, ThreadLive,
    ThreadStack, Total, Totals, TouchedBy,
};
pub use read::read;
pub use stack_ref::StackRef;
pub use writer::Writer;

/// Value of `PRAGMA application_id`: "trec" in ASCII.
pub const APPLICATION_ID: u32 = 0x7472_6563;

/// The format that is written, as in `PRAGMA user_version`, and the newest that is read. It rises
/// when a reader of the old one would misread the new one; new tables, columns and `meta` keys do
/// not raise it.
pub const FORMAT_VERSION: u32 = 2;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
