//! glibc's heap, walked from outside: every arena and chunk, with nothing stopped or written.
//!
//! Takes the target's memory, its page map and its mappings; gives what malloc holds: bytes in use,
//! free but kept, on top and mapped alone, for each arena, and the sizes of what is in use. Every
//! chunk in use is shown to the caller, who may know what is in it.
//! The memory is foreign and changes while it is read. So the structures are proved, not assumed: an
//! arena is one whose bins point to themselves or to chunks that point back, a chunk is one whose
//! neighbours agree with it. A structure that does not agree is read again, and then counted as inconsistent.
//! All work is bounded by the bytes that the arenas say they have. Other allocators are not read.
//! Source: glibc 2.31 to 2.43, `malloc/{malloc,arena}.c`; what differs between them (fast bins, the size of
//! `heap_info`, `malloc_par`, caches of threads, mangled links) is told from the memory itself.

mod arena;
mod find;
mod lists;
mod mmapped;
mod parameters;
mod sizes;
mod source;
mod walk;
mod window;

use std::ops::Range;

pub use self::mmapped::mapped_bytes;
pub use self::sizes::{SizeClass, Sizes};
pub use self::source::HeapSource;
pub use self::walk::Chunk;

use self::arena::Arena as Layout;
use self::lists::Lists;
use self::walk::Walker;
use crate::process::pagemap;

/// Reason why a heap cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MallocError {
    /// The process uses another allocator, glibc older than 2.27, or none yet.
    #[error("no arena of glibc's malloc is in this process")]
    NoArena,
}

/// Chunks, with their headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub bytes: u64,
    pub count: u64,
}

impl Amount {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.count += 1;
    }

    fn merge(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.count += other.count;
    }
}

/// Memory that one arena or all of them hold. The parts add up to what the arena got from the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Handed out and not freed.
    pub in_use: Amount,
    /// Free in the bins: what lies between chunks in use.
    pub binned: Amount,
    /// Free in fast bins: not merged with their neighbours.
    pub fast: Amount,
    /// Free in the caches of threads.
    pub cached: Amount,
    /// Free at the end, from which new chunks are cut.
    pub top_bytes: u64,
    /// malloc's own: the arena's state, fences between heaps.
    pub own_bytes: u64,
    pub largest_free_bytes: u64,
    /// Structures that were not consistent when it was read, several times.
    pub inconsistent: Amount,
    /// Bytes that were not read: swapped out, or not readable.
    pub unread_bytes: u64,
}

impl Holdings {
    /// Free and kept: all but the top.
    pub fn free_bytes(&self) -> u64 {
        self.binned.bytes + self.fast.bytes + self.cached.bytes
    }

    fn merge(&mut self, other: &Self) {
        self.in_use.merge(other.in_use);
        self.binned.merge(other.binned);
        self.fast.merge(other.fast);
        self.cached.merge(other.cached);
        self.top_bytes += other.top_bytes;
        self.own_bytes += other.own_bytes;
        self.largest_free_bytes = self.largest_free_bytes.max(other.largest_free_bytes);
        self.inconsistent.merge(other.inconsistent);
        self.unread_bytes += other.unread_bytes;
    }
}

/// A part of the address space that an arena has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heap {
    /// Bytes that malloc may use now.
    pub used: Range<u64>,
    /// Bytes that are reserved for it: 64 MiB for a heap of a thread's arena.
    pub reserved: Range<u64>,
}

/// An arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arena {
    /// Address of its `malloc_state`.
    pub address: u64,
    /// The arena that grows by brk; all others were made for threads.
    pub is_main: bool,
    /// Threads that allocate from it.
    pub attached_threads: u64,
    /// Sorted by address.
    pub heaps: Vec<Heap>,
    pub holdings: Holdings,
    /// Bytes that the arena itself says it got from the kernel.
    pub system_bytes: u64,
    /// Bytes of its heaps that are in memory now; none if the page map could not be read.
    pub resident_bytes: Option<u64>,
}

/// Chunks that each have a mapping of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Chunks that were found, as (start, end), sorted.
    pub chunks: Vec<Range<u64>>,
    pub found: Amount,
    pub resident_bytes: Option<u64>,
    /// Counts of malloc itself; none if its parameters were not found.
    pub counted: Option<Amount>,
}

impl Mapped {
    /// Bytes that malloc counts, or else that were found.
    pub fn amount(&self) -> Amount {
        self.counted.unwrap_or(self.found)
    }
}

/// The heap of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malloc {
    /// The main one first.
    pub arenas: Vec<Arena>,
    /// The arenas lead back to the main one: none is missing.
    pub has_all_arenas: bool,
    pub mapped: Mapped,
    /// Sizes of all chunks in use, those with a mapping of their own too.
    pub sizes: Sizes,
    /// Threads whose cache was found with something in it.
    pub cache_count: u64,
    /// Addresses of the memory of free chunks that only lists tell from those in use (caches of threads, fast bins),
    /// sorted.
    pub free_addresses: Vec<u64>,
}

impl Malloc {
    /// The sum over all arenas.
    pub fn total(&self) -> Holdings {
        let mut total = Holdings::default();
        self.arenas.iter().for_each(|arena| total.merge(&arena.holdings));
        total
    }

    /// Bytes that all arenas got from the kernel.
    pub fn system_bytes(&self) -> u64 {
        self.arenas.iter().map(|arena| arena.system_bytes).fold(0, u64::saturating_add)
    }
}

/// Reads the heap that `source` is of, and calls `visit` with each chunk in use (a few free ones in
/// caches and fast bins, which only lists tell from those in use, are shown too).
///
/// # Errors
/// `NoArena`: glibc's malloc is not what the process uses, or has not been used.
pub fn read(source: &HeapSource<'_>, visit: &mut dyn FnMut(&Chunk<'_>)) -> Result<Malloc, MallocError> {
    let found = find::arenas(source).ok_or(MallocError::NoArena)?;
    let parameters = parameters::find(source, found.data.clone());
    let mut walker = Walker::new();
    let mut arenas: Vec<Arena> = Vec::new();
    for layout in &found.arenas {
        let extents = layout.extents(source, parameters.as_ref());
        let mut holdings = Holdings { own_bytes: extents.own_bytes, ..Holdings::default() };
        for extent in extents.chunks {
            walker.walk(source, extent, &mut holdings, visit);
        }
        arenas.push(finished(source, layout, extents.heaps, holdings));
    }
    let mut sizes = walker.sizes;
    let mut lists = Lists::new(source, &arenas, &mut sizes);
    for (index, layout) in found.arenas.iter().enumerate() {
        lists.fast_bins(index, layout);
    }
    for (cache, form) in &walker.caches {
        lists.cache(*cache, *form);
    }
    let (freed, cache_count, mut free_addresses) = (lists.freed, lists.cache_count, lists.free_addresses);
    free_addresses.sort_unstable();
    for (arena, freed) in arenas.iter_mut().zip(freed) {
        let holdings = &mut arena.holdings;
        holdings.fast = freed.fast;
        holdings.cached = freed.cached;
        holdings.inconsistent.count += freed.inconsistent_count;
        for free in [freed.fast, freed.cached] {
            holdings.in_use.bytes = holdings.in_use.bytes.saturating_sub(free.bytes);
            holdings.in_use.count = holdings.in_use.count.saturating_sub(free.count);
        }
    }
    if let Some(main) = arenas.first_mut().filter(|_| !found.is_whole) {
        // Arenas behind one that makes no sense are not known.
        main.holdings.inconsistent.count += 1;
    }
    let mapped = mmapped::find(source, &arenas, parameters.as_ref(), &mut sizes, visit);
    Ok(Malloc { arenas, has_all_arenas: found.is_whole, mapped, sizes, cache_count, free_addresses })
}

fn finished(source: &HeapSource<'_>, layout: &Layout, mut heaps: Vec<Heap>, holdings: Holdings) -> Arena {
    heaps.sort_by_key(|heap| heap.used.start);
    let resident =
        |heap: &Heap| pagemap::resident_bytes(source.residency, heap.reserved.start, heap.reserved.end).ok();
    Arena {
        address: layout.address,
        is_main: layout.is_main,
        attached_threads: layout.attached_threads,
        resident_bytes: heaps.iter().map(resident).sum(),
        heaps,
        holdings,
        system_bytes: layout.system_bytes,
    }
}
