//! Sources from which a heap is read.

use std::ops::Range;

use tracer_common::arch::{ADDRESS_END, ADDRESS_FIRST};

use crate::process::mapping::Mapping;
use crate::process::memory::ProcessMemory;
use crate::process::pagemap::Residency;

/// A process, or a saved image of one.
#[derive(Clone, Copy)]
pub struct HeapSource<'a> {
    pub memory: &'a dyn ProcessMemory,
    pub residency: &'a dyn Residency,
    /// Sorted by start.
    pub mappings: &'a [Mapping],
    /// Ranges in which no chunk can be (the Java heap, say): not searched for mapped chunks.
    pub excluded: &'a [Range<u64>],
}

impl std::fmt::Debug for HeapSource<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("HeapSource").field("mappings", &self.mappings.len()).finish_non_exhaustive()
    }
}

impl HeapSource<'_> {
    /// The words at `address`, which is not trusted.
    pub(super) fn words<const COUNT: usize>(&self, address: u64) -> Option<[u64; COUNT]> {
        let mut bytes = [[0; 8]; COUNT];
        let end = address.checked_add(8 * COUNT as u64)?;
        if address < ADDRESS_FIRST || end > ADDRESS_END {
            return None;
        }
        self.memory.read(address, bytes.as_flattened_mut()).ok()?;
        Some(bytes.map(u64::from_le_bytes))
    }

    /// The word at `address`.
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        self.words::<1>(address).map(|[word]| word)
    }

    /// The mapping that `address` lies in.
    pub(super) fn mapping(&self, address: u64) -> Option<&Mapping> {
        let after = self.mappings.partition_point(|mapping| mapping.start <= address);
        self.mappings.get(after.checked_sub(1)?).filter(|mapping| address < mapping.end)
    }

    /// Is there a word at `address`? Memory that came after the mappings were told is asked itself.
    pub(super) fn is_there(&self, address: u64) -> bool {
        let is_mapped = self.mapping(address).is_some_and(|mapping| mapping.readable);
        is_mapped || self.word(address).is_some()
    }

    /// Can `address` be a chunk of a heap: aligned, and in private writable memory?
    pub(super) fn is_writable(&self, address: u64) -> bool {
        address.is_multiple_of(16)
            && self.mapping(address).is_some_and(|mapping| mapping.writable && !mapping.shared)
    }
}
