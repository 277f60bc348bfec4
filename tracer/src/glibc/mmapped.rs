//! Chunks that each have a mapping of their own.
//!
//! malloc keeps no list of them, only their count and sum. They are found at the starts of pages: no
//! bytes before them, a length in whole pages (from glibc 2.43 on without the header's 16 bytes) with the
//! bit that says so, and the end within the mapping. Neighbours are merged into one line of the kernel's list, so a mapping is gone through from
//! chunk to chunk.

use std::ops::Range;

use tracer_common::arch::PAGE_BYTES;

use super::parameters::Parameters;
use super::sizes::Sizes;
use super::source::HeapSource;
use super::walk::{Chunk, HEADER_BYTES};
use super::{Amount, Arena, Mapped};
use crate::process::address_ranges::{joined, without};
use crate::process::mapping::Mapping;
use crate::process::pagemap;

const IS_MAPPED: u64 = 2;
/// Found at most; 65,536 is malloc's own limit, unless it was told another.
const MAX_CHUNKS: usize = 1 << 20;
/// Bytes of a chunk that are shown.
const SHOWN_BYTES: usize = 96;

/// Finds them, in memory that is not an arena's.
pub(super) fn find(
    source: &HeapSource<'_>,
    arenas: &[Arena],
    parameters: Option<&Parameters>,
    sizes: &mut Sizes,
    visit: &mut dyn FnMut(&Chunk<'_>),
) -> Mapped {
    let mut taken: Vec<Range<u64>> = source.excluded.to_vec();
    taken.extend(arenas.iter().flat_map(|arena| &arena.heaps).map(|heap| heap.reserved.clone()));
    let taken = joined(taken);
    let mut mapped = Mapped { counted: parameters.map(|parameters| parameters.mapped), ..Mapped::default() };
    mapped.resident_bytes = Some(0);
    if mapped.counted == Some(Amount::default()) {
        return mapped;
    }
    for mapping in source.mappings.iter().filter(|mapping| may_hold_chunks(mapping)) {
        for free in without(mapping.start..mapping.end, &taken) {
            in_range(source, free, &mut mapped);
        }
    }
    for chunk in &mapped.chunks {
        let bytes = chunk.end - chunk.start;
        mapped.found.add(bytes);
        sizes.add(bytes);
        let resident = pagemap::resident_bytes(source.residency, chunk.start, chunk.end).ok();
        mapped.resident_bytes = mapped.resident_bytes.zip(resident).map(|(sum, bytes)| sum + bytes);
        let mut head = [0; SHOWN_BYTES];
        let address = chunk.start + HEADER_BYTES;
        let head = if source.memory.read(address, &mut head).is_ok() { head.as_slice() } else { &[] };
        visit(&Chunk { address, usable_bytes: bytes - HEADER_BYTES, head });
    }
    mapped
}

fn may_hold_chunks(mapping: &Mapping) -> bool {
    mapping.readable && mapping.writable && !mapping.shared && mapping.inode == 0 && mapping.path.is_empty()
}

fn in_range(source: &HeapSource<'_>, range: Range<u64>, mapped: &mut Mapped) {
    let mut next = range.start;
    // A page map that cannot be read leaves what was found so far.
    let _ = pagemap::each_resident(source.residency, range.start, range.end, |page| {
        if page < next || mapped.chunks.len() >= MAX_CHUNKS {
            return;
        }
        let Some([before, word]) = source.words::<2>(page) else { return };
        if let Some(bytes) = mapped_bytes(before, word).filter(|bytes| *bytes <= range.end - page) {
            next = page + bytes;
            mapped.chunks.push(page..next);
        }
    });
}

/// Bytes of the chunk with a mapping of its own that begins with these two words, if they can be one.
pub fn mapped_bytes(before: u64, word: u64) -> Option<u64> {
    let told = word & !7;
    let bytes = told.checked_add(HEADER_BYTES)? / PAGE_BYTES * PAGE_BYTES;
    let is_told = told == bytes || told + HEADER_BYTES == bytes;
    (before == 0 && word & 7 == IS_MAPPED && bytes >= PAGE_BYTES && is_told).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_with_and_without_the_header() {
        for word in [0x2002, 0x1ff2] {
            assert_eq!(mapped_bytes(0, word), Some(0x2000), "{word:#x}");
        }
        for word in [0x2003, 0x2012, 2, 0xffa, u64::MAX, !5] {
            assert_eq!(mapped_bytes(0, word), None, "{word:#x}");
        }
        assert_eq!(mapped_bytes(16, 0x2002), None);
    }
}
