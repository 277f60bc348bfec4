//! The code cache: each heap with what is reserved, committed and used of it.
//!
//! Used is the sum of the blocks in use, walked by the segment map.

use crate::hotspot::code_cache::{CodeCache, Heap};
use crate::hotspot::layout::Layout;
use crate::hotspot::read::Reader;
use crate::hotspot::resolve::Compiled;

/// Bytes of a `CodeHeap` that are searched for its name.
const MAX_HEAP_RECORD: u64 = 1024;
const MAX_NAME: usize = 64;

/// A code heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeHeap {
    /// Name as the JVM has it: `CodeHeap 'profiled nmethods'`, `CodeCache`.
    pub name: String,
    pub start: u64,
    pub reserved_bytes: u64,
    pub committed_bytes: u64,
    /// Bytes of blocks in use.
    pub used_bytes: u64,
    /// Blocks in use: methods, stubs, adapters.
    pub block_count: u64,
}

/// The code cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeStats {
    pub heaps: Vec<CodeHeap>,
    pub methods: Vec<Compiled>,
}

pub(super) fn heaps(reader: Reader<'_>, layout: &Layout, cache: &CodeCache) -> Vec<CodeHeap> {
    cache.heaps_now(reader, &layout.code).into_iter().map(|heap| read(reader, layout, cache, &heap)).collect()
}

fn read(reader: Reader<'_>, layout: &Layout, cache: &CodeCache, heap: &Heap) -> CodeHeap {
    let (mut used_bytes, mut block_count) = (0, 0);
    let block_used = layout.code.block_used;
    cache.each_block(reader, heap, |block| {
        if reader.field(block, block_used) != Ok(1) {
            return;
        }
        // A block that says that it is longer than its heap is not believed.
        let segments =
            layout.stats.block_segments.and_then(|field| reader.field(block, field).ok()).unwrap_or(0);
        let bytes =
            segments.checked_mul(1 << heap.log2_segment_bytes).filter(|bytes| *bytes <= heap.high - block);
        used_bytes += bytes.unwrap_or(0);
        block_count += 1;
    });
    CodeHeap {
        name: name(reader, layout, heap).unwrap_or_else(|| "CodeCache".to_owned()),
        start: heap.low,
        reserved_bytes: heap.high - heap.low,
        committed_bytes: heap.committed - heap.low,
        used_bytes,
        block_count,
    }
}

/// Name of a heap: one of the words of the heap's structure points to it.
fn name(reader: Reader<'_>, layout: &Layout, heap: &Heap) -> Option<String> {
    let bytes = layout.stats.code_heap_bytes.filter(|bytes| *bytes <= MAX_HEAP_RECORD)?;
    (0..bytes).step_by(8).find_map(|offset| {
        let text = reader.c_string(reader.u64(heap.address + offset).ok()?, MAX_NAME).ok()?;
        (text.starts_with("CodeHeap") || text.starts_with("CodeCache") || text.starts_with("Code Cache"))
            .then_some(text)
    })
}
