//! Pages of a process that are in memory: `/proc/PID/pagemap`.
//!
//! Reading an absent page would map one into the target, and reading a swapped one would bring it
//! back: whoever reads much of a process asks here first, and leaves both alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use tracer_common::arch::PAGE_BYTES;

use super::Pid;
use super::memory::ProcessMemory;
use super::read_budget::ReadBudget;

/// Whereabouts of a page (`Documentation/admin-guide/mm/pagemap.rst`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// The page was never touched, was given back, or is not mapped.
    Absent,
    Resident,
    Swapped,
}

/// Tells where pages are.
pub trait Residency {
    /// The states of the pages from the one that `address` lies in; one for each element.
    ///
    /// # Errors
    /// The process is gone, or not permitted.
    fn pages(&self, address: u64, states: &mut [PageState]) -> io::Result<()>;

    /// The first address from `address` on where a page can be resident, before `end`; `end` if there is none. Whoever
    /// goes through a range page by page asks here first: what a foreign file claims may be far more than it holds.
    ///
    /// # Errors
    /// As [`Residency::pages`].
    fn skip_absent(&self, address: u64, end: u64) -> io::Result<u64> {
        Ok(address.min(end))
    }
}

/// Residency of which all is resident: for saved images, which hold just what was.
#[derive(Clone, Copy, Debug)]
pub struct AllResident;

impl Residency for AllResident {
    fn pages(&self, _address: u64, states: &mut [PageState]) -> io::Result<()> {
        states.fill(PageState::Resident);
        Ok(())
    }
}

/// Residency of which all is swapped out.
#[cfg(test)]
pub(crate) struct AllSwapped;

#[cfg(test)]
impl Residency for AllSwapped {
    fn pages(&self, _address: u64, states: &mut [PageState]) -> io::Result<()> {
        states.fill(PageState::Swapped);
        Ok(())
    }
}

/// The page map of a live process.
#[derive(Debug)]
pub struct PageMap {
    file: File,
    budget: ReadBudget,
}

impl PageMap {
    /// Opens the page map of process `pid`.
    ///
    /// # Errors
    /// No such process, or not permitted.
    pub fn open(pid: Pid) -> io::Result<Self> {
        Ok(Self { file: File::open(pid.path("pagemap"))?, budget: ReadBudget::default() })
    }

    /// Takes every read from `budget`; when that is spent, each fails. A range that foreign memory tells may be all that
    /// there can be of addresses.
    #[must_use]
    pub fn within(self, budget: &ReadBudget) -> Self {
        Self { budget: budget.clone(), ..self }
    }
}

impl Residency for PageMap {
    fn pages(&self, address: u64, states: &mut [PageState]) -> io::Result<()> {
        const PRESENT: u64 = 1 << 63;
        const SWAPPED: u64 = 1 << 62;
        const ENTRY_BYTES: usize = 8;
        let mut entries = [0; 512 * ENTRY_BYTES];
        let mut page = address / PAGE_BYTES;
        for states in states.chunks_mut(512) {
            let bytes = entries.get_mut(..states.len() * ENTRY_BYTES).ok_or(io::ErrorKind::InvalidInput)?;
            self.budget.read(bytes.len())?;
            self.file.read_exact_at(bytes, page * ENTRY_BYTES as u64)?;
            for (state, entry) in states.iter_mut().zip(bytes.chunks_exact(ENTRY_BYTES)) {
                let entry = entry.try_into().map_or(0, u64::from_le_bytes);
                *state = match entry {
                    entry if entry & PRESENT != 0 => PageState::Resident,
                    entry if entry & SWAPPED != 0 => PageState::Swapped,
                    _ => PageState::Absent,
                };
            }
            page += states.len() as u64;
        }
        Ok(())
    }
}

/// Calls `visit` with the start of every resident page in `[start, end)`.
///
/// # Errors
/// As [`Residency::pages`].
pub fn each_resident(
    residency: &dyn Residency,
    start: u64,
    end: u64,
    mut visit: impl FnMut(u64),
) -> io::Result<()> {
    let mut states = [PageState::Absent; 512];
    let mut next = start - start % PAGE_BYTES;
    loop {
        next = residency.skip_absent(next, end)?;
        if next >= end {
            return Ok(());
        }
        next -= next % PAGE_BYTES;
        let count = (end - next).div_ceil(PAGE_BYTES).min(512) as usize;
        let states = states.get_mut(..count).unwrap_or_default();
        residency.pages(next, states)?;
        for state in states.iter() {
            if *state == PageState::Resident {
                visit(next);
            }
            next = next.saturating_add(PAGE_BYTES);
        }
    }
}

/// Bytes of resident and of swapped pages in `[start, end)`.
///
/// # Errors
/// As [`Residency::pages`].
pub fn resident_bytes(residency: &dyn Residency, start: u64, end: u64) -> io::Result<u64> {
    let mut bytes = 0;
    each_resident(residency, start, end, |_| bytes += PAGE_BYTES)?;
    Ok(bytes)
}

/// Memory of a process of which only resident pages are read: it stays as it was.
pub struct ResidentMemory<'a> {
    memory: &'a dyn ProcessMemory,
    residency: &'a dyn Residency,
}

impl std::fmt::Debug for ResidentMemory<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ResidentMemory").finish_non_exhaustive()
    }
}

impl<'a> ResidentMemory<'a> {
    /// `memory`, whose pages are where `residency` says.
    pub fn new(memory: &'a dyn ProcessMemory, residency: &'a dyn Residency) -> Self {
        Self { memory, residency }
    }

    /// Fills `buffer` from `address`, with zeros for pages that are not resident. Are those that are not absent, then:
    /// is nothing of it swapped out?
    ///
    /// # Errors
    /// A resident page cannot be read.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<bool> {
        buffer.fill(0);
        let end = address.checked_add(buffer.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        let mut states = [PageState::Absent; 512];
        let (mut next, mut is_whole) = (address, true);
        while next < end {
            let count = (end - (next - next % PAGE_BYTES)).div_ceil(PAGE_BYTES).min(512) as usize;
            let states = states.get_mut(..count).unwrap_or_default();
            self.residency.pages(next, states)?;
            for run in states.chunk_by(|one, other| one == other) {
                let until = (next - next % PAGE_BYTES + run.len() as u64 * PAGE_BYTES).min(end);
                let place = (next - address) as usize..(until - address) as usize;
                match (run.first(), buffer.get_mut(place)) {
                    (Some(PageState::Resident), Some(place)) => self.memory.read(next, place)?,
                    (Some(PageState::Swapped), _) => is_whole = false,
                    _ => {}
                }
                next = until;
            }
        }
        Ok(is_whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::memory::LiveMemory;

    #[test]
    fn a_range_without_an_end_ends_with_the_budget() {
        let spent = ReadBudget::until(std::time::Instant::now(), 0);
        let map = PageMap::open(Pid::own()).expect("our own page map").within(&spent);
        let error = resident_bytes(&map, 1 << 16, 1 << 46).expect_err("nothing is left to read");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// Reading maps nothing in: absent pages are zeros, before and after as absent as they were.
    #[test]
    fn only_resident_pages_are_read() {
        const PAGES: usize = 1030;
        let page = PAGE_BYTES as usize;
        let mut own = memmap2::MmapMut::map_anon(PAGES * page).expect("map");
        own.advise(memmap2::Advice::NoHugePage).expect("small pages");
        for touched in [1, 2, 512, PAGES - 1] {
            own[touched * page..][..page].fill(touched as u8 | 1);
        }
        let map = PageMap::open(Pid::own()).expect("our own page map");
        let memory = LiveMemory::open(Pid::own()).expect("our own memory");
        let resident = ResidentMemory::new(&memory, &map);
        let start = own.as_ptr() as u64;
        for (from, length) in
            [(0, PAGES * page), (page - 8, 16), (3 * page + 5, 9), (512 * page + 1, 2 * page)]
        {
            let mut bytes = vec![7; length];
            assert!(resident.read(start + from as u64, &mut bytes).expect("read"));
            assert_eq!(resident_bytes(&map, start, start + own.len() as u64).expect("pages"), 4 * PAGE_BYTES);
            let is_touched = |at: usize| [1, 2, 512, PAGES - 1].contains(&(at / page));
            let expected =
                (from..from + length).map(|at| if is_touched(at) { (at / page) as u8 | 1 } else { 0 });
            assert!(expected.eq(bytes), "{length} bytes from {from}");
        }
        let swapped = ResidentMemory::new(&memory, &AllSwapped);
        assert!(!swapped.read(start + PAGE_BYTES, &mut [7; 16]).expect("not read"));
    }

    #[test]
    fn touched_pages_are_resident() {
        const PAGES: usize = 1030;
        let length = PAGES * PAGE_BYTES as usize;
        let mut memory = memmap2::MmapMut::map_anon(length).expect("map");
        memory.advise(memmap2::Advice::NoHugePage).expect("small pages");
        let touched = [0, 1, 511, 512, 700, PAGES - 1];
        for page in touched {
            memory[page * PAGE_BYTES as usize] = 1;
        }
        let map = PageMap::open(Pid::own()).expect("our own page map");
        let start = memory.as_ptr() as u64;
        let mut found = Vec::new();
        each_resident(&map, start, start + length as u64, |page| found.push((page - start) / PAGE_BYTES))
            .expect("read");
        assert_eq!(found, touched.map(|page| page as u64));
        assert_eq!(resident_bytes(&map, start, start + length as u64).expect("read"), 6 * PAGE_BYTES);
    }
}
