//! The fields that are used, by version: offsets and widths under whatever name this JVM gives them.
//!
//! Takes the tables of one JVM; gives one structure per subject. Fields of the code cache and of methods' names are
//! required: without it the JVM is not supported, and the error names the field. The rest (threads, flags, objects) is
//! optional and absent by subject. Aliases cover JDK 8 to 25.

mod ranges;
mod runtime;

pub(super) use self::ranges::{End, G1Layout, RangesLayout, SpaceField};
pub(super) use self::runtime::{FieldsLayout, FlagLayout, ObjectLayout, ThreadLayout, ThreadsLayout};

use super::HotspotError;
use super::heap::HeapLayout;
use super::stats::StatsLayout;
use super::vmstructs::{Field, VmStructs, Width};

/// Layout of all that is used of one JVM.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) code: CodeLayout,
    pub(super) nmethod: NmethodLayout,
    pub(super) method: MethodLayout,
    pub(super) flags: Option<FlagLayout>,
    pub(super) objects: Option<ObjectLayout>,
    pub(super) threads: Option<ThreadLayout>,
    pub(super) ranges: RangesLayout,
    pub(super) stats: StatsLayout,
    /// Fields for reading the heap, or those that this JVM does not describe.
    pub(super) heap: Result<HeapLayout, String>,
    /// Reasons for which a subject is absent.
    pub(super) missing: Vec<String>,
}

impl Layout {
    /// Takes the JVM's tables and its feature version (17 of 17.0.9).
    ///
    /// # Errors
    /// `Unsupported` naming the first required field that is missing.
    pub(super) fn new(structs: &VmStructs, feature: u32) -> Result<Self, HotspotError> {
        let excluded_low_bytes = u8::from(feature >= 20);
        let mut missing = Vec::new();
        let code = CodeLayout::new(structs)?;
        let nmethod = NmethodLayout::new(structs, excluded_low_bytes)?;
        let method = MethodLayout::new(structs, excluded_low_bytes)?;
        let flags = optional(FlagLayout::new(structs), &mut missing);
        let objects = optional(ObjectLayout::new(structs, feature), &mut missing);
        let threads = optional(ThreadLayout::new(structs), &mut missing);
        let ranges = RangesLayout::new(structs);
        let stats = StatsLayout::new(structs);
        let heap = HeapLayout::new(structs).map_err(|error| error.to_string());
        Ok(Self { code, nmethod, method, flags, objects, threads, ranges, stats, heap, missing })
    }
}

fn optional<T>(subject: Result<T, HotspotError>, missing: &mut Vec<String>) -> Option<T> {
    subject.map_err(|error| missing.push(error.to_string())).ok()
}

/// Source of the code heaps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heaps {
    /// JDK 8: address of a pointer to the only heap.
    One(u64),
    /// Address of a pointer to a growable array of pointers, from 9.
    Many { address: u64, length: Field, data: Field },
}

/// Code heaps, their blocks, blobs, and the interpreter.
#[derive(Clone, Debug)]
pub(super) struct CodeLayout {
    pub(super) heaps: Heaps,
    /// Fields of a `CodeHeap`: its reserved range and committed end, the segment map, the segments' size.
    pub(super) memory_low: Field,
    pub(super) memory_high: Field,
    pub(super) memory_committed: Field,
    pub(super) segment_map: Field,
    pub(super) log2_segment_bytes: Field,
    pub(super) block_bytes: u64,
    pub(super) block_used: Field,
    pub(super) blob_bytes: u64,
    pub(super) blob_name: Field,
    pub(super) blob_size: Field,
    pub(super) blob_frame_size: Field,
    pub(super) blob_data_offset: Field,
    pub(super) code: CodeStart,
    /// `CodeBlob::_kind` and the value that says nmethod (25+).
    pub(super) kind: Option<(Field, u8)>,
    /// Address of `AbstractInterpreter::_code`, and the bounds in that queue.
    pub(super) interpreter: u64,
    pub(super) stub_buffer: Field,
    pub(super) buffer_limit: Field,
    pub(super) queue_end: Field,
    /// Address of `StubRoutines::_call_stub_return_address`.
    pub(super) call_stub_return: u64,
}

/// Start of a blob's code.
#[derive(Clone, Copy, Debug)]
pub(super) enum CodeStart {
    /// An absolute address (9 to 22).
    Address(Field),
    /// Bytes from the blob (8, and from 23).
    Offset(Field),
}

impl CodeLayout {
    fn new(structs: &VmStructs) -> Result<Self, HotspotError> {
        let heaps = match structs.address(&["CodeCache::_heaps"]) {
            Ok(address) => Heaps::Many {
                address,
                length: structs.field(&["GrowableArrayBase::_len", "GenericGrowableArray::_len"])?,
                data: structs.field(&["GrowableArray<int>::_data"])?,
            },
            Err(missing) => Heaps::One(structs.address(&["CodeCache::_heap"]).map_err(|_| missing)?),
        };
        // A `VirtualSpace` is embedded in the heap: add the offsets.
        let within = |outer: &str, inner: &str| -> Result<Field, HotspotError> {
            let inner = structs.field(&[inner])?;
            let offset = structs.field(&[outer])?.offset.wrapping_add(inner.offset);
            Ok(Field { offset, width: Width::Eight })
        };
        let code = match structs.field(&["CodeBlob::_code_begin"]) {
            Ok(field) => CodeStart::Address(field),
            Err(_) => CodeStart::Offset(structs.field(&["CodeBlob::_code_offset", "CodeBlob::_code_begin"])?),
        };
        let kind = structs.field(&["CodeBlob::_kind"]).ok().and_then(|field| {
            let nmethod = structs.constant("CodeBlobKind::Nmethod")?;
            Some((field, u8::try_from(nmethod).ok()?))
        });
        Ok(Self {
            heaps,
            memory_low: within("CodeHeap::_memory", "VirtualSpace::_low_boundary")?,
            memory_high: within("CodeHeap::_memory", "VirtualSpace::_high_boundary")?,
            memory_committed: within("CodeHeap::_memory", "VirtualSpace::_high")?,
            segment_map: within("CodeHeap::_segmap", "VirtualSpace::_low_boundary")?,
            log2_segment_bytes: structs.field(&["CodeHeap::_log2_segment_size"])?,
            block_bytes: structs.size("HeapBlock")?,
            block_used: structs.field(&["HeapBlock::Header::_used"])?,
            blob_bytes: structs.size("CodeBlob")?,
            blob_name: structs.field(&["CodeBlob::_name"])?,
            blob_size: structs.field(&["CodeBlob::_size"])?,
            blob_frame_size: structs.field(&["CodeBlob::_frame_size"])?,
            blob_data_offset: structs.field(&["CodeBlob::_data_offset"])?,
            code,
            kind,
            interpreter: structs.address(&["AbstractInterpreter::_code"])?,
            stub_buffer: structs.field(&["StubQueue::_stub_buffer"])?,
            buffer_limit: structs.field(&["StubQueue::_buffer_limit"])?,
            queue_end: structs.field(&["StubQueue::_queue_end"])?,
            call_stub_return: structs.address(&["StubRoutines::_call_stub_return_address"])?,
        })
    }
}

/// Place of an nmethod's debug information.
#[derive(Clone, Copy, Debug)]
pub(super) enum DebugLayout {
    /// 8 to 22: all within the blob. `scopes_data` is an address (9 to 22) or an offset (8).
    InBlob { metadata: Field, scopes_pcs: Field, scopes_pcs_end: Field, scopes_data: CodeStart },
    /// A block of its own for pcs and scopes, from 23: offsets from its start.
    Immutable { data: Field, size: Field, scopes_pcs: Field, scopes_data: Field, metadata: MetadataLayout },
}

/// Place of the `Method*`s that scopes name by index, from 23.
#[derive(Clone, Copy, Debug)]
pub(super) enum MetadataLayout {
    /// 23, 24: blob + `_data_offset` + this field.
    AfterData(Field),
    /// 25: `_mutable_data` + `_relocation_size`.
    Mutable { data: Field, relocation_size: Field },
}

/// Compiled methods.
#[derive(Clone, Debug)]
pub(super) struct NmethodLayout {
    pub(super) bytes: u64,
    pub(super) method: Field,
    pub(super) compile_id: Field,
    pub(super) comp_level: Field,
    pub(super) orig_pc_offset: Field,
    pub(super) deopt_handler: Field,
    /// JDK 25 and before.
    pub(super) deopt_mh_handler: Option<Field>,
    /// The handlers are bytes from the blob, not addresses.
    pub(super) deopt_relative: bool,
    pub(super) debug: DebugLayout,
    pub(super) pc_desc_bytes: u64,
    pub(super) pc_offset: Field,
    pub(super) scope_offset: Field,
    /// See [`super::unsigned5`].
    pub(super) excluded_low_bytes: u8,
}

impl NmethodLayout {
    fn new(structs: &VmStructs, excluded_low_bytes: u8) -> Result<Self, HotspotError> {
        let absolute =
            structs.field(&["CompiledMethod::_deopt_handler_begin", "nmethod::_deopt_handler_begin"]);
        let (deopt_handler, deopt_mh_handler, deopt_relative) = match absolute {
            Ok(handler) => {
                let mh = ["CompiledMethod::_deopt_mh_handler_begin", "nmethod::_deopt_mh_handler_begin"];
                (handler, structs.field(&mh).ok(), false)
            }
            Err(_) => {
                let handler = [
                    "nmethod::_deopt_handler_offset",
                    "nmethod::_deopt_handler_entry_offset",
                    "nmethod::_deoptimize_offset",
                ];
                let mh = ["nmethod::_deopt_mh_handler_offset", "nmethod::_deoptimize_mh_offset"];
                (structs.field(&handler)?, structs.field(&mh).ok(), true)
            }
        };
        Ok(Self {
            bytes: structs.size("nmethod")?,
            method: structs.field(&["nmethod::_method", "CompiledMethod::_method"])?,
            compile_id: structs.field(&["nmethod::_compile_id"])?,
            comp_level: structs.field(&["nmethod::_comp_level"])?,
            orig_pc_offset: structs.field(&["nmethod::_orig_pc_offset"])?,
            deopt_handler,
            deopt_mh_handler,
            deopt_relative,
            debug: Self::debug(structs)?,
            pc_desc_bytes: structs.size("PcDesc")?,
            pc_offset: structs.field(&["PcDesc::_pc_offset"])?,
            scope_offset: structs.field(&["PcDesc::_scope_decode_offset"])?,
            excluded_low_bytes,
        })
    }

    fn debug(structs: &VmStructs) -> Result<DebugLayout, HotspotError> {
        let scopes_pcs = structs.field(&["nmethod::_scopes_pcs_offset"])?;
        if let Ok(data) = structs.field(&["nmethod::_immutable_data"]) {
            let metadata = match structs.field(&["CodeBlob::_mutable_data"]) {
                Ok(data) => MetadataLayout::Mutable {
                    data,
                    relocation_size: structs.field(&["CodeBlob::_relocation_size"])?,
                },
                Err(_) => MetadataLayout::AfterData(structs.field(&["nmethod::_metadata_offset"])?),
            };
            return Ok(DebugLayout::Immutable {
                data,
                size: structs.field(&["nmethod::_immutable_data_size"])?,
                scopes_pcs,
                scopes_data: structs.field(&["nmethod::_scopes_data_offset"])?,
                metadata,
            });
        }
        let absolute = structs.field(&["CompiledMethod::_scopes_data_begin", "nmethod::_scopes_data_begin"]);
        let scopes_data = match absolute {
            Ok(field) => CodeStart::Address(field),
            Err(_) => CodeStart::Offset(structs.field(&["nmethod::_scopes_data_offset"])?),
        };
        Ok(DebugLayout::InBlob {
            metadata: structs.field(&["nmethod::_metadata_offset"])?,
            scopes_pcs,
            scopes_pcs_end: structs.field(&["nmethod::_dependencies_offset"])?,
            scopes_data,
        })
    }
}

/// Place of a symbol's length.
#[derive(Clone, Copy, Debug)]
pub(super) enum SymbolLength {
    Plain(Field),
    /// JDK 12 to 15: in the high half of a u4.
    HighHalf(Field),
}

/// Methods, their classes and their names.
#[derive(Clone, Debug)]
pub(super) struct MethodLayout {
    pub(super) const_method: Field,
    pub(super) access_flags: Field,
    pub(super) const_method_bytes: u64,
    /// Size of a `Method`: behind that of a native one is the address of its function.
    pub(super) method_bytes: u64,
    pub(super) constants: Field,
    pub(super) const_method_words: Field,
    pub(super) flags: Field,
    /// The bit of `flags` that says that there is a line number table.
    pub(super) has_lines: u64,
    pub(super) code_bytes: Field,
    pub(super) name_index: Field,
    pub(super) signature_index: Field,
    pub(super) pool_bytes: u64,
    pub(super) pool_length: Field,
    pub(super) pool_holder: Field,
    pub(super) source_file: SourceFile,
    pub(super) klass_name: Field,
    pub(super) symbol_length: SymbolLength,
    pub(super) symbol_body: Field,
    pub(super) symbol_bytes: u64,
    /// See [`super::unsigned5`].
    pub(super) excluded_low_bytes: u8,
}

/// Place of the index of the source file's name.
#[derive(Clone, Copy, Debug)]
pub(super) enum SourceFile {
    /// The constant pool, from 15.
    InPool(Field),
    /// The class, to 14.
    InClass(Field),
}

impl MethodLayout {
    fn new(structs: &VmStructs, excluded_low_bytes: u8) -> Result<Self, HotspotError> {
        let source_file = match structs.field(&["ConstantPool::_source_file_name_index"]) {
            Ok(field) => SourceFile::InPool(field),
            Err(missing) => SourceFile::InClass(
                structs.field(&["InstanceKlass::_source_file_name_index"]).map_err(|_| missing)?,
            ),
        };
        let symbol_length = match structs.field(&["Symbol::_length"]) {
            Ok(field) => SymbolLength::Plain(field),
            Err(missing) => {
                SymbolLength::HighHalf(structs.field(&["Symbol::_length_and_refcount"]).map_err(|_| missing)?)
            }
        };
        let has_lines =
            ["ConstMethodFlags::_misc_has_linenumber_table", "ConstMethod::_has_linenumber_table"];
        let has_lines = has_lines.iter().find_map(|name| structs.constant(name));
        Ok(Self {
            const_method: structs.field(&["Method::_constMethod"])?,
            access_flags: structs.field(&["Method::_access_flags"])?,
            const_method_bytes: structs.size("ConstMethod")?,
            method_bytes: structs.size("Method")?,
            constants: structs.field(&["ConstMethod::_constants"])?,
            const_method_words: structs.field(&["ConstMethod::_constMethod_size"])?,
            flags: structs.field(&["ConstMethod::_flags._flags", "ConstMethod::_flags"])?,
            // 1 in every version seen.
            has_lines: has_lines.map_or(1, |bit| bit as u64),
            code_bytes: structs.field(&["ConstMethod::_code_size"])?,
            name_index: structs.field(&["ConstMethod::_name_index"])?,
            signature_index: structs.field(&["ConstMethod::_signature_index"])?,
            pool_bytes: structs.size("ConstantPool")?,
            pool_length: structs.field(&["ConstantPool::_length"])?,
            pool_holder: structs.field(&["ConstantPool::_pool_holder"])?,
            source_file,
            klass_name: structs.field(&["Klass::_name"])?,
            symbol_length,
            symbol_body: structs.field(&["Symbol::_body"])?,
            symbol_bytes: structs.size("Symbol").unwrap_or(0),
            excluded_low_bytes,
        })
    }
}
