//! The fields that the books need, each subject for itself.

use crate::hotspot::HotspotError;
use crate::hotspot::vmstructs::{Field, VmStructs, Width};

/// What of the books this JVM describes.
#[derive(Clone, Debug, Default)]
pub(in crate::hotspot) struct BooksLayout {
    pub(super) loaders: Option<LoaderLayout>,
    pub(super) mirror: Option<MirrorLayout>,
    pub(super) jni: Option<JniLayout>,
    /// Addresses of the pointers to the tables of symbols and strings, where they are a `Hashtable`.
    pub(super) symbol_table: Option<u64>,
    pub(super) string_table: Option<u64>,
    pub(super) hashtable: Option<HashtableLayout>,
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
    pub(super) classes: Field,
    pub(super) next_class: Field,
    /// The loader's object, by a handle.
    pub(super) object: Field,
    /// It holds one hidden class of a loader, not a loader's own (`_is_anonymous` to 14).
    pub(super) is_holder: Field,
    pub(super) klass_name: Field,
}

/// The `java.lang.Class` of a class, in which its static fields are.
#[derive(Clone, Copy, Debug)]
pub(super) struct MirrorLayout {
    pub(super) mirror: Field,
    /// A handle (a pointer to the reference), not the reference.
    pub(super) is_handle: bool,
}

/// Addresses of the pointers to what keeps JNI's references.
#[derive(Clone, Copy, Debug)]
pub(super) struct JniLayout {
    pub(super) global: u64,
    pub(super) weak: u64,
    pub(super) storage_bytes: u64,
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

impl BooksLayout {
    pub(in crate::hotspot) fn new(structs: &VmStructs) -> Self {
        Self {
            loaders: LoaderLayout::new(structs).ok(),
            mirror: MirrorLayout::new(structs).ok(),
            jni: JniLayout::new(structs).ok(),
            symbol_table: structs.address(&["SymbolTable::_the_table"]).ok(),
            string_table: structs.address(&["StringTable::_the_table"]).ok(),
            hashtable: HashtableLayout::new(structs).ok(),
            block_segments: structs.field(&["HeapBlock::Header::_length"]).ok(),
            code_heap_bytes: structs.size("CodeHeap").ok(),
        }
    }
}

impl LoaderLayout {
    fn new(structs: &VmStructs) -> Result<Self, HotspotError> {
        if structs.type_text("ClassLoaderData::_class_loader") != Some("OopHandle") {
            return Err(HotspotError::Unsupported { missing: "handles of class loaders".to_owned() });
        }
        Ok(Self {
            head: structs.address(&["ClassLoaderDataGraph::_head"])?,
            next: structs.field(&["ClassLoaderData::_next"])?,
            classes: structs.field(&["ClassLoaderData::_klasses"])?,
            next_class: structs.field(&["Klass::_next_link"])?,
            object: structs.field(&["ClassLoaderData::_class_loader"])?,
            is_holder: structs
                .field(&["ClassLoaderData::_has_class_mirror_holder", "ClassLoaderData::_is_anonymous"])?,
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
        if structs.type_text(global) != Some("OopStorage*") {
            return Err(HotspotError::Unsupported { missing: "storage of JNI's references".to_owned() });
        }
        Ok(Self {
            global: structs.address(&[global])?,
            weak: structs.address(&["JNIHandles::_weak_global_handles"])?,
            storage_bytes: structs.size("OopStorage")?,
        })
    }
}
