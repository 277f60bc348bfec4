//! Addresses of blocks in `long[]` that are reachable: tables with primitive keys or values have them there.
//!
//! Such a table may free the block that it has the address of, so no block is lost that a `long[]` has. An array is
//! believed to be a table of addresses if nearly all of its numbers are such, or if several are, and if hardly any are of
//! memory that was freed.

use std::collections::HashSet;

use super::blocks::Blocks;
use super::discover::{MIN_BLOCKS, MIN_SHARE, MIN_SHARE_OF_MANY};
use crate::hotspot::heap::{MarkedHeap, Object};
use crate::process::pagemap::ResidentMemory;

/// malloc aligns to this.
const ALIGNMENT: u64 = 16;
/// Where one in so many addresses is of freed memory, an array is no table of what is in use.
const MAX_STALE: u64 = 10;

/// Blocks to which elements of arrays lead.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Arrays that are believed to have addresses, by the index of the block.
    pub(super) owners: Vec<(usize, Object)>,
    /// Blocks into which any element leads.
    led_to: HashSet<usize>,
    /// Arrays of which something could not be read.
    unread: u64,
}

/// What the elements of one array are.
#[derive(Clone, Debug, Default)]
struct Array {
    object: Option<Object>,
    /// Elements that are not 0.
    numbers: u64,
    /// Blocks of which it has the very address.
    blocks: HashSet<usize>,
    /// Addresses of memory that malloc has freed: it keeps them, so what it has may be another's.
    stale: u64,
}

impl Array {
    /// The blocks that it is believed to have, and itself.
    fn owners(self) -> impl Iterator<Item = (usize, Object)> {
        let share = 100 * self.blocks.len() as u64 / self.numbers.max(1);
        let is_many = self.blocks.len() >= MIN_BLOCKS && share >= MIN_SHARE_OF_MANY;
        let is_kept = self.stale * MAX_STALE < self.blocks.len() as u64;
        let object = self.object.filter(|_| is_kept && (share >= MIN_SHARE || is_many));
        let blocks = self.blocks.into_iter();
        blocks.filter_map(move |block| Some((block, object?)))
    }
}

impl Tables {
    /// Asks every `long[]` that was reached. `memory`: that of the process, for what was not copied.
    pub(super) fn ask(
        look: &MarkedHeap<'_, '_>,
        memory: Option<&ResidentMemory<'_>>,
        blocks: &Blocks,
    ) -> Self {
        let range = blocks.range();
        let mut tables = Self::default();
        let mut array = Array::default();
        tables.unread = look.each_array_long(memory, &mut |object, value| {
            if array.object.is_none_or(|last| last.address != object.address) {
                tables.owners.extend(std::mem::take(&mut array).owners());
                array.object = Some(object);
            }
            array.numbers += 1;
            if !range.contains(&value) {
                return;
            }
            let Some((block, distance)) = blocks.find(value) else {
                array.stale += u64::from(value % ALIGNMENT == 0 && blocks.is_freed(value));
                return;
            };
            tables.led_to.insert(block);
            if distance == 0 {
                array.blocks.insert(block);
            }
        });
        tables.owners.extend(array.owners());
        tables
    }

    /// Can it be that an array has this block's address?
    pub(super) fn may_have(&self, block: usize) -> bool {
        self.unread > 0 || self.led_to.contains(&block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hotspot::heap::ClassId;

    #[test]
    fn an_array_is_a_table_by_its_numbers() {
        let object = Some(Object { address: 0x7000, class: ClassId::default(), index: Some(1) });
        let owners = |numbers, blocks: &[usize], stale| {
            let blocks = blocks.iter().copied().collect();
            Array { object, numbers, blocks, stale }.owners().count()
        };
        assert_eq!((owners(1, &[5], 0), owners(10, &[1, 2, 3], 0), owners(300, &[1, 2, 3], 0)), (1, 3, 3));
        // Chance, and addresses of what was freed.
        assert_eq!((owners(10, &[5], 0), owners(301, &[1, 2, 3], 0), owners(6, &[1, 2, 3], 3)), (0, 0, 0));
        assert_eq!(Array::default().owners().count(), 0);
    }
}
