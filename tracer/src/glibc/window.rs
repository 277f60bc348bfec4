//! A part of the target's memory, read in bulk: what a walk over chunks looks through.
//!
//! Holds at most 2 MiB, for which the kernel takes the lock of the process's memory once to tell the pages, and once to
//! copy them. Where chunks are large, and most of what would be read is skipped, it reads less at a time. Only resident
//! pages are read.

use tracer_common::arch::PAGE_BYTES;

use super::source::HeapSource;
use crate::process::pagemap::PageState;

const MAX_PAGES: usize = 512;

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
            bytes: vec![0; MAX_PAGES * PAGE_BYTES as usize],
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
        self.length = 0;
        self.start = address - address % PAGE_BYTES;
        let states = self.states.get_mut(..self.ahead).unwrap_or_default();
        source.residency.pages(self.start, states).map_err(|_| Gap::Absent)?;
        match states.first() {
            Some(PageState::Resident) => {}
            Some(PageState::Swapped) => return Err(Gap::Swapped),
            _ => return Err(Gap::Absent),
        }
        let mut pages = states.iter().take_while(|state| **state == PageState::Resident).count();
        while pages > 0 {
            let length = pages * PAGE_BYTES as usize;
            let buffer = self.bytes.get_mut(..length).unwrap_or_default();
            if source.memory.read(self.start, buffer).is_ok() {
                self.length = length;
                return Ok(());
            }
            // A mapping ends within, or was just unmapped.
            pages /= 2;
        }
        Err(Gap::Absent)
    }
}

fn words(bytes: &[u8]) -> [u64; 2] {
    let word = |half: Option<&[u8]>| half.and_then(|half| half.try_into().ok()).map_or(0, u64::from_le_bytes);
    [word(bytes.get(..8)), word(bytes.get(8..16))]
}
