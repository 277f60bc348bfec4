//! glibc's heaps, by their own headers.
//!
//! An arena of a thread is a heap of 64 MiB at a multiple of 64 MiB that begins with `heap_info`: the
//! arena, the heap before it, its size and what of it may be touched. A chunk with a mapping of its own
//! begins with an empty word and its length with the bit that says so.
//! Source: glibc 2.27 to 2.43, `malloc/{malloc,arena}.c`.

use std::ops::Range;

use tracer_common::arch::PAGE_BYTES;

use super::smaps::Vma;
use crate::glibc;
use crate::process::memory::ProcessMemory;

/// `HEAP_MAX_SIZE`.
const HEAP_BYTES: u64 = 64 << 20;
/// Chunks found in one mapping at most.
const MAX_CHUNKS: usize = 1 << 16;

/// The heaps of arenas, as they are reserved.
pub(super) fn arenas(vmas: &[Vma], memory: &dyn ProcessMemory) -> Vec<Range<u64>> {
    let mut heaps = Vec::new();
    for vma in vmas.iter().filter(|vma| vma.is_anonymous() && vma.mapping.writable) {
        let mut start = vma.mapping.start.next_multiple_of(HEAP_BYTES);
        while start < vma.mapping.end {
            if is_heap(memory, start) {
                heaps.push(start..start.saturating_add(HEAP_BYTES));
            }
            start = start.saturating_add(HEAP_BYTES);
        }
    }
    heaps
}

fn is_heap(memory: &dyn ProcessMemory, start: u64) -> bool {
    let word = |index: u64| memory.read_u64(start + 8 * index).unwrap_or(0);
    let (arena, previous, size, touchable) = (word(0), word(1), word(2), word(3));
    let own_arena = previous == 0 && (start + 32..start + PAGE_BYTES).contains(&arena);
    let other_arena = previous != 0
        && previous.is_multiple_of(HEAP_BYTES)
        && memory.read_u64(previous).is_ok_and(|first| first == arena);
    let bounded = |bytes: u64| bytes != 0 && bytes <= HEAP_BYTES && bytes.is_multiple_of(PAGE_BYTES);
    (own_arena || other_arena) && bounded(size) && bounded(touchable) && size <= touchable
}

/// The chunks that fill `range` from its start, one after another.
pub(super) fn mapped_chunks(range: Range<u64>, memory: &dyn ProcessMemory) -> Vec<Range<u64>> {
    let mut chunks = Vec::new();
    let mut start = range.start;
    while start < range.end && chunks.len() < MAX_CHUNKS {
        let (Ok(before), Ok(size)) = (memory.read_u64(start), memory.read_u64(start + 8)) else { break };
        let bytes = glibc::mapped_bytes(before, size);
        let Some(bytes) = bytes.filter(|bytes| *bytes <= range.end - start) else { break };
        chunks.push(start..start + bytes);
        start += bytes;
    }
    chunks
}
