//! Memory of allocators that libraries have for themselves: anonymous mappings to which such a library's data leads.
//!
//! Whoever mapped a mapping is known to nobody afterwards. But an allocator keeps what it mapped in its own structures:
//! the module's data points into the first of its mappings, and words in these lead to many pages of others, or to their
//! starts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use tracer_common::arch::PAGE_BYTES;

use crate::process::Module;
use crate::process::elf::Segment;
use crate::process::memory::ProcessMemory;
use crate::process::pagemap::{PageState, Residency};

/// Bytes that are read for one library: its data, and its allocator's structures, which come first in its mappings.
const MAX_READ_BYTES: u64 = 32 << 20;
/// Allocators map memory in such pieces, so a mapping to which their structures lead has a multiple of them. That and
/// the number of its pages to which they lead tell it from a program's own, whose address lies in one of the blocks.
const UNIT_BYTES: u64 = 1 << 20;
const MIN_PAGES: usize = 8;
const PIECE_BYTES: u64 = 64 << 10;

/// The ranges of writable data of `module`, in its file and beyond.
fn data(module: &Module) -> Vec<Range<u64>> {
    let Ok(elf) = module.elf() else { return Vec::new() };
    let data = elf.segments.iter().filter(|segment| segment.kind == Segment::LOAD && segment.is_writable());
    let range = |segment: &Segment| {
        let start = module.address(segment.vaddr).next_multiple_of(8);
        Some(start..start.checked_add(segment.memory_size)?)
    };
    data.filter_map(range).collect()
}

/// The index of those of `left` (sorted) that belong to the allocator of `module`.
pub(super) fn claimed(
    module: &Module,
    left: &[Range<u64>],
    memory: &dyn ProcessMemory,
    residency: &dyn Residency,
) -> BTreeSet<usize> {
    let mut claimed = BTreeSet::new();
    let mut open: VecDeque<Range<u64>> = data(module).into();
    let data_count = open.len();
    let mut budget = MAX_READ_BYTES;
    let mut pages: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
    for read in 0.. {
        let Some(range) = open.pop_front() else { break };
        let of_data = read < data_count;
        words(range, memory, residency, &mut budget, &mut |word| {
            let Some(index) = left.partition_point(|range| range.start <= word).checked_sub(1) else {
                return;
            };
            let Some(range) = left.get(index).filter(|range| range.contains(&word)) else { return };
            if claimed.contains(&index) {
                return;
            }
            let mut leads_there = || {
                let pages = pages.entry(index).or_default();
                if pages.len() < MIN_PAGES {
                    pages.insert(word / PAGE_BYTES);
                }
                let is_whole = (range.end - range.start).is_multiple_of(UNIT_BYTES);
                is_whole && (word == range.start || pages.len() >= MIN_PAGES)
            };
            if of_data || leads_there() {
                claimed.insert(index);
                pages.remove(&index);
                open.push_back(range.clone());
            }
        });
    }
    claimed
}

/// Gives each word of the pages in `range` that are in memory.
fn words(
    range: Range<u64>,
    memory: &dyn ProcessMemory,
    residency: &dyn Residency,
    budget: &mut u64,
    each: &mut dyn FnMut(u64),
) {
    let mut bytes = vec![0; PAGE_BYTES as usize];
    let mut states = [PageState::Absent; (PIECE_BYTES / PAGE_BYTES) as usize];
    let mut piece = range.start - range.start % PAGE_BYTES;
    while piece < range.end && *budget > 0 {
        let Ok(next) = residency.skip_absent(piece, range.end) else { return };
        piece = next - next % PAGE_BYTES;
        if piece >= range.end || residency.pages(piece, &mut states).is_err() {
            return;
        }
        for (index, _) in (0..).zip(&states).filter(|(_, state)| **state == PageState::Resident) {
            let page = piece + index * PAGE_BYTES;
            if page >= range.end || *budget == 0 || memory.read(page, &mut bytes).is_err() {
                break;
            }
            *budget = budget.saturating_sub(PAGE_BYTES);
            let first = range.start.saturating_sub(page) / 8;
            for word in bytes.chunks_exact(8).skip(first as usize) {
                each(u64::from_le_bytes(word.try_into().unwrap_or_default()));
            }
        }
        piece = piece.saturating_add(PIECE_BYTES);
    }
}
