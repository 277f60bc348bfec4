//! Metaspace of one class loader: what its chunks hold, and what of it is used.
//!
//! No field that leads there is described. So it is proved: a loader's `_metaspace` stands before its
//! `_metaspace_lock`, and what it points to names the same lock; its arenas are lists of chunks, each
//! linked both ways and used no further than it is committed.
//! Source: HotSpot, `memory/classLoaderMetaspace.hpp`, `memory/metaspace/{metaspaceArena,metachunk}.hpp`
//! (JDK 16 to 25), `memory/metaspace.hpp`, `memory/metaspace/spaceManager.hpp` (JDK 11),
//! `memory/metaspace.cpp` (JDK 8).

use std::ops::Add;

use super::layout::LoaderLayout;
use super::{ATTEMPTS, WORD_BYTES, word};
use crate::hotspot::read::{ReadError, Reader, Record, pointer};
use crate::hotspot::vmstructs::{Field, Width};

/// Words behind `_class_loader` among which `_metaspace` and its lock are.
const MAX_DISTANCE: u64 = 4;
/// Bytes of a `ClassLoaderMetaspace`: type, lock, two arenas.
const OWNER_BYTES: u64 = 32;
/// Bytes of an arena in which the fields lie.
const ARENA_BYTES: u64 = 80;
/// Bytes of a `Metachunk`, and where its fields are.
const CHUNK_BYTES: u64 = 56;
const BASE: Field = word(0);
const USED: Field = word(1);
const COMMITTED: Field = word(2);
const STATE: Field = Field { offset: 25, width: Width::One };
const IN_USE: u64 = 1;
const PREVIOUS: Field = word(5);
const NEXT: Field = word(6);
/// The largest chunk, in words (16 MiB).
const MAX_CHUNK_WORDS: u64 = 2 << 20;
/// Place of an arena's first chunk: behind a lock (16 to 22), behind two sizes.
const FIRST_CHUNK: [Field; 2] = [word(3), word(4)];
/// Chunks of one arena.
const MAX_CHUNKS: usize = 1 << 16;
/// 1 TiB: no loader has more.
const MAX_WORDS: u64 = 1 << 37;

/// Memory that a loader has in metaspace and class space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metaspace {
    /// Committed in its chunks: no other loader can use it.
    pub committed_bytes: u64,
    /// Bytes of its classes, methods and constants.
    pub used_bytes: u64,
}

impl Add for Metaspace {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            committed_bytes: self.committed_bytes.saturating_add(other.committed_bytes),
            used_bytes: self.used_bytes.saturating_add(other.used_bytes),
        }
    }
}

/// Way in which an arena tells what it has.
#[derive(Clone, Copy, Debug)]
enum Arena {
    /// Chunks, from 16.
    Chunks,
    /// Counters after the arena's own lock: words in chunks, words used.
    Counters { capacity: Field, used: Field },
}

/// `SpaceManager` (11), and the same in JDK 8.
const COUNTERS: Arena = Arena::Counters { capacity: word(5), used: word(6) };
const OLD_COUNTERS: Arena = Arena::Counters { capacity: word(8), used: word(7) };

/// Metaspace of the loader at `loader`, which has classes.
pub(super) fn of_loader(
    reader: Reader<'_>,
    fields: &LoaderLayout,
    loader: u64,
) -> Result<Metaspace, ReadError> {
    let mut last = Err(ReadError::BadPointer(loader));
    for _ in 0..ATTEMPTS {
        last = once(reader, fields, loader);
        if last.is_ok() {
            break;
        }
    }
    last
}

fn once(reader: Reader<'_>, fields: &LoaderLayout, loader: u64) -> Result<Metaspace, ReadError> {
    let record = reader.record(loader + fields.object.offset, (MAX_DISTANCE + 2) * WORD_BYTES)?;
    for distance in 1..=MAX_DISTANCE {
        let (Ok(owner), Ok(lock)) = (record.pointer(word(distance)), record.pointer(word(distance + 1)))
        else {
            continue;
        };
        let Some((kind, arenas)) = arenas(reader, owner, lock) else { continue };
        let mut sum = Metaspace::default();
        // Without compressed class pointers there is one.
        for arena in arenas.into_iter().filter(|arena| *arena != 0) {
            sum = sum + of_arena(reader, arena, lock, kind)?;
        }
        return Ok(sum);
    }
    Err(ReadError::BadPointer(loader))
}

/// The arenas of the `ClassLoaderMetaspace` at `owner`, if its lock is `lock`.
fn arenas(reader: Reader<'_>, owner: u64, lock: u64) -> Option<(Arena, [u64; 2])> {
    let owner = reader.record(owner, OWNER_BYTES).ok()?;
    let at = |index| owner.field(word(index)).ok();
    if at(0)? == lock {
        Some((Arena::Chunks, [at(2)?, at(3)?]))
    } else if at(1)? == lock {
        Some((COUNTERS, [at(2)?, at(3)?]))
    } else if reader.field(at(0)?, word(0)) == Ok(lock) {
        Some((OLD_COUNTERS, [at(0)?, at(1)?]))
    } else {
        None
    }
}

fn of_arena(reader: Reader<'_>, arena: u64, lock: u64, kind: Arena) -> Result<Metaspace, ReadError> {
    let record = reader.record(arena, ARENA_BYTES)?;
    match kind {
        Arena::Chunks => FIRST_CHUNK
            .into_iter()
            .find_map(|first| chunks(reader, &record, first).ok())
            .ok_or(ReadError::BadPointer(arena)),
        Arena::Counters { capacity, used } => {
            let (capacity, used) = (record.field(capacity)?, record.field(used)?);
            if record.field(word(0))? != lock || used > capacity || capacity > MAX_WORDS {
                return Err(ReadError::OutOfBounds(arena));
            }
            Ok(Metaspace { committed_bytes: capacity * WORD_BYTES, used_bytes: used * WORD_BYTES })
        }
    }
}

fn chunks(reader: Reader<'_>, arena: &Record, first: Field) -> Result<Metaspace, ReadError> {
    let mut sum = Metaspace::default();
    let (mut previous, mut next) = (0, arena.field(first)?);
    let mut count = 0;
    while next != 0 {
        let chunk = reader.record(next, CHUNK_BYTES)?;
        let (used, committed) = (chunk.field(USED)?, chunk.field(COMMITTED)?);
        let holds = chunk.field(STATE)? == IN_USE
            && pointer(chunk.field(BASE)?).is_ok()
            && used <= committed
            && committed <= MAX_CHUNK_WORDS
            && chunk.field(PREVIOUS)? == previous
            && count < MAX_CHUNKS;
        if !holds {
            return Err(ReadError::OutOfBounds(next));
        }
        sum = sum + Metaspace { committed_bytes: committed * WORD_BYTES, used_bytes: used * WORD_BYTES };
        count += 1;
        (previous, next) = (next, chunk.field(NEXT)?);
    }
    Ok(sum)
}
