//! The fields that reading the Java heap needs: its state, its classes, its roots.
//!
//! All of it is needed: a JVM that does not describe one of them is not read at all.

use crate::hotspot::HotspotError;
use crate::hotspot::vmstructs::{Field, VmStructs, Width};

/// Offsets of the heap's structures that are read.
#[derive(Clone, Debug)]
pub(in crate::hotspot) struct HeapLayout {
    /// Address of `Universe::_collectedHeap`.
    pub(super) heap: u64,
    pub(super) gc_active: Field,
    pub(super) total_collections: Field,
    pub(super) classes: ClassLayout,
    pub(super) loaders: LoaderLayout,
    pub(super) threads: RootLayout,
}

/// Classes, and the `java.lang.Class` of each.
#[derive(Clone, Debug)]
pub(super) struct ClassLayout {
    pub(super) layout_helper: Field,
    pub(super) super_class: Field,
    pub(super) mirror: Field,
    pub(super) loader: Field,
    pub(super) name: Field,
    pub(super) vtable_length: Field,
    pub(super) itable_length: Field,
    pub(super) oop_map_words: Field,
    pub(super) instance_klass_bytes: u64,
    /// Addresses of the offsets at which a `java.lang.Class` has its own size, its count of static references and
    /// its class.
    pub(super) mirror_size: u64,
    pub(super) mirror_statics: u64,
    pub(super) mirror_klass: u64,
}

/// Class loaders.
#[derive(Clone, Debug)]
pub(super) struct LoaderLayout {
    /// Address of the pointer to the first.
    pub(super) head: u64,
    pub(super) next: Field,
    pub(super) classes: Field,
    pub(super) next_class: Field,
    /// A handle: a pointer to the reference.
    pub(super) object: Field,
    /// The entry holds one hidden class of another loader.
    pub(super) is_holder: Field,
    pub(super) bytes: u64,
}

/// Layout of the references that threads and native code hold.
#[derive(Clone, Debug)]
pub(super) struct RootLayout {
    /// The buffer that a thread allocates from, as (top, end) of its buffer.
    pub(super) buffer: (Field, Field),
    /// The allocation's real end, from 11 on.
    pub(super) buffer_end: Field,
    /// Words behind a buffer's end that are its own; the larger of two.
    pub(super) reserve_prefetch: Option<u64>,
    pub(super) reserve_alignment: Option<u64>,
    pub(super) local_handles: Field,
    pub(super) handles: Field,
    pub(super) handles_top: Field,
    pub(super) handles_next: Field,
    pub(super) handles_capacity: u64,
    pub(super) handle_block_bytes: u64,
    /// Bytes of an `OopStorage`, and of a thread.
    pub(super) storage_bytes: u64,
    pub(super) thread_bytes: u64,
}

impl HeapLayout {
    /// # Errors
    /// `Unsupported` naming what this JVM does not describe.
    pub(in crate::hotspot) fn new(structs: &VmStructs) -> Result<Self, HotspotError> {
        let classes = ClassLayout {
            layout_helper: structs.field(&["Klass::_layout_helper"])?,
            super_class: structs.field(&["Klass::_super"])?,
            mirror: structs.field(&["Klass::_java_mirror"])?,
            loader: structs.field(&["Klass::_class_loader_data"])?,
            name: structs.field(&["Klass::_name"])?,
            vtable_length: structs.field(&["Klass::_vtable_len"])?,
            itable_length: structs.field(&["InstanceKlass::_itable_len"])?,
            oop_map_words: structs.field(&["InstanceKlass::_nonstatic_oop_map_size"])?,
            instance_klass_bytes: structs.size("InstanceKlass")?,
            mirror_size: structs.address(&["java_lang_Class::_oop_size_offset"])?,
            mirror_statics: structs.address(&["java_lang_Class::_static_oop_field_count_offset"])?,
            mirror_klass: structs.address(&["java_lang_Class::_klass_offset"])?,
        };
        for handle in ["Klass::_java_mirror", "ClassLoaderData::_class_loader"] {
            if structs.type_text(handle) != Some("OopHandle") {
                return Err(HotspotError::Unsupported { missing: format!("{handle} as a handle") });
            }
        }
        let loaders = LoaderLayout {
            head: structs.address(&["ClassLoaderDataGraph::_head"])?,
            next: structs.field(&["ClassLoaderData::_next"])?,
            classes: structs.field(&["ClassLoaderData::_klasses"])?,
            next_class: structs.field(&["Klass::_next_link"])?,
            object: structs.field(&["ClassLoaderData::_class_loader"])?,
            is_holder: structs
                .field(&["ClassLoaderData::_has_class_mirror_holder", "ClassLoaderData::_is_anonymous"])?,
            bytes: structs.size("ClassLoaderData")?,
        };
        let buffer = structs.field(&["Thread::_tlab"])?;
        let within = |field: Field| Field { offset: buffer.offset + field.offset, ..field };
        let top = structs.field(&["ThreadLocalAllocBuffer::_top"])?;
        let end = structs.field(&["ThreadLocalAllocBuffer::_end"])?;
        let threads = RootLayout {
            buffer: (within(top), within(end)),
            // `_allocation_end` is not described, and comes next.
            buffer_end: within(Field { offset: end.offset + 8, width: Width::Eight }),
            reserve_prefetch: structs
                .address(&["ThreadLocalAllocBuffer::_reserve_for_allocation_prefetch"])
                .ok(),
            reserve_alignment: structs.address(&["CollectedHeap::_lab_alignment_reserve"]).ok(),
            local_handles: structs.field(&["JavaThread::_active_handles", "Thread::_active_handles"])?,
            handles: structs.field(&["JNIHandleBlock::_handles"])?,
            handles_top: structs.field(&["JNIHandleBlock::_top"])?,
            handles_next: structs.field(&["JNIHandleBlock::_next"])?,
            handles_capacity: structs
                .constant("JNIHandleBlock::block_size_in_oops")
                .and_then(|capacity| u64::try_from(capacity).ok())
                .filter(|capacity| (1..=256).contains(capacity))
                .unwrap_or(32),
            handle_block_bytes: structs.size("JNIHandleBlock")?,
            storage_bytes: structs.size("OopStorage")?,
            thread_bytes: structs.size("JavaThread")?,
        };
        Ok(Self {
            heap: structs.address(&["Universe::_collectedHeap"])?,
            gc_active: structs
                .field(&["CollectedHeap::_is_stw_gc_active", "CollectedHeap::_is_gc_active"])?,
            total_collections: structs.field(&["CollectedHeap::_total_collections"])?,
            classes,
            loaders,
            threads,
        })
    }
}
