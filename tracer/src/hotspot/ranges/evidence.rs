//! Finding what a structure maps, by the two ends of a range that it holds.
//!
//! A structure of HotSpot that owns a mapping keeps its start beside its end or its length. So where a
//! word is the address of a page of anonymous memory, and the next word closes a range that is anonymous
//! from one end to the other, that range is the structure's.

use std::collections::BTreeSet;
use std::ops::Range;

use tracer_common::arch::PAGE_BYTES;

use crate::hotspot::read::{Reader, pointer};

/// Bytes read of what a word points to.
const POINTEE_BYTES: u64 = 512;
/// Largest unit or alignment that can lie beside an address: larger numbers are lengths.
const MAX_UNIT_BYTES: u64 = 64 << 10;
/// Structures looked into, beginning with the roots.
const MAX_STRUCTURES: usize = 4096;

/// A structure of the JVM in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Structure {
    pub(super) address: u64,
    pub(super) bytes: u64,
}

/// The anonymous memory in which a range must lie.
pub(super) struct Evidence<'a> {
    reader: Reader<'a>,
    /// Starts and ends of mappings.
    edges: BTreeSet<u64>,
    /// Neighbours merged, sorted.
    merged: Vec<Range<u64>>,
}

impl<'a> Evidence<'a> {
    pub(super) fn new(reader: Reader<'a>, anonymous: &[Range<u64>]) -> Self {
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in anonymous {
            match merged.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => merged.push(range.clone()),
            }
        }
        let edges = anonymous.iter().flat_map(|range| [range.start, range.end]).collect();
        Self { reader, edges, merged }
    }

    /// Is all of `start..end` anonymous memory?
    pub(super) fn holds(&self, start: u64, end: u64) -> bool {
        let index = self.merged.partition_point(|range| range.start <= start);
        let range = index.checked_sub(1).and_then(|index| self.merged.get(index));
        start < end && range.is_some_and(|range| end <= range.end)
    }

    /// The ranges whose ends are in the structures `roots`, or in what these point to.
    pub(super) fn of(&self, roots: &[Structure]) -> Vec<Range<u64>> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for root in roots {
            let words = self.words(root.address, root.bytes);
            self.ranges(&words, &mut found);
            for address in words {
                if seen.len() >= MAX_STRUCTURES {
                    break;
                }
                if pointer(address).is_ok() && !self.edges.contains(&address) && seen.insert(address) {
                    self.ranges(&self.words(address, POINTEE_BYTES), &mut found);
                }
            }
        }
        found.sort_by_key(|range| (range.start, range.end));
        found.dedup();
        found
    }

    /// Addresses of `starts` that are in the structures `roots`, in what these point to, or in what that
    /// points to.
    pub(super) fn pointed_at(&self, roots: &[Structure], starts: &BTreeSet<u64>) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut level: Vec<u64> =
            roots.iter().flat_map(|root| self.words(root.address, root.bytes)).collect();
        for _ in 0..2 {
            let mut next = Vec::new();
            for address in level {
                if starts.contains(&address) {
                    found.insert(address);
                } else if seen.len() < MAX_STRUCTURES && pointer(address).is_ok() && seen.insert(address) {
                    next.extend(self.words(address, POINTEE_BYTES));
                }
            }
            level = next;
        }
        found.extend(level.into_iter().filter(|address| starts.contains(address)));
        found
    }

    /// The words of a structure, up to the first that cannot be read.
    pub(super) fn words(&self, address: u64, bytes: u64) -> Vec<u64> {
        let Ok(address) = pointer(address) else { return Vec::new() };
        // The range that is asked for may reach past the last page of a heap.
        let within_page = PAGE_BYTES - address % PAGE_BYTES;
        let read = |bytes: u64| self.reader.bytes(address, bytes, 1 << 16).ok();
        let bytes = read(bytes).or_else(|| read(within_page.min(bytes))).unwrap_or_default();
        bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
    }

    fn ranges(&self, words: &[u64], found: &mut Vec<Range<u64>>) {
        let pairs = words.windows(2).filter_map(|pair| pair.first().copied().zip(pair.get(1).copied()));
        found.extend(pairs.filter_map(|(one, other)| self.range(one, other)));
    }

    /// The range that two neighbouring words tell, if they do.
    pub(super) fn range(&self, one: u64, other: u64) -> Option<Range<u64>> {
        let is_page = |word: u64| word != 0 && word.is_multiple_of(PAGE_BYTES);
        if is_page(one) && is_page(other) {
            // Two addresses, or an address and a length in bytes; a small one could be the size of a page.
            let is_length = |end: &u64| other > MAX_UNIT_BYTES || self.edges.contains(end);
            for end in [Some(other), one.checked_add(other).filter(is_length)] {
                if let Some(end) = end.filter(|end| self.holds(one, *end)) {
                    return Some(one..end);
                }
            }
        }
        // A length in words beside the address, on either side: then it must be a whole mapping.
        self.words_from(one, other).or_else(|| self.words_from(other, one))
    }

    /// The range of this start and length, in bytes or words.
    pub(super) fn of_length(&self, start: u64, length: u64) -> Option<Range<u64>> {
        let in_pages = start.is_multiple_of(PAGE_BYTES) && length.is_multiple_of(PAGE_BYTES);
        let end = start.checked_add(length).filter(|end| in_pages && self.holds(start, *end));
        end.map(|end| start..end).or_else(|| self.words_from(start, length))
    }

    fn words_from(&self, start: u64, length: u64) -> Option<Range<u64>> {
        let end = length.checked_mul(8).and_then(|bytes| start.checked_add(bytes))?;
        let whole = self.edges.contains(&start) && self.edges.contains(&end);
        (whole && self.holds(start, end)).then_some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::memory::ImageMemory;

    const ANONYMOUS: [Range<u64>; 3] = [0x10_0000..0x20_0000, 0x20_0000..0x30_0000, 0x50_0000..0x58_0000];

    fn image(words: &[(u64, u64)]) -> ImageMemory {
        let mut bytes = vec![0; 0x2000];
        for (offset, word) in words {
            bytes[*offset as usize..*offset as usize + 8].copy_from_slice(&word.to_le_bytes());
        }
        ImageMemory::new(vec![(0x1_0000, bytes)])
    }

    fn found(words: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let image = image(words);
        let found =
            Evidence::new(Reader::new(&image), &ANONYMOUS).of(&[Structure { address: 0x1_0000, bytes: 256 }]);
        found.into_iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn two_ends_or_a_length() {
        // Across the seam of two mappings.
        assert_eq!(found(&[(0, 0x18_0000), (8, 0x21_0000)]), [(0x18_0000, 0x21_0000)]);
        assert_eq!(found(&[(0, 0x18_0000), (8, 0x2_0000)]), [(0x18_0000, 0x1a_0000)]);
        assert_eq!(found(&[(0, 0x18_0000), (8, 0x1000)]), [], "the size of a page");
        assert_eq!(found(&[(0, 0x57_f000), (8, 0x1000)]), [(0x57_f000, 0x58_0000)]);
        // A length in words: of a whole mapping only.
        assert_eq!(found(&[(0, 0x1_0000), (8, 0x50_0000)]), [(0x50_0000, 0x58_0000)]);
        assert_eq!(found(&[(0, 0x51_0000), (8, 0x8000 + 8)]), []);
    }

    #[test]
    fn what_is_pointed_to_counts_too() {
        assert_eq!(
            found(&[(64, 0x1_1000), (0x1010, 0x50_0000), (0x1018, 0x52_0000)]),
            [(0x50_0000, 0x52_0000)]
        );
    }

    #[test]
    fn a_range_that_is_not_all_anonymous_is_none() {
        assert_eq!(found(&[(0, 0x2f_0000), (8, 0x31_0000)]), []);
        assert_eq!(found(&[(0, 0x20_0000), (8, 0x10_0000)]), [(0x20_0000, 0x30_0000)], "a length");
        assert_eq!(found(&[(0, 0x40_0000), (8, 0x41_0000)]), []);
    }
}
