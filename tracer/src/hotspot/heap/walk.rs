//! The walk over the objects of a copy, one behind the other, the dead ones too.
//!
//! A dead object's class may have been unloaded (G1 up to JDK 17), and then nothing tells how long it is. The walk goes on
//! at the next place from which several objects follow each other. Nothing that is reachable depends on it: a mark is led
//! to each object's start.

use std::ops::Range;

use super::class::ClassId;
use super::class_table::ClassTable;
use super::copy::{HeapCopy, Space, SpaceKind};

/// Objects that must follow each other where a walk is taken up again.
const CHAIN: usize = 4;

/// Calls `visit` with each object. `unallocated` (sorted) has none. Gives at how many places it made no sense.
pub(super) fn walk(
    copy: &HeapCopy,
    classes: &mut ClassTable<'_>,
    unallocated: &[Range<u64>],
    visit: &mut dyn FnMut(&ClassTable<'_>, u64, ClassId),
) -> u64 {
    let mut bad = 0;
    for space in copy.spaces().iter().filter(|space| is_whole(space.kind)) {
        let mut at = space.bottom;
        while at < space.top {
            let after = unallocated.partition_point(|range| range.start <= at);
            let free = after.checked_sub(1).and_then(|index| unallocated.get(index));
            if let Some(free) = free.filter(|free| at < free.end) {
                at = free.end;
                continue;
            }
            match step(copy, classes, space, at) {
                Some((class, next)) => {
                    visit(classes, at, class);
                    at = next;
                }
                None => {
                    bad += 1;
                    at = resume(copy, classes, space, at);
                }
            }
        }
    }
    bad
}

/// Is a space of this kind copied whole, objects one behind the other?
fn is_whole(kind: SpaceKind) -> bool {
    kind != SpaceKind::HumongousRest
}

/// The object at `at`, and where the next one begins.
fn step(copy: &HeapCopy, classes: &mut ClassTable<'_>, space: &Space, at: u64) -> Option<(ClassId, u64)> {
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
