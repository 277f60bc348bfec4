//! References that native code holds: JNI's global and weak ones.
//!
//! From JDK 10 on both are in an `OopStorage`, whose fields are not described. So they are proved: the storage's
//! second word is an array whose entries are blocks, each of which names this storage as its owner and
//! its own index in the array; a mask in each tells which of its 64 entries are taken.
//! Before, they are in chains of blocks: what is free there is empty, the reference that stands for a
//! deleted one, or the link to another free place.
//! Source: HotSpot, `gc/shared/oopStorage.inline.hpp` (JDK 11 to 25), `runtime/jniHandles.cpp` (JDK 8).

use super::layout::{JniKind, StatsLayout};
use super::{StatsError, WORD_BYTES, not_described, word};
use crate::hotspot::read::{ListGuard, ReadError, Reader, Record, pointer};
use crate::hotspot::vmstructs::Field;

/// Entries of a block, and what comes behind them.
const ENTRIES_BYTES: u64 = 64 * 8;
const MASK: Field = word(0);
const OWNER: Field = word(1);
const INDEX: Field = word(3);
const BLOCK_TAIL_BYTES: u64 = 40;
/// Bytes of a block, and what aligns it.
const BLOCK_BYTES: u64 = 640;
/// Header of the array before its entries: capacity, count, references to it.
const ARRAY_HEADER_BYTES: u64 = 24;
/// Blocks of one storage: 64 million references.
const MAX_BLOCKS: u64 = 1 << 20;
const ATTEMPTS: usize = 8;

/// References of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct References {
    pub count: u64,
    /// Bytes of the blocks that hold them.
    pub bytes: u64,
}

/// References that native code holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JniReferences {
    pub global: References,
    pub weak: References,
}

pub(super) fn read(reader: Reader<'_>, layout: &StatsLayout) -> Result<JniReferences, StatsError> {
    let jni = layout.jni.as_ref().ok_or_else(|| not_described("JNI's references"))?;
    let held = |variable| {
        let mut last = Err(ReadError::OutOfBounds(0));
        for _ in 0..ATTEMPTS {
            last = match jni.kind {
                JniKind::Storage { bytes } => storage(reader, bytes, reader.pointer(variable)?),
                JniKind::Blocks { .. } => chain(reader, jni.kind, reader.u64(variable)?),
            };
            if last.is_ok() {
                break;
            }
        }
        last
    };
    Ok(JniReferences { global: held(jni.global)?, weak: held(jni.weak)? })
}

/// References in the chain of blocks that begins with `first`.
fn chain(reader: Reader<'_>, kind: JniKind, first: u64) -> Result<References, ReadError> {
    let JniKind::Blocks { deleted, handles, top, next, capacity, bytes } = kind else {
        return Err(ReadError::OutOfBounds(first));
    };
    let deleted = reader.u64(deleted)?;
    let mut references = References::default();
    let mut places: Vec<std::ops::Range<u64>> = Vec::new();
    let mut values = Vec::new();
    let mut guard = ListGuard::default();
    let mut block = first;
    while block != 0 {
        guard.pass(block)?;
        let record = reader.record(block, bytes)?;
        let taken = record.field(top)?;
        if taken > capacity || places.len() as u64 >= MAX_BLOCKS {
            return Err(ReadError::OutOfBounds(taken));
        }
        places.push(block + handles.offset..block + handles.offset + capacity * 8);
        for index in 0..taken {
            values.push(record.field(word(handles.offset / WORD_BYTES + index))?);
        }
        references.bytes += bytes;
        block = record.field(next)?;
    }
    places.sort_by_key(|range| range.start);
    let is_place = |value: u64| {
        let after = places.partition_point(|range| range.start <= value);
        after.checked_sub(1).and_then(|index| places.get(index)).is_some_and(|range| range.contains(&value))
    };
    let held = values.into_iter().filter(|value| ![0, deleted].contains(value) && !is_place(*value));
    references.count = held.count() as u64;
    Ok(references)
}

/// References in the `OopStorage` at `storage`.
fn storage(reader: Reader<'_>, storage_bytes: u64, storage: u64) -> Result<References, ReadError> {
    let record = reader.record(storage, storage_bytes)?;
    // The name comes first, then the array; in builds with more fields it is further on.
    let array = blocks(reader, storage, &record, storage_bytes)?;
    let mut references = References::default();
    for (index, block) in array.into_iter().enumerate() {
        let tail = reader.record(pointer(block)? + ENTRIES_BYTES, BLOCK_TAIL_BYTES)?;
        if tail.field(OWNER)? != storage || tail.field(INDEX)? != index as u64 {
            return Err(ReadError::OutOfBounds(block));
        }
        references.count += u64::from(tail.field(MASK)?.count_ones());
        references.bytes += BLOCK_BYTES;
    }
    Ok(references)
}

/// The blocks of a storage.
fn blocks(
    reader: Reader<'_>,
    storage: u64,
    record: &Record,
    storage_bytes: u64,
) -> Result<Vec<u64>, ReadError> {
    for index in 1..storage_bytes.min(64) / WORD_BYTES {
        let Ok(array) = record.pointer(word(index)) else { continue };
        let Ok(header) = reader.record(array, ARRAY_HEADER_BYTES) else { continue };
        let (capacity, count) = (header.field(word(0))?, header.field(word(1))?);
        if capacity == 0 || count > capacity || capacity > MAX_BLOCKS {
            continue;
        }
        let bytes = reader.bytes(array + ARRAY_HEADER_BYTES, count * 8, MAX_BLOCKS as usize * 8)?;
        let blocks: Vec<u64> =
            bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes)).collect();
        let owner = |block: &u64| reader.field(block.wrapping_add(ENTRIES_BYTES), OWNER);
        // Without a block nothing is proved, but nothing is held either.
        if blocks.first().is_none_or(|block| owner(block) == Ok(storage)) {
            return Ok(blocks);
        }
    }
    Err(ReadError::BadPointer(storage))
}
