//! The balance: the process's memory by owner, up to its resident bytes.
//!
//! Memory of malloc has three parts (`malloc`). Memory that nobody owns is told by who mapped it, if that was
//! in the session.

mod malloc;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::Category;
use super::build::{application, at};
use crate::attribute::{FrameTraits, Rules, Source};
use crate::recording::{self, Recording};
use crate::symbolize::Frame;
use crate::vmmap::{Owner, counted_again};
pub(super) use malloc::retained;
use malloc::{divide_malloc, heap, seen_bytes, unseen_name};

/// Moments of the course that are told.
const MOMENTS: usize = 256;

/// The process's memory when it was last looked at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Memory {
    pub rss_bytes: Option<u64>,
    /// Resident, divided by the number of processes that share each page.
    pub pss_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    /// Part of `rss_bytes` that is counted again: the heap of a collector that maps its pages several times.
    pub rss_counted_again_bytes: Option<u64>,
    /// The smallest of its control groups'; and what that group uses.
    pub limit_bytes: Option<u64>,
    pub limit_used_bytes: Option<u64>,
    /// Time after the start of the session. `None` if it was not looked at.
    pub time_ns: Option<u64>,
    /// Parts, most resident first. They add up to the resident bytes.
    pub parts: Vec<MemoryPart>,
    pub unexplained_bytes: Option<u64>,
    /// `None` if malloc's heap was not gone through, or is not glibc's.
    pub heap: Option<Heap>,
    /// `None` if it was not looked at twice.
    pub growth: Option<ResidentGrowth>,
    /// Moments by time.
    pub series: Vec<Moment>,
}

/// Growth of the process's memory in the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResidentGrowth {
    /// Time of the first look, after the start of the session.
    pub since_ns: u64,
    /// RSS of the process, as the kernel counts it.
    pub rss_bytes: Option<i64>,
    /// Parts by owner, the largest first; those that shrank last.
    pub parts: Vec<PartGrowth>,
}

/// Growth of an owner's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartGrowth {
    pub id: String,
    pub name: String,
    pub resident_bytes: i64,
}

/// Memory that one owner has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryPart {
    pub id: String,
    pub name: String,
    pub reserved_bytes: Option<u64>,
    pub committed_bytes: Option<u64>,
    pub resident_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
}

/// malloc's heap, with its own headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Heap {
    pub in_use_bytes: u64,
    pub in_use_count: u64,
    pub free_bytes: u64,
    pub top_bytes: u64,
    pub mapped_bytes: u64,
    pub mapped_count: u64,
    pub arenas: Vec<Arena>,
}

/// An arena of malloc's heap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Arena {
    pub main: bool,
    pub threads: u64,
    pub resident_bytes: Option<u64>,
    pub in_use_bytes: u64,
    pub in_use_count: u64,
    /// Free bytes between chunks in use.
    pub free_bytes: u64,
    /// Free bytes at its end.
    pub top_bytes: u64,
}

/// Resident bytes at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Time after the start of the session.
    pub time_ns: u64,
    /// RSS of the process, as the kernel counts it.
    pub rss_bytes: Option<u64>,
    /// Resident bytes by owner.
    pub resident_bytes: BTreeMap<String, u64>,
}

/// The memory of a recording.
pub(super) fn build(recording: &Recording, rules: &Rules) -> Memory {
    let memory = &recording.memory;
    let mut parts: Vec<MemoryPart> = Vec::new();
    let mut malloc = MemoryPart::default();
    for part in &memory.parts {
        match Owner::from_id(&part.id) {
            Some(Owner::MallocArena | Owner::MallocMapped) => malloc.add(part),
            owner => {
                let name = owner.map(Owner::name).unwrap_or(&part.id);
                let mut shown =
                    MemoryPart { id: part.id.clone(), name: name.to_owned(), ..MemoryPart::default() };
                shown.add(part);
                parts.push(shown);
            }
        }
    }
    if malloc.resident_bytes.is_some() {
        let unseen_name = unseen_name(recording);
        parts.extend(divide_malloc(&malloc, memory.heap.as_ref(), seen_bytes(recording), unseen_name));
    }
    let explained = explain(recording, rules, &mut parts);
    parts.retain(|part| part.reserved_bytes != Some(0) || part.resident_bytes != Some(0));
    parts.sort_by_key(|part| (Reverse(part.resident_bytes), Reverse(part.reserved_bytes)));
    let start_ns = recording.session.started_ns;
    Memory {
        rss_bytes: memory.rss_bytes,
        pss_bytes: memory.pss_bytes,
        swap_bytes: memory.swap_bytes,
        rss_counted_again_bytes: rss_counted_again(recording),
        limit_bytes: memory.limit_bytes,
        limit_used_bytes: memory.limit_used_bytes,
        time_ns: memory.time_ns.map(|time| time.saturating_sub(start_ns)),
        parts,
        unexplained_bytes: memory.unexplained_bytes.map(|bytes| bytes.saturating_sub(explained)),
        heap: memory.heap.as_ref().map(heap),
        growth: growth(recording),
        series: series(recording),
    }
}

/// Resident bytes that RSS has more than once.
fn rss_counted_again(recording: &Recording) -> Option<u64> {
    let collector = recording.target.jvm.as_ref().and_then(|jvm| jvm.gc.as_deref());
    recording.memory.parts.iter().find_map(|part| {
        counted_again(Owner::from_id(&part.id), collector, part.resident_bytes?, part.pss_bytes?)
    })
}

/// The difference between the first look at the memory and the last.
fn growth(recording: &Recording) -> Option<ResidentGrowth> {
    let samples = &recording.memory_series;
    let first = samples.first()?;
    let last = samples.last().filter(|last| last.time_ns > first.time_ns)?;
    let more = |before: u64, after: u64| after.cast_signed().saturating_sub(before.cast_signed());
    let mut parts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for sample in samples {
        let (before, after) = parts.entry(&sample.id).or_default();
        if sample.time_ns == first.time_ns {
            *before = sample.resident_bytes;
        } else if sample.time_ns == last.time_ns {
            *after = sample.resident_bytes;
        }
    }
    let part = |(id, (before, after)): (&str, (u64, u64))| PartGrowth {
        name: Owner::from_id(id).map_or_else(|| id.to_owned(), |owner| owner.name().to_owned()),
        id: id.to_owned(),
        resident_bytes: more(before, after),
    };
    let mut parts: Vec<PartGrowth> =
        parts.into_iter().map(part).filter(|part| part.resident_bytes != 0).collect();
    parts.sort_by_key(|part| Reverse(part.resident_bytes));
    let rss_at = |time_ns: u64| recording.resident.iter().find(|sample| sample.time_ns == time_ns);
    let rss = rss_at(first.time_ns).zip(rss_at(last.time_ns));
    Some(ResidentGrowth {
        since_ns: first.time_ns.saturating_sub(recording.session.started_ns),
        rss_bytes: rss.map(|(before, after)| more(before.rss_bytes, after.rss_bytes)),
        parts,
    })
}

/// Gives the categories of mappings the resident bytes of their parts.
pub(super) fn set_resident(recording: &Recording, categories: &mut [Category]) {
    for category in categories.iter_mut().filter(|category| category.source == "mapping") {
        let part = recording.memory.parts.iter().find(|part| part.id == category.id);
        category.resident_bytes = part.and_then(|part| part.resident_bytes);
    }
}

impl MemoryPart {
    fn add(&mut self, part: &recording::MemoryPart) {
        let add = |sum: &mut Option<u64>, bytes: Option<u64>| {
            *sum = bytes.map(|bytes| sum.unwrap_or_default().saturating_add(bytes)).or(*sum);
        };
        add(&mut self.reserved_bytes, part.reserved_bytes);
        add(&mut self.committed_bytes, part.committed_bytes);
        add(&mut self.resident_bytes, part.resident_bytes);
        add(&mut self.swap_bytes, part.swap_bytes);
    }

    fn named(mut self, id: &str, name: &str) -> Self {
        (self.id, self.name) = (id.to_owned(), name.to_owned());
        self
    }

    /// Takes `held` away from it, of which `resident` is resident, and gives what that is.
    fn take(&mut self, held: u64, resident: u64, id: &str, name: &str) -> MemoryPart {
        let take = |sum: &mut Option<u64>, taken: u64| {
            let taken = sum.map(|sum| sum.min(taken));
            *sum = sum.zip(taken).map(|(sum, taken)| sum - taken);
            taken
        };
        MemoryPart {
            id: id.to_owned(),
            name: name.to_owned(),
            reserved_bytes: take(&mut self.reserved_bytes, held),
            committed_bytes: take(&mut self.committed_bytes, held),
            resident_bytes: take(&mut self.resident_bytes, resident),
            swap_bytes: Some(0),
        }
    }
}

/// Moves from the unexplained part what was mapped in the session, to the category of its stack; gives
/// how much of it is resident.
fn explain(recording: &Recording, rules: &Rules, parts: &mut Vec<MemoryPart>) -> u64 {
    let mut moved = 0;
    let application = application(recording, rules);
    for mapped in &recording.memory.mapped {
        let Some(stack) = recording.stack(mapped.stack) else { continue };
        let frames: Vec<&Frame> =
            stack.frames.iter().filter_map(|&frame| at(&recording.frames, frame)).collect();
        let traits: Vec<FrameTraits> = frames.iter().map(|frame| rules.frame(frame, &application)).collect();
        let pairs: Vec<_> = frames.into_iter().zip(&traits).collect();
        let source = Source::Mapping("anonymous".to_owned());
        let category = rules.classify(&pairs, &source, stack.complete == Some(true)).category;
        let known = category != "unknown";
        let unexplained = parts.iter_mut().find(|part| part.id == Owner::Unexplained.id());
        let Some(unexplained) = unexplained.filter(|_| known) else { continue };
        let name = rules.category_name(&category);
        let mut taken = unexplained.take(mapped.resident_bytes, mapped.resident_bytes, &category, &name);
        let move_rest = |sum: &mut Option<u64>, from: &mut Option<u64>, bytes: u64| {
            let more = bytes.saturating_sub(sum.unwrap_or(0)).min(from.unwrap_or(0));
            *sum = sum.map(|sum| sum + more);
            *from = from.map(|from| from - more);
        };
        move_rest(&mut taken.reserved_bytes, &mut unexplained.reserved_bytes, mapped.reserved_bytes);
        move_rest(&mut taken.committed_bytes, &mut unexplained.committed_bytes, mapped.committed_bytes);
        moved += taken.resident_bytes.unwrap_or(0);
        match parts.iter_mut().find(|part| part.id == category) {
            Some(part) => part.add(&recording::MemoryPart {
                id: category,
                reserved_bytes: taken.reserved_bytes,
                committed_bytes: taken.committed_bytes,
                resident_bytes: taken.resident_bytes,
                pss_bytes: None,
                swap_bytes: taken.swap_bytes,
            }),
            None => parts.push(taken),
        }
    }
    moved
}

fn series(recording: &Recording) -> Vec<Moment> {
    let mut moments: BTreeMap<u64, BTreeMap<String, u64>> = BTreeMap::new();
    for sample in &recording.memory_series {
        let moment = moments.entry(sample.time_ns).or_default();
        moment.insert(sample.id.clone(), sample.resident_bytes);
    }
    let start_ns = recording.session.started_ns;
    let rss: HashMap<u64, u64> =
        recording.resident.iter().map(|sample| (sample.time_ns, sample.rss_bytes)).collect();
    let moment = |(time_ns, resident_bytes): (u64, _)| Moment {
        time_ns: time_ns.saturating_sub(start_ns),
        rss_bytes: rss.get(&time_ns).copied(),
        resident_bytes,
    };
    // Every n-th, counted from the end: the last one is what the balance says.
    let step = moments.len().div_ceil(MOMENTS).max(1);
    let last = moments.len().saturating_sub(1);
    let kept = moments.into_iter().enumerate().filter(|(at, _)| (last - at).is_multiple_of(step));
    kept.map(|(_, row)| moment(row)).collect()
}
