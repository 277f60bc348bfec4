//! The walk over the objects of a copy, one behind the other, the dead ones too.
//!
//! A dead object's class may have been unloaded (G1 up to JDK 17), and then nothing tells how long it is. The walk goes on
//! at the next place from which several objects follow each other. Nothing that is reachable depends on it: a mark is led
//! to each object's start. What was not copied because an array of numbers was seen there before is proved by the walk.

use std::ops::Range;

use super::class::ClassId;
use super::class_table::ClassTable;
use super::copy::{HeapCopy, Space, SpaceKind};

/// Objects that must follow each other where a walk is taken up again.
const CHAIN: usize = 4;

/// Account of a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Places at which it made no sense.
    pub bad_places: u64,
    /// Parts that were left out of the copy and are not proved to be an array of numbers: the copy is of no use.
    pub unproved: u64,
}

/// Calls `visit` with each object. `unallocated` (sorted) has none.
pub(super) fn walk(
    copy: &HeapCopy,
    classes: &mut ClassTable<'_>,
    unallocated: &[Range<u64>],
    visit: &mut dyn FnMut(&ClassTable<'_>, u64, ClassId),
) -> Walked {
    let mut walked = Walked::default();
    let mut assumed = Assumed { parts: copy.assumed(), unproved: 0 };
    for space in copy.spaces().iter().filter(|space| is_whole(space.kind)) {
        let mut at = space.bottom;
        // Where objects do not follow each other from the beginning on, nothing proves that one begins.
        let mut is_proof = true;
        while at < space.top {
            let after = unallocated.partition_point(|range| range.start <= at);
            let free = after.checked_sub(1).and_then(|index| unallocated.get(index));
            if let Some(free) = free.filter(|free| at < free.end) {
                at = free.end;
                continue;
            }
            match step(copy, classes, space, at) {
                Some((class, next)) => {
                    if assumed.begins_before(next) {
                        let elements = classes.elements(class, at..next).filter(|_| is_proof);
                        assumed.see(elements, next);
                    }
                    visit(classes, at, class);
                    at = next;
                }
                None => {
                    walked.bad_places += 1;
                    is_proof = false;
                    at = resume(copy, classes, space, at);
                }
            }
        }
        assumed.see(None, space.top);
    }
    walked.unproved = assumed.unproved + assumed.parts.len() as u64;
    walked
}

/// Parts of the copy that are still to be proved to be in arrays of numbers, sorted.
struct Assumed<'a> {
    parts: &'a [Range<u64>],
    unproved: u64,
}

impl Assumed<'_> {
    #[inline]
    fn begins_before(&self, end: u64) -> bool {
        self.parts.first().is_some_and(|part| part.start < end)
    }

    /// Takes the parts that begin before `end`; those in `elements` are proved.
    fn see(&mut self, elements: Option<Range<u64>>, end: u64) {
        while let Some((part, rest)) = self.parts.split_first().filter(|(part, _)| part.start < end) {
            let is_proved =
                elements.as_ref().is_some_and(|all| all.start <= part.start && part.end <= all.end);
            self.unproved += u64::from(!is_proved);
            self.parts = rest;
        }
    }
}

/// Is a space of this kind copied whole, objects one behind the other?
fn is_whole(kind: SpaceKind) -> bool {
    kind != SpaceKind::HumongousRest
}

/// The object at `at`, and where the next one begins.
pub(super) fn step(
    copy: &HeapCopy,
    classes: &mut ClassTable<'_>,
    space: &Space,
    at: u64,
) -> Option<(ClassId, u64)> {
    let class = classes.of_object(copy, at)?;
    let next = at.checked_add(classes.object_bytes(copy, at, class)?)?;
    // A humongous object goes on behind its first region.
    (next <= space.top || space.kind == SpaceKind::Humongous).then_some((class, next))
}

/// The next place behind `at` from which objects follow each other, or the end.
#[cold]
fn resume(copy: &HeapCopy, classes: &mut ClassTable<'_>, space: &Space, at: u64) -> u64 {
    let mut next = at + classes.shape.alignment;
    while next < space.top {
        let mut end = next;
        let follows = |end: &mut u64, classes: &mut ClassTable<'_>| match step(copy, classes, space, *end) {
            Some((_, behind)) => {
                *end = behind;
                true
            }
            None => false,
        };
        if (0..CHAIN).all(|_| end >= space.top || follows(&mut end, classes)) {
            return next;
        }
        next += classes.shape.alignment;
    }
    space.top
}
