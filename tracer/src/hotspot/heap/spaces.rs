//! The used spaces of a Java heap, and whether a collection is under way.
//!
//! G1: one space for each region; Parallel and Serial: eden, survivors, old. Others are not understood.

use tracer_common::arch::ADDRESS_END;

use super::copy::{GRANULE_BYTES, Space, SpaceKind, Spaces};
use super::{HeapAccess, HeapError};
use crate::hotspot::layout::{End, SpaceField};
use crate::hotspot::read::ReadError;
use crate::hotspot::vmstructs::Field;

/// G1 regions of one heap.
const MAX_REGIONS: u64 = 1 << 17;
/// Bytes read of a region's structure: its fields lie at its beginning.
const REGION_BYTES: u64 = 320;

/// State of the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collections {
    /// A collection has the program stopped: objects are being moved.
    pub active: bool,
    /// Number of collections that have begun.
    pub total: u64,
}

impl HeapAccess<'_> {
    /// Reads the present state of the collector.
    ///
    /// # Errors
    /// The process is gone.
    pub fn collections(&self) -> Result<Collections, HeapError> {
        let heap = self.reader.pointer(self.layout.heap)?;
        Ok(Collections {
            active: self.reader.field(heap, self.layout.gc_active)? != 0,
            total: self.reader.field(heap, self.layout.total_collections)?,
        })
    }

    /// The used spaces.
    ///
    /// # Errors
    /// They make no sense, or the collector is not understood.
    pub fn spaces(&self) -> Result<Spaces, HeapError> {
        let found = match self.gc {
            "G1" => self.regions()?,
            "Parallel" => self.parallel()?,
            _ => self.serial()?,
        };
        let start = found.iter().map(|(space, _)| space.bottom).min().unwrap_or(0);
        let end = found.iter().map(|(_, end)| *end).max().unwrap_or(0);
        let mut spaces: Vec<Space> = found.into_iter().map(|(space, _)| space).collect();
        spaces.retain(|space| space.bottom < space.top);
        spaces.sort_by_key(|space| space.bottom);
        let apart = spaces.iter().zip(spaces.iter().skip(1)).all(|(space, next)| {
            let granule = |address: u64| address / GRANULE_BYTES;
            space.top <= next.bottom && granule(space.top - 1) < granule(next.bottom)
        });
        if !apart {
            return Err(ReadError::OutOfBounds(0).into());
        }
        Ok(Spaces { used: spaces, extent: start..end })
    }

    fn regions(&self) -> Result<Vec<(Space, u64)>, HeapError> {
        let layout = self.ranges.generations.g1.as_ref().ok_or(HeapError::missing("G1's regions"))?;
        let top = self.heap_use.region_top.ok_or(HeapError::missing("the top of G1's regions"))?;
        let heap = self.reader.pointer(self.layout.heap)?;
        let base = self.reader.pointer_field(heap, layout.base)?;
        let length = self.reader.field(heap, layout.length)?;
        if length > MAX_REGIONS {
            return Err(ReadError::OutOfBounds(length).into());
        }
        let table = self.reader.bytes(base, length * 8, MAX_REGIONS as usize * 8)?;
        // Regions that were never used have no structure.
        let regions = table.as_chunks::<8>().0.iter().map(|entry| u64::from_le_bytes(*entry));
        let mut spaces = Vec::new();
        for region in regions.filter(|region| *region != 0) {
            let region = self.reader.record(region, REGION_BYTES)?;
            let (End::Address(end) | End::Words(end)) = layout.region.end;
            let (bottom, top, end) =
                (region.field(layout.region.start)?, region.field(top)?, region.field(end)?);
            let tag = region.field(layout.tag)?;
            let name = layout.tags.iter().find(|(value, _)| *value == tag).map_or("old", |(_, name)| *name);
            // No object is above the top of a free region.
            let top = if name == "free" { bottom } else { top };
            let (mut space, end) = space(bottom, top, end, kind(name))?;
            // Both tags of humongous regions have one name: the first of them begins an object.
            if name == "humongous" && Some(tag) == self.humongous_rest_tag() {
                space.kind = SpaceKind::HumongousRest;
            }
            spaces.push((space, end));
        }
        Ok(spaces)
    }

    /// The tag of a region in which a humongous object goes on: the later one of two in the layout's list.
    fn humongous_rest_tag(&self) -> Option<u64> {
        let tags = &self.ranges.generations.g1.as_ref()?.tags;
        let humongous = tags.iter().filter(|(_, name)| *name == "humongous").map(|(tag, _)| *tag);
        humongous.max()
    }

    fn parallel(&self) -> Result<Vec<(Space, u64)>, HeapError> {
        let layout = &self.ranges.generations;
        let (young, old) = layout.parallel.ok_or(HeapError::missing("its generations"))?;
        let (bounds, top) = (layout.parallel_space, self.heap_use.parallel_top);
        let young = self.reader.pointer(young)?;
        let mut spaces = self.generation(young, &layout.parallel_young, bounds, top)?;
        let old = self.reader.pointer(old)?;
        spaces.extend(self.generation(old, &layout.parallel_old, bounds, top)?);
        Ok(spaces)
    }

    fn serial(&self) -> Result<Vec<(Space, u64)>, HeapError> {
        let layout = &self.ranges.generations;
        let (young, old) = layout.serial.ok_or(HeapError::missing("its generations"))?;
        let heap = self.reader.pointer(self.layout.heap)?;
        let mut spaces = Vec::new();
        for (field, fields) in [(young, &layout.serial_young), (old, &layout.serial_old)] {
            let generation = self.reader.pointer_field(heap, field)?;
            let (bounds, top) = (layout.serial_space, self.heap_use.serial_top);
            spaces.extend(self.generation(generation, fields, bounds, top)?);
        }
        Ok(spaces)
    }

    fn generation(
        &self,
        generation: u64,
        fields: &[(Field, &'static str)],
        bounds: Option<SpaceField>,
        top: Option<Field>,
    ) -> Result<Vec<(Space, u64)>, HeapError> {
        let (bounds, top) = bounds.zip(top).ok_or(HeapError::missing("spaces of its heap"))?;
        let (End::Address(end) | End::Words(end)) = bounds.end;
        let read = |&(field, name): &(Field, &'static str)| {
            let at = self.reader.pointer_field(generation, field)?;
            let word = |field| self.reader.field(at, field);
            space(word(bounds.start)?, word(top)?, word(end)?, kind(name))
        };
        Ok(fields.iter().map(read).collect::<Result<_, _>>()?)
    }
}

fn kind(name: &str) -> SpaceKind {
    match name {
        "eden" | "survivor" => SpaceKind::Young,
        "humongous" => SpaceKind::Humongous,
        _ => SpaceKind::Old,
    }
}

/// A space, and where it ends.
fn space(bottom: u64, top: u64, end: u64, kind: SpaceKind) -> Result<(Space, u64), ReadError> {
    let possible = bottom <= top && top <= end && end <= ADDRESS_END && bottom.is_multiple_of(8);
    if possible { Ok((Space { bottom, top, kind }, end)) } else { Err(ReadError::OutOfBounds(top)) }
}
