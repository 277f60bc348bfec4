//! The optional fields that tell where the JVM's memory lies: heap, generations, regions, card table.
//!
//! Each is absent by itself: a JVM that lacks one leaves just that part without its name.

use crate::hotspot::vmstructs::{Field, VmStructs, Width};

/// Bytes read of a structure whose size the JVM does not tell.
const DEFAULT_BYTES: u64 = 2048;
/// Collected heaps, whose own fields lead to what the collector maps.
const HEAPS: [&str; 7] = [
    "G1CollectedHeap",
    "ParallelScavengeHeap",
    "SerialHeap",
    "GenCollectedHeap",
    "ShenandoahHeap",
    "ZCollectedHeap",
    "EpsilonHeap",
];

/// Fields that tell where the JVM's memory lies.
#[derive(Clone, Debug, Default)]
pub(in crate::hotspot) struct RangesLayout {
    /// Address of `Universe::_collectedHeap`.
    pub(in crate::hotspot) heap: Option<u64>,
    /// Bytes of the largest collected heap's own structure.
    pub(in crate::hotspot) heap_bytes: u64,
    pub(in crate::hotspot) reserved: Option<SpaceField>,
    pub(in crate::hotspot) generations: HeapLayout,
    pub(in crate::hotspot) card_table: Option<CardTable>,
    /// Addresses of `ZGlobalsForVMStructs::_instance_p` (in 21 to 23 of `XGlobalsForVMStructs`, too), and
    /// the field that points to the mask of offsets.
    pub(in crate::hotspot) z_offset_masks: Vec<(u64, Field)>,
    /// Address of the base of compressed class pointers.
    pub(in crate::hotspot) klass_base: Option<u64>,
}

/// Two neighbouring fields from which a range follows.
#[derive(Clone, Copy, Debug)]
pub(in crate::hotspot) struct SpaceField {
    pub(in crate::hotspot) start: Field,
    pub(in crate::hotspot) end: End,
}

/// Form of a range's end.
#[derive(Clone, Copy, Debug)]
pub(in crate::hotspot) enum End {
    Address(Field),
    /// A number of words of the heap, 8 bytes each.
    Words(Field),
}

/// The parts of a heap.
#[derive(Clone, Debug, Default)]
pub(in crate::hotspot) struct HeapLayout {
    pub(in crate::hotspot) g1: Option<G1Layout>,
    /// Pointers to the young and the old generation: static variables (Parallel) or fields of the heap.
    pub(in crate::hotspot) parallel: Option<(u64, u64)>,
    pub(in crate::hotspot) serial: Option<(Field, Field)>,
    /// Range that a generation reserved, and the pointers to its spaces with their names.
    pub(in crate::hotspot) parallel_space: Option<SpaceField>,
    pub(in crate::hotspot) parallel_young: Vec<(Field, &'static str)>,
    pub(in crate::hotspot) parallel_old: Vec<(Field, &'static str)>,
    pub(in crate::hotspot) serial_space: Option<SpaceField>,
    pub(in crate::hotspot) serial_young: Vec<(Field, &'static str)>,
    pub(in crate::hotspot) serial_old: Vec<(Field, &'static str)>,
}

/// G1's table of regions.
#[derive(Clone, Debug)]
pub(in crate::hotspot) struct G1Layout {
    /// Field of the heap's structure with the address of the table's pointer to its first entry, and their count.
    pub(in crate::hotspot) base: Field,
    pub(in crate::hotspot) length: Field,
    pub(in crate::hotspot) region: SpaceField,
    pub(in crate::hotspot) tag: Field,
    /// Name of each value of `tag`; every other one is old.
    pub(in crate::hotspot) tags: Vec<(u64, &'static str)>,
}

/// The card table of collectors that have one.
#[derive(Clone, Copy, Debug)]
pub(in crate::hotspot) struct CardTable {
    /// Address of `BarrierSet::_barrier_set`.
    pub(in crate::hotspot) barrier_set: u64,
    pub(in crate::hotspot) table: Field,
    pub(in crate::hotspot) map: Field,
    pub(in crate::hotspot) map_bytes: Field,
}

impl RangesLayout {
    pub(super) fn new(structs: &VmStructs) -> Self {
        let region = |outer: &str| {
            let outer = structs.field(&[outer]).ok()?;
            Some(SpaceField {
                start: within(outer, structs.field(&["MemRegion::_start"]).ok()?),
                end: End::Words(within(outer, structs.field(&["MemRegion::_word_size"]).ok()?)),
            })
        };
        let z_mask = |letter: char| {
            let globals = format!("{letter}GlobalsForVMStructs");
            let instance = structs.address(&[&format!("{globals}::_instance_p")]).ok()?;
            Some((instance, structs.field(&[&format!("{globals}::_{letter}AddressOffsetMask")]).ok()?))
        };
        Self {
            heap: structs.address(&["Universe::_collectedHeap"]).ok(),
            heap_bytes: HEAPS
                .iter()
                .filter_map(|heap| structs.size(heap).ok())
                .max()
                .map_or(DEFAULT_BYTES, |bytes| bytes.max(DEFAULT_BYTES)),
            reserved: region("CollectedHeap::_reserved"),
            generations: HeapLayout::new(structs),
            card_table: CardTable::new(structs),
            z_offset_masks: ['Z', 'X'].into_iter().filter_map(z_mask).collect(),
            klass_base: structs
                .address(&[
                    "CompressedKlassPointers::_base",
                    "CompressedKlassPointers::_narrow_klass._base",
                    "Universe::_narrow_klass._base",
                ])
                .ok(),
        }
    }
}

impl HeapLayout {
    fn new(structs: &VmStructs) -> Self {
        let space = |starts: &[&str], ends: &[&str]| {
            Some(SpaceField {
                start: structs.field(starts).ok()?,
                end: End::Address(structs.field(ends).ok()?),
            })
        };
        let fields = |spaces: &[(&str, &'static str)]| {
            spaces.iter().filter_map(|(field, name)| Some((structs.field(&[field]).ok()?, *name))).collect()
        };
        let young = structs.address(&["ParallelScavengeHeap::_young_gen"]).ok();
        let old = structs.address(&["ParallelScavengeHeap::_old_gen"]).ok();
        let serial_young = structs.field(&["SerialHeap::_young_gen", "GenCollectedHeap::_young_gen"]).ok();
        let serial_old = structs.field(&["SerialHeap::_old_gen", "GenCollectedHeap::_old_gen"]).ok();
        Self {
            g1: G1Layout::new(structs),
            parallel: young.zip(old),
            serial: serial_young.zip(serial_old),
            parallel_space: space(
                &["MutableSpace::_bottom", "Space::_bottom"],
                &["MutableSpace::_end", "Space::_end"],
            ),
            parallel_young: fields(&[
                ("PSYoungGen::_eden_space", "eden"),
                ("PSYoungGen::_from_space", "survivor"),
                ("PSYoungGen::_to_space", "survivor"),
            ]),
            parallel_old: fields(&[("PSOldGen::_object_space", "old")]),
            serial_space: space(
                &["ContiguousSpace::_bottom", "Space::_bottom"],
                &["ContiguousSpace::_end", "Space::_end"],
            ),
            serial_young: fields(&[
                ("DefNewGeneration::_eden_space", "eden"),
                ("DefNewGeneration::_from_space", "survivor"),
                ("DefNewGeneration::_to_space", "survivor"),
            ]),
            serial_old: fields(&[("TenuredGeneration::_the_space", "old")]),
        }
    }
}

impl G1Layout {
    fn new(structs: &VmStructs) -> Option<Self> {
        let field = |names: &[&str]| structs.field(names).ok();
        let manager = field(&["G1CollectedHeap::_hrm"])?;
        // Until 11 the manager is part of the heap, later it may be: a pointer to it is not followed.
        if structs.type_text("G1CollectedHeap::_hrm").is_some_and(|text| text.ends_with('*')) {
            return None;
        }
        let table =
            within(manager, field(&["G1HeapRegionManager::_regions", "HeapRegionManager::_regions"])?);
        let tag = within(
            field(&["G1HeapRegion::_type", "HeapRegion::_type"])?,
            field(&["G1HeapRegionType::_tag", "HeapRegionType::_tag"])?,
        );
        let constant = |name: &str| {
            let names = [format!("G1HeapRegionType::{name}"), format!("HeapRegionType::{name}")];
            names.iter().find_map(|name| u64::try_from(structs.constant(name)?).ok())
        };
        let tags = [
            ("FreeTag", "free"),
            ("EdenTag", "eden"),
            ("SurvTag", "survivor"),
            ("StartsHumongousTag", "humongous"),
            ("ContinuesHumongousTag", "humongous"),
        ];
        Some(Self {
            base: within(table, field(&["G1HeapRegionTable::_base"])?),
            length: within(table, field(&["G1HeapRegionTable::_length"])?),
            region: SpaceField {
                start: field(&["G1HeapRegion::_bottom", "HeapRegion::_bottom", "Space::_bottom"])?,
                end: End::Address(field(&["G1HeapRegion::_end", "HeapRegion::_end", "Space::_end"])?),
            },
            // An enumeration; its values are small.
            tag: Field { width: Width::One, ..tag },
            tags: tags.into_iter().filter_map(|(tag, name)| Some((constant(tag)?, name))).collect(),
        })
    }
}

impl CardTable {
    fn new(structs: &VmStructs) -> Option<Self> {
        Some(Self {
            barrier_set: structs.address(&["BarrierSet::_barrier_set"]).ok()?,
            table: structs.field(&["CardTableBarrierSet::_card_table"]).ok()?,
            map: structs.field(&["CardTable::_byte_map"]).ok()?,
            map_bytes: structs.field(&["CardTable::_byte_map_size"]).ok()?,
        })
    }
}

/// A field of a structure that is itself a field.
fn within(outer: Field, inner: Field) -> Field {
    Field { offset: outer.offset.wrapping_add(inner.offset), width: inner.width }
}
