//! The fields that the statistics need, each subject for itself.

use crate::hotspot::HotspotError;
use crate::hotspot::vmstructs::{Field, VmStructs, Width};

/// Statistics that this JVM describes.
#[derive(Clone, Debug, Default)]
pub(in crate::hotspot) struct StatsLayout {
    pub(super) loaders: Option<LoaderLayout>,
    pub(super) mirror: Option<MirrorLayout>,
    pub(super) jni: Option<JniLayout>,
    /// Addresses of the pointers to the tables of symbols and strings, where they are a `Hashtable`.
    pub(super) symbol_table: Option<u64>,
    pub(super) string_table: Option<u64>,
    pub(super) hashtable: Option<HashtableLayout>,
    pub(in crate::hotspot) heap: HeapUseLayout,
    /// `HeapBlock::Header::_length`, and the bytes of a `CodeHeap`.
    pub(super) block_segments: Option<Field>,
    pub(super) code_heap_bytes: Option<u64>,
}

/// The graph of class loaders.
#[derive(Clone, Debug)]
pub(super) struct LoaderLayout {
    /// Address of the pointer to the first.
    pub(super) head: u64,
    pub(super) next: Field,
    /// Classes of a loader; not described in JDK 8.
    pub(super) classes: Option<Field>,
    pub(super) next_class: Field,
    /// A class's loader.
    pub(super) of_class: Field,
    /// The loader's object.
    pub(super) object: Field,
    /// Is the field a handle (a pointer to the reference), not the reference itself?
    pub(super) object_is_handle: bool,
    /// The entry holds one hidden class of a loader, not a loader's own (`_is_anonymous` to 14). Not described in
    /// JDK 8.
    pub(super) is_holder: Option<Field>,
    pub(super) klass_name: Field,
}

/// The `java.lang.Class` of a class, in which its static fields are.
#[derive(Clone, Copy, Debug)]
pub(super) struct MirrorLayout {
    pub(super) mirror: Field,
    /// A handle (a pointer to the reference), not the reference.
    pub(super) is_handle: bool,
}

/// Structures that keep JNI's references: addresses of the pointers to the global and the weak ones, and more.
#[derive(Clone, Copy, Debug)]
pub(super) struct JniLayout {
    pub(super) global: u64,
    pub(super) weak: u64,
    pub(super) kind: JniKind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum JniKind {
    /// An `OopStorage` of so many bytes, from 10.
    Storage { bytes: u64 },
    /// Chains of blocks, before 10. `deleted` is the address of the reference that stands for none.
    Blocks { deleted: u64, handles: Field, top: Field, next: Field, capacity: u64, bytes: u64 },
}

/// Fields for the used part of the heap, by collector: where a region or space has its top, or the heap its counters.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::hotspot) struct HeapUseLayout {
    pub(in crate::hotspot) region_top: Option<Field>,
    pub(in crate::hotspot) parallel_top: Option<Field>,
    pub(in crate::hotspot) serial_top: Option<Field>,
    pub(super) z: Option<Pool>,
    /// ZGC of one generation where both are (21 to 23).
    pub(super) old_z: Option<Pool>,
    pub(super) shenandoah: Option<Pool>,
}

/// Counters in the heap's structure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    pub(super) used: Field,
    pub(super) capacity: Option<Field>,
}

/// A `Hashtable` (to 11) and its entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct HashtableLayout {
    pub(super) size: Field,
    pub(super) buckets: Field,
    pub(super) entry_bytes: Field,
    pub(super) count: Field,
    pub(super) next: Field,
    pub(super) literal: Field,
}

impl StatsLayout {
    pub(in crate::hotspot) fn new(structs: &VmStructs) -> Self {
        Self {
            loaders: LoaderLayout::new(structs).ok(),
            mirror: MirrorLayout::new(structs).ok(),
            jni: JniLayout::new(structs).ok(),
            symbol_table: structs.address(&["SymbolTable::_the_table"]).ok(),
            string_table: structs.address(&["StringTable::_the_table"]).ok(),
            hashtable: HashtableLayout::new(structs).ok(),
            heap: HeapUseLayout::new(structs),
            block_segments: structs.field(&["HeapBlock::Header::_length"]).ok(),
            code_heap_bytes: structs.size("CodeHeap").ok(),
        }
    }
}

impl LoaderLayout {
    fn new(structs: &VmStructs) -> Result<Self, HotspotError> {
        let of_class = structs.field(&["Klass::_class_loader_data", "InstanceKlass::_class_loader_data"])?;
        let next_class = structs.field(&["Klass::_next_link"]).or_else(|missing| {
            // JDK 8 describes its neighbours.
            let before = structs.field(&["Klass::_next_sibling"])?;
            let field = Field { offset: before.offset + 8, ..before };
            if field.offset + 8 == of_class.offset { Ok(field) } else { Err(missing) }
        })?;
        Ok(Self {
            head: structs.address(&["ClassLoaderDataGraph::_head"])?,
            next: structs.field(&["ClassLoaderData::_next"])?,
            classes: structs.field(&["ClassLoaderData::_klasses"]).ok(),
            next_class,
            of_class,
            object: structs.field(&["ClassLoaderData::_class_loader"])?,
            object_is_handle: structs.type_text("ClassLoaderData::_class_loader") == Some("OopHandle"),
            is_holder: structs
                .field(&["ClassLoaderData::_has_class_mirror_holder", "ClassLoaderData::_is_anonymous"])
                .ok(),
            klass_name: structs.field(&["Klass::_name"])?,
        })
    }
}

impl MirrorLayout {
    fn new(structs: &VmStructs) -> Result<Self, HotspotError> {
        Ok(Self {
            mirror: structs.field(&["Klass::_java_mirror"])?,
            is_handle: structs.type_text("Klass::_java_mirror") == Some("OopHandle"),
        })
    }
}

impl HeapUseLayout {
    fn new(structs: &VmStructs) -> Self {
        let field = |names: &[&str]| structs.field(names).ok();
        let z = |letter: char| {
            let heap = field(&[&format!("{letter}CollectedHeap::_heap")])?;
            let pages = field(&[&format!("{letter}Heap::_page_allocator")])?;
            let within = |name: &str| {
                let field = field(&[&format!("{letter}PageAllocator::{name}")])?;
                Some(Field { offset: heap.offset + pages.offset + field.offset, ..field })
            };
            Some(Pool { used: within("_used")?, capacity: within("_capacity") })
        };
        let shenandoah = || {
            let used = field(&["ShenandoahHeap::_used"])?;
            Some(Pool { used, capacity: field(&["ShenandoahHeap::_committed"]) })
        };
        Self {
            region_top: field(&[
                "G1HeapRegion::_top",
                "HeapRegion::_top",
                "G1ContiguousSpace::_top",
                "G1OffsetTableContigSpace::_top",
            ]),
            parallel_top: field(&["MutableSpace::_top"]),
            serial_top: field(&["ContiguousSpace::_top"]),
            z: z('Z'),
            old_z: z('X'),
            shenandoah: shenandoah(),
        }
    }
}

impl HashtableLayout {
    fn new(structs: &VmStructs) -> Result<Self, HotspotError> {
        let entry_bytes = structs.field(&["BasicHashtable<mtInternal>::_entry_size"])?;
        Ok(Self {
            size: structs.field(&["BasicHashtable<mtInternal>::_table_size"])?,
            buckets: structs.field(&["BasicHashtable<mtInternal>::_buckets"])?,
            entry_bytes,
            // `_number_of_entries` is not described, and comes next.
            count: Field { offset: entry_bytes.offset + 4, width: Width::Four },
            next: structs.field(&["BasicHashtableEntry<mtInternal>::_next"])?,
            literal: structs.field(&["IntptrHashtableEntry::_literal"])?,
        })
    }
}

impl JniLayout {
    fn new(structs: &VmStructs) -> Result<Self, HotspotError> {
        let global = "JNIHandles::_global_handles";
        let unsupported = || HotspotError::Unsupported { missing: "storage of JNI's references".to_owned() };
        let kind = match structs.type_text(global) {
            Some("OopStorage*") => JniKind::Storage { bytes: structs.size("OopStorage")? },
            Some("JNIHandleBlock*") => JniKind::Blocks {
                deleted: structs.address(&["JNIHandles::_deleted_handle"])?,
                handles: structs.field(&["JNIHandleBlock::_handles"])?,
                top: structs.field(&["JNIHandleBlock::_top"])?,
                next: structs.field(&["JNIHandleBlock::_next"])?,
                capacity: structs
                    .constant("JNIHandleBlock::block_size_in_oops")
                    .and_then(|capacity| u64::try_from(capacity).ok())
                    .filter(|capacity| (1..=1024).contains(capacity))
                    .ok_or_else(unsupported)?,
                bytes: structs.size("JNIHandleBlock")?,
            },
            _ => return Err(unsupported()),
        };
        Ok(Self {
            global: structs.address(&[global])?,
            weak: structs.address(&["JNIHandles::_weak_global_handles"])?,
            kind,
        })
    }
}
