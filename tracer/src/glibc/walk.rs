//! The chunks of one heap, one after the other.
//!
//! A chunk says how long it is, and the next one whether it is free; a free one's length is repeated
//! at its end. A chunk that disagrees is read again; if it stays so (the program wrote over a header, say), the
//! walk looks for the next place from which several chunks follow each other, and counts what it
//! passed over.

use std::ops::Range;

use tracer_common::arch::PAGE_BYTES;

use super::Holdings;
use super::lists::{self, CacheForm};
use super::sizes::Sizes;
use super::source::HeapSource;
use super::window::{Gap, Window};
use crate::process::pagemap::PageState;

/// Bits of a chunk's size word.
const PREVIOUS_IN_USE: u64 = 1;
const IS_MAPPED: u64 = 2;
const NOT_MAIN: u64 = 4;
const BITS: u64 = 7;
/// Bytes of a header before the memory that is handed out.
pub(super) const HEADER_BYTES: u64 = 16;
/// The smallest chunk.
const MIN_BYTES: u64 = 32;
/// Chunk at the end of a heap that is full, or where someone else moved the break.
const FENCE_BYTES: u64 = 16;
/// Readings of a chunk that makes no sense.
const ATTEMPTS: usize = 6;
/// Chunks that must follow each other where a walk is taken up again.
const CHAIN: usize = 6;
/// Places looked at for that, in all: a heap full of nonsense ends the search.
const MAX_SEARCHED: u64 = 64 << 20;
/// Caches of one process.
const MAX_CACHES: usize = 1 << 17;
/// Part of a chunk that is shown.
const SHOWN_BYTES: usize = 96;

/// A chunk in use.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Address of the memory that was handed out.
    pub address: u64,
    /// Bytes that can be used by its owner: at least what was asked for.
    pub usable_bytes: u64,
    /// First bytes of the chunk, at most 96; fewer if they are not at hand.
    pub head: &'a [u8],
}

/// End of a walk: read again when a heap grew or shrank meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// Address of a `heap_info`, whose third word is the heap's length.
    HeapInfo(u64),
    /// Address of the arena's pointer to its top.
    Top(u64),
}

/// A sequence of chunks.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    pub(super) chunks: Range<u64>,
    pub(super) end: End,
    /// The arena's top is its last chunk; else fences are.
    pub(super) has_top: bool,
    pub(super) is_main: bool,
}

/// Kind of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    InUse,
    Free,
    Top,
    Fence,
}

/// Walks heaps, with one buffer for all.
#[derive(Debug)]
pub(super) struct Walker {
    window: Window,
    pub(super) sizes: Sizes,
    /// Addresses of what can be the caches of threads.
    pub(super) caches: Vec<(u64, CacheForm)>,
    searched: u64,
}

impl Walker {
    pub(super) fn new() -> Self {
        Self { window: Window::new(), sizes: Sizes::default(), caches: Vec::new(), searched: 0 }
    }

    /// Walks `extent` and adds what it holds.
    pub(super) fn walk(
        &mut self,
        source: &HeapSource<'_>,
        mut extent: Extent,
        holdings: &mut Holdings,
        visit: &mut dyn FnMut(&Chunk<'_>),
    ) {
        let mut at = extent.chunks.start;
        while at < extent.chunks.end {
            let found = self.step(source, &extent, at);
            let found = found.or_else(|gap| self.again(source, &mut extent, at, gap));
            let (kind, bytes) = match found {
                Ok(found) => found,
                Err(gap) => {
                    if at >= extent.chunks.end {
                        break;
                    }
                    let next = self.resume(source, &extent, at);
                    match gap {
                        Gap::Swapped => holdings.unread_bytes += next - at,
                        Gap::Absent => holdings.inconsistent.add(next - at),
                    }
                    at = next;
                    continue;
                }
            };
            match kind {
                Kind::InUse => {
                    holdings.in_use.add(bytes);
                    self.sizes.add(bytes);
                    self.show(source, at, bytes, visit);
                }
                Kind::Free => {
                    holdings.binned.add(bytes);
                    holdings.largest_free_bytes = holdings.largest_free_bytes.max(bytes);
                }
                Kind::Top => holdings.top_bytes += bytes,
                Kind::Fence => holdings.own_bytes += bytes,
            }
            at += bytes;
        }
    }

    /// Kind of the chunk at `at`, and the bytes to the next one.
    #[inline]
    fn step(&mut self, source: &HeapSource<'_>, extent: &Extent, at: u64) -> Result<(Kind, u64), Gap> {
        let [_, word] = self.window.header(source, at)?;
        let bytes = word & !BITS;
        let left = extent.chunks.end - at;
        if bytes < MIN_BYTES || bytes > left || word & IS_MAPPED != 0 || !bytes.is_multiple_of(16) {
            // The first of two says whether what is before them is free.
            let is_fence = word & !PREVIOUS_IN_USE == FENCE_BYTES
                || word == PREVIOUS_IN_USE && left <= MIN_BYTES && !extent.has_top;
            return if is_fence { Ok((Kind::Fence, FENCE_BYTES.min(left))) } else { Err(Gap::Absent) };
        }
        if bytes == left {
            return match extent.has_top {
                true => Ok((Kind::Top, bytes)),
                // A rest too small for two fences.
                false if bytes <= 2 * MIN_BYTES => Ok((Kind::Fence, bytes)),
                false => Err(Gap::Absent),
            };
        }
        let [previous_bytes, next_word] = self.window.header(source, at + bytes)?;
        if next_word & IS_MAPPED != 0 || next_word & 8 != 0 || next_word & !BITS > left - bytes {
            return Err(Gap::Absent);
        }
        if next_word & PREVIOUS_IN_USE != 0 {
            // The last fence stands behind a rest that was too small to be freed.
            if next_word == PREVIOUS_IN_USE && bytes == MIN_BYTES && left - bytes == FENCE_BYTES {
                return Ok((Kind::Fence, bytes));
            }
            // The main arena's chunks never have this bit, those of others in use always.
            if (word & NOT_MAIN == 0) != extent.is_main {
                return Err(Gap::Absent);
            }
            return Ok((Kind::InUse, bytes));
        }
        if previous_bytes == bytes { Ok((Kind::Free, bytes)) } else { Err(Gap::Absent) }
    }

    /// Reads what made no sense again, and where the heap ends now.
    #[cold]
    fn again(
        &mut self,
        source: &HeapSource<'_>,
        extent: &mut Extent,
        at: u64,
        mut gap: Gap,
    ) -> Result<(Kind, u64), Gap> {
        for _ in 0..ATTEMPTS {
            if gap == Gap::Swapped {
                break;
            }
            let end = match extent.end {
                End::HeapInfo(heap) => {
                    source.words::<3>(heap).and_then(|[_, _, bytes]| heap.checked_add(bytes))
                }
                End::Top(pointer) => source.word(pointer).and_then(|top| {
                    let [_, word] = source.words::<2>(top)?;
                    top.checked_add(word & !BITS)
                }),
            };
            // It can only be what a heap or a break can be.
            let limit = extent.chunks.start.saturating_add(1 << 46);
            if let Some(end) = end.filter(|end| (extent.chunks.start..limit).contains(end)) {
                extent.chunks.end = end;
            }
            if at >= extent.chunks.end {
                return Err(gap);
            }
            self.window.forget();
            match self.step(source, extent, at) {
                Ok(found) => return Ok(found),
                Err(again) => gap = again,
            }
        }
        Err(gap)
    }

    /// The next place behind `at` from which chunks follow each other, or the end.
    #[cold]
    fn resume(&mut self, source: &HeapSource<'_>, extent: &Extent, at: u64) -> u64 {
        let end = extent.chunks.end;
        let mut next = at.saturating_add(16);
        while next < end && self.searched < MAX_SEARCHED {
            self.searched += 1;
            match self.window.header(source, next) {
                Ok([_, word]) => {
                    let bytes = word & !BITS;
                    let possible = bytes >= MIN_BYTES && bytes <= end - next && bytes.is_multiple_of(16);
                    if possible && self.chain(source, extent, next) {
                        return next;
                    }
                    next += 16;
                }
                Err(_) => next = next_resident(source, next, end),
            }
        }
        end
    }

    /// Do several chunks follow each other from `at`, or all to the end?
    fn chain(&mut self, source: &HeapSource<'_>, extent: &Extent, at: u64) -> bool {
        let mut next = at;
        for _ in 0..CHAIN {
            // Like a place that is looked at: it is as much work.
            self.searched += 1;
            match self.step(source, extent, next) {
                Ok((Kind::Fence, _)) if next == at => return false,
                Ok((_, bytes)) => next += bytes,
                Err(_) => return false,
            }
            if next >= extent.chunks.end {
                return true;
            }
        }
        true
    }

    #[inline]
    fn show(&mut self, source: &HeapSource<'_>, at: u64, bytes: u64, visit: &mut dyn FnMut(&Chunk<'_>)) {
        let address = at + HEADER_BYTES;
        if let Some(form) = CacheForm::of_chunk(bytes).filter(|_| self.caches.len() < MAX_CACHES) {
            let mut copy = [0; lists::MAX_CACHE_BYTES];
            let bytes = self.window.held(address, form.bytes()).or_else(|| {
                let copy = copy.get_mut(..form.bytes())?;
                source.memory.read(address, copy).ok()?;
                Some(copy)
            });
            if lists::may_be_cache(form, bytes.unwrap_or_default()) {
                self.caches.push((address, form));
            }
        }
        // The chunk ends 8 bytes into the next one's header, which is the owner's while it is in use.
        let usable_bytes = bytes - HEADER_BYTES / 2;
        let length = SHOWN_BYTES.min(usable_bytes as usize);
        let head = self.window.held(address, length).unwrap_or_default();
        visit(&Chunk { address, usable_bytes, head });
    }
}

/// The start of the first resident page behind the one of `address`, or `end`.
fn next_resident(source: &HeapSource<'_>, address: u64, end: u64) -> u64 {
    let mut next = address - address % PAGE_BYTES + PAGE_BYTES;
    let mut states = [PageState::Absent; 512];
    while next < end {
        // A heap that is said to be larger than its mapping.
        if source.mapping(next).is_none() {
            let behind = source.mappings.partition_point(|mapping| mapping.start <= next);
            next = source.mappings.get(behind).map_or(end, |mapping| mapping.start);
            continue;
        }
        match source.residency.skip_absent(next, end) {
            Ok(there) if there == next => {}
            Ok(there) => {
                next = there;
                continue;
            }
            Err(_) => return end,
        }
        if source.residency.pages(next, &mut states).is_err() {
            return end;
        }
        match states.iter().position(|state| *state == PageState::Resident) {
            Some(index) => return (next + index as u64 * PAGE_BYTES).min(end),
            None => next = next.saturating_add(states.len() as u64 * PAGE_BYTES),
        }
    }
    end
}
