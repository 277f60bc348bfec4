//! Ranges of the address space that are the JVM's, and their purpose.
//!
//! Takes the JVM's description of itself and the process's anonymous mappings; gives ranges, those that tell more
//! first: a region of the heap comes before the heap that it lies in. Ranges that the JVM does not describe are found
//! by evidence: a structure that belongs to the collector (or to metaspace) and holds both ends of a range of anonymous
//! memory. Nothing is guessed from sizes or neighbours alone. Source: HotSpot 8 to 25, `gc/*/…Heap.hpp`,
//! `gc/g1/g1RegionToSpaceMapper.hpp`, `memory/virtualspace.hpp`, `memory/metaspace/virtualSpaceNode.hpp`.

mod evidence;
mod heap;
mod metaspace;

use std::collections::BTreeSet;
use std::ops::Range;

use tracer_common::arch::PAGE_BYTES;

use self::evidence::Evidence;
use super::code_cache::{self, CodeCache};
use super::layout::{CodeLayout, RangesLayout};
use super::read::Reader;
use super::symbols::{self, Symbols};

/// Purpose of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RangeKind {
    JavaHeap,
    Metaspace,
    ClassSpace,
    CodeHeap,
    /// A code heap's map of its segments.
    CodeHeapMap,
    /// The collector's own: card tables, mark bitmaps, tables of regions.
    Gc,
    /// Read by threads to learn that a safepoint is wanted.
    PollingPage,
}

/// A range that is the JVM's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JvmRange {
    pub range: Range<u64>,
    pub kind: RangeKind,
    /// Name within its kind, if more is known: `eden`, `old`, `card table`, a code heap's name.
    pub name: Option<&'static str>,
}

/// Source of what is read.
pub(super) struct RangeSource<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) layout: &'a RangesLayout,
    pub(super) code: &'a CodeLayout,
    pub(super) code_cache: &'a CodeCache,
    pub(super) symbols: &'a Symbols,
    /// The collector's name.
    pub(super) gc: Option<&'static str>,
    /// The flag CompressedClassSpaceSize.
    pub(super) class_space_bytes: Option<u64>,
    pub(super) anonymous: &'a [Range<u64>],
}

impl RangeSource<'_> {
    /// Reads all ranges that can be told.
    pub(super) fn read(&self) -> Vec<JvmRange> {
        let evidence = Evidence::new(self.reader, self.anonymous);
        let mut ranges = Vec::new();
        self.code_heaps(&mut ranges);
        self.java_heap(&mut ranges);
        self.metaspace(&evidence, &mut ranges);
        self.collector(&evidence, &mut ranges);
        self.polling_page(&evidence, &mut ranges);
        ranges
    }

    /// Addresses of `starts` that the collector's structures point to.
    pub(super) fn collector_points_at(&self, starts: &BTreeSet<u64>) -> BTreeSet<u64> {
        let roots = self.heap_address().map(|heap| self.collector_roots(heap)).unwrap_or_default();
        Evidence::new(self.reader, self.anonymous).pointed_at(&roots, starts)
    }

    fn code_heaps(&self, ranges: &mut Vec<JvmRange>) {
        let heaps = self.code_cache.heaps_now(self.reader, self.code);
        let names = code_cache::heap_names(heaps.len());
        for (heap, name) in heaps.iter().zip(names) {
            let name = Some(*name);
            ranges.push(JvmRange { range: heap.low..heap.high, kind: RangeKind::CodeHeap, name });
            if let Some(map) = self.code_cache.segment_map(heap) {
                ranges.push(JvmRange { range: map, kind: RangeKind::CodeHeapMap, name });
            }
        }
    }

    fn polling_page(&self, evidence: &Evidence<'_>, ranges: &mut Vec<JvmRange>) {
        // With polls of each thread it is a bad page and a good one.
        for (symbol, pages) in [(symbols::POLLING_PAGE, 2), (symbols::OS_POLLING_PAGE, 1)] {
            let page = self.symbols.address(symbol).and_then(|at| self.reader.pointer(at).ok());
            let Some(page) = page.filter(|page| page.is_multiple_of(PAGE_BYTES)) else { continue };
            let end = page.saturating_add(pages * PAGE_BYTES);
            if evidence.holds(page, end) {
                ranges.push(JvmRange { range: page..end, kind: RangeKind::PollingPage, name: None });
            }
        }
    }
}
