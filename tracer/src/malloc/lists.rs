//! Free chunks that look like chunks in use: those in fast bins and in the caches of threads.
//!
//! Both are singly linked. From glibc 2.32 links are mangled with their own address; which it is, is
//! told from the first list that ends.

use std::cell::RefCell;

use super::arena::{Arena as Layout, heap_of};
use super::sizes::Sizes;
use super::source::Source;
use super::walk::{CACHE_BYTES, HEADER_BYTES};
use super::{Amount, Arena};
use crate::target::pagemap::PAGE_BYTES;

/// Chunks of one list (512 MiB of the smallest).
const MAX_LENGTH: u64 = 16 << 20;
/// Readings of a list that changes under us.
const ATTEMPTS: usize = 4;
/// Bins of a cache.
const CACHE_BINS: usize = 64;
const SMALLEST_BYTES: u64 = 32;
const STEP_BYTES: u64 = 16;
/// Pages of what was read lately. No more than the page itself is read: its neighbours may be absent.
const LINES: usize = 1024;
const LINE_BYTES: u64 = PAGE_BYTES;

/// What lists say is free, of one arena.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Freed {
    pub(super) fast: Amount,
    pub(super) cached: Amount,
    pub(super) inconsistent_count: u64,
}

/// How a chunk's link is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    Plain,
    /// From 2.32: xor the link's own address, shifted by 12.
    Mangled,
}

impl Links {
    const ALL: [Self; 2] = [Self::Mangled, Self::Plain];

    fn decode(self, at: u64, link: u64) -> u64 {
        match self {
            Self::Plain => link,
            Self::Mangled => link ^ (at >> 12),
        }
    }
}

/// The chunks of one list.
#[derive(Clone, Copy, Debug)]
struct List {
    /// Where the first one's memory begins, 0 if there is none.
    first: u64,
    /// The size of each.
    bytes: u64,
    limit: u64,
    /// Links lead to headers, not to what is handed out.
    to_headers: bool,
}

/// A list that does not end as it must.
#[derive(Debug)]
struct Broken;

/// Reads lists and sums up, by arena.
pub(super) struct Lists<'a> {
    source: &'a Source<'a>,
    arenas: &'a [Arena],
    sizes: &'a mut Sizes,
    links: Option<Links>,
    lines: RefCell<Vec<Option<Line>>>,
    pub(super) freed: Vec<Freed>,
    pub(super) cache_count: u64,
}

struct Line {
    start: u64,
    bytes: Vec<u8>,
}

/// Can the chunk with `bytes` be a thread's cache with something in it?
pub(super) fn may_be_cache(bytes: &[u8]) -> bool {
    let Some((counts, entries)) =
        bytes.get(..CACHE_BYTES).and_then(|bytes| bytes.split_at_checked(2 * CACHE_BINS))
    else {
        return false;
    };
    let mut any = false;
    for (count, entry) in counts.chunks_exact(2).zip(entries.chunks_exact(8)) {
        let count = count.try_into().map_or(0, u16::from_le_bytes);
        let entry = entry.try_into().map_or(0, u64::from_le_bytes);
        if (count == 0) != (entry == 0) || entry % 16 != 0 || entry >> 47 != 0 {
            return false;
        }
        any |= count != 0;
    }
    any
}

impl<'a> Lists<'a> {
    pub(super) fn new(source: &'a Source<'a>, arenas: &'a [Arena], sizes: &'a mut Sizes) -> Self {
        let freed = vec![Freed::default(); arenas.len()];
        let lines = RefCell::new((0..LINES).map(|_| None).collect());
        Self { source, arenas, sizes, links: None, lines, freed, cache_count: 0 }
    }

    /// Adds the fast bins of the arena with this index.
    pub(super) fn fast_bins(&mut self, index: usize, layout: &Layout) {
        let mut first = layout.fast_bins;
        for attempt in 0..ATTEMPTS {
            let lists: Result<Vec<u64>, Broken> = (0..)
                .zip(&first)
                .map(|(bin, first)| {
                    let bytes = SMALLEST_BYTES + bin * STEP_BYTES;
                    let first = if *first == 0 { 0 } else { first.wrapping_add(HEADER_BYTES) };
                    self.follow(List { first, bytes, limit: MAX_LENGTH, to_headers: true }, &mut |_| {})
                })
                .collect();
            let Some(freed) = self.freed.get_mut(index) else { return };
            match lists {
                Ok(lengths) => {
                    for (bin, length) in (0..).zip(lengths) {
                        let bytes = SMALLEST_BYTES + bin * STEP_BYTES;
                        freed.fast.bytes += bytes * length;
                        freed.fast.count += length;
                        (0..length).for_each(|_| self.sizes.remove(bytes));
                    }
                    return;
                }
                Err(Broken) if attempt + 1 == ATTEMPTS => freed.inconsistent_count += 1,
                Err(Broken) => {
                    self.forget();
                    if let Some(again) = Layout::prove(self.source, layout.address) {
                        first = again.fast_bins;
                    }
                }
            }
        }
    }

    /// Adds what the thread's cache at `address` holds, if it is one.
    pub(super) fn cache(&mut self, address: u64) {
        for _ in 0..ATTEMPTS {
            self.forget();
            let mut bytes = [0; CACHE_BYTES];
            if self.source.memory.read(address, &mut bytes).is_err() || !may_be_cache(&bytes) {
                return;
            }
            let (counts, entries) = bytes.split_at(2 * CACHE_BINS);
            let mut chunks = Vec::new();
            let mut whole = true;
            for ((bin, count), entry) in (0..).zip(counts.chunks_exact(2)).zip(entries.chunks_exact(8)) {
                let count = count.try_into().map_or(0, u16::from_le_bytes);
                let first = entry.try_into().map_or(0, u64::from_le_bytes);
                let bytes = SMALLEST_BYTES + bin * STEP_BYTES;
                let list = List { first, bytes, limit: count.into(), to_headers: false };
                let length = self.follow(list, &mut |at| chunks.push((at, bytes)));
                whole &= length.is_ok_and(|length| length == u64::from(count));
            }
            if !whole {
                continue;
            }
            self.cache_count += 1;
            for (at, bytes) in chunks {
                if let Some(freed) = self.arena_of(at).and_then(|index| self.freed.get_mut(index)) {
                    freed.cached.add(bytes);
                    self.sizes.remove(bytes);
                }
            }
            return;
        }
    }

    /// Follows a list, and gives its length.
    fn follow(&mut self, list: List, visit: &mut dyn FnMut(u64)) -> Result<u64, Broken> {
        if list.first == 0 {
            return Ok(0);
        }
        if self.links.is_none() {
            let ends = |links: &Links| self.follow_with(*links, list, &mut |_| {}).is_ok();
            self.links = Links::ALL.into_iter().find(ends);
        }
        self.follow_with(self.links.ok_or(Broken)?, list, visit)
    }

    fn follow_with(&self, links: Links, list: List, visit: &mut dyn FnMut(u64)) -> Result<u64, Broken> {
        let (mut at, mut length) = (list.first, 0);
        while at != 0 {
            // A list that is a circle is longer than any.
            if length >= list.limit || !at.is_multiple_of(16) || at < HEADER_BYTES {
                return Err(Broken);
            }
            let [size, link] = self.size_and_link(at).ok_or(Broken)?;
            if size & !7 != list.bytes || size & 2 != 0 {
                return Err(Broken);
            }
            visit(at);
            length += 1;
            at = match links.decode(at, link) {
                0 => 0,
                next if list.to_headers => next.wrapping_add(HEADER_BYTES),
                next => next,
            };
        }
        Ok(length)
    }

    /// The size word before `at` and the link at it.
    fn size_and_link(&self, at: u64) -> Option<[u64; 2]> {
        let from = at.checked_sub(8)?;
        let start = from - from % LINE_BYTES;
        // The words can be in two lines.
        if from - start > LINE_BYTES - 16 {
            return self.source.words::<2>(from);
        }
        let mut lines = self.lines.borrow_mut();
        let line = lines.get_mut((start / LINE_BYTES) as usize % LINES)?;
        if line.as_ref().is_none_or(|line| line.start != start) {
            let mut bytes = vec![0; LINE_BYTES as usize];
            if self.source.memory.read(start, &mut bytes).is_err() {
                return self.source.words::<2>(from);
            }
            *line = Some(Line { start, bytes });
        }
        let bytes = &line.as_ref()?.bytes;
        let offset = (from - start) as usize;
        let word = |offset: usize| Some(u64::from_le_bytes(bytes.get(offset..offset + 8)?.try_into().ok()?));
        Some([word(offset)?, word(offset + 8)?])
    }

    fn forget(&self) {
        self.lines.borrow_mut().fill_with(|| None);
    }

    /// The index of the arena that the chunk at `address` belongs to.
    fn arena_of(&self, address: u64) -> Option<usize> {
        let holds = |arena: &Arena| {
            let heaps = &arena.heaps;
            let after = heaps.partition_point(|heap| heap.used.start <= address);
            after
                .checked_sub(1)
                .and_then(|index| heaps.get(index))
                .is_some_and(|heap| heap.used.contains(&address))
        };
        let of_heap = self.source.word(heap_of(address));
        let by_heap = self.arenas.iter().position(|arena| Some(arena.address) == of_heap && holds(arena));
        by_heap.or_else(|| self.arenas.iter().position(holds))
    }
}
