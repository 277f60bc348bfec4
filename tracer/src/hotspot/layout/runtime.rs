//! The optional subjects: flags, Java objects, Java threads.

use crate::hotspot::HotspotError;
use crate::hotspot::vmstructs::{Field, VmStructs};

/// The JVM's flags.
#[derive(Clone, Debug)]
pub(in crate::hotspot) struct FlagLayout {
    /// Address of the pointer to the first flag, and of their count.
    pub(in crate::hotspot) flags: u64,
    pub(in crate::hotspot) count: u64,
    pub(in crate::hotspot) bytes: u64,
    pub(in crate::hotspot) name: Field,
    pub(in crate::hotspot) value: Field,
}

impl FlagLayout {
    pub(super) fn new(structs: &VmStructs) -> Result<Self, HotspotError> {
        Ok(Self {
            flags: structs.address(&["JVMFlag::flags", "Flag::flags"])?,
            count: structs.address(&["JVMFlag::numFlags", "Flag::numFlags"])?,
            bytes: structs.size("JVMFlag").or_else(|_| structs.size("Flag"))?,
            name: structs.field(&["JVMFlag::_name", "Flag::_name"])?,
            value: structs.field(&["JVMFlag::_addr", "Flag::_addr"])?,
        })
    }
}

/// Java objects and the fields of their classes.
#[derive(Clone, Debug)]
pub(in crate::hotspot) struct ObjectLayout {
    /// Addresses of the base and shift of compressed oops and of compressed class pointers.
    pub(in crate::hotspot) oop_base: u64,
    pub(in crate::hotspot) oop_shift: u64,
    pub(in crate::hotspot) klass_base: u64,
    pub(in crate::hotspot) klass_shift: u64,
    pub(in crate::hotspot) klass: Field,
    /// Class pointers are always compressed (from 27).
    pub(in crate::hotspot) compresses_classes: bool,
    /// Bit of the mark word above which the class is, with compact headers.
    pub(in crate::hotspot) mark_klass_shift: Option<u32>,
    /// Addresses of the pointers to the classes `java.lang.String` and `java.lang.Thread`.
    pub(in crate::hotspot) string_class: u64,
    pub(in crate::hotspot) thread_class: u64,
    pub(in crate::hotspot) class_constants: Field,
    pub(in crate::hotspot) fields: FieldsLayout,
    /// Elements of arrays begin at a multiple of 8 bytes.
    pub(in crate::hotspot) aligned_elements: bool,
}

/// Form of a class's list of fields.
#[derive(Clone, Copy, Debug)]
pub(in crate::hotspot) enum FieldsLayout {
    /// Slots, to 20: six u2 each.
    Slots { fields: Field, count: Field, data: Field },
    /// A stream of UNSIGNED5 numbers, from 21.
    Stream { stream: Field, data: Field },
}

impl ObjectLayout {
    pub(super) fn new(structs: &VmStructs, feature: u32) -> Result<Self, HotspotError> {
        let base = |kind: &str, old: &str| {
            let names =
                [format!("{kind}::_base"), format!("{kind}::{old}._base"), format!("Universe::{old}._base")];
            structs.address(&names.each_ref().map(String::as_str))
        };
        let shift = |kind: &str, old: &str| {
            let names = [
                format!("{kind}::_shift"),
                format!("{kind}::{old}._shift"),
                format!("Universe::{old}._shift"),
            ];
            structs.address(&names.each_ref().map(String::as_str))
        };
        let class = |name: &str| {
            let new = format!("vmClasses::_klasses[static_cast<int>(vmClassID::{name}_klass_knum)]");
            let old = format!("SystemDictionary::_well_known_klasses[SystemDictionary::{name}_klass_knum]");
            structs.address(&[&new, &old])
        };
        let fields = match structs.field(&["InstanceKlass::_fieldinfo_stream"]) {
            Ok(stream) => FieldsLayout::Stream { stream, data: structs.field(&["Array<u1>::_data"])? },
            Err(_) => FieldsLayout::Slots {
                fields: structs.field(&["InstanceKlass::_fields"])?,
                count: structs.field(&["InstanceKlass::_java_fields_count"])?,
                data: structs.field(&["Array<u2>::_data"])?,
            },
        };
        Ok(Self {
            oop_base: base("CompressedOops", "_narrow_oop")?,
            oop_shift: shift("CompressedOops", "_narrow_oop")?,
            klass_base: base("CompressedKlassPointers", "_narrow_klass")?,
            klass_shift: shift("CompressedKlassPointers", "_narrow_klass")?,
            klass: structs.field(&["oopDesc::_metadata._klass", "oopDesc::_compressed_klass"])?,
            compresses_classes: structs.field(&["oopDesc::_compressed_klass"]).is_ok(),
            mark_klass_shift: structs
                .constant("markWord::klass_shift")
                .and_then(|shift| u32::try_from(shift).ok())
                .filter(|shift| *shift < 64),
            string_class: class("String")?,
            thread_class: class("Thread")?,
            class_constants: structs.field(&["InstanceKlass::_constants"])?,
            fields,
            aligned_elements: feature < 23,
        })
    }
}

/// Start of the list of Java threads.
#[derive(Clone, Copy, Debug)]
pub(in crate::hotspot) enum ThreadsLayout {
    /// A linked list, to 11: address of the first thread's pointer, and each thread's link.
    Linked { first: u64, next: Field },
    /// An array, from 12: address of the list's pointer.
    Array { list: u64, length: Field, threads: Field },
}

/// Java threads.
#[derive(Clone, Debug)]
pub(in crate::hotspot) struct ThreadLayout {
    pub(in crate::hotspot) list: ThreadsLayout,
    pub(in crate::hotspot) os_thread: Field,
    pub(in crate::hotspot) tid: Field,
    pub(in crate::hotspot) object: Field,
    /// `_threadObj` is an `OopHandle` (a pointer to the oop), no oop.
    pub(in crate::hotspot) object_is_handle: bool,
    /// The stack's highest address (exclusive), and its bytes.
    pub(in crate::hotspot) stack: Option<(Field, Field)>,
}

impl ThreadLayout {
    pub(super) fn new(structs: &VmStructs) -> Result<Self, HotspotError> {
        let list = match structs.address(&["ThreadsSMRSupport::_java_thread_list"]) {
            Ok(list) => ThreadsLayout::Array {
                list,
                length: structs.field(&["ThreadsList::_length"])?,
                threads: structs.field(&["ThreadsList::_threads"])?,
            },
            Err(missing) => ThreadsLayout::Linked {
                first: structs.address(&["Threads::_thread_list"]).map_err(|_| missing)?,
                next: structs.field(&["JavaThread::_next"])?,
            },
        };
        Ok(Self {
            list,
            os_thread: structs.field(&["JavaThread::_osthread", "Thread::_osthread"])?,
            tid: structs.field(&["OSThread::_thread_id"])?,
            object: structs.field(&["JavaThread::_threadObj"])?,
            object_is_handle: structs.type_text("JavaThread::_threadObj") == Some("OopHandle"),
            stack: structs
                .field(&["JavaThread::_stack_base", "Thread::_stack_base"])
                .and_then(|base| {
                    Ok((base, structs.field(&["JavaThread::_stack_size", "Thread::_stack_size"])?))
                })
                .ok(),
        })
    }
}
