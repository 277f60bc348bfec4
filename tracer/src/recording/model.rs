//! Contents of a recording, as plain data: given to the writer, and given back by the reader.

mod memory;
mod session;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attribute::Source;
use crate::process::Tid;
use tracer_common::record::AllocationRecord;
use tracer_common::stack::StackId;

use super::{LimitSample, RecordedCensus, RecordedHolders, StackRef};
use crate::symbolize::Frame;

pub use memory::*;
pub use session::*;

/// An allocation or free, kept with `--events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub freed: bool,
    /// A free has the size and the stack of the allocation that it ends.
    pub record: AllocationRecord,
}

/// Cumulative since the session started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Totals {
    pub allocated_bytes: u64,
    pub allocated_count: u64,
    pub freed_bytes: u64,
    pub freed_count: u64,
    /// Part of `freed_bytes` that was freed by threads that work off what collections found.
    pub collected_bytes: u64,
    /// Variances, where it was sampled; those of bytes in [`tracer_common::sampling::VARIANCE_UNIT`]s. Live has
    /// the difference.
    pub allocated_bytes_variance: u64,
    pub allocated_count_variance: u64,
    pub freed_bytes_variance: u64,
    pub freed_count_variance: u64,
}

/// Totals at a moment: cumulative since the session started. A recording has millions of them, and no variances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MomentTotals {
    pub allocated_bytes: u64,
    pub allocated_count: u64,
    pub freed_bytes: u64,
    pub freed_count: u64,
    /// Part of `freed_bytes` that was freed by threads that work off what collections found.
    pub collected_bytes: u64,
}

impl MomentTotals {
    /// Allocated and not freed by then.
    pub fn live_bytes(&self) -> u64 {
        self.allocated_bytes.saturating_sub(self.freed_bytes)
    }

    /// Allocations that were not freed by then.
    pub fn live_count(&self) -> u64 {
        self.allocated_count.saturating_sub(self.freed_count)
    }
}

impl From<&Totals> for MomentTotals {
    fn from(totals: &Totals) -> Self {
        let &Totals { allocated_bytes, allocated_count, freed_bytes, freed_count, collected_bytes, .. } =
            totals;
        Self { allocated_bytes, allocated_count, freed_bytes, freed_count, collected_bytes }
    }
}

/// Events that were lost or could not be matched, as far as it is not in `lost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Quality {
    /// Frees of what was allocated before the session. `None` if it was sampled, so nobody can tell.
    pub unmatched_frees: Option<u64>,
    /// Stack walks made.
    pub stacks_total: Option<u64>,
    /// Stack walks that reached the thread's entry.
    pub stacks_complete: Option<u64>,
    /// Stack walks that were like an earlier one in all their parts, and compared with it in place of being made.
    pub stacks_remembered: Option<u64>,
    /// `None` if every allocation was recorded.
    pub heaviest_sample: Option<HeaviestSample>,
}

/// Upper bound of the bytes and calls that one sample can represent, whether or not there is such a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaviestSample {
    pub bytes: u64,
    pub count: u64,
}

/// The JVM's code cache at the end of the session. Empty: not read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CodeCache {
    pub heaps: Vec<CodeHeap>,
    pub methods: Vec<CompiledMethod>,
}

/// A heap of the code cache.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CodeHeap {
    pub name: String,
    pub reserved_bytes: Option<u64>,
    pub committed_bytes: Option<u64>,
    pub used_bytes: Option<u64>,
}

/// A compiled method: one nmethod.
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
    pub state: RecordingState,
    /// The session's length, or up to the last tick if it was not finished.
    pub duration_ns: u64,
    /// Every distinct frame; stacks refer to them by index.
    pub frames: Vec<Frame>,
    pub stacks: Vec<Stack>,
    pub totals: Vec<Total>,
    /// Samples by time. A stack that is not in a sample did not change since the one before.
    pub series: Vec<Sample>,
    pub threads: Vec<Thread>,
    pub live_by_thread: Vec<ThreadLive>,
    /// Memory that is live at the end, by size. Empty: not told.
    pub live_sizes: Vec<LiveSize>,
    /// Empty: not told.
    pub live_resident: Vec<LiveResident>,
    /// Collections by begin.
    pub collections: Vec<Collection>,
    /// Memory that is live at the end, by when it was allocated. Empty: not told.
    pub survivors: Vec<Survivors>,
    /// Resident bytes of the process, by time.
    pub resident: Vec<ResidentSample>,
    pub lost: BTreeMap<String, u64>,
    pub quality: Quality,
    pub memory: Memory,
    /// Samples by time.
    pub memory_series: Vec<MemorySample>,
    /// Limits by time; where they changed.
    pub limit_series: Vec<LimitSample>,
    /// Stacks by address. Empty: not known.
    pub thread_stacks: Vec<ThreadStack>,
    /// `None` if page faults were not sampled.
    pub touched: Option<FirstTouches>,
    pub code_cache: CodeCache,
    /// Samples by time; where the code changed.
    pub code_series: Vec<CodeSample>,
    /// Holders of what was live at the end, or why that is not known.
    pub holders: Result<RecordedHolders, String>,
    /// Censuses by moment. Empty: none was taken.
    pub censuses: Vec<RecordedCensus>,
    /// Sentences for the person who reads the report.
    pub notes: Vec<String>,
}

/// Is the recording whole?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingState {
    /// Closed in order, for this reason.
    Finished(String),
    /// A recorder is still writing it.
    Recording,
    /// The recorder was killed or could not write on: the recording is whole up to the last tick only.
    Unfinished,
}

/// The reason for which a recording ends that lasted as long as its process.
pub const TARGET_EXITED: &str = "target exited";

impl RecordingState {
    /// Has the process ended, and the recording with it?
    pub fn has_exited(&self) -> bool {
        matches!(self, Self::Finished(reason) if reason == TARGET_EXITED)
    }
}

/// One distinct stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    pub id: StackId,
    /// Indices into [`Recording::frames`], leaf first.
    pub frames: Vec<u32>,
    /// Does the stack reach the thread's entry? None: its frames were not received.
    pub complete: Option<bool>,
    /// Reason why the walk ended.
    pub stop: Option<String>,
}

/// The totals of a stack and source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    pub stack: StackRef,
    pub source: Source,
    pub totals: Totals,
}

/// The resident bytes of the process at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResidentSample {
    pub time_ns: u64,
    pub rss_bytes: u64,
}

/// Changes up to a moment.
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
    pub totals: MomentTotals,
}

/// A thread of the target. Tids are used again, so there may be several of one tid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    pub tid: Tid,
    pub name: Option<String>,
    /// `None` if it ran already when the session started.
    pub started_ns: Option<u64>,
    pub ended_ns: Option<u64>,
    /// The stack of the call that made it.
    pub creator: Option<StackRef>,
}

/// A garbage collection. Times are `CLOCK_MONOTONIC`, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collection {
    pub begin_ns: u64,
    /// `None` if its end was not seen.
    pub end_ns: Option<u64>,
    /// The whole heap, while the application stood still.
    pub full: bool,
}

/// Compiled code that was installed and dropped by a moment, since the session started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeSample {
    pub time_ns: u64,
    pub loaded_bytes: u64,
    pub loaded_count: u64,
    /// Bytes unloaded of code that was installed in the session.
    pub unloaded_bytes: u64,
    pub unloaded_count: u64,
}

/// The part of one stack's allocations of one time that is live at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survivors<S = StackRef> {
    pub stack: S,
    /// Collections that had ended in the session when it was allocated, or a little fewer: where there
    /// were many, neighbours are one.
    pub epoch: u32,
    /// Time at which it was allocated or up to a 32nd of the session later: `CLOCK_MONOTONIC`, ns.
    pub born_ns: u64,
    pub live_bytes: u64,
    pub live_count: u64,
}

/// Bytes of one stack's live allocations that are in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveResident<S = StackRef> {
    pub stack: S,
    pub resident_bytes: u64,
}

/// Memory that one thread allocated from one stack and did not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadLive<S = StackRef> {
    pub stack: S,
    pub tid: Tid,
    pub live_bytes: u64,
    pub live_count: u64,
}

/// The part of one stack's allocations of one class of sizes that is live at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveSize<S = StackRef> {
    pub stack: S,
    /// Each has so many bytes or more, and less than twice as many: 0 or a power of two.
    pub least_bytes: u64,
    pub live_bytes: u64,
    pub live_count: u64,
}
