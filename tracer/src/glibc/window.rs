//! A part of the target's memory, read in bulk: what a walk over chunks looks through.
//!
//! Reads at most 2 MiB at once, for which the kernel takes the lock of the process's memory once to tell the pages, and
//! once to copy them. Where chunks are large, and most of what would be read is skipped, it reads less at a time. Only
//! resident pages are read. The last pages of what was read before are kept: a chunk is looked at when the header of the
//! next one is known.

use tracer_common::arch::PAGE_BYTES;

use super::source::HeapSource;
use crate::process::pagemap::PageState;

const MAX_PAGES: usize = 512;
/// Pages that are kept of what was read before.
const KEPT_PAGES: usize = 4;

/// Reason why memory is not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// A page to which nothing was written, or that was given back, or that cannot be read at all.
    Absent,
    /// Reading would bring it back into memory.
    Swapped,
}

/// Memory that was read last.
#[derive(Debug)]
pub(super) struct Window {
    bytes: Vec<u8>,
    start: u64,
    length: usize,
    states: Vec<PageState>,
    /// Pages to read next time.
    ahead: usize,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; (KEPT_PAGES + MAX_PAGES) * PAGE_BYTES as usize],
            start: 0,
            length: 0,
            states: vec![PageState::Absent; MAX_PAGES],
            ahead: 16,
        }
    }

    /// Drops it, so that every later read is a fresh one.
    pub(super) fn forget(&mut self) {
        self.length = 0;
    }

    /// `length` bytes at `address` if they are in the window already.
    pub(super) fn held(&self, address: u64, length: usize) -> Option<&[u8]> {
        let offset = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.bytes.get(..self.length)?.get(offset..offset.checked_add(length)?)
    }

    /// The two words of a chunk's header at `address`, a multiple of 16: so they are in one page.
    #[inline]
    pub(super) fn header(&mut self, source: &HeapSource<'_>, address: u64) -> Result<[u64; 2], Gap> {
        if let Some(bytes) = self.held(address, 16) {
            return Ok(words(bytes));
        }
        self.load(source, address)?;
        self.held(address, 16).map(words).ok_or(Gap::Absent)
    }

    #[cold]
    fn load(&mut self, source: &HeapSource<'_>, address: u64) -> Result<(), Gap> {
        let end = self.start + self.length as u64;
        let is_next = address.checked_sub(end).is_some_and(|distance| distance < 4 * PAGE_BYTES);
        self.ahead = if is_next { self.ahead * 2 } else { self.ahead / 2 }.clamp(1, MAX_PAGES);
        let next = address - address % PAGE_BYTES;
        self.keep_before(next);
        let states = self.states.get_mut(..self.ahead).unwrap_or_default();
        source.residency.pages(next, states).map_err(|_| Gap::Absent)?;
        match states.first() {
            Some(PageState::Resident) => {}
            Some(PageState::Swapped) => return Err(Gap::Swapped),
            _ => return Err(Gap::Absent),
        }
        let mut pages = states.iter().take_while(|state| **state == PageState::Resident).count();
        while pages > 0 {
            let end = self.length + pages * PAGE_BYTES as usize;
            let buffer = self.bytes.get_mut(self.length..end).unwrap_or_default();
            if source.memory.read(next, buffer).is_ok() {
                self.length = end;
                return Ok(());
            }
            // A mapping ends within, or was just unmapped.
            pages /= 2;
        }
        Err(Gap::Absent)
    }

    /// Drops all but the last pages before `next`, if the window reaches to there.
    fn keep_before(&mut self, next: u64) {
        let is_adjacent = self.length > 0 && self.start + self.length as u64 == next;
        let kept = if is_adjacent { self.length.min(KEPT_PAGES * PAGE_BYTES as usize) } else { 0 };
        self.bytes.copy_within(self.length - kept..self.length, 0);
        self.start = next - kept as u64;
        self.length = kept;
    }
}

fn words(bytes: &[u8]) -> [u64; 2] {
    let word = |half: Option<&[u8]>| half.and_then(|half| half.try_into().ok()).map_or(0, u64::from_le_bytes);
    [word(bytes.get(..8)), word(bytes.get(8..16))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::memory::ImageMemory;
    use crate::process::pagemap::AllResident;

    #[test]
    fn what_lies_just_before_is_still_there() {
        const START: u64 = 0x10_0000;
        let page = PAGE_BYTES as usize;
        let bytes: Vec<u8> = (0..64 * page / 8).flat_map(|word| (word as u64).to_le_bytes()).collect();
        let memory = ImageMemory::new(vec![(START, bytes)]);
        let source = HeapSource { memory: &memory, residency: &AllResident, mappings: &[], excluded: &[] };
        let mut window = Window::new();
        let at = |window: &mut Window, offset: usize| window.header(&source, START + offset as u64);
        let expected = |offset: usize| Ok([offset as u64 / 8, offset as u64 / 8 + 1]);
        let mut loads = 0;
        for offset in (0..64 * page).step_by(48) {
            let is_held = window.held(START + offset as u64, 16).is_some();
            assert_eq!(at(&mut window, offset), expected(offset));
            loads += usize::from(!is_held);
            let before = offset.saturating_sub(2 * page) / 48 * 48;
            assert!(window.held(START + before as u64, 48).is_some(), "{offset} {before}");
        }
        assert!((2..10).contains(&loads), "{loads}");
        // What is elsewhere has nothing before it.
        assert_eq!(at(&mut window, 8 * page), expected(8 * page));
        assert!(window.held(START + 8 * PAGE_BYTES - 16, 16).is_none());
        window.forget();
        assert_eq!(at(&mut window, 9 * page), expected(9 * page));
        assert!(window.held(START + 9 * PAGE_BYTES - 16, 16).is_none());
    }
}
