//! Bytes of live allocations that are in memory, by stack: what was asked for and never touched is no memory.
//!
//! Takes the live table's blocks and the process's page map; gives sums by stack, or nothing where blocks are not
//! addresses (`--probes light`), stand for others (sampled), or the process is gone.

use std::collections::BTreeMap;
use std::io;

use tracer_common::arch::PAGE_BYTES;
use tracer_common::stack::StackId;
use tracer_common::table::Allocation;

use crate::process::Pid;
use crate::process::pagemap::{PageMap, PageState, Residency};
use crate::recording::LiveResident;

/// Pages that are looked up at once.
const WINDOW: u64 = 512;

/// See the module.
pub(super) struct ResidentSums {
    /// Address, bytes, stack. `None` if it cannot be told.
    blocks: Option<Vec<(u64, u64, StackId)>>,
}

impl ResidentSums {
    /// `are_addresses`: are the keys of the live table addresses of blocks?
    pub(super) fn new(are_addresses: bool) -> Self {
        Self { blocks: are_addresses.then(Vec::new) }
    }

    /// Adds a live allocation.
    pub(super) fn add(&mut self, address: u64, stack: StackId, allocation: &Allocation) {
        let weighed = allocation.weighed();
        if weighed.count() != 1 {
            self.blocks = None;
        } else if let Some(blocks) = &mut self.blocks {
            blocks.push((address, weighed.bytes(), stack));
        }
    }

    /// The bytes in memory, by stack, of process `pid`.
    pub(super) fn by_stack(self, pid: Pid) -> Option<Vec<LiveResident<StackId>>> {
        let blocks = self.blocks?;
        let sums = PageMap::open(pid).and_then(|map| sums(&map, blocks)).ok()?;
        Some(sums.into_iter().map(|(stack, resident_bytes)| LiveResident { stack, resident_bytes }).collect())
    }
}

/// The sums by stack; each page is looked up once.
fn sums(map: &dyn Residency, mut blocks: Vec<(u64, u64, StackId)>) -> io::Result<BTreeMap<StackId, u64>> {
    blocks.sort_unstable_by_key(|&(address, ..)| address);
    let mut states = [PageState::Absent; WINDOW as usize];
    let mut first_page = None;
    let mut sums: BTreeMap<StackId, u64> = BTreeMap::new();
    for (address, bytes, stack) in blocks {
        let sum = sums.entry(stack).or_default();
        let end = address.saturating_add(bytes);
        let mut from = address;
        while from < end {
            let page = from / PAGE_BYTES;
            let first = match first_page {
                Some(first) if (first..first + WINDOW).contains(&page) => first,
                _ => {
                    map.pages(page * PAGE_BYTES, &mut states)?;
                    *first_page.insert(page)
                }
            };
            let to = end.min((page + 1).saturating_mul(PAGE_BYTES));
            let state = usize::try_from(page - first).ok().and_then(|at| states.get(at));
            if state == Some(&PageState::Resident) {
                *sum = sum.saturating_add(to - from);
            }
            from = to;
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every third page is there.
    struct Thirds;

    impl Residency for Thirds {
        fn pages(&self, address: u64, states: &mut [PageState]) -> io::Result<()> {
            for (page, state) in (address / PAGE_BYTES..).zip(states) {
                *state = if page % 3 == 0 { PageState::Resident } else { PageState::Absent };
            }
            Ok(())
        }
    }

    #[test]
    fn a_block_counts_where_its_pages_are_there() {
        let (one, other) = (StackId(1), StackId(2));
        let blocks = vec![
            // All of page 3; nothing of page 4; from the middle of page 2 through 3 and 4; the first byte of 2,001.
            (3 * PAGE_BYTES, PAGE_BYTES, one),
            (4 * PAGE_BYTES, 100, one),
            (2 * PAGE_BYTES + 2_048, 2 * PAGE_BYTES, other),
            (2_001 * PAGE_BYTES - 1, 2, other),
            // A thousand pages, of which a third is there.
            (3_000 * PAGE_BYTES, 1_000 * PAGE_BYTES, StackId(3)),
        ];
        let sums = sums(&Thirds, blocks).expect("sums");
        let expected = [(one, PAGE_BYTES), (other, PAGE_BYTES + 1), (StackId(3), 334 * PAGE_BYTES)];
        assert_eq!(sums.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn our_own_blocks_are_in_memory_where_they_were_touched() {
        let mut block = vec![0_u8; 0];
        block.reserve_exact(64 << 20);
        block.resize(1 << 20, 1);
        let blocks = vec![(block.as_ptr() as u64, 64 << 20, StackId(1))];
        let map = PageMap::open(Pid::own()).expect("our own page map");
        let bytes = sums(&map, blocks).expect("sums")[&StackId(1)];
        // Huge pages may round up.
        assert!((1 << 20..=8 << 20).contains(&bytes), "{bytes}");
    }
}
