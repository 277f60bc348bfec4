//! The result of a mark: which objects were reached, in which order, from what, and how strongly.
//!
//! Owns the bits, the objects and their parents; knows neither classes nor the rules by which a mark goes on. Memory is
//! taken only as far as objects are found.

use std::collections::{HashMap, HashSet};
use std::io;

use memmap2::{MmapMut, MmapOptions};

use super::copy::HeapCopy;
use super::roots::Root;

const WORD_BYTES: u64 = 8;
/// A parent with this bit is the index of a root.
const ROOT: u32 = 1 << 31;

/// Strength with which an object is reached, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// A static field, a thread's object, a class loader, JNI or the JVM itself leads to it.
    Held,
    /// A word on a stack or in a register, which may be a reference, leads to it.
    Stack,
    /// Soft references lead to it.
    Soft,
    /// A cleaner or finalizer alone leads to it: garbage, which the next collections free.
    Collectable,
}

/// Reference that led to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    /// Index of an object in the order of marking.
    Object(usize),
    /// Index of a root.
    Root(usize),
}

/// A parent as it is kept for each object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ParentCode(u32);

impl From<usize> for ParentCode {
    /// The object with this index in the order of marking.
    fn from(index: usize) -> Self {
        Self(index as u32)
    }
}

/// Quality of what was copied: how much of it made sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// Objects that were reached.
    pub objects: u64,
    /// References of objects to memory whose class could not be proved.
    pub unknown: u64,
    /// References of objects to outside the used heap.
    pub outside: u64,
}

impl Quality {
    /// Is the copy of one moment? A copy that is not has many references that lead nowhere.
    pub fn is_consistent(&self) -> bool {
        // A stale word on a stack that looks like an object leads to one or two.
        self.unknown + self.outside <= 8.max(self.objects / 10_000)
    }
}

/// An array of numbers that takes memory only as far as it is used.
struct Numbers {
    memory: MmapMut,
    length: usize,
}

impl Numbers {
    fn with_room_for(count: u64) -> io::Result<Self> {
        let bytes =
            usize::try_from(count.saturating_mul(4).max(4096)).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory: MmapOptions::new().len(bytes).no_reserve_swap().map_anon()?, length: 0 })
    }

    /// Returns false if there is no room.
    #[inline]
    fn push(&mut self, value: u32) -> bool {
        let at = 4 * self.length;
        let Some(place) = self.memory.get_mut(at..at + 4) else { return false };
        place.copy_from_slice(&value.to_le_bytes());
        self.length += 1;
        true
    }

    #[inline]
    fn get(&self, index: usize) -> Option<u32> {
        if index >= self.length {
            return None;
        }
        let bytes = self.memory.get(4 * index..4 * index + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// Objects that were reached.
pub(super) struct Marks {
    base: u64,
    /// Bits of the heap, one for each word.
    bits: MmapMut,
    /// Index of each object's first word.
    objects: Numbers,
    parents: Numbers,
    /// Index of the first object of each strength, in the order of marking.
    begins: Vec<(Reach, usize)>,
    pub(super) roots: Vec<Root>,
    /// Object whose end an action waits for, by the index of the action.
    acts_for: HashMap<usize, u64>,
    /// Indices of those objects.
    waited_for: HashMap<u64, usize>,
    pub(super) quality: Quality,
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Marks").field("quality", &self.quality).finish_non_exhaustive()
    }
}

impl Marks {
    /// No marks yet, with room for `capacity` objects of `copy`.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn with_room_for(copy: &HeapCopy, capacity: u64) -> io::Result<Self> {
        let bit_bytes = usize::try_from(copy.extent_bytes() / (8 * WORD_BYTES) + 1).unwrap_or(usize::MAX);
        Ok(Self {
            base: copy.base(),
            bits: MmapOptions::new().len(bit_bytes).no_reserve_swap().map_anon()?,
            objects: Numbers::with_room_for(capacity)?,
            parents: Numbers::with_room_for(capacity)?,
            begins: vec![(Reach::Held, 0)],
            roots: Vec::new(),
            acts_for: HashMap::new(),
            waited_for: HashMap::new(),
            quality: Quality::default(),
        })
    }

    /// Adds a root; gives it as a parent.
    pub(super) fn add_root(&mut self, root: Root) -> ParentCode {
        self.roots.push(root);
        ParentCode(ROOT | (self.roots.len() - 1) as u32)
    }

    /// Objects that are marked from now on are reached in this way.
    pub(super) fn begin(&mut self, reach: Reach) {
        self.begins.push((reach, self.count()));
    }

    /// Marks the object at `address`, which is within the copy, unless it is marked.
    #[inline]
    pub(super) fn mark(&mut self, address: u64, parent: ParentCode) {
        let (byte, bit) = place(self.base, address);
        let Some(byte) = self.bits.get_mut(byte) else { return };
        if *byte & bit != 0 {
            return;
        }
        *byte |= bit;
        let word = (address - self.base) / WORD_BYTES;
        // There is room for as many as the used heap can hold.
        if self.objects.push(word as u32) {
            self.parents.push(parent.0);
        }
    }

    /// The object with this index is the action of a cleaner that waits for the end of `referent`.
    pub(super) fn acts_for(&mut self, index: usize, referent: u64) {
        self.acts_for.insert(index, referent);
    }

    /// Completes the marks when no more objects will be reached.
    pub(super) fn finish(&mut self) {
        self.quality.objects = self.count() as u64;
        if !self.acts_for.is_empty() {
            let wanted: HashSet<u64> = self.acts_for.values().copied().collect();
            let object = |index| self.object(index).filter(|object| wanted.contains(object));
            self.waited_for = (0..self.count()).filter_map(|index| Some((object(index)?, index))).collect();
        }
    }

    /// Number of objects that were reached.
    pub(super) fn count(&self) -> usize {
        self.objects.length
    }

    /// The object with this index in the order of marking.
    #[inline]
    pub(super) fn object(&self, index: usize) -> Option<u64> {
        Some(self.base + WORD_BYTES * u64::from(self.objects.get(index)?))
    }

    pub(super) fn parent(&self, index: usize) -> Option<Parent> {
        if let Some(object) = self.acts_for.get(&index).and_then(|object| self.waited_for.get(object)) {
            return Some(Parent::Object(*object));
        }
        let parent = self.parents.get(index)?;
        Some(match parent & ROOT {
            0 => Parent::Object(parent as usize),
            _ => Parent::Root((parent & !ROOT) as usize),
        })
    }

    /// Strength with which the object with this index is reached.
    pub(super) fn reach(&self, index: usize) -> Reach {
        let after = self.begins.partition_point(|(_, begin)| *begin <= index);
        after.checked_sub(1).and_then(|at| self.begins.get(at)).map_or(Reach::Held, |(reach, _)| *reach)
    }

    #[inline]
    pub(super) fn is_marked(&self, address: u64) -> bool {
        let (byte, bit) = place(self.base, address);
        self.bits.get(byte).is_some_and(|byte| byte & bit != 0)
    }
}

#[inline]
fn place(base: u64, address: u64) -> (usize, u8) {
    let word = address.wrapping_sub(base) / WORD_BYTES;
    (usize::try_from(word / 8).unwrap_or(usize::MAX), 1 << (word % 8))
}
