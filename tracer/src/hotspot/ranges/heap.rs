//! The Java heap by generation or kind of region, and what the collector maps beside it.

use std::ops::Range;

use tracer_common::arch::PAGE_BYTES;

use super::evidence::{Evidence, Structure};
use super::{JvmRange, RangeKind, RangeSource};
use crate::hotspot::layout::{End, G1Layout, SpaceField};
use crate::hotspot::read::ReadError;
use crate::hotspot::symbols;
use crate::hotspot::vmstructs::Field;

/// G1 regions of one heap (2,048 is what it aims at).
const MAX_REGIONS: u64 = 1 << 17;
/// Bytes read of a region's structure: its fields lie at its beginning.
const REGION_BYTES: u64 = 320;
/// Bytes read of a generation's structure.
const GENERATION_BYTES: u64 = 1024;
/// Bytes read of the parallel collector's static structures.
const STATIC_BYTES: u64 = 128;

impl RangeSource<'_> {
    /// The structure of the collected heap.
    pub(super) fn heap_address(&self) -> Option<u64> {
        self.reader.pointer(self.layout.heap?).ok()
    }

    pub(super) fn java_heap(&self, ranges: &mut Vec<JvmRange>) {
        let Some(heap) = self.heap_address() else { return };
        let mut parts = match self.gc {
            Some("G1") => self.g1_regions(heap).unwrap_or_default(),
            Some("Parallel") => self.parallel_spaces(),
            Some("Serial") => self.serial_spaces(heap),
            _ => Vec::new(),
        };
        ranges.append(&mut parts);
        match self.gc {
            // Its field `_reserved` is not used. Whatever the kernel maps there is part of a view of the heap.
            Some("ZGC") => ranges.extend(self.z_views().map(|range| java_heap(range, None))),
            _ => {
                let reserved = self.layout.reserved.and_then(|field| self.space(heap, field).ok());
                ranges.extend(reserved.map(|range| java_heap(range, None)));
            }
        }
    }

    /// The range that two fields of the structure at `base` tell.
    fn space(&self, base: u64, field: SpaceField) -> Result<Range<u64>, ReadError> {
        let start = self.reader.field(base, field.start)?;
        let end = match field.end {
            End::Address(field) => self.reader.field(base, field)?,
            End::Words(field) => self.reader.field(base, field)?.saturating_mul(8).saturating_add(start),
        };
        if start != 0 && start < end { Ok(start..end) } else { Err(ReadError::OutOfBounds(start)) }
    }

    fn g1_regions(&self, heap: u64) -> Result<Vec<JvmRange>, ReadError> {
        let Some(layout) = &self.layout.generations.g1 else { return Ok(Vec::new()) };
        let base = self.reader.pointer_field(heap, layout.base)?;
        let length = self.reader.field(heap, layout.length)?;
        if length > MAX_REGIONS {
            return Err(ReadError::OutOfBounds(length));
        }
        let table = self.reader.bytes(base, length * 8, MAX_REGIONS as usize * 8)?;
        let mut regions: Vec<JvmRange> = Vec::new();
        for entry in table.as_chunks::<8>().0 {
            // Regions that were never used have no structure.
            let Ok((range, name)) = self.g1_region(u64::from_le_bytes(*entry), layout) else { continue };
            match regions.last_mut() {
                Some(last) if last.name == Some(name) && last.range.end == range.start => {
                    last.range.end = range.end;
                }
                _ => regions.push(java_heap(range, Some(name))),
            }
        }
        Ok(regions)
    }

    fn g1_region(&self, address: u64, layout: &G1Layout) -> Result<(Range<u64>, &'static str), ReadError> {
        let region = self.reader.record(address, REGION_BYTES)?;
        let start = region.field(layout.region.start)?;
        let end = match layout.region.end {
            End::Address(field) | End::Words(field) => region.field(field)?,
        };
        let tag = region.field(layout.tag)?;
        let name = layout.tags.iter().find(|(value, _)| *value == tag).map_or("old", |(_, name)| *name);
        if start != 0 && start < end { Ok((start..end, name)) } else { Err(ReadError::OutOfBounds(start)) }
    }

    fn parallel_spaces(&self) -> Vec<JvmRange> {
        let layout = &self.layout.generations;
        let Some((young, old)) = layout.parallel else { return Vec::new() };
        let mut spaces = Vec::new();
        for (variable, fields) in [(young, &layout.parallel_young), (old, &layout.parallel_old)] {
            if let Ok(generation) = self.reader.pointer(variable) {
                spaces.extend(self.spaces(generation, fields, layout.parallel_space));
            }
        }
        spaces
    }

    fn serial_spaces(&self, heap: u64) -> Vec<JvmRange> {
        let layout = &self.layout.generations;
        let Some((young, old)) = layout.serial else { return Vec::new() };
        let mut spaces = Vec::new();
        for (field, fields) in [(young, &layout.serial_young), (old, &layout.serial_old)] {
            if let Ok(generation) = self.reader.pointer_field(heap, field) {
                spaces.extend(self.spaces(generation, fields, layout.serial_space));
            }
        }
        spaces
    }

    fn spaces(
        &self,
        generation: u64,
        fields: &[(Field, &'static str)],
        space: Option<SpaceField>,
    ) -> Vec<JvmRange> {
        let of = |&(field, name): &(Field, &'static str)| {
            let address = self.reader.pointer_field(generation, field).ok()?;
            Some(java_heap(self.space(address, space?).ok()?, Some(name)))
        };
        fields.iter().filter_map(of).collect()
    }

    /// The addresses at which ZGC can map its heap: one view, or three that differ in a bit.
    fn z_views(&self) -> Option<Range<u64>> {
        let view = |&(instance, mask): &(u64, Field)| {
            let mask = self.reader.pointer_field(self.reader.pointer(instance).ok()?, mask).ok()?;
            let view_bytes = self.reader.u64(mask).ok()?.checked_add(1)?;
            // It is 1 for a generation of ZGC that is not in use.
            let possible = view_bytes.is_power_of_two() && (1 << 32..=1 << 46).contains(&view_bytes);
            possible.then(|| view_bytes..view_bytes.saturating_mul(8).min(1 << 47))
        };
        self.layout.z_offset_masks.iter().find_map(view)
    }

    pub(super) fn collector(&self, evidence: &Evidence<'_>, ranges: &mut Vec<JvmRange>) {
        let mut gc = |range: Range<u64>, name| {
            if evidence.holds(range.start, range.end) {
                ranges.push(JvmRange { range, kind: RangeKind::Gc, name });
            }
        };
        if let Some(table) = self.card_table() {
            gc(table, Some("card table"));
        }
        if self.gc == Some("ZGC")
            && let Some(start) = self.symbols.address(symbols::Z_MARK_STACKS)
            && let Ok(start) = self.reader.pointer(start)
            && let Some(range) = self.anonymous.iter().find(|range| range.start == start)
        {
            // It is reserved whole and committed from its start: up to where another mapping begins that
            // is not this one's.
            let end = self.z_mark_stacks_end(start, range.end);
            gc(start..end, Some("mark stacks"));
        }
        let Some(heap) = self.heap_address() else { return };
        for range in evidence.of(&self.collector_roots(heap)) {
            gc(range, None);
        }
    }

    fn z_mark_stacks_end(&self, start: u64, committed_end: u64) -> u64 {
        let next = self.anonymous.iter().find(|range| range.start == committed_end);
        next.map_or(committed_end, |range| range.end).max(start)
    }

    fn card_table(&self) -> Option<Range<u64>> {
        let layout = self.layout.card_table?;
        let uses_cards = matches!(self.gc, Some("G1" | "Parallel" | "Serial" | "CMS"));
        let barrier_set = self.reader.pointer(layout.barrier_set).ok().filter(|_| uses_cards)?;
        let table = self.reader.pointer_field(barrier_set, layout.table).ok()?;
        let start = self.reader.field(table, layout.map).ok()?;
        let bytes = self.reader.field(table, layout.map_bytes).ok()?;
        // The map may begin within a page, after what it does not cover.
        let start = start - start % PAGE_BYTES;
        Some(start..start.checked_add(bytes)?.checked_next_multiple_of(PAGE_BYTES)?)
    }

    /// Structures that are the collector's.
    pub(super) fn collector_roots(&self, heap: u64) -> Vec<Structure> {
        let structure = |bytes: u64| move |address: u64| Structure { address, bytes };
        let mut roots = vec![structure(self.layout.heap_bytes)(heap)];
        let generations = &self.layout.generations;
        let mut generation = |address: Result<u64, ReadError>| {
            roots.extend(address.ok().map(structure(GENERATION_BYTES)));
        };
        match self.gc {
            Some("Parallel") => {
                if let Some((young, old)) = generations.parallel {
                    generation(self.reader.pointer(young));
                    generation(self.reader.pointer(old));
                }
                for symbol in [symbols::PARALLEL_MARK_BITMAP, symbols::PARALLEL_SUMMARY] {
                    roots.extend(self.symbols.address(symbol).map(structure(STATIC_BYTES)));
                }
            }
            Some("G1") => {
                let cache = self.symbols.address(symbols::G1_FROM_CARD_CACHE);
                roots.extend(cache.map(structure(8)));
            }
            Some("Serial" | "CMS") => {
                if let Some((young, old)) = generations.serial {
                    generation(self.reader.pointer_field(heap, young));
                    generation(self.reader.pointer_field(heap, old));
                }
            }
            _ => {}
        }
        roots
    }
}

fn java_heap(range: Range<u64>, name: Option<&'static str>) -> JvmRange {
    JvmRange { range, kind: RangeKind::JavaHeap, name }
}
