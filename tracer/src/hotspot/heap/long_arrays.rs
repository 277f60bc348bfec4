//! Elements of `long[]` that are reachable: tables with primitive keys or values keep addresses of native memory there.
//!
//! Large arrays were left out of the copy; what is missing is read from the process itself, if the array is still where
//! it was.

use std::ops::Range;

use super::class::{ClassId, Kind};
use super::class_table::ClassTable;
use super::interiors::HEADER_BYTES;
use super::marked_heap::{MarkedHeap, Object};
use crate::process::address_ranges::without;
use crate::process::pagemap::ResidentMemory;

/// Internal name of the class.
const LONG_ARRAY: &str = "[J";
/// Read of the process at once, and in all.
const PIECE_BYTES: u64 = 1 << 20;
const MAX_READ_BYTES: u64 = 2 << 30;

/// Is this the class of `long[]`?
pub(super) fn is_long_array(classes: &ClassTable<'_>, class: ClassId) -> bool {
    classes.get(class).is_some_and(|class| class.name == LONG_ARRAY)
}

impl MarkedHeap<'_, '_> {
    /// Calls `visit` with every element of every `long[]` that was reached, but for zeros; to be called after
    /// [`MarkedHeap::each_long`], which finds the arrays. `memory` is that of the process, from which is read what was not
    /// copied. Gives the number of arrays of which something is not known.
    pub fn each_array_long(
        &self,
        memory: Option<&ResidentMemory<'_>>,
        visit: &mut dyn FnMut(Object, u64),
    ) -> u64 {
        let mut unread = 0;
        let mut budget = MAX_READ_BYTES;
        for index in &self.long_arrays {
            unread += u64::from(self.array_longs(*index, memory, &mut budget, visit).is_none());
        }
        unread
    }

    /// Elements of the array with this index; `None` if some are not known.
    fn array_longs(
        &self,
        index: usize,
        memory: Option<&ResidentMemory<'_>>,
        budget: &mut u64,
        visit: &mut dyn FnMut(Object, u64),
    ) -> Option<()> {
        let address = self.marks.object(index)?;
        let class = self.class_at(address)?;
        let Kind::PrimitiveArray { header_bytes, .. } = self.classes.get(class)?.kind else { return None };
        let object = Object { address, class, index: Some(index) };
        let length = u64::from(self.copy.half(address + self.classes.shape.array_length)?);
        let elements = address + header_bytes..address + header_bytes + 8 * length;
        let mut words = |bytes: &[u8]| {
            let words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
            words.filter(|word| *word != 0).for_each(|word| visit(object, word));
        };
        let missing = self.copy.left_out(&elements);
        for part in without(elements, &missing) {
            words(self.copy.bytes(part.start, (part.end - part.start) as usize)?);
        }
        if missing.is_empty() {
            return Some(());
        }
        let memory = memory.filter(|memory| self.is_still_there(address, memory))?;
        for part in missing {
            *budget = budget.checked_sub(part.end - part.start)?;
            self.read_pieces(part, memory, &mut words)?;
        }
        self.is_still_there(address, memory).then_some(())
    }

    fn read_pieces(
        &self,
        part: Range<u64>,
        memory: &ResidentMemory<'_>,
        words: &mut dyn FnMut(&[u8]),
    ) -> Option<()> {
        let mut buffer = vec![0; PIECE_BYTES.min(part.end - part.start) as usize];
        let mut next = part.start;
        while next < part.end {
            let piece = buffer.get_mut(..(part.end - next).min(PIECE_BYTES) as usize)?;
            if !memory.read(next, piece).ok()? {
                return None;
            }
            words(piece);
            next += piece.len() as u64;
        }
        Some(())
    }

    /// Has the process the same header there as the copy?
    fn is_still_there(&self, address: u64, memory: &ResidentMemory<'_>) -> bool {
        let shape = self.classes.shape;
        let mut header = [0; HEADER_BYTES as usize];
        matches!(memory.read(address, &mut header), Ok(true))
            && shape.pointer_in_header(&header) == shape.pointer(self.copy, address)
            && shape.length_in_header(&header) == self.copy.half(address + shape.array_length)
    }

    fn class_at(&self, address: u64) -> Option<ClassId> {
        self.classes.known(self.copy, address)
    }
}
