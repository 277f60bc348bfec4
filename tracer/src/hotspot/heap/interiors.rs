//! Interiors of large arrays of numbers, which need no copy: no reference is in them, and no object begins in them.
//!
//! G1 has a region of its own, or several, for each object from half a region on, so its header tells how far it goes.
//! While the target is held, the answer is certain. Arrays that lie among other objects: `large_arrays`.

use std::collections::HashMap;
use std::ops::Range;

use super::HeapAccess;
use super::copy::{Space, SpaceKind};
use super::large_arrays::whole_pages;
use crate::hotspot::read::pointer;

/// Read of an object: its class and its length.
pub(super) const HEADER_BYTES: u64 = 24;
/// Upper two bits of the layout helper of a class of arrays of numbers.
const PRIMITIVE_ARRAY: u32 = 3;

/// A class of arrays of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NumberArrays {
    header_bytes: u64,
    /// Binary logarithm of an element's bytes.
    element: u32,
}

impl NumberArrays {
    /// `None` if the layout helper is of other objects.
    fn of(layout_helper: i32) -> Option<Self> {
        let helper = layout_helper.cast_unsigned();
        let element = helper & 0x3f;
        let is_such = helper >> 30 == PRIMITIVE_ARRAY && element <= 3;
        is_such.then_some(Self { header_bytes: u64::from(helper >> 16 & 0xff), element })
    }

    /// Pages that only elements lie on, in an array at the begin of the first of these spaces; none where the other
    /// spaces do not continue it.
    fn interior(self, length: u64, spaces: &[Space]) -> Option<Range<u64>> {
        let (first, rest) = spaces.split_first()?;
        let end = first.bottom.checked_add(self.header_bytes)?.checked_add(length << self.element)?;
        let mut reach = first.top;
        for next in rest.iter().take_while(|next| next.kind == SpaceKind::HumongousRest) {
            if next.bottom != reach || reach >= end {
                break;
            }
            reach = next.top;
        }
        whole_pages(first.bottom + self.header_bytes..end.min(reach))
    }
}

impl HeapAccess<'_> {
    /// Parts of `spaces` (sorted) that need no copy, sorted.
    pub fn interiors(&self, spaces: &[Space]) -> Vec<Range<u64>> {
        let mut classes = HashMap::new();
        let large = spaces.iter().enumerate().filter(|(_, space)| space.kind == SpaceKind::Humongous);
        large
            .filter_map(|(at, space)| {
                let header = self.reader.bytes(space.bottom, HEADER_BYTES, HEADER_BYTES as usize).ok()?;
                let class = self.shape.class_in_header(&header)?;
                let arrays = *classes.entry(class).or_insert_with(|| self.number_arrays(class));
                arrays?.interior(self.shape.length_in_header(&header)?.into(), spaces.get(at..)?)
            })
            .collect()
    }

    fn number_arrays(&self, class: u64) -> Option<NumberArrays> {
        let layout = &self.layout.classes;
        let class = self.reader.record(pointer(class).ok()?, layout.instance_klass_bytes.min(464)).ok()?;
        NumberArrays::of(class.signed(layout.layout_helper).ok()? as i32)
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::arch::PAGE_BYTES;

    use super::*;

    const MIB: u64 = 1 << 20;
    const BYTES: NumberArrays = NumberArrays { header_bytes: 16, element: 0 };

    fn space(index: u64, bytes: u64, kind: SpaceKind) -> Space {
        Space { bottom: index * MIB, top: index * MIB + bytes, kind }
    }

    #[test]
    fn only_arrays_of_numbers_have_one() {
        // byte[], long[], Object[], an instance.
        assert_eq!(NumberArrays::of(0xc010_0800_u32.cast_signed()), Some(BYTES));
        let longs = NumberArrays { header_bytes: 16, element: 3 };
        assert_eq!(NumberArrays::of(0xc010_0b03_u32.cast_signed()), Some(longs));
        assert_eq!(NumberArrays::of(0x8010_0e02_u32.cast_signed()), None);
        assert_eq!(NumberArrays::of(24), None);
        assert_eq!(NumberArrays::of(0xc010_0810_u32.cast_signed()), None);
    }

    #[test]
    fn an_interior_goes_as_far_as_the_regions_that_continue_it() {
        use SpaceKind::{Humongous, HumongousRest, Young};
        let first = space(1, MIB, Humongous);
        let page = PAGE_BYTES;
        assert_eq!(BYTES.interior(MIB - 16, &[first]), Some(MIB + page..2 * MIB));
        assert_eq!(BYTES.interior(MIB / 2, &[first]), Some(MIB + page..MIB + MIB / 2));
        let rest = space(2, MIB / 2, HumongousRest);
        let more = MIB + MIB / 2 - 16;
        assert_eq!(BYTES.interior(more, &[first, rest]), Some(MIB + page..2 * MIB + MIB / 2));
        // A lying length, another space behind it, another object behind it, nothing at all.
        assert_eq!(BYTES.interior(u64::from(u32::MAX), &[first, rest]), Some(MIB + page..2 * MIB + MIB / 2));
        assert_eq!(BYTES.interior(more, &[first, space(2, MIB, Young)]), Some(MIB + page..2 * MIB));
        assert_eq!(BYTES.interior(more, &[first, space(3, MIB, HumongousRest)]), Some(MIB + page..2 * MIB));
        assert_eq!(BYTES.interior(100, &[first]), None);
        assert_eq!(BYTES.interior(100, &[]), None);
    }
}
