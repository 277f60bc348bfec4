//! Memory that was mapped and unmapped in the session, by the stack that mapped it.
//!
//! HotSpot reserves address space, commits parts of it by mapping over them, and trims both ends of a
//! reservation that was too large: so a mapping over one that is there already stays its owner's, and
//! an unmapping takes just the bytes that it covers.

use std::collections::BTreeMap;

use tracer_common::arch::PAGE_BYTES;
use tracer_common::{
    record::{MappingRecord, mapping_call},
    stack::StackId,
    table::StackTotals,
};

use super::intervals::Intervals;

/// Flags of the system calls, as records have them.
const MAP_FIXED: u64 = libc::MAP_FIXED as u64;
const MAP_ANONYMOUS: u64 = libc::MAP_ANONYMOUS as u64;
const MAP_STACK: u64 = libc::MAP_STACK as u64;
const MREMAP_DONTUNMAP: u64 = libc::MREMAP_DONTUNMAP as u64;

/// Kind of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MappingKind {
    Anonymous,
    File,
    /// Mapped as a thread's stack.
    Stack,
    /// The program break.
    Brk,
}

impl MappingKind {
    /// Name in recordings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::File => "file",
            Self::Stack => "stack",
            Self::Brk => "brk",
        }
    }
}

/// A mapping of the session.
#[derive(Clone, Copy, Debug)]
struct Owned {
    stack: StackId,
    kind: MappingKind,
    /// Bytes that are still mapped of it.
    left_bytes: u64,
}

/// The target's address space.
#[derive(Debug, Default)]
pub struct Mappings {
    /// Owner: an index into `owned`; `None`: mapped before the session, or by the allocator.
    space: Intervals<Option<u32>>,
    owned: Vec<Owned>,
    totals: BTreeMap<(StackId, MappingKind), StackTotals>,
    program_break: Option<u64>,
    /// Is the call that is taken in one of a thread that frees for the collector?
    by_collector: bool,
}

impl Mappings {
    /// Notes `[start, end)` as mapped before the session.
    pub fn mapped_before(&mut self, start: u64, end: u64) {
        self.space.fill(start, end, None);
    }

    /// Sets the place of the program break at the beginning.
    pub fn set_program_break(&mut self, address: u64) {
        self.program_break = Some(address);
    }

    /// Stacks that mapped `[start, end)` in the session: the bytes of each stack. Memory that was mapped before, or by
    /// the allocator, is nobody's.
    pub fn mapped_by(&self, start: u64, end: u64) -> Vec<(StackId, u64)> {
        let mut bytes: BTreeMap<StackId, u64> = BTreeMap::new();
        for (range, owner) in self.space.pieces(start, end) {
            if let Some(owned) = owner.flatten().and_then(|index| self.owned.get(index as usize)) {
                *bytes.entry(owned.stack).or_default() += range.end - range.start;
            }
        }
        bytes.into_iter().collect()
    }

    /// Totals by stack and kind: bytes mapped and unmapped, mappings made and gone.
    pub fn totals(&self) -> &BTreeMap<(StackId, MappingKind), StackTotals> {
        &self.totals
    }

    /// Takes in one system call. `by_collector`: of a thread that works off what collections found.
    pub fn apply(&mut self, record: &MappingRecord, by_collector: bool) {
        self.by_collector = by_collector;
        let owner = (record.in_allocator == 0).then_some(record.stack);
        let start = record.address;
        let end = start.saturating_add(round_up(record.length_bytes));
        match record.call {
            mapping_call::MMAP => {
                // Where nothing is to be replaced nothing is: what is booked there was unmapped unseen.
                if record.flags & MAP_FIXED == 0 {
                    self.unmap(start, end);
                }
                let kind = match record.flags {
                    flags if flags & MAP_ANONYMOUS == 0 => MappingKind::File,
                    flags if flags & MAP_STACK != 0 => MappingKind::Stack,
                    _ => MappingKind::Anonymous,
                };
                self.map(start, end, owner, kind);
            }
            mapping_call::MUNMAP => self.unmap(start, end),
            mapping_call::MREMAP => self.remap(record, start, end),
            mapping_call::BRK => self.set_break(start, owner),
            _ => {}
        }
    }

    fn map(&mut self, start: u64, end: u64, stack: Option<StackId>, kind: MappingKind) {
        let Some(stack) = stack else {
            self.space.fill(start, end, None);
            return;
        };
        let Ok(index) = u32::try_from(self.owned.len()) else {
            return;
        };
        let bytes = self.space.fill(start, end, Some(index));
        if bytes > 0 {
            self.owned.push(Owned { stack, kind, left_bytes: bytes });
            let totals = self.totals.entry((stack, kind)).or_insert(StackTotals::ZERO);
            totals.allocated_bytes += bytes;
            totals.allocated_count += 1;
        }
    }

    fn unmap(&mut self, start: u64, end: u64) {
        for (range, owner) in self.space.remove(start, end) {
            self.release(owner, range.end - range.start);
        }
    }

    /// Books `bytes` of a mapping as unmapped.
    fn release(&mut self, owner: Option<u32>, bytes: u64) {
        let Some(owned) = owner.and_then(|index| self.owned.get_mut(index as usize)) else {
            return;
        };
        if bytes == 0 {
            return;
        }
        owned.left_bytes = owned.left_bytes.saturating_sub(bytes);
        let totals = self.totals.entry((owned.stack, owned.kind)).or_insert(StackTotals::ZERO);
        totals.freed_bytes += bytes;
        if self.by_collector {
            totals.collected_bytes += bytes;
        }
        if owned.left_bytes == 0 {
            totals.freed_count += 1;
        }
    }

    /// Mapped memory keeps its owners wherever it goes; only its growth or shrinking is booked.
    fn remap(&mut self, record: &MappingRecord, start: u64, end: u64) {
        let (old_start, old_bytes) = (record.argument, round_up(record.argument2));
        if old_bytes == 0 || record.flags & MREMAP_DONTUNMAP != 0 {
            self.unmap(start, end);
            let stack = (record.in_allocator == 0).then_some(record.stack);
            self.map(start, end, stack, MappingKind::Anonymous);
            return;
        }
        let moved = self.space.remove(old_start, old_start.saturating_add(old_bytes));
        let mut last = None;
        for (range, owner) in moved {
            // Holes stay holes, and what is at their place stays: from Linux 6.17 on several mappings can
            // be moved at once.
            let at = |address: u64| start.saturating_add(address - old_start);
            let (to_start, to_end) = (at(range.start).min(end), at(range.end).min(end));
            self.unmap(to_start, to_end);
            self.space.fill(to_start, to_end, owner);
            self.release(owner, at(range.end).saturating_sub(to_end.max(at(range.start))));
            last = owner;
        }
        // It grows at its end.
        let grown = start.saturating_add(old_bytes);
        self.unmap(grown, end);
        let bytes = self.space.fill(grown, end, last);
        if let Some(owned) = last.and_then(|index| self.owned.get_mut(index as usize)) {
            owned.left_bytes += bytes;
            let totals = self.totals.entry((owned.stack, owned.kind)).or_insert(StackTotals::ZERO);
            totals.allocated_bytes += bytes;
        }
    }

    fn set_break(&mut self, address: u64, stack: Option<StackId>) {
        let old = self.program_break.replace(address);
        match old {
            Some(old) if address > old => self.map(old, round_up(address), stack, MappingKind::Brk),
            Some(old) if address < old => self.unmap(round_up(address), round_up(old)),
            _ => {}
        }
    }
}

fn round_up(bytes: u64) -> u64 {
    bytes.saturating_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: StackId = StackId(77);

    fn mmap(address: u64, pages: u64) -> MappingRecord {
        MappingRecord {
            call: mapping_call::MMAP,
            address,
            length_bytes: pages * PAGE_BYTES,
            flags: MAP_ANONYMOUS,
            stack: STACK,
            ..MappingRecord::ZERO
        }
    }

    fn munmap(address: u64, pages: u64) -> MappingRecord {
        MappingRecord { call: mapping_call::MUNMAP, stack: StackId::ABSENT, ..mmap(address, pages) }
    }

    fn mremap(old: u64, old_pages: u64, new: u64, pages: u64) -> MappingRecord {
        MappingRecord {
            call: mapping_call::MREMAP,
            argument: old,
            argument2: old_pages * PAGE_BYTES,
            flags: 1,
            ..mmap(new, pages)
        }
    }

    /// (allocated, freed) pages and (allocated, freed) mappings after `records`.
    fn totals(records: &[MappingRecord]) -> (u64, u64, u64, u64) {
        let mut mappings = Mappings::default();
        mappings.mapped_before(0x100_0000, 0x200_0000);
        records.iter().for_each(|record| mappings.apply(record, false));
        let totals =
            mappings.totals().get(&(STACK, MappingKind::Anonymous)).copied().unwrap_or(StackTotals::ZERO);
        (
            totals.allocated_bytes / PAGE_BYTES,
            totals.freed_bytes / PAGE_BYTES,
            totals.allocated_count,
            totals.freed_count,
        )
    }

    #[test]
    fn a_commit_over_a_reservation_is_not_new_memory() {
        let fixed = |address, pages| {
            let anywhere = mmap(address, pages);
            MappingRecord { flags: anywhere.flags | MAP_FIXED, ..anywhere }
        };
        assert_eq!(totals(&[mmap(0x10000, 16), fixed(0x12000, 4)]), (16, 0, 1, 0));
        assert_eq!(totals(&[fixed(0x100_0000, 4)]), (0, 0, 0, 0));
        // Anywhere: the old one was unmapped, which was not seen.
        assert_eq!(totals(&[mmap(0x10000, 16), mmap(0x12000, 4)]), (20, 4, 2, 0));
        assert_eq!(totals(&[mmap(0x100_0000, 4)]), (4, 0, 1, 0));
    }

    #[test]
    fn an_unmapping_takes_what_it_covers() {
        let reserve = mmap(0x10000, 16);
        assert_eq!(totals(&[reserve, munmap(0x10000, 2), munmap(0x1e000, 2)]), (16, 4, 1, 0));
        assert_eq!(totals(&[reserve, munmap(0, 0x100)]), (16, 16, 1, 1));
        assert_eq!(totals(&[munmap(0x100_0000, 4)]), (0, 0, 0, 0));
    }

    #[test]
    fn what_the_collector_unmaps_is_counted_apart() {
        let mut mappings = Mappings::default();
        mappings.apply(&mmap(0x10000, 16), false);
        mappings.apply(&munmap(0x10000, 4), false);
        mappings.apply(&munmap(0x14000, 3), true);
        let totals = mappings.totals()[&(STACK, MappingKind::Anonymous)];
        assert_eq!((totals.freed_bytes, totals.collected_bytes), (7 * PAGE_BYTES, 3 * PAGE_BYTES));
    }

    #[test]
    fn a_moved_mapping_keeps_its_owner_and_books_its_growth() {
        let reserve = mmap(0x10000, 4);
        assert_eq!(totals(&[reserve, mremap(0x10000, 4, 0x40000, 6)]), (6, 0, 1, 0));
        assert_eq!(totals(&[reserve, mremap(0x10000, 4, 0x40000, 1)]), (4, 3, 1, 0));
        assert_eq!(totals(&[reserve, mremap(0x10000, 4, 0x40000, 6), munmap(0x40000, 6)]), (6, 6, 1, 1));
    }

    #[test]
    fn the_allocator_owns_what_it_maps() {
        let arena = MappingRecord { in_allocator: 1, ..mmap(0x10000, 16) };
        assert_eq!(totals(&[arena, munmap(0x10000, 16)]), (0, 0, 0, 0));
    }

    #[test]
    fn the_break_grows_and_shrinks() {
        let mut mappings = Mappings::default();
        mappings.set_program_break(0x10000);
        for address in [0x13000, 0x11000] {
            let call =
                MappingRecord { call: mapping_call::BRK, address, stack: STACK, ..MappingRecord::ZERO };
            mappings.apply(&call, false);
        }
        let totals = mappings.totals()[&(STACK, MappingKind::Brk)];
        assert_eq!((totals.allocated_bytes, totals.freed_bytes), (0x3000, 0x2000));
    }
}
