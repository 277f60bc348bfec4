//! Holders of native memory: from blocks of malloc to the Java fields that have their addresses, and to what holds
//! those.
//!
//! Takes a process, or a core file of one; gives [`Holders`]: groups of blocks by owner and path, findings, and how the
//! look was taken. A process is held only by ptrace, only as long as its heap takes to be copied, and only if that is
//! predicted to be within the limit; else several looks are taken without stopping it, which say less. Prints nothing:
//! the caller is told what happens by [`Notice`]s. Contents of objects are never given out.

mod blocks;
mod closure;
mod discover;
mod doubt;
mod finding;
mod group;
mod stopped;
mod take;
mod unstopped;
mod verdict;

use std::io;
use std::ops::Range;
use std::time::Duration;

pub use self::finding::Finding;
pub use self::group::{BlockGroup, BlockGroups, Group};
pub use self::stopped::Prediction;
pub use self::take::{HoldersResult, Subject, of_core, of_pid};
pub use self::verdict::{HolderState, Owner};
pub use crate::hotspot::heap::{Step, StepKind};

use self::blocks::Blocks;
use self::stopped::Stopper;
use self::verdict::{Verdicts, verdicts};
use crate::glibc;
use crate::hotspot::heap::{HeapAccess, HeapCopy, HeapError, Quality, used_bytes};
use crate::hotspot::{Hotspot, RangeKind};
use crate::process::hold::ThreadRegisters;
use crate::process::mapping::{self, Mapping};
use crate::process::memory::{BulkMemory, LiveMemory, ProcessMemory};
use crate::process::pagemap::{PageMap, Residency};
use crate::process::read_budget::ReadBudget;
use crate::process::target::{Status, Target};

/// The longest a process is held if nobody says otherwise.
pub const MAX_PAUSE: Duration = Duration::from_millis(500);
/// Looks at a copy that is not consistent before it is refused.
const MAX_LOOKS: u64 = 3;

/// Options of a look.
#[derive(Clone, Debug)]
pub struct Options {
    /// A process is held no longer.
    pub max_pause: Duration,
    /// Is the process never to be held?
    pub no_stop: bool,
    /// Largest memory to use; `None` means half of what the host has available.
    pub max_memory_bytes: Option<u64>,
    /// Waits some seconds for a young collection where that makes the pause shorter.
    pub awaits_collection: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_pause: MAX_PAUSE, no_stop: false, max_memory_bytes: None, awaits_collection: true }
    }
}

/// Step of a look that is about to happen, or has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The process will be held for about so long.
    WillHold(Prediction),
    /// The process would be held for longer than is allowed, and is not.
    TooLong {
        prediction: Prediction,
        max_pause: Duration,
    },
    /// Told at the moment of which the answer is: while the process is held, or after the last look.
    Moment,
    Held {
        held: Duration,
    },
    /// Looks without stopping begin.
    WillLook {
        used_bytes: u64,
        memory_bytes: u64,
    },
}

/// Reason why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldersError {
    /// The heaps of such JVMs were never compared with the JVM's own collections.
    #[error("{0}")]
    NotProved(String),
    /// Anything else, in one sentence.
    #[error("{0}")]
    Refused(String),
    #[error("the time was up")]
    Late,
}

impl From<HeapError> for HoldersError {
    fn from(error: HeapError) -> Self {
        match error {
            HeapError::NotProved(why) => Self::NotProved(why),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// Method of the look at the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Held by ptrace.
    Ptrace,
    /// No stop.
    None,
    /// A core file.
    Core,
}

impl Method {
    /// Name as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ptrace => "ptrace",
            Self::None => "none",
            Self::Core => "core",
        }
    }
}

/// Pause that the process had to bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    pub method: Method,
    /// `None` if it was not held.
    pub held: Option<Duration>,
    pub predicted: Option<Duration>,
    /// Looks that count.
    pub looks: u64,
}

/// Quality of what was read: how much of it made sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataQuality {
    pub heap: Quality,
    /// Looks that had to be repeated.
    pub retries: u64,
    /// Places at which dead objects made no sense: what lies there may be missing among the garbage.
    pub bad_places: u64,
    pub consistent: bool,
}

/// Answer to the question who keeps what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holders {
    pub pause: Pause,
    pub quality: DataQuality,
    /// Groups with most bytes first.
    pub groups: Vec<Group>,
    /// Group of each block; none once groups were chosen.
    pub block_groups: BlockGroups,
    pub findings: Vec<Finding>,
    /// Used bytes of the Java heap.
    pub heap_bytes: u64,
    pub gc: &'static str,
    /// Figures that are not known, and why.
    pub unknown: Vec<(&'static str, String)>,
}

impl Holders {
    /// Keeps the groups whose owner is of this class, or that are held through it. `class` is its name, with or without
    /// packages.
    pub fn keep_class(&mut self, class: &str) {
        let is_it = |name: &str| {
            let before = name.strip_suffix(class);
            before.is_some_and(|before| before.is_empty() || before.ends_with(['.', '$']))
        };
        self.groups.retain(|group| {
            let owner = group.owner.as_ref().is_some_and(|owner| is_it(&owner.class));
            owner || group.path.iter().any(|step| step.class.as_deref().is_some_and(is_it))
        });
        self.block_groups = BlockGroups::default();
        self.findings = finding::of(&self.groups);
    }
}

/// Looks at the live process `target`.
///
/// # Errors
/// See [`HoldersError`].
pub fn of_process(
    target: &Target,
    options: &Options,
    notice: &mut dyn FnMut(&Notice),
) -> Result<Holders, HoldersError> {
    let pid = target.pid;
    let budget = ReadBudget::for_marking(Status::read(pid.leader()).map_or(0, |status| status.rss_bytes));
    let holders = of_live(target, options, notice, &budget);
    match budget.cut_short() {
        // Neither the memory that was read nor the answer is whole.
        Some(why) => Err(HoldersError::Refused(why)),
        None => holders,
    }
}

fn of_live(
    target: &Target,
    options: &Options,
    notice: &mut dyn FnMut(&Notice),
    budget: &ReadBudget,
) -> Result<Holders, HoldersError> {
    let pid = target.pid;
    let refused = |error: io::Error| HoldersError::Refused(format!("process {pid} cannot be read: {error}"));
    let Some(jvm) = &target.jvm else {
        return Err(HoldersError::NotProved(format!("process {pid} ({}) has no HotSpot JVM", target.comm)));
    };
    let open = || LiveMemory::open(pid).map(|memory| memory.within(budget)).map_err(refused);
    let memory = open()?;
    let residency = PageMap::open(pid).map_err(refused)?;
    let hotspot = Hotspot::open(&jvm.libjvm.file, jvm.libjvm.load_bias, open()?)
        .map_err(|error| HoldersError::NotProved(error.to_string()))?;
    let mappings = mapping::read(pid).map_err(refused)?;
    let access = hotspot.heap(&mappings, &jvm.libjvm.path)?;
    let spaces = stopped::unheld(|| access.spaces())?;
    let used = used_bytes(&spaces.used);
    let stopper = Stopper { pid, access: &access, residency: &residency, max_pause: options.max_pause };
    let needed = stopper.memory_bytes(&spaces.used);
    refuse_memory(needed, options.max_memory_bytes)?;
    stopped::refuse_swapped(&residency, &spaces.used)?;
    let excluded = java_heap(&hotspot);
    let read_blocks = || -> Result<Blocks, HoldersError> {
        // Mapped chunks come and go.
        let mappings = mapping::read(pid).map_err(refused)?;
        blocks_of(&memory, &residency, &mappings, &excluded)
    };
    let before = read_blocks()?;
    let reserve =
        || HeapCopy::reserve(spaces.extent.clone()).map_err(|error| HoldersError::Refused(error.to_string()));
    let mut copy = reserve()?;
    let mut predicted = None;
    if !options.no_stop {
        let prediction = stopper.predict(&spaces, &mut copy)?;
        predicted = Some(prediction);
        if prediction.pause > options.max_pause {
            notice(&Notice::TooLong { prediction, max_pause: options.max_pause });
        }
    }
    let may_hold = predicted.filter(|prediction| prediction.pause <= options.max_pause);
    let Some(prediction) = may_hold else {
        if options.no_stop {
            notice(&Notice::WillLook { used_bytes: used, memory_bytes: needed });
        }
        let bulk = BulkMemory::new(pid);
        let (verdicts, blocks, looks, failed) =
            unstopped::look(&access, &bulk, &residency, copy, &read_blocks, notice)?;
        let pause = Pause { method: Method::None, held: None, predicted: predicted.map(|p| p.pause), looks };
        return Ok(finished(&access, &memory, &mappings, used, pause, failed, verdicts, blocks, &before));
    };
    notice(&Notice::WillHold(prediction));
    if options.awaits_collection {
        stopper.await_young_collection(&prediction)?;
    }
    let mut retries = 0;
    for look in 1..=MAX_LOOKS {
        let snapshot = stopper.take(copy, notice)?;
        retries += snapshot.retries;
        let blocks = read_blocks()?;
        let verdicts =
            access.look(&snapshot.copy, snapshot.roots, |look| verdicts(look, &blocks, &before))?;
        if verdicts.quality.is_consistent() {
            let pause = Pause {
                method: Method::Ptrace,
                held: Some(snapshot.held),
                predicted: Some(prediction.pause),
                looks: look,
            };
            return Ok(finished(
                &access, &memory, &mappings, used, pause, retries, verdicts, blocks, &before,
            ));
        }
        tracing::debug!(?verdicts.quality, "not consistent");
        retries += 1;
        copy = reserve()?;
    }
    Err(HoldersError::Refused(format!("the heap made no sense in {MAX_LOOKS} looks: references led nowhere")))
}

/// A saved process.
pub struct Image<'a> {
    pub memory: &'a (dyn ProcessMemory + Sync),
    pub residency: &'a dyn Residency,
    /// Sorted by start.
    pub mappings: &'a [Mapping],
    /// The path of the JVM's library, as the mappings have it.
    pub libjvm: &'a str,
    pub threads: &'a [ThreadRegisters],
}

impl std::fmt::Debug for Image<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Image").field("libjvm", &self.libjvm).finish_non_exhaustive()
    }
}

/// Looks at a saved process.
///
/// # Errors
/// See [`HoldersError`].
pub fn of_image(hotspot: &Hotspot, image: &Image<'_>, options: &Options) -> Result<Holders, HoldersError> {
    let access = hotspot.heap(image.mappings, image.libjvm)?;
    if access.collections()?.active {
        return Err(HoldersError::Refused(
            "it was taken in a collection: objects were being moved".to_owned(),
        ));
    }
    let spaces = access.spaces()?;
    let used = used_bytes(&spaces.used);
    refuse_memory(stopped::memory_bytes(used), options.max_memory_bytes)?;
    let mut copy =
        HeapCopy::reserve(spaces.extent.clone()).map_err(|error| HoldersError::Refused(error.to_string()))?;
    copy.fill(image.memory, &spaces.used, &[], &|| true)
        .map_err(|error| HoldersError::Refused(format!("the Java heap cannot be read: {error}")))?;
    let roots = access.roots(image.threads, image.residency)?;
    let blocks = blocks_of(image.memory, image.residency, image.mappings, &java_heap(hotspot))?;
    let verdicts = access.look(&copy, roots, |look| verdicts(look, &blocks, &blocks))?;
    if !verdicts.quality.is_consistent() {
        return Err(HoldersError::Refused("the heap makes no sense: references lead nowhere".to_owned()));
    }
    let pause = Pause { method: Method::Core, held: None, predicted: None, looks: 1 };
    let before = blocks.clone();
    Ok(finished(&access, image.memory, image.mappings, used, pause, 0, verdicts, blocks, &before))
}

#[expect(clippy::too_many_arguments, reason = "what three ways to look have in common")]
fn finished(
    access: &HeapAccess<'_>,
    memory: &dyn ProcessMemory,
    mappings: &[Mapping],
    heap_bytes: u64,
    pause: Pause,
    retries: u64,
    mut verdicts: Verdicts,
    blocks: Blocks,
    before: &Blocks,
) -> Holders {
    let (closures, mut taken) = closure::of(memory, &blocks, &verdicts.verdicts);
    doubt::take_back(memory, mappings, &blocks, &mut verdicts.verdicts, &mut taken);
    let (groups, block_groups) = group::of(&verdicts.verdicts, &closures, blocks, before, &taken);
    let quality = DataQuality {
        heap: verdicts.quality,
        retries,
        bad_places: verdicts.bad_places,
        consistent: verdicts.quality.is_consistent(),
    };
    let mut unknown = Vec::new();
    if pause.method == Method::None {
        unknown.push(("pause.held_ns", "the process was not held".to_owned()));
    }
    unknown.extend(doubt::told(&verdicts.verdicts).map(|why| ("groups[].state", why)));
    let findings = finding::of(&groups);
    Holders { pause, quality, groups, block_groups, findings, heap_bytes, gc: access.gc(), unknown }
}

fn blocks_of(
    memory: &dyn ProcessMemory,
    residency: &dyn Residency,
    mappings: &[Mapping],
    excluded: &[Range<u64>],
) -> Result<Blocks, HoldersError> {
    let source = glibc::Source { memory, residency, mappings, excluded };
    Blocks::read(&source).map_err(|error| HoldersError::Refused(error.to_string()))
}

/// Ranges of the Java heap: no block of malloc's is there.
fn java_heap(hotspot: &Hotspot) -> Vec<Range<u64>> {
    let ranges = hotspot.ranges(&[]).into_iter().filter(|range| range.kind == RangeKind::JavaHeap);
    let mut ranges: Vec<Range<u64>> = ranges.map(|range| range.range).collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

/// Refuses to take more memory than it may.
fn refuse_memory(needed_bytes: u64, max_bytes: Option<u64>) -> Result<(), HoldersError> {
    let (limit, whose) = match max_bytes {
        Some(bytes) => (bytes, "--max-memory allows"),
        None => match available_bytes() {
            Some(bytes) => (bytes / 2, "half of what the host has available is"),
            None => return Ok(()),
        },
    };
    if needed_bytes > limit {
        return Err(HoldersError::Refused(format!(
            "the look would take {} MiB of memory, and {whose} {} MiB",
            needed_bytes >> 20,
            limit >> 20
        )));
    }
    Ok(())
}

/// `MemAvailable` of /proc/meminfo.
fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
}
