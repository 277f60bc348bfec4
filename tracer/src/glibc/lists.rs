//! Free chunks that look like chunks in use: those in fast bins and in the caches of threads.
//!
//! Both are singly linked. From glibc 2.32 links are mangled with their own address; which it is, is
//! told from the first list that ends.

use std::cell::RefCell;

use tracer_common::arch::PAGE_BYTES;

use super::arena::{Arena as Layout, heap_of};
use super::sizes::Sizes;
use super::source::HeapSource;
use super::walk::HEADER_BYTES;
use super::{Amount, Arena};

/// Chunks of one list (512 MiB of the smallest).
const MAX_LENGTH: u64 = 16 << 20;
/// Readings of a list that changes under us.
const ATTEMPTS: usize = 4;
/// The first chunk sizes have a bin each; a bin behind them has chunks of several sizes.
const EVEN_BINS: usize = 64;
/// Bytes of the largest cache.
pub(super) const MAX_CACHE_BYTES: usize = CacheForm::Room.bytes();
const SMALLEST_BYTES: u64 = 32;
const STEP_BYTES: u64 = 16;
/// Pages of what was read lately. No more than the page itself is read: its neighbours may be absent.
const LINES: usize = 1024;
const LINE_BYTES: u64 = PAGE_BYTES;

/// Free chunks of one arena, as its lists tell them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Freed {
    pub(super) fast: Amount,
    pub(super) cached: Amount,
    pub(super) inconsistent_count: u64,
}

/// Form of a chunk's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    Plain,
    /// The link xor its own address, shifted by 12: from 2.32.
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
    /// Address of the first one's memory, 0 if there is none.
    first: u64,
    /// The size of each, if they are of one size.
    bytes: Option<u64>,
    limit: u64,
    /// Links lead to headers, not to what is handed out.
    to_headers: bool,
}

/// A list that does not end as it must.
#[derive(Debug)]
struct Broken;

/// Reads lists and sums up, by arena.
pub(super) struct Lists<'a> {
    source: &'a HeapSource<'a>,
    arenas: &'a [Arena],
    sizes: &'a mut Sizes,
    links: Option<Links>,
    lines: RefCell<Vec<Option<Line>>>,
    pub(super) freed: Vec<Freed>,
    pub(super) cache_count: u64,
    /// Address of the memory of each of these free chunks.
    pub(super) free_addresses: Vec<u64>,
}

struct Line {
    start: u64,
    bytes: Vec<u8>,
}

/// Bytes that a thread's cache (`tcache_perthread_struct`) has before the pointer of each bin: a number of two
/// bytes for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheForm {
    /// 2.30 to 2.41: how many chunks are in it.
    Counts,
    /// Room for more chunks, from 2.42; the room of an empty list is the same for all.
    Room,
}

impl CacheForm {
    /// The one that a chunk of this size can be: of the usual size, or where 16 bytes were left over.
    pub(super) fn of_chunk(bytes: u64) -> Option<Self> {
        let is_of = |form: &Self| {
            let exact = (form.bytes() as u64 + HEADER_BYTES / 2).next_multiple_of(STEP_BYTES);
            bytes == exact || bytes == exact + STEP_BYTES
        };
        [Self::Counts, Self::Room].into_iter().find(is_of)
    }

    const fn bins(self) -> usize {
        match self {
            Self::Counts => EVEN_BINS,
            Self::Room => EVEN_BINS + 12,
        }
    }

    pub(super) const fn bytes(self) -> usize {
        (2 + 8) * self.bins()
    }

    /// The number and the first chunk of each bin of the cache with `bytes`.
    fn all_bins(self, bytes: &[u8]) -> Option<impl Iterator<Item = (u64, u64)> + Clone> {
        let (numbers, entries) = bytes.get(..self.bytes())?.split_at_checked(2 * self.bins())?;
        let numbers = numbers.as_chunks::<2>().0.iter().map(|number| u64::from(u16::from_le_bytes(*number)));
        let entries = entries.as_chunks::<8>().0.iter().map(|entry| u64::from_le_bytes(*entry));
        Some(numbers.zip(entries))
    }

    /// Can `bytes` be a cache? Then, if there is one, the number of an empty bin.
    fn empty_number(self, bytes: &[u8]) -> Option<Option<u64>> {
        let bins = self.all_bins(bytes)?;
        let empty = bins.clone().find(|(_, entry)| *entry == 0).map(|(number, _)| number);
        let holds = |(number, entry): (u64, u64)| {
            let agrees = match (self, entry) {
                (Self::Counts, entry) => (number == 0) == (entry == 0),
                (Self::Room, 0) => Some(number) == empty && number != 0,
                (Self::Room, _) => empty.is_none_or(|room| number < room),
            };
            agrees && entry.is_multiple_of(16) && entry >> 47 == 0
        };
        bins.clone().all(holds).then_some(empty)
    }

    /// The bins that hold something: index, first chunk, and how many there are, if that is told.
    fn full_bins(self, bytes: &[u8]) -> Vec<(usize, u64, Option<u64>)> {
        let (Some(empty), Some(bins)) = (self.empty_number(bytes), self.all_bins(bytes)) else {
            return Vec::new();
        };
        let count = |number: u64| match self {
            Self::Counts => Some(number),
            Self::Room => empty.map(|room| room - number),
        };
        let full = bins.enumerate().filter(|(_, (_, entry))| *entry != 0);
        full.map(|(bin, (number, entry))| (bin, entry, count(number))).collect()
    }
}

/// Can the chunk with `bytes` be a thread's cache with something in it?
pub(super) fn may_be_cache(form: CacheForm, bytes: &[u8]) -> bool {
    form.empty_number(bytes).is_some()
        && form.all_bins(bytes).is_some_and(|mut bins| bins.any(|(_, entry)| entry != 0))
}

impl<'a> Lists<'a> {
    pub(super) fn new(source: &'a HeapSource<'a>, arenas: &'a [Arena], sizes: &'a mut Sizes) -> Self {
        let freed = vec![Freed::default(); arenas.len()];
        let lines = RefCell::new((0..LINES).map(|_| None).collect());
        Self { source, arenas, sizes, links: None, lines, freed, cache_count: 0, free_addresses: Vec::new() }
    }

    /// Adds the fast bins of the arena with this index.
    pub(super) fn fast_bins(&mut self, index: usize, layout: &Layout) {
        let mut first = layout.fast_bins;
        for attempt in 0..ATTEMPTS {
            let mut addresses = Vec::new();
            let lists: Result<Vec<u64>, Broken> = (0..)
                .zip(&first)
                .map(|(bin, first)| {
                    let bytes = SMALLEST_BYTES + bin * STEP_BYTES;
                    let first = if *first == 0 { 0 } else { first.wrapping_add(HEADER_BYTES) };
                    let list = List { first, bytes: Some(bytes), limit: MAX_LENGTH, to_headers: true };
                    self.follow(list, &mut |at, _| addresses.push(at))
                })
                .collect();
            let Some(freed) = self.freed.get_mut(index) else { return };
            match lists {
                Ok(lengths) => {
                    self.free_addresses.append(&mut addresses);
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
                    if let Some(again) = Layout::prove(self.source, layout.address, layout.form) {
                        first = again.fast_bins;
                    }
                }
            }
        }
    }

    /// Adds what the thread's cache at `address` holds, if it is one.
    pub(super) fn cache(&mut self, address: u64, form: CacheForm) {
        for _ in 0..ATTEMPTS {
            self.forget();
            let mut bytes = [0; MAX_CACHE_BYTES];
            let Some(bytes) = bytes.get_mut(..form.bytes()) else { return };
            if self.source.memory.read(address, bytes).is_err() {
                return;
            }
            let bins = form.full_bins(bytes);
            if bins.is_empty() {
                return;
            }
            let mut chunks = Vec::new();
            let mut whole = true;
            for (bin, first, count) in bins {
                let bytes = (bin < EVEN_BINS).then(|| SMALLEST_BYTES + bin as u64 * STEP_BYTES);
                let limit = count.unwrap_or(u64::from(u16::MAX));
                let list = List { first, bytes, limit, to_headers: false };
                let length = self.follow(list, &mut |at, bytes| chunks.push((at, bytes)));
                whole &= length.is_ok_and(|length| count.is_none_or(|count| length == count));
            }
            if !whole {
                continue;
            }
            self.cache_count += 1;
            for (at, bytes) in chunks {
                self.free_addresses.push(at);
                if let Some(freed) = self.arena_of(at).and_then(|index| self.freed.get_mut(index)) {
                    freed.cached.add(bytes);
                    self.sizes.remove(bytes);
                }
            }
            return;
        }
    }

    /// Follows a list, and gives its length.
    fn follow(&mut self, list: List, visit: &mut dyn FnMut(u64, u64)) -> Result<u64, Broken> {
        if list.first == 0 {
            return Ok(0);
        }
        if self.links.is_none() {
            let ends = |links: &Links| self.follow_with(*links, list, &mut |_, _| {}).is_ok();
            self.links = Links::ALL.into_iter().find(ends);
        }
        self.follow_with(self.links.ok_or(Broken)?, list, visit)
    }

    fn follow_with(&self, links: Links, list: List, visit: &mut dyn FnMut(u64, u64)) -> Result<u64, Broken> {
        let (mut at, mut length) = (list.first, 0);
        while at != 0 {
            // A list that is a circle is longer than any.
            if length >= list.limit || !at.is_multiple_of(16) || at < HEADER_BYTES {
                return Err(Broken);
            }
            let [size, link] = self.size_and_link(at).ok_or(Broken)?;
            let bytes = size & !7;
            let of_size = list.bytes.map_or(bytes >= SMALLEST_BYTES, |expected| bytes == expected);
            if !of_size || size & 2 != 0 {
                return Err(Broken);
            }
            visit(at, bytes);
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
