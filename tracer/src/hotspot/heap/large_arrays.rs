//! Large arrays of numbers that lie among other objects: noted while the program runs, so that they need no copy when
//! it is held.
//!
//! Old objects stay where they are but for collections that clear the old generation. So old spaces are walked before
//! the hold, object by object. What was seen then is only a hint: while the program is held, an array counts if its
//! header is the same; and afterwards the walk over the copy proves that an object begins there (`HeapCopy::assumed`).
//! G1's humongous objects need none of this ([`HeapAccess::interiors`]).

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use tracer_common::arch::PAGE_BYTES;

use super::class_table::ClassTable;
use super::copy::{HeapCopy, Space, SpaceKind};
use super::jvm_classes::JvmClasses;
use super::{HeapAccess, walk};
use crate::hotspot::pages::Pages;
use crate::hotspot::read::Reader;
use crate::process::memory::ProcessMemory;
use crate::process::pagemap::ResidentMemory;

/// Least bytes that are worth leaving out: two more pieces of the rest are read instead.
const MIN_BYTES: u64 = 32 << 10;
/// Read at once while spaces are walked.
const WINDOW_BYTES: usize = 64 << 10;
/// Bytes of an object in which all is that tells how long it is.
const HEAD_BYTES: u64 = 512;
/// Old spaces with fewer bytes are copied in no time.
const MIN_OLD_BYTES: u64 = 16 << 20;

/// An array of numbers in an old space.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LargeArray {
    object: Range<u64>,
    /// Class pointer and length, as its header has them.
    class: u64,
    length: u32,
    /// Pages on which only its elements are.
    interior: Range<u64>,
}

/// Large arrays of numbers of one heap, and how small its other objects are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LargeArrays {
    /// Sorted by address.
    arrays: Vec<LargeArray>,
    /// Objects that were met, and their bytes but for the arrays' interiors.
    objects: u64,
    object_bytes: u64,
}

impl LargeArrays {
    /// Walks through the old spaces.
    pub(super) fn of(
        memory: &ResidentMemory<'_>,
        spaces: &[Space],
        classes: &mut ClassTable<'_>,
    ) -> io::Result<Self> {
        let mut window = HeapCopy::reserve(0..WINDOW_BYTES as u64)?;
        let mut all = Self::default();
        for space in spaces.iter().filter(|space| space.kind == SpaceKind::Old) {
            note(memory, space, classes, &mut window, &mut all);
        }
        Ok(all)
    }

    /// Objects in so many bytes, if they are like those that were met. `None` if too few were.
    pub fn objects_in(&self, bytes: u64) -> Option<u64> {
        let count = u128::from(bytes) * u128::from(self.objects) / u128::from(self.object_bytes.max(1));
        u64::try_from(count).ok().filter(|_| self.object_bytes >= MIN_OLD_BYTES)
    }

    /// Interiors of those that can be where they were noted.
    pub(super) fn interiors<'a>(&'a self, spaces: &'a [Space]) -> impl Iterator<Item = Range<u64>> {
        self.within(spaces).map(|array| array.interior.clone())
    }

    /// Those that can be where they were noted, by these used spaces (sorted).
    fn within<'a>(&'a self, spaces: &'a [Space]) -> impl Iterator<Item = &'a LargeArray> {
        self.arrays.iter().filter(|array| {
            let after = spaces.partition_point(|space| space.bottom <= array.object.start);
            let space = after.checked_sub(1).and_then(|index| spaces.get(index));
            space.is_some_and(|space| space.kind == SpaceKind::Old && array.object.end <= space.top)
        })
    }
}

impl HeapAccess<'_> {
    /// Notes the large arrays of numbers in old spaces, while the program runs. Where objects make no sense, or change
    /// meanwhile, fewer are found. Nothing is read that is not in memory.
    pub fn large_arrays(&self, memory: &ResidentMemory<'_>, spaces: &[Space]) -> LargeArrays {
        self.try_large_arrays(memory, spaces).unwrap_or_else(|error| {
            tracing::debug!(%error, "large arrays are not looked for");
            LargeArrays::default()
        })
    }

    fn try_large_arrays(&self, memory: &ResidentMemory<'_>, spaces: &[Space]) -> io::Result<LargeArrays> {
        let old = spaces.iter().filter(|space| space.kind == SpaceKind::Old);
        if old.map(Space::bytes).sum::<u64>() < MIN_OLD_BYTES {
            return Ok(LargeArrays::default());
        }
        let pages = Pages::new(self.memory);
        // Classes that a loader lists need no object to prove them.
        let no_copy = HeapCopy::reserve(0..PAGE_BYTES)?;
        let source = JvmClasses::new(self, Reader::new(&pages), &no_copy, HashMap::new());
        let mut classes = ClassTable::new(self.shape, self.mirror, &source);
        LargeArrays::of(memory, spaces, &mut classes)
    }

    /// Forgets the arrays that are no longer there.
    pub fn forget_moved(&self, arrays: &mut LargeArrays) {
        arrays.arrays.retain(|array| {
            let mut header = [0; HEADER_BYTES];
            self.memory.read(array.object.start, &mut header).is_ok()
                && self.shape.pointer_in_header(&header) == Some(array.class)
                && self.shape.length_in_header(&header) == Some(array.length)
        });
    }

    /// Parts of `spaces` (sorted) that need no copy, sorted: certain ones, and those of `arrays` that are not moved.
    pub fn uncopied(&self, spaces: &[Space], arrays: &LargeArrays) -> Vec<Range<u64>> {
        let mut parts = self.interiors(spaces);
        parts.extend(arrays.interiors(spaces));
        parts.sort_by_key(|part| part.start);
        parts
    }

    /// Fills `copy` with the used spaces, without what needs no copy. What was noted of `arrays` is held against the
    /// copied headers, and what is no longer so is copied, too.
    ///
    /// # Errors
    /// As [`HeapCopy::fill`].
    pub fn fill(
        &self,
        copy: &mut HeapCopy,
        memory: &(dyn ProcessMemory + Sync),
        spaces: &[Space],
        arrays: &LargeArrays,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> io::Result<()> {
        copy.fill(memory, spaces, &self.uncopied(spaces, arrays), go_on)?;
        let is_there = |array: &&LargeArray| {
            self.shape.pointer(copy, array.object.start) == Some(array.class)
                && copy.half(array.object.start + self.shape.array_length) == Some(array.length)
        };
        let (there, moved): (Vec<_>, Vec<_>) = arrays.within(spaces).partition(is_there);
        let interiors = |arrays: Vec<&LargeArray>| -> Vec<Range<u64>> {
            arrays.into_iter().map(|array| array.interior.clone()).collect()
        };
        let (there, moved) = (interiors(there), interiors(moved));
        copy.read_in(memory, moved.clone(), go_on)?;
        copy.put_in(&moved);
        copy.assume(there);
        Ok(())
    }
}

/// Bytes of an object's header, at most.
const HEADER_BYTES: usize = 24;

/// Walks through `space` as far as objects follow each other, and notes its large arrays of numbers.
fn note(
    memory: &ResidentMemory<'_>,
    space: &Space,
    classes: &mut ClassTable<'_>,
    window: &mut HeapCopy,
    all: &mut LargeArrays,
) {
    let (mut at, mut until) = (space.bottom, space.bottom);
    while at < space.top {
        if at.saturating_add(HEAD_BYTES) > until && until < space.top {
            until = space.top.min(at.saturating_add(WINDOW_BYTES as u64));
            if window.show(memory, at..until).is_err() {
                return;
            }
        }
        let Some((class, next)) = walk::step(window, classes, space, at) else { return };
        let interior = classes.elements(class, at..next).and_then(whole_pages);
        all.objects += 1;
        all.object_bytes += next - at;
        if let Some(interior) = interior.filter(|part| part.end - part.start >= MIN_BYTES) {
            let class = classes.shape.pointer(window, at);
            let length = window.half(at + classes.shape.array_length);
            let Some((class, length)) = class.zip(length) else { return };
            all.object_bytes -= interior.end - interior.start;
            all.arrays.push(LargeArray { object: at..next, class, length, interior });
        }
        at = next;
    }
}

/// The pages that lie in `range` as a whole.
pub(super) fn whole_pages(range: Range<u64>) -> Option<Range<u64>> {
    let pages = range.start.checked_next_multiple_of(PAGE_BYTES)?..range.end / PAGE_BYTES * PAGE_BYTES;
    (!pages.is_empty()).then_some(pages)
}
