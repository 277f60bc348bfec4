//! The process's memory by owner, and what was touched of it.

use serde::{Deserialize, Serialize};

use crate::limits::Limit;
use crate::process::Tid;
use crate::recording::StackRef;

/// The process's memory at one moment.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Memory<S = StackRef> {
    /// Time of the look at the memory, `CLOCK_MONOTONIC` ns; `None` if only the resident bytes are known.
    pub time_ns: Option<u64>,
    pub rss_bytes: Option<u64>,
    pub pss_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    /// The smallest of its control groups'; what that group uses.
    pub limit_bytes: Option<u64>,
    pub limit_used_bytes: Option<u64>,
    /// Resident bytes that nobody owns, mapped by whomever.
    pub unexplained_bytes: Option<u64>,
    /// Parts by owner.
    pub parts: Vec<MemoryPart>,
    /// The part of the unexplained that was mapped in the session, by stack.
    pub mapped: Vec<MappedMemory<S>>,
    /// `None` if malloc's heap was not gone through, or is not glibc's.
    pub heap: Option<Heap>,
    /// The limits that the process can meet. `None` if they were not asked for.
    pub limits: Option<Vec<Limit>>,
}

/// A part of the process's memory.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MemoryPart {
    /// Id of the owner, as [`crate::vmmap::Owner::id`].
    pub id: String,
    pub reserved_bytes: Option<u64>,
    pub committed_bytes: Option<u64>,
    pub resident_bytes: Option<u64>,
    pub pss_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
}

/// Memory that a stack mapped, of memory that nobody else owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedMemory<S = StackRef> {
    pub stack: S,
    pub reserved_bytes: u64,
    pub committed_bytes: u64,
    pub resident_bytes: u64,
}

/// malloc's heap, when it was gone through.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Heap {
    /// The main one first; at most some hundreds.
    pub arenas: Vec<HeapArena>,
    /// Chunks with a mapping of their own.
    pub mapped_bytes: u64,
    pub mapped_count: u64,
    pub mapped_resident_bytes: u64,
}

/// An arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HeapArena {
    pub is_main: bool,
    /// Threads that allocate from it.
    pub thread_count: u64,
    pub resident_bytes: Option<u64>,
    /// Bytes with malloc's own headers.
    pub in_use_bytes: u64,
    pub in_use_count: u64,
    /// Free, between chunks in use, and in caches.
    pub free_bytes: u64,
    /// Free at its end.
    pub top_bytes: u64,
}

/// Memory that was touched for the first time, as page faults sampled it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FirstTouches<S = StackRef> {
    /// Page faults that wrote, and those of them in the Java heap: counted.
    pub fault_count: u64,
    pub java_heap_fault_count: u64,
    /// The others' memory.
    #[serde(skip)]
    pub by: Vec<TouchedBy<S>>,
}

/// Bytes that a stack touched of an owner's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchedBy<S = StackRef> {
    pub stack: S,
    /// Id of the owner, as [`crate::vmmap::Owner::id`], or `anonymous`: not known.
    pub owner: String,
    pub sample_count: u64,
    /// An estimate.
    pub fault_count: u64,
    /// Variance of that estimate.
    pub variance: u64,
}

/// A part of the memory at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemorySample {
    pub time_ns: u64,
    pub id: String,
    pub committed_bytes: u64,
    pub resident_bytes: u64,
}

/// The stack of a thread that is live at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadStack {
    /// `None` if its thread has ended, and glibc keeps the stack for another.
    pub tid: Option<Tid>,
    pub reserved_bytes: u64,
    pub resident_bytes: u64,
}
