//! The Java heap: what of each space, or kind of region, holds objects.
//!
//! Used is from a space's start to its top, so what threads have taken for their own allocation counts as
//! used, as it does for the JVM.

use std::collections::BTreeMap;

use super::layout::{HeapUseLayout, Pool};
use super::{ATTEMPTS, StatsError, not_described};
use crate::hotspot::layout::{End, G1Layout, Layout, SpaceField};
use crate::hotspot::read::{ReadError, Reader};
use crate::hotspot::vmstructs::Field;

/// G1 regions of one heap.
const MAX_REGIONS: u64 = 1 << 17;
/// Bytes read of a region's structure: its fields lie at its beginning.
const REGION_BYTES: u64 = 320;
/// No heap is larger.
const MAX_BYTES: u64 = 1 << 47;

/// A space of the heap, or all regions of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapSpace {
    /// "eden", "survivor", "old", "humongous", "free"; "heap" where it is not divided.
    pub name: &'static str,
    /// Regions; 1 for a space.
    pub count: u64,
    pub capacity_bytes: u64,
    pub used_bytes: u64,
}

/// The Java heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JavaHeap {
    pub used_bytes: u64,
    /// The largest first.
    pub spaces: Vec<HeapSpace>,
}

/// `gc` as [`crate::hotspot::Hotspot::gc`] has it.
pub(super) fn read(
    reader: Reader<'_>,
    layout: &Layout,
    gc: Option<&str>,
    one_generation: bool,
) -> Result<JavaHeap, StatsError> {
    let fields = &layout.stats.heap;
    let heap = layout.ranges.heap.ok_or_else(|| not_described("its heap"))?;
    let heap = reader.pointer(heap)?;
    let walk = Walk { reader, layout, fields, heap };
    let pool = |pool: Option<Pool>| walk.pool(pool.ok_or_else(|| not_described("what of its heap is used"))?);
    let mut last = Err(not_described("what of its heap is used"));
    for _ in 0..ATTEMPTS {
        last = match gc {
            Some("G1") => walk.g1(),
            Some("Parallel") => walk.parallel(),
            Some("Serial" | "CMS") => walk.serial(),
            Some("ZGC") if one_generation && fields.old_z.is_some() => pool(fields.old_z),
            Some("ZGC") => pool(fields.z),
            Some("Shenandoah") => pool(fields.shenandoah),
            _ => break,
        };
        if !matches!(last, Err(StatsError::Unreadable(_))) {
            break;
        }
    }
    let mut spaces = last?;
    spaces.sort_by_key(|space| std::cmp::Reverse(space.capacity_bytes));
    Ok(JavaHeap { used_bytes: spaces.iter().map(|space| space.used_bytes).sum(), spaces })
}

struct Walk<'a> {
    reader: Reader<'a>,
    layout: &'a Layout,
    fields: &'a HeapUseLayout,
    /// Address of the collected heap's structure.
    heap: u64,
}

impl Walk<'_> {
    fn g1(&self) -> Result<Vec<HeapSpace>, StatsError> {
        let missing = || not_described("G1's regions");
        let layout = self.layout.ranges.generations.g1.as_ref().ok_or_else(missing)?;
        let top = self.fields.region_top.ok_or_else(missing)?;
        let base = self.reader.pointer_field(self.heap, layout.base)?;
        let length = self.reader.field(self.heap, layout.length)?;
        if length > MAX_REGIONS {
            return Err(ReadError::OutOfBounds(length).into());
        }
        let table = self.reader.bytes(base, length * 8, MAX_REGIONS as usize * 8)?;
        let mut kinds: BTreeMap<&'static str, HeapSpace> = BTreeMap::new();
        // Regions that were never used have no structure.
        for region in
            table.as_chunks::<8>().0.iter().map(|entry| u64::from_le_bytes(*entry)).filter(|at| *at != 0)
        {
            let space = self.region(region, layout, top)?;
            let kind =
                kinds.entry(space.name).or_insert(HeapSpace { name: space.name, ..HeapSpace::default() });
            kind.count += 1;
            kind.capacity_bytes += space.capacity_bytes;
            kind.used_bytes += space.used_bytes;
        }
        Ok(kinds.into_values().collect())
    }

    fn region(&self, address: u64, layout: &G1Layout, top: Field) -> Result<HeapSpace, ReadError> {
        let region = self.reader.record(address, REGION_BYTES)?;
        let end = match layout.region.end {
            End::Address(field) | End::Words(field) => region.field(field)?,
        };
        let tag = region.field(layout.tag)?;
        let name = layout.tags.iter().find(|(value, _)| *value == tag).map_or("old", |(_, name)| *name);
        space(name, region.field(layout.region.start)?, region.field(top)?, end)
    }

    fn parallel(&self) -> Result<Vec<HeapSpace>, StatsError> {
        let layout = &self.layout.ranges.generations;
        let (young, old) = layout.parallel.ok_or_else(|| not_described("its generations"))?;
        let mut spaces = self.spaces(
            self.reader.pointer(young)?,
            &layout.parallel_young,
            layout.parallel_space,
            self.fields.parallel_top,
        )?;
        spaces.extend(self.spaces(
            self.reader.pointer(old)?,
            &layout.parallel_old,
            layout.parallel_space,
            self.fields.parallel_top,
        )?);
        Ok(spaces)
    }

    fn serial(&self) -> Result<Vec<HeapSpace>, StatsError> {
        let layout = &self.layout.ranges.generations;
        let (young, old) = layout.serial.ok_or_else(|| not_described("its generations"))?;
        let mut spaces = Vec::new();
        for (field, fields) in [(young, &layout.serial_young), (old, &layout.serial_old)] {
            let generation = self.reader.pointer_field(self.heap, field)?;
            spaces.extend(self.spaces(generation, fields, layout.serial_space, self.fields.serial_top)?);
        }
        Ok(spaces)
    }

    fn spaces(
        &self,
        generation: u64,
        fields: &[(Field, &'static str)],
        bounds: Option<SpaceField>,
        top: Option<Field>,
    ) -> Result<Vec<HeapSpace>, StatsError> {
        let (bounds, top) = bounds.zip(top).ok_or_else(|| not_described("spaces of its heap"))?;
        let (End::Address(end) | End::Words(end)) = bounds.end;
        let read = |&(field, name): &(Field, &'static str)| {
            let at = self.reader.pointer_field(generation, field)?;
            let word = |field| self.reader.field(at, field);
            space(name, word(bounds.start)?, word(top)?, word(end)?)
        };
        Ok(fields.iter().map(read).collect::<Result<_, _>>()?)
    }

    fn pool(&self, pool: Pool) -> Result<Vec<HeapSpace>, StatsError> {
        let used_bytes = self.reader.field(self.heap, pool.used)?;
        let capacity_bytes = match pool.capacity {
            Some(field) => self.reader.field(self.heap, field)?,
            None => used_bytes,
        };
        if used_bytes > capacity_bytes || capacity_bytes > MAX_BYTES {
            return Err(ReadError::OutOfBounds(used_bytes).into());
        }
        Ok(vec![HeapSpace { name: "heap", count: 1, capacity_bytes, used_bytes }])
    }
}

fn space(name: &'static str, start: u64, top: u64, end: u64) -> Result<HeapSpace, ReadError> {
    if start > top || top > end || end > MAX_BYTES {
        return Err(ReadError::OutOfBounds(top));
    }
    Ok(HeapSpace { name, count: 1, capacity_bytes: end - start, used_bytes: top - start })
}
