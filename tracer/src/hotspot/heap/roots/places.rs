//! Places of roots that the JVM does not describe, found by proof.
//!
//! A loader's list of handles is the field that leads to the handle of one of its mirrors; an `OopStorage` is what
//! libjvm's data points to and whose first block names it as owner.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::super::{HeapAccess, HeapError};
use super::{ARRAY_HEADER_BYTES, BLOCK_OWNER, ChunkGuard, MAX_BLOCKS, WORD_BYTES, word};
use crate::hotspot::pages::Pages;
use crate::hotspot::read::{ReadError, Reader, pointer};
use crate::hotspot::vmstructs::{Field, Width};
use crate::process::address_ranges::joined;
use crate::process::mapping::Mapping;

/// Loaders that are asked for a proof of where handles are.
const MAX_PROOFS: usize = 64;
/// Words of a storage among which its array of blocks is.
const ARRAY_WORDS: Range<u64> = 1..7;
const MAX_STORAGES: usize = 256;
const MAX_NAME: usize = 64;
/// The upper half of an address from here on is no small number, such as often lies beside a compressed reference.
const MIN_NATIVE: u64 = 1 << 44;
/// libjvm's writable data.
const MAX_DATA_BYTES: u64 = 64 << 20;

/// Places of the roots of one JVM.
#[derive(Clone, Debug)]
pub(in crate::hotspot::heap) struct Places {
    /// A loader's list of handles.
    pub(super) handles: Field,
    pub(super) storages: Vec<StoragePlace>,
    /// libjvm's writable data.
    pub(super) data: Vec<Range<u64>>,
    /// What is mapped from `MIN_NATIVE` on, sorted.
    pub(super) mapped: Arc<[Range<u64>]>,
}

impl Default for Places {
    fn default() -> Self {
        Self { handles: word(0), storages: Vec::new(), data: Vec::new(), mapped: Arc::default() }
    }
}

/// An `OopStorage`.
#[derive(Clone, Debug)]
pub(super) struct StoragePlace {
    pub(super) address: u64,
    pub(super) name: String,
    /// Field of its array of blocks.
    pub(super) array: Field,
}

impl HeapAccess<'_> {
    /// Proves where roots are. `libjvm`: the mappings of the JVM's library are those of this path.
    pub(in crate::hotspot::heap) fn find_places(
        &self,
        mappings: &[Mapping],
        libjvm: &str,
    ) -> Result<Places, HeapError> {
        let data = writable_data(mappings, libjvm);
        let handles = self.find_handles()?;
        let storages = self.find_storages(&data, mappings)?;
        // Every JVM has some that native code holds.
        if !storages
            .iter()
            .any(|storage| storage.name == "JNI Global" || storage.name == "JNI Global Handles")
        {
            return Err(HeapError::missing("the storage of JNI's references"));
        }
        Ok(Places { handles, storages, data, mapped: native(mappings) })
    }

    fn find_handles(&self) -> Result<Field, HeapError> {
        let layout = &self.layout.loaders;
        let mut guard = ChunkGuard::default();
        let mut next = self.reader.u64(layout.head)?;
        for _ in 0..MAX_PROOFS {
            if next == 0 {
                break;
            }
            let record = self.reader.record(next, layout.bytes)?;
            let class = record.field(layout.classes)?;
            let mirror = self.reader.field(class, self.layout.classes.mirror).unwrap_or(0);
            let known = [record.field(layout.object)?, mirror];
            for offset in (0..layout.bytes).step_by(8).filter(|offset| *offset != layout.object.offset) {
                let field = Field { offset, width: Width::Eight };
                let Ok(first) = record.pointer(field) else { continue };
                guard.try_another();
                let Ok(chunks) = self.chunks(first, &mut guard) else { continue };
                if chunks.iter().any(|(chunk, slots)| has_handle(*chunk, slots.len(), &known)) {
                    return Ok(field);
                }
            }
            next = record.field(layout.next)?;
        }
        Err(HeapError::missing("what class loaders hold"))
    }

    fn find_storages(
        &self,
        data: &[Range<u64>],
        mappings: &[Mapping],
    ) -> Result<Vec<StoragePlace>, HeapError> {
        let pages = Pages::new(self.memory);
        let reader = Reader::new(&pages);
        let mut found: Vec<StoragePlace> = Vec::new();
        let mut seen = HashSet::new();
        for value in self.words(data)? {
            let is_memory = || {
                let after = mappings.partition_point(|mapping| mapping.start <= value);
                let mapping = after.checked_sub(1).and_then(|index| mappings.get(index));
                mapping.is_some_and(|mapping| {
                    value < mapping.end && mapping.writable && !mapping.shared && !mapping.is_file()
                })
            };
            if pointer(value).is_err() || !seen.insert(value) || !is_memory() {
                continue;
            }
            if let Some(storage) = self.storage_at(reader, value) {
                found.push(storage);
            }
            if found.len() > MAX_STORAGES {
                return Err(ReadError::OutOfBounds(value).into());
            }
        }
        Ok(found)
    }

    /// The `OopStorage` at `address`, if it is one that holds something.
    fn storage_at(&self, reader: Reader<'_>, address: u64) -> Option<StoragePlace> {
        let record = reader.record(address, self.layout.threads.storage_bytes).ok()?;
        let name = reader.c_string(record.field(word(0)).ok()?, MAX_NAME).ok()?;
        let array = ARRAY_WORDS.map(word).find(|field| {
            let Ok(array) = record.pointer(*field) else { return false };
            let Ok(header) = reader.record(array, ARRAY_HEADER_BYTES + WORD_BYTES) else { return false };
            let number = |index| header.field(word(index)).unwrap_or(0);
            let (capacity, count, first) = (number(0), number(1), number(ARRAY_HEADER_BYTES / WORD_BYTES));
            (1..=capacity.min(MAX_BLOCKS)).contains(&count)
                && pointer(first).is_ok_and(|first| reader.u64(first + BLOCK_OWNER) == Ok(address))
        })?;
        Some(StoragePlace { address, name, array })
    }
}

/// Is one of the `known` handles among the used slots of the chunk? Memory that only lies before a chunk, and looks like
/// an empty one, has none.
fn has_handle(chunk: u64, used: usize, known: &[u64]) -> bool {
    let slots = chunk..chunk + used as u64 * WORD_BYTES;
    known.iter().any(|handle| slots.contains(handle) && (handle - chunk).is_multiple_of(WORD_BYTES))
}

/// What is mapped at addresses from `MIN_NATIVE` on.
fn native(mappings: &[Mapping]) -> Arc<[Range<u64>]> {
    let native = mappings.iter().filter(|mapping| mapping.start >= MIN_NATIVE);
    joined(native.map(|mapping| mapping.start..mapping.end).collect()).into()
}

/// libjvm's data that can be written to, and the memory behind it that no file has.
fn writable_data(mappings: &[Mapping], libjvm: &str) -> Vec<Range<u64>> {
    let mut data: Vec<Range<u64>> = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.readable && mapping.writable && !mapping.shared) {
        let follows = mapping.inode == 0
            && mapping.path.is_empty()
            && data.last().is_some_and(|range| range.end == mapping.start);
        let range = mapping.start..mapping.end;
        if (mapping.path == libjvm || follows) && range.end - range.start <= MAX_DATA_BYTES {
            data.push(range);
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = 0x7f12_0000_1000;

    #[test]
    fn a_used_slot_proves_a_chunk() {
        assert!(has_handle(CHUNK, 3, &[0, CHUNK + 16]));
        assert!(has_handle(CHUNK, 1, &[CHUNK, 0]));
        // Behind the used ones, in none, at no slot, in none at all.
        assert!(!has_handle(CHUNK, 3, &[0, CHUNK + 24]));
        assert!(!has_handle(CHUNK - 96, 0, &[CHUNK, CHUNK + 8]));
        assert!(!has_handle(CHUNK, 3, &[CHUNK + 4, 0]));
        assert!(!has_handle(CHUNK, 3, &[0, 0]));
    }
}
