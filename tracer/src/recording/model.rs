//! What a recording holds, as plain data: given to the writer, and given back by the reader.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attribute::Source;
use tracer_common::record::AllocationRecord;

use super::Census;
use crate::symbolize::Frame;

/// What is known when a recording starts.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Header {
    pub target: TargetInfo,
    pub session: SessionInfo,
}

/// The traced process.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetInfo {
    /// In the pid namespace of the tracer.
    pub pid: u32,
    pub comm: String,
    /// argv.
    pub command: Vec<String>,
    pub exe: Option<String>,
    /// The container's id.
    pub container: Option<String>,
    /// None: the process is not a JVM.
    pub jvm: Option<JvmInfo>,
}

/// The JVM in the traced process.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JvmInfo {
    pub version: Option<String>,
    pub vendor: Option<String>,
    pub gc: Option<String>,
    pub java_home: Option<String>,
}

/// [`SessionInfo::probes`] of a session that left the allocator alone.
pub const LIGHT: &str = "light";

/// How the session was made.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionInfo {
    /// RFC 3339, the moment when every probe was attached.
    pub started: String,
    /// The same moment as CLOCK_MONOTONIC.
    pub started_ns: u64,
    /// `full` or `light`.
    pub probes: String,
    /// One allocation in about so many bytes was recorded. None: all were.
    pub sample_bytes: Option<u64>,
    /// Are collections seen at all? If not, their number is unknown, not 0.
    pub gc_probes: bool,
    /// What recording may take, percent of the target's CPU time. None: it was not held to anything.
    pub max_overhead_percent: Option<u32>,
    /// What it did to keep to that.
    pub steps: Vec<Step>,
    /// What it took, where that was measured.
    pub overhead: Option<Overhead>,
}

/// A moment from which on less was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// `sampled`, `light` or `detached`.
    pub level: String,
    pub sample_bytes: Option<u64>,
    /// What recording took before, percent of the target's CPU time.
    pub overhead_percent: u32,
    /// Why, and what is recorded from then on.
    pub text: String,
}

/// CPU time in the windows in which it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overhead {
    /// What recording took from the target.
    pub probes_ns: u64,
    /// All of the target's.
    pub target_ns: u64,
}

/// One allocation or free, kept with `--events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub freed: bool,
    /// A free has the size and the stack of the allocation that it ends.
    pub record: AllocationRecord,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// From ready to detach.
    pub duration_ns: u64,
    /// `duration`, `interrupted`, `target exited`, ...
    pub reason: String,
}

/// Cumulative since the session started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Totals {
    pub allocated_bytes: u64,
    pub allocated_count: u64,
    pub freed_bytes: u64,
    pub freed_count: u64,
    /// Of `freed_bytes`: what was freed by threads that work off what collections found.
    pub collected_bytes: u64,
    /// Variances, where it was sampled; those of bytes in [`tracer_common::sampling::VARIANCE_UNIT`]s. Live has
    /// the difference.
    pub allocated_bytes_variance: u64,
    pub allocated_count_variance: u64,
    pub freed_bytes_variance: u64,
    pub freed_count_variance: u64,
}

/// What was lost or could not be matched, as far as it is not in `lost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Trust {
    /// Frees of what was allocated before the session. None: it was sampled, so nobody can tell.
    pub unmatched_frees: Option<u64>,
    /// Stack walks made.
    pub stacks_total: Option<u64>,
    /// Stack walks that reached the thread's entry.
    pub stacks_complete: Option<u64>,
    /// Stack walks that were like an earlier one in all their parts, and compared with it in place of being made.
    pub stacks_remembered: Option<u64>,
}

/// The process's memory at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Memory {
    /// When it was looked at, `CLOCK_MONOTONIC` ns; None: only the resident bytes are known.
    pub time_ns: Option<u64>,
    pub rss_bytes: Option<u64>,
    pub pss_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    /// The smallest of its control groups'; what that group uses.
    pub limit_bytes: Option<u64>,
    pub limit_used_bytes: Option<u64>,
    /// Resident bytes that nobody owns, mapped by whomever.
    pub unexplained_bytes: Option<u64>,
    /// By owner.
    pub parts: Vec<MemoryPart>,
    /// What of the unexplained was mapped in the session, by stack.
    pub mapped: Vec<MappedMemory>,
    /// None: malloc's heap was not gone through, or is not glibc's.
    pub heap: Option<Heap>,
}

/// One part of the process's memory.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MemoryPart {
    /// As [`crate::vmmap::Owner::id`].
    pub id: String,
    pub reserved_bytes: Option<u64>,
    pub committed_bytes: Option<u64>,
    pub resident_bytes: Option<u64>,
    pub pss_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
}

/// What a stack mapped, of memory that nobody else owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedMemory {
    /// Written: as the BPF side counts it. Read: index into [`Recording::stacks`].
    pub stack: u64,
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

/// One arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HeapArena {
    pub is_main: bool,
    /// That allocate from it.
    pub thread_count: u64,
    pub resident_bytes: Option<u64>,
    /// With malloc's own headers.
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
pub struct Touched {
    /// All page faults that wrote, and those of them in the Java heap: counted.
    pub fault_count: u64,
    pub java_heap_fault_count: u64,
    /// Of the others.
    #[serde(skip)]
    pub by: Vec<TouchedBy>,
}

/// What a stack touched of an owner's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchedBy {
    /// Written: as the BPF side counts it. Read: index into [`Recording::stacks`].
    pub stack: u64,
    /// As [`crate::vmmap::Owner::id`], or `anonymous`: not known.
    pub owner: String,
    pub sample_count: u64,
    /// An estimate.
    pub fault_count: u64,
    /// Of that estimate.
    pub variance: u64,
}

/// One part of the memory at one moment.
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
    /// None: its thread has ended, and glibc keeps the stack for another.
    pub tid: Option<u32>,
    pub reserved_bytes: u64,
    pub resident_bytes: u64,
}

/// The JVM's code cache at the end of the session. Empty: not read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CodeCache {
    pub heaps: Vec<CodeHeap>,
    pub methods: Vec<CompiledMethod>,
}

/// One heap of the code cache.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CodeHeap {
    pub name: String,
    pub reserved_bytes: Option<u64>,
    pub committed_bytes: Option<u64>,
    pub used_bytes: Option<u64>,
}

/// One nmethod.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CompiledMethod {
    /// `package.Class.method`.
    pub method: String,
    /// `c1`, `c2`, ...
    pub tier: Option<String>,
    pub bytes: u64,
}

/// A recording as read.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    pub target: TargetInfo,
    pub session: SessionInfo,
    pub state: State,
    /// The session's length, or up to the last tick if it was not finished.
    pub duration_ns: u64,
    /// Every distinct frame; stacks refer to them by index.
    pub frames: Vec<Frame>,
    pub stacks: Vec<Stack>,
    pub totals: Vec<Total>,
    /// By time. A stack that is not in a sample did not change since the one before.
    pub series: Vec<Sample>,
    pub threads: Vec<Thread>,
    pub live_by_thread: Vec<ThreadLive>,
    /// By begin.
    pub collections: Vec<Collection>,
    /// What is live at the end, by when it was allocated. Empty: not told.
    pub survivors: Vec<Survivors>,
    /// Resident bytes of the process, by time.
    pub resident: Vec<(u64, u64)>,
    pub lost: BTreeMap<String, u64>,
    pub trust: Trust,
    pub memory: Memory,
    /// By time.
    pub memory_series: Vec<MemorySample>,
    /// By address. Empty: not known.
    pub thread_stacks: Vec<ThreadStack>,
    /// None: page faults were not sampled.
    pub touched: Option<Touched>,
    pub code_cache: CodeCache,
    /// By time; where it changed.
    pub code_series: Vec<CodeSample>,
    /// By moment. Empty: none was taken.
    pub censuses: Vec<Census>,
    /// Sentences for the person who reads the report.
    pub notes: Vec<String>,
}

/// Is the recording whole?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Closed in order, for this reason.
    Finished(String),
    /// A recorder is still writing it.
    Recording,
    /// Its recorder was killed or could not write on: whole up to the last tick only.
    Unfinished,
}

/// One distinct stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// As the BPF side counts it.
    pub id: u64,
    /// Indices into [`Recording::frames`], leaf first.
    pub frames: Vec<u32>,
    /// Does it reach the thread's entry? None: its frames were not received.
    pub complete: Option<bool>,
    /// Why the walk ended.
    pub stop: Option<String>,
}

/// The totals of a stack and source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// Index into [`Recording::stacks`].
    pub stack: u32,
    pub source: Source,
    pub totals: Totals,
}

/// What changed up to a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub time_ns: u64,
    pub rows: Vec<SeriesRow>,
}

/// The totals of a stack and source at a sample's moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesRow {
    /// Index into [`Recording::totals`].
    pub total: u32,
    pub totals: Totals,
}

/// A thread of the target. Tids are used again, so there may be several of one tid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    pub tid: u32,
    pub name: Option<String>,
    /// None: it ran already when the session started.
    pub started_ns: Option<u64>,
    pub ended_ns: Option<u64>,
    /// Index into [`Recording::stacks`].
    pub creator: Option<u32>,
}

/// A garbage collection. Times are `CLOCK_MONOTONIC`, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collection {
    pub begin_ns: u64,
    /// None: its end was not seen.
    pub end_ns: Option<u64>,
    /// The whole heap, while the application stood still.
    pub full: bool,
}

/// What compiled code was installed and dropped by a moment, since the session started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeSample {
    pub time_ns: u64,
    pub loaded_bytes: u64,
    pub loaded_count: u64,
    /// Of what was installed in the session.
    pub unloaded_bytes: u64,
    pub unloaded_count: u64,
}

/// What of one stack's allocations of one time is live at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survivors {
    /// Index into [`Recording::stacks`].
    pub stack: u32,
    /// Collections that had ended in the session when it was allocated, or a little fewer: where there
    /// were many, neighbours are one.
    pub epoch: u32,
    /// It was allocated then or up to a 32nd of the session later: `CLOCK_MONOTONIC`, ns.
    pub born_ns: u64,
    pub live_bytes: u64,
    pub live_count: u64,
}

/// What one thread allocated from one stack and did not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadLive {
    /// Index into [`Recording::stacks`].
    pub stack: u32,
    pub tid: u32,
    pub live_bytes: u64,
    pub live_count: u64,
}
