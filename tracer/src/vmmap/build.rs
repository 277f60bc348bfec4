//! Puts the map together: claims on ranges, those that tell more first, and what the kernel's own names
//! say of the rest.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use tracer_common::arch::PAGE_BYTES;

use super::divide::divide;
use super::owner::Owner;
use super::smaps::{self, Usage, Vma};
use super::stacks::{self, ThreadStack};
use super::{allocator, named, own_allocators};
use crate::glibc::{self, Malloc};
use crate::hotspot::{Hotspot, JvmRange, RangeKind};
use crate::process::mapping::Mapping;
use crate::process::memory::ProcessMemory;
use crate::process::pagemap::Residency;
use crate::process::target::Status;
use crate::process::{Module, Pid, Tid, elf::Segment};
use crate::session::intervals::Intervals;

/// Sources of a map.
pub struct MapSource<'a> {
    pub pid: Pid,
    pub modules: &'a [Module],
    pub memory: &'a dyn ProcessMemory,
    /// Indices of the modules that have an allocator which they do not export.
    pub own_allocators: &'a [usize],
    /// Tells the owners of one mapping apart.
    pub residency: &'a dyn Residency,
    pub jvm: Option<&'a Hotspot>,
    /// Go through every chunk of malloc's heap, too: it takes about a second for a few gigabytes. Otherwise the heap
    /// is found by its headers.
    pub walks_heap: bool,
}

/// A range with one owner, within one mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub range: Range<u64>,
    pub owner: Owner,
    /// Name within the owner's memory: a thread, a library and its section, a file, a kind of region.
    pub name: String,
    /// Permissions as in maps: `rw-p`.
    pub permissions: String,
    pub usage: Usage,
}

/// A thread's stack and what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackUse {
    pub stack: ThreadStack,
    /// Id of its thread as the reader sees it.
    pub tid: Option<Tid>,
    pub name: String,
    pub usage: Usage,
}

/// The map of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// Sorted by address.
    pub parts: Vec<Part>,
    /// Sorted by address.
    pub stacks: Vec<StackUse>,
    /// Memory that malloc holds, if the heap was gone through and is glibc's.
    pub heap: Option<Malloc>,
    /// RSS as the kernel says it besides; it counts faster than exactly (`get_mm_rss`).
    pub rss_bytes: Option<u64>,
}

impl Map {
    /// The sums by owner, most resident first.
    pub fn by_owner(&self) -> Vec<(Owner, Usage)> {
        let mut sums: BTreeMap<Owner, Usage> = BTreeMap::new();
        for part in &self.parts {
            sums.entry(part.owner).or_default().add(&part.usage);
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(owner, usage)| (std::cmp::Reverse(usage.resident_bytes), *owner));
        sums
    }

    /// Owner of the memory at `address`.
    pub fn owner_at(&self, address: u64) -> Option<Owner> {
        let after = self.parts.partition_point(|part| part.range.start <= address);
        let part = self.parts.get(after.checked_sub(1)?)?;
        part.range.contains(&address).then_some(part.owner)
    }

    /// The range of the Java heap: its largest part, and what lies next to it with nothing else's between.
    pub fn java_heap(&self) -> Option<Range<u64>> {
        let is_heap = |part: &&Part| part.owner == Owner::JavaHeap;
        let runs = self
            .parts
            .chunk_by(|one, other| (one.owner == Owner::JavaHeap) == (other.owner == Owner::JavaHeap));
        let ranges = runs.filter_map(|run| {
            let first = run.first().filter(is_heap)?;
            Some(first.range.start..run.last()?.range.end)
        });
        ranges.max_by_key(|range| range.end - range.start)
    }

    /// The sum of all parts.
    pub fn total(&self) -> Usage {
        let mut total = Usage::default();
        self.parts.iter().for_each(|part| total.add(&part.usage));
        total
    }
}

/// Reads the map of a process.
///
/// # Errors
/// No such process (any more), or not permitted.
pub fn read(source: &MapSource<'_>) -> io::Result<Map> {
    let vmas = smaps::read(source.pid)?;
    let rss_bytes =
        Status::read(source.pid.leader()).ok().map(|status| status.rss_bytes).filter(|bytes| *bytes > 0);
    if vmas.is_empty() {
        // A process that ended meanwhile has no mappings, and reading them is no error.
        return Err(io::ErrorKind::NotFound.into());
    }
    let claims = Claims::collect(source, &vmas);
    let mut parts = Vec::new();
    let mut used: BTreeMap<u32, Usage> = BTreeMap::new();
    for vma in &vmas {
        let pieces = claims.pieces(vma, source);
        let usages = divide(vma, &pieces, source.residency);
        for ((range, index), usage) in pieces.into_iter().zip(usages) {
            let claim = index.and_then(|index| claims.all.get(index as usize));
            let (owner, name) = match claim {
                Some(claim) => (claim.owner, claim.name.clone()),
                None => named::of_mapping(&vma.mapping, source.modules),
            };
            if let Some(index) = index {
                used.entry(index).or_default().add(&usage);
            }
            parts.push(Part { range, owner, name, permissions: permissions(vma), usage });
        }
    }
    let stacks = (0..).zip(&claims.all).filter_map(|(index, claim)| {
        let usage = used.get(&index).copied().unwrap_or_default();
        let (stack, tid) = claim.stack.clone()?;
        Some(StackUse { stack, tid, name: claim.name.clone(), usage })
    });
    let mut stacks: Vec<StackUse> = stacks.collect();
    stacks.sort_by_key(|stack| stack.stack.range.start);
    Ok(Map { parts, stacks, heap: claims.heap, rss_bytes })
}

/// Somebody owns a range.
struct Claim {
    owner: Owner,
    name: String,
    /// Stack, and its thread's id as the reader sees it.
    stack: Option<(ThreadStack, Option<Tid>)>,
}

/// Owners of ranges, as far as it is known before the kernel's names.
#[derive(Default)]
struct Claims {
    all: Vec<Claim>,
    space: Intervals<u32>,
    heap: Option<Malloc>,
}

impl Claims {
    fn collect(source: &MapSource<'_>, vmas: &[Vma]) -> Self {
        let mut claims = Self::default();
        let anonymous: Vec<Range<u64>> = vmas
            .iter()
            .filter(|vma| vma.is_anonymous())
            .map(|vma| vma.mapping.start..vma.mapping.end)
            .collect();
        let jvm_ranges = source.jvm.map(|jvm| jvm.ranges(&anonymous)).unwrap_or_default();
        // Found by evidence, these come after what describes itself.
        let (later, first): (Vec<_>, Vec<_>) =
            jvm_ranges.into_iter().partition(|range| range.kind == RangeKind::Gc);
        for range in first {
            claims.add(range.range, named::of_kind(range.kind), named::of_range(range.kind, range.name));
        }
        claims.stacks(source);
        claims.heap(source, vmas, &later);
        for range in later {
            claims.add(range.range, named::of_kind(range.kind), named::of_range(range.kind, range.name));
        }
        claims.bss(source.modules);
        match claims.heap.as_ref().map(|heap| heap.mapped.chunks.clone()) {
            Some(chunks) => chunks.into_iter().for_each(|chunk| claims.mapped_chunk(chunk)),
            None => claims.mapped_chunks(source, vmas),
        }
        claims.collector(source, vmas);
        claims.own_allocators(source, vmas);
        claims
    }

    /// Memory that is left, and that a library's own allocator mapped.
    fn own_allocators(&mut self, source: &MapSource<'_>, vmas: &[Vma]) {
        let modules = source.own_allocators.iter().filter_map(|index| source.modules.get(*index));
        for module in modules {
            let could_be = |vma: &&Vma| {
                let is_stack = vma.mapping.path == "[stack]" || vma.mapping.path == "[heap]";
                vma.is_anonymous() && vma.mapping.writable && !vma.mapping.shared && !is_stack
            };
            let pieces = vmas.iter().filter(could_be).flat_map(|vma| self.within(vma));
            let left: Vec<Range<u64>> =
                pieces.filter(|(_, claim)| claim.is_none()).map(|(range, _)| range).collect();
            for index in own_allocators::claimed(module, &left, source.memory, source.residency) {
                if let Some(range) = left.get(index) {
                    self.add(range.clone(), Owner::OwnAllocator, module.name().to_owned());
                }
            }
        }
    }

    /// malloc's arenas; chunks that have a mapping of their own come later. `later`: what is somebody's
    /// besides what is claimed already.
    fn heap(&mut self, source: &MapSource<'_>, vmas: &[Vma], later: &[JvmRange]) {
        if source.walks_heap {
            let mappings: Vec<Mapping> = vmas.iter().map(|vma| vma.mapping.clone()).collect();
            let taken = vmas.iter().flat_map(|vma| self.within(vma)).filter(|(_, claim)| claim.is_some());
            let mut excluded: Vec<Range<u64>> = taken.map(|(range, _)| range).collect();
            excluded.extend(later.iter().map(|range| range.range.clone()));
            let heap = glibc::HeapSource {
                memory: source.memory,
                residency: source.residency,
                mappings: &mappings,
                excluded: &excluded,
            };
            self.heap = glibc::read(&heap, &mut |_| {}).ok();
        }
        let Some(heap) = self.heap.take() else {
            for heap in allocator::arenas(vmas, source.memory) {
                self.add(heap, Owner::MallocArena, "arena of threads".to_owned());
            }
            return;
        };
        for (number, arena) in heap.arenas.iter().enumerate() {
            let threads = match arena.attached_threads {
                1 => "1 thread".to_owned(),
                count => format!("{count} threads"),
            };
            let name = match arena.is_main {
                true => format!("main arena ({threads})"),
                false => format!("arena {number} ({threads})"),
            };
            for heap in &arena.heaps {
                self.add(heap.reserved.clone(), Owner::MallocArena, name.clone());
            }
        }
        self.heap = Some(heap);
    }

    fn mapped_chunk(&mut self, chunk: Range<u64>) {
        self.add(chunk, Owner::MallocMapped, "large block".to_owned());
    }

    /// Memory that is left, and is pointed to by the collector's structures, or goes on where a range ends of
    /// which they told only a part.
    fn collector(&mut self, source: &MapSource<'_>, vmas: &[Vma]) {
        let Some(jvm) = source.jvm else { return };
        let mut left = Vec::new();
        for vma in vmas.iter().filter(|vma| vma.is_anonymous()) {
            let pieces = self.within(vma);
            let is_told = |claim: Option<u32>| {
                claim
                    .and_then(|claim| self.all.get(claim as usize))
                    .is_some_and(|claim| claim.owner == Owner::Gc)
            };
            for (index, (range, _)) in pieces.iter().enumerate().filter(|(_, (_, claim))| claim.is_none()) {
                let before = index.checked_sub(1).and_then(|before| pieces.get(before));
                let goes_on = before.is_some_and(|(_, claim)| is_told(*claim));
                left.push((range.clone(), goes_on));
            }
        }
        let pointed_at = jvm.collector_points_at(&left.iter().map(|(range, _)| range.start).collect());
        for (range, goes_on) in left {
            if goes_on || pointed_at.contains(&range.start) {
                self.add(range, Owner::Gc, "tables".to_owned());
            }
        }
    }

    fn add(&mut self, range: Range<u64>, owner: Owner, name: String) {
        self.push(range, Claim { owner, name, stack: None });
    }

    fn push(&mut self, range: Range<u64>, claim: Claim) {
        let Ok(index) = u32::try_from(self.all.len()) else { return };
        self.space.fill(range.start, range.end, index);
        self.all.push(claim);
    }

    fn stacks(&mut self, source: &MapSource<'_>) {
        let java = source.jvm.map(Hotspot::threads).unwrap_or_default();
        let live = stacks::names(source.pid, &java);
        let mut found = stacks::glibc(source.modules, source.memory, &live);
        // Where another C library made them, the JVM knows those of its own threads.
        let known = |stack: &Range<u64>, found: &[ThreadStack]| {
            found.iter().any(|other| other.range.start < stack.end && stack.start < other.range.end)
        };
        for thread in java {
            if let Some(range) = thread.stack.filter(|range| !known(range, &found)) {
                found.push(ThreadStack { range, tid: Some(thread.tid) });
            }
        }
        for stack in found {
            let thread = stack.tid.and_then(|tid| live.get(&tid));
            let name = thread.map_or_else(|| "no thread".to_owned(), |thread| thread.name.clone());
            let owner = if stack.tid.is_some() { Owner::ThreadStack } else { Owner::CachedStack };
            let tid = thread.map(|thread| thread.tid);
            self.push(stack.range.clone(), Claim { owner, name, stack: Some((stack, tid)) });
        }
    }

    /// Memory that a module has beyond its file.
    fn bss(&mut self, modules: &[Module]) {
        for module in modules {
            let Ok(elf) = module.elf() else { continue };
            for segment in elf.segments.iter().filter(|segment| segment.kind == Segment::LOAD) {
                let start = module.address(segment.vaddr.wrapping_add(segment.file_size));
                let end = module.address(segment.vaddr.wrapping_add(segment.memory_size));
                let pages =
                    start.checked_next_multiple_of(PAGE_BYTES).zip(end.checked_next_multiple_of(PAGE_BYTES));
                if let Some((start, end)) =
                    pages.filter(|(start, end)| start < end && segment.memory_size > segment.file_size)
                {
                    self.add(start..end, Owner::Library, format!("{} bss", module.name()));
                }
            }
        }
    }

    fn mapped_chunks(&mut self, source: &MapSource<'_>, vmas: &[Vma]) {
        for vma in
            vmas.iter().filter(|vma| vma.is_anonymous() && vma.mapping.readable && vma.mapping.writable)
        {
            for (gap, _) in self.within(vma).into_iter().filter(|(_, owner)| owner.is_none()) {
                for chunk in allocator::mapped_chunks(gap, source.memory) {
                    self.mapped_chunk(chunk);
                }
            }
        }
    }

    /// The ranges of a mapping, each with its claim, from its start to its end.
    fn within(&self, vma: &Vma) -> Vec<(Range<u64>, Option<u32>)> {
        self.space.pieces(vma.mapping.start, vma.mapping.end)
    }

    /// Pieces as [`Self::within`]; neighbours of one owner and name are one.
    fn pieces(&self, vma: &Vma, source: &MapSource<'_>) -> Vec<(Range<u64>, Option<u32>)> {
        let mut pieces: Vec<(Range<u64>, Option<u32>)> = Vec::new();
        let own = named::of_mapping(&vma.mapping, source.modules).0;
        for (range, index) in self.within(vma) {
            // A file or the like says itself what it is; only the heap and stacks are stronger.
            let claim = index.and_then(|index| self.all.get(index as usize));
            let stronger = |claim: &Claim| {
                vma.is_anonymous()
                    || matches!(claim.owner, Owner::JavaHeap | Owner::ThreadStack)
                    || own == claim.owner
            };
            let index = index.filter(|_| claim.is_some_and(stronger));
            let key = |index: Option<u32>| {
                let claim = self.all.get(index? as usize)?;
                Some((claim.owner, &claim.name, claim.stack.as_ref().map(|(stack, _)| stack.range.start)))
            };
            match pieces.last_mut() {
                Some((last, before)) if key(*before) == key(index) && last.end == range.start => {
                    last.end = range.end;
                }
                _ => pieces.push((range, index)),
            }
        }
        pieces
    }
}

fn permissions(vma: &Vma) -> String {
    let mapping = &vma.mapping;
    let flag = |set: bool, letter: char| if set { letter } else { '-' };
    [
        flag(mapping.readable, 'r'),
        flag(mapping.writable, 'w'),
        flag(mapping.executable, 'x'),
        if mapping.shared { 's' } else { 'p' },
    ]
    .iter()
    .collect()
}
