//! A local copy of the used part of a Java heap, by the heap's own addresses.
//!
//! The address range from the first used space to the last is reserved and takes memory only where something was
//! copied. Reading outside of what was used gives nothing, so whoever follows references needs no other check.

use std::io;
use std::ops::Range;
use std::sync::Mutex;

use memmap2::{MmapMut, MmapOptions};

use tracer_common::arch::PAGE_BYTES;

use crate::process::address_ranges::{joined, without};
use crate::process::memory::ProcessMemory;
use crate::process::pagemap::ResidentMemory;

/// Spaces begin at multiples of this.
pub(super) const GRANULE_BYTES: u64 = 1 << 16;
/// Objects are numbered by words in 32 bits.
pub(super) const MAX_EXTENT_BYTES: u64 = 8 << 32;
/// Read by one call: a larger piece is not faster.
const PIECE_BYTES: u64 = 1 << 20;
/// Threads that copy: more are not faster, as memory is not.
const THREADS: usize = 4;

/// Generation of the objects in a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceKind {
    /// Threads allocate here, and collections empty it.
    Young,
    Old,
    /// The space begins with one large object.
    Humongous,
    /// Continuation of a humongous object.
    HumongousRest,
}

/// A used part of the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub bottom: u64,
    /// Exclusive; what lies above is not used.
    pub top: u64,
    pub kind: SpaceKind,
}

impl Space {
    /// Used bytes.
    pub fn bytes(&self) -> u64 {
        self.top.saturating_sub(self.bottom)
    }
}

/// Used bytes of all spaces.
pub fn used_bytes(spaces: &[Space]) -> u64 {
    spaces.iter().map(Space::bytes).sum()
}

/// The used spaces of a heap, sorted by address, and the range in which there can be others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spaces {
    pub used: Vec<Space>,
    pub extent: Range<u64>,
}

/// A copy that is filled while the target is held.
#[derive(Debug)]
pub struct HeapCopy {
    base: u64,
    memory: MmapMut,
    /// End of the used part of each granule; 0 if nothing of it is used.
    tops: Vec<u64>,
    spaces: Vec<Space>,
    /// Parts that were not copied because an array of numbers was seen there before, sorted.
    assumed: Vec<Range<u64>>,
    /// All parts of the spaces that were not copied, sorted.
    left_out: Vec<Range<u64>>,
    /// Parts whose pages the kernel has given, sorted and joined.
    populated: Vec<Range<u64>>,
}

impl HeapCopy {
    /// Reserves room for what can be in `extent`.
    ///
    /// # Errors
    /// The range is too large, or the kernel does not give it.
    pub fn reserve(extent: Range<u64>) -> io::Result<Self> {
        let base = extent.start;
        let bytes = extent.end.saturating_sub(base).next_multiple_of(GRANULE_BYTES);
        if bytes > MAX_EXTENT_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "objects lie further apart than 32 GiB"));
        }
        let length = usize::try_from(bytes.max(GRANULE_BYTES)).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let memory = MmapOptions::new().len(length).no_reserve_swap().map_anon()?;
        // Not every kernel has them.
        let _ = memory.advise(memmap2::Advice::HugePage);
        Ok(Self {
            base,
            memory,
            tops: Vec::new(),
            spaces: Vec::new(),
            assumed: Vec::new(),
            left_out: Vec::new(),
            populated: Vec::new(),
        })
    }

    /// Reserves room for what lies in `spaces`: a heap that grew since the room was reserved gets another.
    ///
    /// # Errors
    /// As [`HeapCopy::reserve`].
    pub fn make_room_for(&mut self, spaces: &Spaces) -> io::Result<()> {
        let end = self.base + self.memory.len() as u64;
        if spaces.used.iter().any(|space| space.bottom < self.base || end < space.top) {
            *self = Self::reserve(spaces.extent.clone())?;
        }
        Ok(())
    }

    /// Makes the kernel give the pages of `parts` now, so that filling them does not wait for it. Gives for how many
    /// bytes it had not been done before.
    pub fn populate(&mut self, parts: &[Space]) -> u64 {
        let fresh: Vec<Range<u64>> =
            parts.iter().flat_map(|part| without(part.bottom..part.top, &self.populated)).collect();
        for range in fresh.iter().filter_map(|range| self.offsets(range)) {
            let pages = range.start / PAGE_BYTES as usize * PAGE_BYTES as usize..range.end;
            // Where the kernel cannot (before 5.14), filling them takes longer.
            let _ = self.memory.advise_range(
                memmap2::Advice::PopulateWrite,
                pages.start,
                pages.end.saturating_sub(pages.start),
            );
        }
        let bytes = fresh.iter().map(|range| range.end - range.start).sum();
        self.populated = joined(self.populated.drain(..).chain(fresh).collect());
        bytes
    }

    /// Bytes whose pages the kernel has given.
    pub fn populated_bytes(&self) -> u64 {
        self.populated.iter().map(|part| part.end - part.start).sum()
    }

    /// Forgets all that was copied.
    ///
    /// # Errors
    /// As [`HeapCopy::reserve`].
    pub fn emptied(self) -> io::Result<Self> {
        Self::reserve(self.base..self.base + self.memory.len() as u64)
    }

    /// Copies the spaces but for what lies in `skipped` (sorted).
    ///
    /// # Errors
    /// As the read that fails first.
    pub fn fill(
        &mut self,
        memory: &(dyn ProcessMemory + Sync),
        spaces: &[Space],
        skipped: &[Range<u64>],
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> io::Result<()> {
        let parts = spaces.iter().flat_map(|space| without(space.bottom..space.top, skipped));
        self.read_in(memory, parts.collect(), go_on)?;
        self.set_spaces(spaces);
        self.left_out = skipped.to_vec();
        Ok(())
    }

    /// Parts of `range` that were not copied.
    pub(super) fn left_out(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let first = self.left_out.partition_point(|part| part.end <= range.start);
        let parts = self.left_out.iter().skip(first).take_while(|part| part.start < range.end);
        parts.map(|part| part.start.max(range.start)..part.end.min(range.end)).collect()
    }

    /// Copies `parts`, with several threads. `go_on` is asked before each piece.
    ///
    /// # Errors
    /// Memory cannot be read, or `TimedOut` when it shall not go on.
    pub fn read_in(
        &mut self,
        memory: &(dyn ProcessMemory + Sync),
        parts: Vec<Range<u64>>,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> io::Result<()> {
        let mut pieces: Vec<(u64, &mut [u8])> = Vec::new();
        let mut wanted: Vec<Range<u64>> = Vec::new();
        for part in parts {
            let mut next = part.start;
            while next < part.end {
                let end = part.end.min(next + PIECE_BYTES);
                wanted.push(next..end);
                next = end;
            }
        }
        wanted.sort_by_key(|range| range.start);
        let base = self.base;
        let (mut rest, mut at) = (self.memory.as_mut(), base);
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "spaces of the heap overlap");
        for range in wanted {
            let gap = range.start.checked_sub(at).ok_or_else(outside)? as usize;
            let length = (range.end - range.start) as usize;
            let (_, behind) = rest.split_at_mut_checked(gap).ok_or_else(outside)?;
            let (piece, behind) = behind.split_at_mut_checked(length).ok_or_else(outside)?;
            pieces.push((range.start, piece));
            (rest, at) = (behind, range.end);
        }
        let threads =
            std::thread::available_parallelism().map_or(1, usize::from).min(THREADS).min(pieces.len());
        // Each takes the next piece: one that gets less of a processor copies less.
        let pieces = Mutex::new(pieces.into_iter());
        let next = || pieces.lock().map_or(None, |mut pieces| pieces.next());
        let copy = || -> io::Result<()> {
            while let Some((address, piece)) = next() {
                if !go_on() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                memory.read(address, piece)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            // Those that are not to be had are done without.
            let other = |_| std::thread::Builder::new().spawn_scoped(scope, copy).ok();
            let others: Vec<_> = (1..threads).filter_map(other).collect();
            let own = copy();
            let ended = |_| Err(io::Error::other("a reading thread ended"));
            others.into_iter().fold(own, |all, other| all.and(other.join().unwrap_or_else(ended)))
        })
    }

    /// Takes for granted that elements of arrays of numbers are in `parts` (sorted), which were not copied: whoever
    /// walks over the copy proves it.
    pub(super) fn assume(&mut self, parts: Vec<Range<u64>>) {
        self.assumed = parts;
    }

    /// Takes account of `parts` that were copied after all.
    pub(super) fn put_in(&mut self, parts: &[Range<u64>]) {
        self.left_out.retain(|part| !parts.contains(part));
    }

    /// Parts that were left out because it was assumed that they hold numbers alone, sorted.
    pub(super) fn assumed(&self) -> &[Range<u64>] {
        &self.assumed
    }

    /// Whether something was copied that is taken for the heap.
    pub fn is_filled(&self) -> bool {
        !self.spaces.is_empty()
    }

    /// Shows what is at `range` now instead of what was copied: for a copy that is smaller than the heap.
    ///
    /// # Errors
    /// It does not fit, something of it is swapped out, or it cannot be read.
    pub(super) fn show(&mut self, memory: &ResidentMemory<'_>, range: Range<u64>) -> io::Result<()> {
        self.base = range.start;
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let (shown, rest) = self.memory.split_at_mut_checked(length).ok_or(io::ErrorKind::InvalidInput)?;
        rest.fill(0);
        if memory.read(range.start, shown)? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// A copy with these bytes in its spaces, in their order.
    #[cfg(test)]
    pub(super) fn made(spaces: &[Space], bytes: &[Vec<u8>]) -> Self {
        let bottom = spaces.iter().map(|space| space.bottom).min().expect("a space");
        let top = spaces.iter().map(|space| space.top).max().expect("a space");
        let mut copy = Self::reserve(bottom..top).expect("reserved");
        for (space, bytes) in spaces.iter().zip(bytes) {
            let at = (space.bottom - copy.base) as usize;
            copy.memory[at..at + bytes.len()].copy_from_slice(bytes);
        }
        copy.set_spaces(spaces);
        copy
    }

    fn set_spaces(&mut self, spaces: &[Space]) {
        self.spaces = spaces.to_vec();
        self.tops = vec![0; self.memory.len() / GRANULE_BYTES as usize + 1];
        for space in spaces {
            let first = (space.bottom - self.base) / GRANULE_BYTES;
            let count = space.bytes().div_ceil(GRANULE_BYTES);
            let tops = self.tops.iter_mut().skip(first as usize).take(count as usize);
            tops.for_each(|top| *top = (*top).max(space.top));
        }
    }

    /// Spaces that were copied.
    pub fn spaces(&self) -> &[Space] {
        &self.spaces
    }

    pub(super) fn base(&self) -> u64 {
        self.base
    }

    pub(super) fn extent_bytes(&self) -> u64 {
        self.memory.len() as u64
    }

    /// Does `address` lie below the top of a used space?
    #[inline]
    pub(super) fn contains(&self, address: u64) -> bool {
        let granule = address.wrapping_sub(self.base) / GRANULE_BYTES;
        usize::try_from(granule)
            .ok()
            .and_then(|granule| self.tops.get(granule))
            .is_some_and(|top| address < *top)
    }

    /// The four bytes at `address`; none outside.
    #[inline]
    pub(super) fn half(&self, address: u64) -> Option<u32> {
        let at = usize::try_from(address.wrapping_sub(self.base)).ok()?;
        let bytes = self.memory.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// The eight bytes at `address`; none outside.
    #[inline]
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.wrapping_sub(self.base)).ok()?;
        let bytes = self.memory.get(at..at.checked_add(8)?)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// `length` bytes from `address`.
    pub(super) fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(address.wrapping_sub(self.base)).ok()?;
        self.memory.get(at..at.checked_add(length)?)
    }

    fn offsets(&self, range: &Range<u64>) -> Option<Range<usize>> {
        let start = usize::try_from(range.start.checked_sub(self.base)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(self.base)?).ok()?;
        (start < end && end <= self.memory.len()).then_some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::memory::ImageMemory;

    const BASE: u64 = 0x7_0000_0000;

    #[test]
    fn spaces_are_copied_without_what_is_skipped() {
        let bytes: Vec<u8> = (0..3 << 20).map(|index: u32| (index >> 8) as u8 | 1).collect();
        let image = ImageMemory::new(vec![(BASE, bytes.clone())]);
        let old = Space { bottom: BASE, top: BASE + (2 << 20) + 8, kind: SpaceKind::Old };
        let spaces = [old];
        let mut copy = HeapCopy::reserve(BASE..old.top).expect("reserved");
        let skipped = Vec::from_iter(std::iter::once(BASE + 4096..BASE + (1 << 20)));
        assert_eq!(copy.populate(&spaces), old.bytes());
        assert_eq!(copy.populate(&[Space { top: old.top + 64, ..old }]), 64, "only what is new");
        copy.fill(&image, &spaces, &skipped, &|| true).expect("copied");
        assert_eq!(copy.bytes(BASE, 4096), Some(&bytes[..4096]));
        assert_eq!(copy.word(BASE + 4096), Some(0));
        assert_eq!(copy.bytes(BASE + (1 << 20), 1 << 20), Some(&bytes[1 << 20..2 << 20]));
        assert!(copy.contains(BASE) && copy.contains(old.top - 1));
        assert!(!copy.contains(old.top) && !copy.contains(BASE - 1) && !copy.contains(u64::MAX));
        assert_eq!(
            (copy.word(BASE - 8), copy.half(u64::MAX), copy.word(BASE + (4 << 20))),
            (None, None, None)
        );
        let late = copy.fill(&image, &spaces, &[], &|| false).expect_err("not in time");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert!(copy.fill(&image, &[old, old], &[], &|| true).is_err(), "they overlap");
    }

    #[test]
    fn a_heap_that_grew_gets_other_room() {
        let image = ImageMemory::new(vec![(BASE - (1 << 20), vec![7; 4 << 20])]);
        let space = |bottom, top| Space { bottom, top, kind: SpaceKind::Old };
        let mut copy = HeapCopy::reserve(BASE..BASE + (1 << 20)).expect("reserved");
        for (bottom, top) in [
            (BASE, BASE + (1 << 20)),
            (BASE, BASE + (2 << 20) + 8),
            (BASE - (1 << 20), BASE),
            (BASE + (1 << 20), BASE + (3 << 20)),
        ] {
            let spaces = Spaces { used: Vec::from([space(bottom, top)]), extent: bottom..top };
            copy.make_room_for(&spaces).expect("room");
            copy.fill(&image, &spaces.used, &[], &|| true).expect("copied");
            assert_eq!(copy.word(top - 8), Some(0x0707_0707_0707_0707), "{bottom:#x} to {top:#x}");
        }
        let far =
            Spaces { used: Vec::from([space(BASE, BASE + 64)]), extent: BASE..BASE + MAX_EXTENT_BYTES + 1 };
        copy.make_room_for(&far).expect_err("further apart than objects can be numbered");
    }
}
