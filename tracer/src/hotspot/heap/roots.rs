//! Roots: holders of objects outside of the heap: class loaders, threads, JNI and the JVM itself.
//!
//! Read while the target is held, at places that were found before ([`places`]).
//! Source: HotSpot 11 to 25, `classfile/classLoaderData.hpp`, `gc/shared/oopStorage.inline.hpp`,
//! `runtime/jniHandles.hpp`.

mod places;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use tracer_common::arch::PAGE_BYTES;

pub(super) use self::places::Places;
use self::places::StoragePlace;
use super::{HeapAccess, HeapError};
use crate::hotspot::read::{ReadError, pointer};
use crate::hotspot::threads;
use crate::hotspot::vmstructs::{Field, Width};
use crate::process::hold::ThreadRegisters;
use crate::process::pagemap::{PageState, Residency};

const WORD_BYTES: u64 = 8;
/// Loaders, and holders of hidden classes, of one JVM.
const MAX_LOADERS: usize = 1 << 20;
/// A chunk of a loader's handles: so many, then how many are used, then the next chunk.
const CHUNK_SLOTS: u64 = 32;
const CHUNK_BYTES: u64 = 272;
const CHUNK_USED: Field = Field { offset: 256, width: Width::Four };
const CHUNK_NEXT: Field = Field { offset: 264, width: Width::Eight };
/// Chunks of all loaders together: some 33,000,000 handles.
const MAX_CHUNKS: usize = 1 << 20;
/// A block of an `OopStorage`: so many references, then a mask of those in use, then the storage.
const BLOCK_SLOTS: u64 = 64;
const BLOCK_BYTES: u64 = 528;
const BLOCK_MASK: u64 = 512;
const BLOCK_OWNER: u64 = 520;
const ARRAY_HEADER_BYTES: u64 = 24;
const MAX_BLOCKS: u64 = 1 << 20;
/// Blocks of local handles, of all threads together.
const MAX_LOCAL_BLOCKS: usize = 1 << 16;
/// Bytes below the stack pointer that a function may use without moving it.
const RED_ZONE_BYTES: u64 = 128;
/// Bytes of all stacks together.
const MAX_STACK_BYTES: u64 = 1 << 30;
/// The last version whose own references are plain variables.
const LAST_WITH_STATICS: u32 = 15;
/// Storages of these names do not hold what is in them.
const WEAK: [&str; 4] = ["Weak", "StringTable", "ResolvedMethod", "TagMap"];

/// Beginning of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// Handles of the loader with this object; 0 for the JVM's own.
    Loader {
        object: u64,
    },
    /// The object of the thread with this index, its local JNI references, its stack and registers.
    Thread(usize),
    Local(usize),
    Stack(usize),
    /// Reference that native code or the JVM holds.
    Storage {
        name: String,
    },
    /// The JVM's own variables.
    Statics,
}

/// All roots.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    pub(super) loaders: Vec<LoaderRoots>,
    pub(super) threads: Vec<ThreadRoots>,
    pub(super) storages: Vec<StorageRoots>,
    pub(super) statics: Vec<u64>,
    /// References of loaders by the address of their handle.
    pub(super) handles: HashMap<u64, u64>,
    /// Memory in which threads allocate and where no object is yet, sorted.
    pub(super) unallocated: Vec<Range<u64>>,
    /// What is mapped at addresses that two compressed references cannot look like, sorted.
    pub(super) mapped: Arc<[Range<u64>]>,
}

impl Roots {
    /// Number of the handles of all loaders.
    pub fn handle_count(&self) -> usize {
        self.handles.len()
    }
}

/// References that a loader holds.
#[derive(Clone, Debug, Default)]
pub(super) struct LoaderRoots {
    /// Address of its `ClassLoaderData`.
    pub(super) address: u64,
    pub(super) object: u64,
    pub(super) is_holder: bool,
    pub(super) handles: Vec<u64>,
}

/// References that a thread holds.
#[derive(Clone, Debug, Default)]
pub(super) struct ThreadRoots {
    pub(super) object: u64,
    pub(super) locals: Vec<u64>,
    /// Words that may be references.
    pub(super) stack: Vec<u64>,
    pub(super) registers: Vec<u64>,
}

/// References that an `OopStorage` holds.
#[derive(Clone, Debug, Default)]
pub(super) struct StorageRoots {
    pub(super) name: String,
    pub(super) weak: bool,
    pub(super) objects: Vec<u64>,
}

/// Notices when lists of chunks lead into each other, or into memory that is no chunk: real ones do not overlap.
#[derive(Debug, Default)]
struct ChunkGuard {
    /// Multiples of a chunk's size in which one begins.
    begun: HashSet<u64>,
    passed: usize,
}

impl ChunkGuard {
    /// Notes that a list has come to the chunk at `address`.
    fn pass(&mut self, address: u64) -> Result<(), ReadError> {
        self.passed += 1;
        let is_apart = self.begun.insert(address / CHUNK_BYTES);
        if is_apart && self.passed <= MAX_CHUNKS { Ok(()) } else { Err(ReadError::OutOfBounds(address)) }
    }

    /// Forgets where chunks were, but not how many: another list is tried.
    fn try_another(&mut self) {
        self.begun.clear();
    }
}

impl HeapAccess<'_> {
    /// Reads all roots, while the target is held. `held` are its threads; without them, stacks are searched whole.
    ///
    /// # Errors
    /// Something makes no sense.
    pub fn roots(&self, held: &[ThreadRegisters], residency: &dyn Residency) -> Result<Roots, HeapError> {
        let mut roots = Roots { mapped: self.places.mapped.clone(), ..Roots::default() };
        self.read_loaders(&mut roots)?;
        self.read_threads(held, residency, &mut roots)?;
        for place in &self.places.storages {
            let weak = WEAK.iter().any(|weak| place.name.contains(weak));
            let objects = if weak { Vec::new() } else { self.storage(place)? };
            roots.storages.push(StorageRoots { name: place.name.clone(), weak, objects });
        }
        // A reference of native code says more than one of the JVM.
        roots.storages.sort_by_key(|storage| !storage.name.starts_with("JNI"));
        if self.feature <= LAST_WITH_STATICS {
            roots.statics = self.words(&self.places.data)?;
        }
        roots.unallocated.sort_by_key(|range| range.start);
        Ok(roots)
    }

    /// The chunks of handles from `first` on: address and used slots.
    fn chunks(&self, first: u64, guard: &mut ChunkGuard) -> Result<Vec<(u64, Vec<u64>)>, ReadError> {
        let mut chunks = Vec::new();
        let mut next = first;
        while next != 0 {
            guard.pass(next)?;
            let record = self.reader.record(next, CHUNK_BYTES)?;
            let used = record.field(CHUNK_USED)?;
            if used > CHUNK_SLOTS {
                return Err(ReadError::OutOfBounds(used));
            }
            let slots = (0..used).map(|index| record.field(word(index)));
            chunks.push((next, slots.collect::<Result<_, _>>()?));
            next = record.field(CHUNK_NEXT)?;
        }
        Ok(chunks)
    }

    fn read_loaders(&self, roots: &mut Roots) -> Result<(), HeapError> {
        let layout = &self.layout.loaders;
        let mut seen = HashSet::new();
        let mut guard = ChunkGuard::default();
        let mut next = self.reader.u64(layout.head)?;
        while next != 0 {
            if roots.loaders.len() >= MAX_LOADERS || !seen.insert(next) {
                return Err(ReadError::OutOfBounds(next).into());
            }
            let record = self.reader.record(next, layout.bytes)?;
            let mut loader = LoaderRoots {
                address: next,
                object: match record.field(layout.object)? {
                    0 => 0,
                    handle => self.reader.u64(pointer(handle)?)?,
                },
                is_holder: record.field(layout.is_holder)? != 0,
                handles: Vec::new(),
            };
            if let Ok(first) = record.pointer(self.places.handles) {
                for (chunk, slots) in self.chunks(first, &mut guard)? {
                    for (index, object) in (0..).zip(slots).filter(|(_, object)| *object != 0) {
                        roots.handles.insert(chunk + index * WORD_BYTES, object);
                        loader.handles.push(object);
                    }
                }
            }
            roots.loaders.push(loader);
            next = record.field(layout.next)?;
        }
        Ok(())
    }

    fn read_threads(
        &self,
        held: &[ThreadRegisters],
        residency: &dyn Residency,
        roots: &mut Roots,
    ) -> Result<(), HeapError> {
        let layout = &self.layout.threads;
        let (mut stack_bytes, mut blocks_left) = (0, MAX_LOCAL_BLOCKS);
        for address in threads::list(self.reader, self.threads)? {
            let record = self.reader.record(address, layout.thread_bytes)?;
            let object = record.field(self.threads.object)?;
            let object = match self.threads.object_is_handle {
                true => pointer(object).and_then(|handle| self.reader.u64(handle)).unwrap_or(0),
                false => object,
            };
            let locals = self.locals(record.field(layout.local_handles)?, &mut blocks_left)?;
            let (top, end) = (record.field(layout.buffer.0)?, record.field(layout.buffer.1)?);
            let end = end.max(record.field(layout.buffer_end)?);
            if top != 0 && top <= end {
                let end = (end + self.buffer_reserve).next_multiple_of(self.shape.alignment);
                roots.unallocated.push(top..end);
            }
            let mut thread = ThreadRoots { object, locals, ..ThreadRoots::default() };
            if let Some(range) = threads::stack(self.reader, self.threads, address) {
                let registers = held.iter().find(|thread| range.contains(&thread.stack_pointer));
                if let Some(registers) = registers {
                    thread.registers = registers.general.iter().chain(&registers.vector).copied().collect();
                }
                let parts = match registers {
                    Some(registers) => {
                        let top = (registers.stack_pointer & !7).saturating_sub(RED_ZONE_BYTES);
                        present_parts(residency, &(top.max(range.start)..range.end), true)
                    }
                    None => present_parts(residency, &range, false),
                };
                stack_bytes += parts.iter().map(|part| part.end - part.start).sum::<u64>();
                if stack_bytes > MAX_STACK_BYTES {
                    return Err(ReadError::OutOfBounds(stack_bytes).into());
                }
                thread.stack = self.words(&parts)?;
            }
            roots.threads.push(thread);
        }
        Ok(())
    }

    /// JNI's local references, from the block at `first` on, those of frames that were pushed too.
    fn locals(&self, first: u64, blocks_left: &mut usize) -> Result<Vec<u64>, ReadError> {
        let layout = &self.layout.threads;
        let pushed = Field { offset: layout.handles_next.offset + 2 * WORD_BYTES, width: Width::Eight };
        let mut objects = Vec::new();
        let mut seen = HashSet::new();
        let mut blocks = vec![first];
        while let Some(block) = blocks.pop() {
            if block == 0 || pointer(block).is_err() || !seen.insert(block) {
                continue;
            }
            *blocks_left = blocks_left.checked_sub(1).ok_or(ReadError::OutOfBounds(block))?;
            // A frame's block may be gone when it makes no sense.
            let Ok(record) = self.reader.record(block, layout.handle_block_bytes) else { continue };
            let top = record.field(layout.handles_top)?;
            if top > layout.handles_capacity {
                continue;
            }
            for index in 0..top {
                let at = Field { offset: layout.handles.offset + index * WORD_BYTES, width: Width::Eight };
                // Free ones lead to each other, with a bit that no object's address has.
                objects.extend(record.field(at).ok().filter(|object| *object != 0 && object & 7 == 0));
            }
            blocks.push(record.field(layout.handles_next)?);
            blocks.extend(record.field(pushed).ok());
        }
        Ok(objects)
    }

    /// References that an `OopStorage` holds.
    fn storage(&self, place: &StoragePlace) -> Result<Vec<u64>, ReadError> {
        let array = self.reader.pointer_field(place.address, place.array)?;
        let count = self.reader.u64(array + WORD_BYTES)?;
        if count > MAX_BLOCKS {
            return Err(ReadError::OutOfBounds(count));
        }
        let blocks =
            self.reader.bytes(array + ARRAY_HEADER_BYTES, count * WORD_BYTES, MAX_BLOCKS as usize * 8)?;
        let mut objects = Vec::new();
        for block in blocks.as_chunks::<8>().0 {
            let record = self.reader.record(u64::from_le_bytes(*block), BLOCK_BYTES)?;
            if record.field(word(BLOCK_OWNER / WORD_BYTES))? != place.address {
                return Err(ReadError::BadPointer(place.address));
            }
            let mask = record.field(word(BLOCK_MASK / WORD_BYTES))?;
            for index in (0..BLOCK_SLOTS).filter(|index| mask >> index & 1 != 0) {
                objects.extend(record.field(word(index)).ok().filter(|object| *object != 0));
            }
        }
        Ok(objects)
    }

    /// The words of ranges.
    fn words(&self, ranges: &[Range<u64>]) -> Result<Vec<u64>, ReadError> {
        let mut words = Vec::new();
        for range in ranges {
            let bytes = self.reader.bytes(range.start, range.end - range.start, MAX_STACK_BYTES as usize)?;
            words.extend(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)));
        }
        Ok(words)
    }
}

const fn word(index: u64) -> Field {
    Field { offset: index * WORD_BYTES, width: Width::Eight }
}

/// The parts of a range that are in memory, and those that are swapped out if they are wanted, too. What was never
/// touched holds nothing, and may be far more than there is.
fn present_parts(residency: &dyn Residency, range: &Range<u64>, with_swapped: bool) -> Vec<Range<u64>> {
    let mut parts: Vec<Range<u64>> = Vec::new();
    let mut states = [PageState::Absent; 512];
    let mut next = range.start - range.start % PAGE_BYTES;
    while next < range.end {
        let count = (range.end - next).div_ceil(PAGE_BYTES).min(512) as usize;
        let states = states.get_mut(..count).unwrap_or_default();
        // Every root found before the page map failed counts.
        if residency.pages(next, states).is_err() {
            break;
        }
        for state in states.iter() {
            let is_wanted = *state == PageState::Resident || (with_swapped && *state == PageState::Swapped);
            let page = next.max(range.start)..(next + PAGE_BYTES).min(range.end);
            match parts.last_mut() {
                Some(last) if is_wanted && last.end == page.start => last.end = page.end,
                _ if is_wanted => parts.push(page),
                _ => {}
            }
            next += PAGE_BYTES;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_that_overlap_end_their_list() {
        let mut guard = ChunkGuard::default();
        let apart = |index: u64| 0x7f00_0000_0010 + index * CHUNK_BYTES;
        assert!((0..1000).all(|index| guard.pass(apart(index)).is_ok()));
        assert!(guard.pass(apart(7)).is_err(), "another loader's");
        guard.try_another();
        assert!(guard.pass(apart(7)).is_ok());
        // Links that lead 16 bytes further each.
        assert!((0..CHUNK_BYTES / 16).any(|index| guard.pass(0x2100_0000_0000 + 16 * index).is_err()));
    }

    #[test]
    fn chunks_of_all_lists_are_bounded() {
        let mut guard = ChunkGuard::default();
        for index in 0..MAX_CHUNKS as u64 {
            guard.try_another();
            assert!(guard.pass(index * CHUNK_BYTES).is_ok());
        }
        guard.try_another();
        assert!(guard.pass(0).is_err());
    }
}
