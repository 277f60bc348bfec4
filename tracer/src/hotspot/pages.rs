//! Pages of the target's memory, each read once: for tables whose thousands of names lie together.
//!
//! Only for what does not change while it is read (libjvm's constants), and thrown away after. At most 64 MiB are kept, or what its user says. A read
//! that a kept page answers counts against the budget as any other.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;

use tracer_common::arch;

use crate::process::memory::ProcessMemory;

const PAGE_BYTES: usize = arch::PAGE_BYTES as usize;

/// Pages that are kept at most; then all of them are forgotten.
const MAX_PAGES: usize = 16 << 10;

type Page = Box<[u8; PAGE_BYTES]>;

/// Memory that remembers the pages that were read.
pub(super) struct Pages<'a> {
    memory: &'a dyn ProcessMemory,
    pages: RefCell<HashMap<u64, Option<Page>>>,
    max_pages: usize,
}

impl<'a> Pages<'a> {
    pub(super) fn new(memory: &'a dyn ProcessMemory) -> Self {
        Self::keeping(MAX_PAGES, memory)
    }

    /// Keeps so many pages.
    pub(super) fn keeping(max_pages: usize, memory: &'a dyn ProcessMemory) -> Self {
        Self { memory, pages: RefCell::default(), max_pages }
    }

    /// Copies what of `[address, ..)` lies in one page into `buffer`; gives how many bytes.
    fn read_part(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = (address % PAGE_BYTES as u64) as usize;
        let start = address - offset as u64;
        let mut pages = self.pages.borrow_mut();
        if pages.len() >= self.max_pages && !pages.contains_key(&start) {
            pages.clear();
        }
        let page = pages.entry(start).or_insert_with(|| {
            let mut page = Box::new([0; PAGE_BYTES]);
            self.memory.read(start, page.as_mut_slice()).ok().map(|()| page)
        });
        let length = buffer.len().min(PAGE_BYTES - offset);
        let Some(part) = buffer.get_mut(..length) else { return Ok(0) };
        match page.as_ref().and_then(|page| page.get(offset..offset + length)) {
            Some(bytes) => part.copy_from_slice(bytes),
            // A saved image may hold less than the page.
            None => self.memory.read(address, part)?,
        }
        Ok(length)
    }
}

impl ProcessMemory for Pages<'_> {
    fn count_read(&self, bytes: usize) -> io::Result<()> {
        self.memory.count_read(bytes)
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.count_read(buffer.len())?;
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let next = address.checked_add(done as u64).ok_or(io::ErrorKind::InvalidInput)?;
            done += self.read_part(next, rest)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::process::memory::ImageMemory;
    use crate::process::read_budget::ReadBudget;

    #[test]
    fn reads_across_pages_and_in_partial_ones() {
        let bytes: Vec<u8> = (0..5000_u32).map(|i| i as u8).collect();
        let image = ImageMemory::new(vec![(0x1000, bytes.clone())]);
        let pages = Pages::new(&image);
        let mut buffer = [0; 100];
        pages.read(0x1000 + 4050, &mut buffer).expect("in the image");
        assert_eq!(buffer, bytes[4050..4150]);
        assert!(pages.read(0x1000 + 4990, &mut buffer).is_err(), "ends before the page does");
        assert!(pages.read(u64::MAX - 3, &mut buffer).is_err());
    }

    /// Memory that answers everything, until its budget is spent.
    struct Endless(ReadBudget);

    impl ProcessMemory for Endless {
        fn count_read(&self, bytes: usize) -> io::Result<()> {
            self.0.read(bytes)
        }

        fn read(&self, _: u64, buffer: &mut [u8]) -> io::Result<()> {
            buffer.fill(7);
            Ok(())
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_counts() {
        let memory = Endless(ReadBudget::default());
        let pages = Pages::new(&memory);
        for page in 0..MAX_PAGES as u64 + 2 {
            assert_eq!(pages.read_u8(page * PAGE_BYTES as u64).expect("a page"), 7);
        }
        assert_eq!(pages.pages.borrow().len(), 2);
        let pages = Pages::keeping(3, &memory);
        for page in 0..4 {
            assert_eq!(pages.read_u8(page * PAGE_BYTES as u64).expect("a page"), 7);
            assert_eq!(pages.pages.borrow().len(), [1, 2, 3, 1][page as usize]);
        }
        // A list that is its own next lies in one page: the pages alone would give it for ever.
        let memory = Endless(ReadBudget::until(Instant::now(), 0));
        let pages = Pages::new(&memory);
        assert!(pages.read_u64(0x1000).is_err_and(|error| error.kind() == io::ErrorKind::TimedOut));
    }
}
