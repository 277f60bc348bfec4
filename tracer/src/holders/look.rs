//! A look at a heap from its beginning to its answer: at a live process, held or not, and at a saved one.
//!
//! Refuses what would take more memory than it may.

use std::io;
use std::ops::Range;

use super::blocks::Blocks;
use super::closure::{self, Closures};
use super::prediction::{Kept, foresee};
use super::stopped::{self, Kinds, Stopper};
use super::verdict::{Verdicts, verdicts};
use super::{DataQuality, Holders, HoldersError, Method, Notice, Options, Pause};
use super::{doubt, finding, group, unstopped};
use crate::glibc;
use crate::hotspot::heap::{HeapAccess, HeapCopy, LargeArrays, used_bytes};
use crate::hotspot::{Hotspot, RangeKind};
use crate::process::Pid;
use crate::process::cpu_time;
use crate::process::hold::ThreadRegisters;
use crate::process::mapping::{self, Mapping};
use crate::process::memory::{BulkMemory, LiveMemory, ProcessMemory};
use crate::process::pagemap::{PageMap, Residency, ResidentMemory};
use crate::process::read_budget::ReadBudget;
use crate::process::target::{Status, Target};

/// Looks at a copy that is not consistent before it is refused.
const MAX_LOOKS: u64 = 3;

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
    let budget = ReadBudget::for_heap(Status::read(pid.leader()).map_or(0, |status| status.rss_bytes));
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
        return Err(HoldersError::NoJvm(format!("process {pid} ({}) has no HotSpot JVM", target.comm)));
    };
    let open = || LiveMemory::open(pid).map(|memory| memory.within(budget)).map_err(refused);
    let memory = open()?;
    let residency = PageMap::open(pid).map_err(refused)?.within(budget);
    let hotspot = Hotspot::open(&jvm.libjvm.file, jvm.libjvm.load_bias, open()?)
        .map_err(|error| HoldersError::NotProved(error.to_string()))?;
    let mappings = mapping::read(pid).map_err(refused)?;
    let access = hotspot.heap(&mappings, &jvm.libjvm.path)?;
    let unheld_spaces = || stopped::unheld(|| access.spaces());
    let spaces = unheld_spaces()?;
    let used = used_bytes(&spaces.used);
    let mut stopper = Stopper {
        pid,
        access: &access,
        residency: &residency,
        max_pause: options.max_pause,
        arrays: LargeArrays::default(),
        handles: 0,
        own_bytes: Status::read(Pid::own().leader()).map_or(0, |status| status.rss_bytes),
        waits: cpu_time::waits(pid),
    };
    stopper.refuse_absent(&spaces.used)?;
    stopper.note_arrays(&spaces.used);
    stopper.count_handles()?;
    let needed = stopper.memory_bytes(&spaces.used);
    refuse_memory(needed, options.max_memory_bytes)?;
    // The heap may grow meanwhile.
    memory.allow_memory(needed.saturating_mul(2));
    stopped::refuse_swapped(&residency, &spaces.used)?;
    let excluded = java_heap(&hotspot);
    let read_blocks = || -> Result<Blocks, HoldersError> {
        // Mapped chunks come and go.
        let mappings = mapping::read(pid).map_err(refused)?;
        blocks_of(&memory, &residency, &mappings, &excluded)
    };
    let before = read_blocks()?;
    let resident = ResidentMemory::new(&memory, &residency);
    let reserve =
        || HeapCopy::reserve(spaces.extent.clone()).map_err(|error| HoldersError::Refused(error.to_string()));
    let mut copy = reserve()?;
    let mut predicted = None;
    if !options.no_stop {
        let speed = stopper.measure(&mut copy)?;
        let first = stopper.predict(&unheld_spaces()?.used, &speed, &copy);
        let again = |first| {
            if options.awaits_collection {
                stopper.await_young_collection(first)?;
            }
            let spaces = stopper.make_ready(&mut copy, Kinds::All)?;
            Ok(stopper.predict(&spaces.used, &speed, &copy))
        };
        predicted = Some(foresee(first, again, options.max_pause, notice)?);
    }
    let Some(prediction) = predicted.filter(|prediction| prediction.pause <= options.max_pause) else {
        if options.no_stop {
            notice(&Notice::WillLook { used_bytes: used, memory_bytes: needed });
        }
        let bulk = BulkMemory::new(pid);
        let (verdicts, blocks, looks, failed) = unstopped::look(&stopper, &bulk, copy, &read_blocks, notice)?;
        let pause =
            Pause { method: Method::None, held: None, predicted: predicted.map(|it| it.pause), looks };
        return Ok(finished(&access, &resident, &mappings, used, pause, failed, verdicts, blocks, &before));
    };
    let mut retries = 0;
    for look in 1..=MAX_LOOKS {
        let snapshot = stopper.take(copy, notice)?;
        retries += snapshot.retries;
        let used = snapshot.used_bytes();
        let blocks = read_blocks()?;
        let verdicts = access
            .look(&snapshot.copy, snapshot.roots, |look| verdicts(look, Some(&resident), &blocks, &before))?;
        if verdicts.is_consistent() {
            let pause = Pause {
                method: Method::Ptrace,
                held: Some(snapshot.held),
                predicted: Some(prediction.pause),
                looks: look,
            };
            return Ok(finished(
                &access, &resident, &mappings, used, pause, retries, verdicts, blocks, &before,
            ));
        }
        tracing::debug!(?verdicts.quality, ?verdicts.walked, "not consistent");
        retries += 1;
        stopper.note_arrays(&unheld_spaces()?.used);
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
    let roots = access.roots(image.threads, image.residency)?;
    let (threads, handles) = (image.threads.len() as u64, roots.handle_count() as u64);
    let needed = Kept { objects: None, threads, handles }.bytes_with_copy(used);
    refuse_memory(needed, options.max_memory_bytes)?;
    stopped::refuse_absent(image.residency, &spaces.used, 0)?;
    image.memory.allow_memory(needed);
    let mut copy =
        HeapCopy::reserve(spaces.extent.clone()).map_err(|error| HoldersError::Refused(error.to_string()))?;
    copy.fill(image.memory, &spaces.used, &[], &|| true)
        .map_err(|error| HoldersError::Refused(format!("the Java heap cannot be read: {error}")))?;
    let blocks = blocks_of(image.memory, image.residency, image.mappings, &java_heap(hotspot))?;
    let verdicts = access.look(&copy, roots, |look| verdicts(look, None, &blocks, &blocks))?;
    if !verdicts.quality.is_consistent() {
        return Err(HoldersError::Refused("the heap makes no sense: references lead nowhere".to_owned()));
    }
    let pause = Pause { method: Method::Core, held: None, predicted: None, looks: 1 };
    let before = blocks.clone();
    let memory = ResidentMemory::new(image.memory, image.residency);
    Ok(finished(&access, &memory, image.mappings, used, pause, 0, verdicts, blocks, &before))
}

#[expect(clippy::too_many_arguments, reason = "what three ways to look have in common")]
fn finished(
    access: &HeapAccess<'_>,
    memory: &ResidentMemory<'_>,
    mappings: &[Mapping],
    heap_bytes: u64,
    pause: Pause,
    retries: u64,
    mut verdicts: Verdicts,
    blocks: Blocks,
    before: &Blocks,
) -> Holders {
    let mut closures = closure::of(memory, &blocks, &verdicts.verdicts);
    let uncounted = closures.describe();
    let Closures { closures, taken, .. } = &mut closures;
    doubt::take_back(memory, mappings, &blocks, &mut verdicts.verdicts, taken);
    let (groups, block_groups) = group::of(&verdicts.verdicts, closures, blocks, before, taken);
    let quality = DataQuality {
        heap: verdicts.quality,
        retries,
        bad_places: verdicts.walked.bad_places,
        consistent: verdicts.is_consistent(),
    };
    let mut unknown = Vec::new();
    if pause.method == Method::None {
        unknown.push(("pause.held_ns", "the process was not held".to_owned()));
    }
    unknown.extend(uncounted.map(|why| ("groups[].bytes", why)));
    unknown.extend(doubt::describe(&verdicts.verdicts).map(|why| ("groups[].state", why)));
    let findings = finding::of(&groups);
    Holders { pause, quality, groups, block_groups, findings, heap_bytes, gc: access.gc(), unknown }
}

fn blocks_of(
    memory: &dyn ProcessMemory,
    residency: &dyn Residency,
    mappings: &[Mapping],
    excluded: &[Range<u64>],
) -> Result<Blocks, HoldersError> {
    let source = glibc::HeapSource { memory, residency, mappings, excluded };
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
        return Err(HoldersError::TooLarge(format!(
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
