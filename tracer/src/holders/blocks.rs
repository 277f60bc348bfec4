//! The blocks of malloc that are in use, by address.
//!
//! A walk of a heap that changes shows a few blocks that were made or freed meanwhile. So what is said of a block that
//! no object has is said only of those that were there before and after the look at the Java heap.

use std::ops::Range;

use crate::glibc::{self, HeapSource};

/// malloc's header, which belongs to the block before while that is in use.
const HEADER_BYTES: u64 = 8;
/// Free memory beside a block of the same arena.
const NEAR_BYTES: u64 = 1 << 20;
/// Offset in its first page of a block that is mapped alone.
const MAPPED_ALONE_OFFSET: u64 = 16;
const PAGE_BYTES: u64 = 4096;
/// Blocks of one process.
const MAX_BLOCKS: usize = 1 << 27;

/// A block in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Address of the memory that was handed out.
    pub(super) address: u64,
    /// Bytes with what malloc adds.
    pub(super) bytes: u64,
}

/// Blocks in use, sorted by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
}

impl Blocks {
    /// Walks malloc's heap. `excluded`: where no block can be (the Java heap), sorted.
    ///
    /// # Errors
    /// The process does not use glibc's malloc.
    pub(super) fn read(source: &HeapSource<'_>) -> Result<Self, glibc::MallocError> {
        let mut blocks = Vec::new();
        let malloc = glibc::read(source, &mut |chunk| {
            if blocks.len() < MAX_BLOCKS {
                blocks.push(Block { address: chunk.address, bytes: chunk.usable_bytes + HEADER_BYTES });
            }
        })?;
        blocks.retain(|block| malloc.free_addresses.binary_search(&block.address).is_err());
        Ok(Self::new(blocks))
    }

    pub(super) fn new(mut blocks: Vec<Block>) -> Self {
        blocks.sort_unstable_by_key(|block| block.address);
        blocks.dedup_by_key(|block| block.address);
        Self { blocks }
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<Block> {
        self.blocks.get(index).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Block> {
        self.blocks.iter().copied()
    }

    /// The range in which all of them lie.
    pub(super) fn range(&self) -> Range<u64> {
        let end = self.blocks.last().map_or(0, |block| block.address.saturating_add(block.bytes));
        self.blocks.first().map_or(0, |block| block.address)..end
    }

    /// The block in which `address` lies: its index, and how far behind its beginning.
    #[inline]
    pub(super) fn find(&self, address: u64) -> Option<(usize, u64)> {
        let after = self.blocks.partition_point(|block| block.address <= address);
        let index = after.checked_sub(1)?;
        let offset = address - self.blocks.get(index)?.address;
        (offset < self.blocks.get(index)?.bytes.saturating_sub(HEADER_BYTES)).then_some((index, offset))
    }

    /// Does `address`, which lies in no block, lie where malloc had one? It does near a block, and where a block begins
    /// that is mapped alone.
    pub(super) fn is_freed(&self, address: u64) -> bool {
        let after = self.blocks.partition_point(|block| block.address <= address);
        let before = after.checked_sub(1).and_then(|index| self.blocks.get(index));
        let behind = before.map(|block| address.saturating_sub(block.address.saturating_add(block.bytes)));
        let ahead = self.blocks.get(after).map(|block| block.address - address);
        behind.into_iter().chain(ahead).any(|distance| distance <= NEAR_BYTES)
            || address % PAGE_BYTES == MAPPED_ALONE_OFFSET
    }

    /// The index of the block that begins at `address`.
    #[inline]
    pub(super) fn at(&self, address: u64) -> Option<usize> {
        self.blocks.binary_search_by_key(&address, |block| block.address).ok()
    }

    /// Was the same block there?
    pub(super) fn has(&self, block: Block) -> bool {
        self.at(block.address).and_then(|index| self.get(index)) == Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_blocks() {
        let block = |address, bytes| Block { address, bytes };
        let blocks = Blocks::new(vec![block(0x2000, 0x40), block(0x1010, 0x20)]);
        assert_eq!(blocks.find(0x1010), Some((0, 0)));
        assert_eq!(blocks.find(0x1027), Some((0, 0x17)));
        assert_eq!(blocks.find(0x1028), None, "the next one's header");
        assert_eq!((blocks.find(0x100f), blocks.find(0x2008), blocks.at(0x2008)), (None, Some((1, 8)), None));
        assert!(blocks.is_freed(0x1800) && blocks.is_freed(0x7f00_0000_1010));
        assert!(!blocks.is_freed(0x7f00_0000_1020));
        assert_eq!(blocks.range(), 0x1010..0x2040);
        assert!(blocks.has(block(0x2000, 0x40)) && !blocks.has(block(0x2000, 0x50)));
    }
}
