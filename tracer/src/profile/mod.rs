//! The profile: the immutable view of a recording that every output renders.
//!
//! Takes a recording, rules and verdicts; gives totals, categories, sites, threads, code cache and memory,
//! in the fields and the order of the schema `tracer.report/1`. An unknown figure is `None`, which
//! is `null` there. Knows no files and no terminals.

mod build;
pub mod by_line;
pub mod census;
mod class_owners;
mod code;
pub mod diff;
mod drafts;
pub mod errors;
pub mod filter;
mod findings;
pub mod holders;
mod limits;
mod memory;
mod owners;
mod peak;
mod quality;
mod redact;
mod rows;
mod series;
mod site;
mod threads;
mod touched;
mod view;

use std::sync::Arc;

use serde::Serialize;

pub use by_line::{CreatorLine, LineRow, LineShare, Place};
pub use census::Censuses;
pub use code::{CodeCache, CodeHeap, CodeMethod, GeneratedCode};
pub use errors::{Errors, Variances};
pub use filter::{Filter, Filtered, LinePattern, Part, Refusal};
pub use findings::{Amounts, Finding, RowName, retained_bytes};
pub use holders::HolderShare;
pub use memory::{Arena, Heap, Memory, MemoryPart, Moment, PartGrowth, ResidentGrowth};
pub use peak::{Peak, PeakTimes};
pub use quality::{Incomplete, Quality};
pub use series::{Pause, RowSeries, Series};
pub use threads::{CachedStacks, Creator, ThreadNames, Threads, pattern as thread_pattern};
pub use touched::{Estimate, TouchedCategory, TouchedMemory, TouchedSite};
pub use view::{Sort, View};

pub use crate::verdict::{Figures, Proof, Sentence, Verdict, VerdictKind};

use crate::limits::{Fits, Limit};
use crate::process::Pid;
use crate::recording::{AboutHolders, BudgetStep, RecordingState};
use crate::symbolize::{Frame, FrameKind, Tier};

/// The schema's name.
pub const SCHEMA: &str = "tracer.report/1";

/// All that a report tells. Sizes are in bytes, frames leaf first.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    pub schema: &'static str,
    pub target: Target,
    pub session: Session,
    #[serde(rename = "trust")]
    pub quality: Quality,
    /// The sum over the rows whose source is the allocator.
    pub totals: Totals,
    /// Memory that is left out of all rows and totals.
    pub filtered: Filtered,
    /// The allocator's first, each by live bytes.
    #[serde(skip)]
    pub by_line: Vec<LineRow>,
    /// The allocator's first, each by live bytes.
    pub categories: Vec<Category>,
    /// The allocator's first, each by live bytes.
    pub sites: Vec<Site>,
    /// The largest first.
    pub findings: Vec<Finding>,
    pub threads: Threads,
    pub code_cache: CodeCache,
    pub memory: Memory,
    /// The limits that the process can meet. `None` if the recording does not have them.
    pub limits: Option<Vec<Limit>>,
    /// Whether the Java heap's maximum and everything else fit the memory limit. `None` without a JVM or a limit.
    pub fits: Option<Fits>,
    /// `None` if page faults were not sampled.
    pub touched: Option<TouchedMemory>,
    pub series: Series,
    pub census: Censuses,
    /// Way in which it was found who keeps what is live, or why that is not known.
    #[serde(skip)]
    pub holders: Result<AboutHolders, String>,
    /// The moments when most was live.
    #[serde(skip)]
    pub peak_times: PeakTimes,
    /// Is the recording whole?
    #[serde(skip)]
    pub state: RecordingState,
}

#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// 0: taken out; null in JSON.
    #[serde(serialize_with = "known_pid")]
    pub pid: Pid,
    pub comm: String,
    pub command: Vec<String>,
    /// `None` if the process is not a JVM.
    pub jvm: Option<Jvm>,
    pub container: Option<String>,
}

fn known_pid<S: serde::Serializer>(pid: &Pid, serializer: S) -> Result<S::Ok, S::Error> {
    Some(*pid).filter(|&pid| pid != Pid(0)).serialize(serializer)
}

#[derive(Clone, Debug, Serialize)]
pub struct Jvm {
    pub version: Option<String>,
    pub vendor: Option<String>,
    pub gc: Option<String>,
    pub java_home: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Session {
    /// RFC 3339.
    pub started: String,
    pub duration_ns: u64,
    /// `full` or `light`.
    pub probes: String,
    pub sample_bytes: Option<u64>,
    pub gc_count: Option<u64>,
    /// Share that recording might take, percent of the target's CPU time; `None` means whatever it took.
    pub max_overhead_percent: Option<u32>,
    /// Share that it took; `None` if it was not measured.
    pub overhead_percent: Option<f64>,
    /// The same, percent of one CPU's time.
    pub overhead_percent_of_cpu: Option<f64>,
    /// Steps that were taken to keep within that. Times are since the session started.
    pub steps: Vec<BudgetStep>,
    /// Reason why the session ended; `None` if the recording was not finished.
    pub ended: Option<String>,
}

/// The six totals of every row: live = allocated − freed. Where it was sampled, they are estimates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub allocated_bytes: u64,
    pub allocated_count: u64,
    pub freed_bytes: u64,
    pub freed_count: u64,
    pub live_bytes: u64,
    pub live_count: u64,
    /// Their standard errors. `None` if every allocation was recorded.
    #[serde(flatten)]
    pub errors: Errors,
    #[serde(skip)]
    pub variances: Option<Variances>,
}

impl Totals {
    /// Totals of nothing yet. Some: they will be estimates.
    pub fn none(variances: Option<Variances>) -> Totals {
        let errors = variances.map(Variances::errors).unwrap_or_default();
        Totals { errors, variances, ..Totals::default() }
    }

    /// Adds another row's.
    pub fn add(&mut self, other: &Totals) {
        self.allocated_bytes = self.allocated_bytes.saturating_add(other.allocated_bytes);
        self.allocated_count = self.allocated_count.saturating_add(other.allocated_count);
        self.freed_bytes = self.freed_bytes.saturating_add(other.freed_bytes);
        self.freed_count = self.freed_count.saturating_add(other.freed_count);
        self.live_bytes = self.allocated_bytes.saturating_sub(self.freed_bytes);
        self.live_count = self.allocated_count.saturating_sub(self.freed_count);
        if let Some(variances) = other.variances {
            let sum = self.variances.unwrap_or_default().plus(variances);
            (self.errors, self.variances) = (sum.errors(), Some(sum));
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Category {
    pub id: String,
    pub name: String,
    /// `allocator` or `mapping`.
    pub source: &'static str,
    #[serde(flatten)]
    pub totals: Totals,
    pub resident_bytes: Option<u64>,
    /// Owners that hold most of it, by live bytes; of classes and their code, who had the classes defined.
    pub owners: Vec<OwnerShare>,
    /// Growth of the live bytes; `None` if the session was too short to tell.
    pub growth_bytes_per_s: Option<i64>,
    pub verdict: Option<Verdict>,
}

/// An owner's part of a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OwnerShare {
    pub function: String,
    /// Share, of 1.
    pub share: f64,
}

/// Call path by which memory is asked for: stacks that differ only in how warm their Java code was, or where in a
/// native function they were, are one.
#[derive(Clone, Debug, Serialize)]
pub struct Site {
    pub category: String,
    /// Kind within the category: `inflate`, `netty`, ...
    pub kind: Option<String>,
    /// `allocator` or `mapping`.
    pub source: &'static str,
    #[serde(flatten)]
    pub totals: Totals,
    /// Live bytes on pages that are in memory. `None` if it is not known.
    #[serde(skip)]
    pub resident_bytes: Option<u64>,
    /// `None` if the session was too short to tell, or it is one of the sites that hold little.
    pub growth_bytes_per_s: Option<i64>,
    /// `None` if it is one of the sites that hold little, which are judged as a part of their line.
    pub verdict: Option<Verdict>,
    /// The kind of its verdict, or of its line's where it has none.
    #[serde(skip)]
    pub found: Option<VerdictKind>,
    /// The function that a person can change.
    pub owner: Option<String>,
    /// Threads by live bytes.
    pub threads: Vec<SiteThread>,
    /// Live memory, the smallest allocations first. `None` if it is not known of all of it.
    #[serde(skip)]
    pub sizes: Option<Vec<SizeClass>>,
    pub frames: Vec<Arc<SiteFrame>>,
    /// Does the stack reach the thread's entry? None: its frames were not received.
    pub complete: Option<bool>,
    /// Series at the moments of [`Series::times_ns`]; the first sites have it.
    pub series: Option<RowSeries>,
    /// The same, of a thousand sites. `None` for those that hold less.
    #[serde(skip)]
    pub course: Option<RowSeries>,
    #[serde(skip)]
    pub peak: Peak,
    /// Indices into `frames`: the call that allocated, what it served, who is the owner.
    #[serde(skip)]
    pub path: CallPath,
    /// Holders of most first. `None` if nobody looked, or it is not malloc's.
    #[serde(skip)]
    pub holders: Option<Vec<HolderShare>>,
    /// Reason why the stack is not complete.
    #[serde(skip)]
    pub stop: Option<String>,
}

/// Leaf → cause → owner, as indices into a site's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallPath {
    pub leaf: Option<usize>,
    pub cause: Option<usize>,
    pub owner: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SiteThread {
    pub name: Arc<str>,
    pub live_bytes: u64,
    #[serde(skip)]
    pub live_count: u64,
}

/// Allocations of `least_bytes` or more each, and of less than twice as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeClass {
    /// 0, or a power of two.
    pub least_bytes: u64,
    pub live_bytes: u64,
    pub live_count: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct SiteFrame {
    pub function: String,
    pub kind: FrameKind,
    pub module: Option<String>,
    /// Build id of the module: lower-case hexadecimal.
    #[serde(skip)]
    pub build_id: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub offset: Option<u64>,
    pub tier: Option<Tier>,
}

impl From<&Frame> for SiteFrame {
    fn from(frame: &Frame) -> SiteFrame {
        SiteFrame {
            function: frame.function.clone(),
            kind: frame.kind,
            module: frame.module.clone(),
            build_id: frame.build_id.clone(),
            file: frame.file.clone(),
            line: frame.line,
            offset: frame.offset,
            tier: frame.tier,
        }
    }
}

#[cfg(test)]
mod hours;
#[cfg(test)]
mod tests;
