//! The code cache: its heaps, the interpreter's range, and the blob that an address lies in.
//!
//! Gives the unwinder its configuration ([`tracer_common::config::Jvm`]), and the other parts of
//! `hotspot` the header of a blob. Names of methods are `nmethod`'s and `method`'s.
//! Source: HotSpot, `memory/heap.cpp` (segment map), `code/codeBlob.hpp`.

use std::ops::{ControlFlow, Range};

use tracer_common::arch::PAGE_BYTES;
use tracer_common::config;

use super::HotspotError;
use super::layout::{CodeLayout, CodeStart, Heaps, Layout};
use super::read::{ReadError, Reader, pointer};

/// Place of the bytecode pointer in an interpreter frame, bytes below its frame pointer: from JDK 9, and JDK 8.
const BCP_BELOW_FP: u32 = 64;
const BCP_BELOW_FP_JDK8: u32 = 56;
/// Hops through a segment map that are still believed (10 is the most seen).
const MAX_HOPS: usize = 64;
/// A segment that belongs to no block.
const FREE_SEGMENT: u8 = 0xff;
/// No code heap is larger (HotSpot's limit for the whole code cache is 2 GiB).
const MAX_HEAP_BYTES: u64 = 1 << 31;
/// Bytes that the interpreter's buffer may have left when it is cut to what it needs, bytes.
const MAX_INTERPRETER_SLACK_BYTES: u64 = 1024;
/// Blobs of one heap (a JVM that fills 240 MiB has about 100,000).
const MAX_BLOBS: usize = 1 << 18;
/// The longest name of a blob.
const MAX_BLOB_NAME: usize = 256;

/// A code heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heap {
    /// Address of its `CodeHeap`.
    pub(super) address: u64,
    /// The reserved range.
    pub(super) low: u64,
    pub(super) high: u64,
    /// End of what is committed now.
    pub(super) committed: u64,
    /// Address of the segment map's first byte.
    pub(super) segment_map: u64,
    pub(super) log2_segment_bytes: u32,
}

impl Heap {
    fn contains(&self, address: u64) -> bool {
        (self.low..self.high).contains(&address)
    }
}

/// The header of a code blob in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub address: u64,
    /// Name as the JVM has it: "nmethod", "native nmethod", a stub's name.
    pub name: String,
    /// Range of the code (instructions and stubs), from the first to one past the last byte.
    pub code: Range<u64>,
    /// Words, with the return address; 0 or less: frames are linked by rbp.
    pub frame_size: i32,
    pub size_bytes: u32,
}

impl Blob {
    /// Compiled Java or the wrapper of a native method.
    pub fn is_nmethod(&self) -> bool {
        matches!(self.name.as_str(), "nmethod" | "native nmethod")
    }
}

/// The code cache of one JVM. Heaps are fixed for its life once it has set itself up.
#[derive(Clone, Debug)]
pub(super) struct CodeCache {
    layout: CodeLayout,
    pub(super) heaps: Vec<Heap>,
    pub(super) interpreter: Range<u64>,
    pub(super) call_stub_return: u64,
}

impl CodeCache {
    /// # Errors
    /// `NotReady` while the JVM has not set itself up; `Unsupported` if it has more heaps than the
    /// unwinder can hold.
    pub(super) fn read(reader: Reader<'_>, layout: &CodeLayout) -> Result<Self, HotspotError> {
        let heaps = heaps(reader, layout).map_err(|_| HotspotError::NotReady("no code heaps"))?;
        if heaps.is_empty() {
            return Err(HotspotError::NotReady("no code heaps"));
        }
        if heaps.len() > config::CODE_HEAPS {
            return Err(HotspotError::TooManyHeaps(heaps.len()));
        }
        let interpreter =
            interpreter(reader, layout).map_err(|_| HotspotError::NotReady("no interpreter"))?;
        let call_stub_return = reader.u64(layout.call_stub_return).unwrap_or(0);
        if call_stub_return == 0 {
            return Err(HotspotError::NotReady("no call stub"));
        }
        Ok(Self { layout: layout.clone(), heaps, interpreter, call_stub_return })
    }

    /// The heaps as they are now: their committed parts grow.
    pub(super) fn heaps_now(&self, reader: Reader<'_>, layout: &CodeLayout) -> Vec<Heap> {
        heaps(reader, layout).unwrap_or_else(|_| self.heaps.clone())
    }

    /// Is the JVM itself gone, with all that it described?
    pub(super) fn is_gone(&self, reader: Reader<'_>) -> bool {
        heaps(reader, &self.layout).is_err()
    }

    /// Range that is reserved for the segment map of `heap`: a byte for each segment, in whole pages.
    pub(super) fn segment_map(&self, heap: &Heap) -> Option<Range<u64>> {
        let bytes = (heap.high - heap.low) >> heap.log2_segment_bytes;
        let end = heap.segment_map.checked_add(bytes)?.checked_next_multiple_of(PAGE_BYTES)?;
        Some(heap.segment_map..end)
    }

    /// The blob in use that `pc` lies in.
    ///
    /// # Errors
    /// No heap holds `pc`, the segment is free, or memory makes no sense.
    pub(super) fn find(&self, reader: Reader<'_>, pc: u64) -> Result<Blob, ReadError> {
        let heap = self.heaps.iter().find(|heap| heap.contains(pc)).ok_or(ReadError::OutOfBounds(pc))?;
        let mut index = (pc - heap.low) >> heap.log2_segment_bytes;
        for _ in 0..MAX_HOPS {
            let mut tag = [0];
            reader.fill(heap.segment_map.wrapping_add(index), &mut tag)?;
            let hop = match tag {
                [FREE_SEGMENT] => return Err(ReadError::OutOfBounds(pc)),
                [hop] => u64::from(hop),
            };
            if hop == 0 {
                let block = heap.low + (index << heap.log2_segment_bytes);
                return self.blob(reader, block + self.layout.block_bytes);
            }
            index = index.checked_sub(hop).ok_or(ReadError::OutOfBounds(pc))?;
        }
        Err(ReadError::OutOfBounds(pc))
    }

    /// The header of the blob at `address`.
    ///
    /// # Errors
    /// It is not in use (any more), or memory makes no sense.
    pub(super) fn blob(&self, reader: Reader<'_>, address: u64) -> Result<Blob, ReadError> {
        let layout = &self.layout;
        let heap = self.heaps.iter().find(|heap| heap.contains(address));
        let heap = heap.ok_or(ReadError::OutOfBounds(address))?;
        let block = pointer(address)?.wrapping_sub(layout.block_bytes);
        if reader.field(block, layout.block_used)? != 1 {
            return Err(ReadError::OutOfBounds(address));
        }
        let header = reader.record(address, layout.blob_bytes)?;
        let size = header.field(layout.blob_size)?;
        let code_start = match layout.code {
            CodeStart::Address(field) => header.field(field)?,
            CodeStart::Offset(field) => address.wrapping_add(header.field(field)?),
        };
        let code_end = address.wrapping_add(header.field(layout.blob_data_offset)?);
        let end = address.checked_add(size).filter(|end| *end <= heap.high);
        if !(address < code_start && code_start <= code_end && end.is_some_and(|end| code_end <= end)) {
            return Err(ReadError::OutOfBounds(address));
        }
        Ok(Blob {
            address,
            name: reader.c_string(header.field(layout.blob_name)?, MAX_BLOB_NAME)?,
            code: code_start..code_end,
            frame_size: i32::try_from(header.signed(layout.blob_frame_size)?).unwrap_or(0),
            size_bytes: u32::try_from(size).unwrap_or(u32::MAX),
        })
    }

    /// Calls `visit` with the header of every blob in use, until it says to stop. Blobs that cannot
    /// be read (they come and go) are passed over.
    pub(super) fn each(&self, reader: Reader<'_>, mut visit: impl FnMut(Blob) -> ControlFlow<()>) {
        for heap in self.heaps_now(reader, &self.layout) {
            let mut flow = ControlFlow::Continue(());
            self.each_block(reader, &heap, |block| {
                if flow.is_continue()
                    && let Ok(blob) = self.blob(reader, block + self.layout.block_bytes)
                {
                    flow = visit(blob);
                }
            });
            if flow.is_break() {
                return;
            }
        }
    }

    /// Calls `visit` with the address of every block in use of `heap`.
    pub(super) fn each_block(&self, reader: Reader<'_>, heap: &Heap, mut visit: impl FnMut(u64)) {
        let segments = heap.committed.saturating_sub(heap.low) >> heap.log2_segment_bytes;
        let Ok(map) = reader.bytes(heap.segment_map, segments, MAX_HEAP_BYTES as usize >> 6) else {
            return;
        };
        for (index, _) in map.iter().enumerate().filter(|(_, tag)| **tag == 0).take(MAX_BLOBS) {
            visit(heap.low + ((index as u64) << heap.log2_segment_bytes));
        }
    }

    /// The addresses of the names "nmethod" and "native nmethod"; both 0 while no blob has one of them:
    /// with one alone, the unwinder would take the others for stubs.
    fn nmethod_names(&self, reader: Reader<'_>) -> (u64, u64) {
        let (mut nmethod, mut native) = (0, 0);
        self.each(reader, |blob| {
            let name = || reader.field(blob.address, self.layout.blob_name).unwrap_or(0);
            match blob.name.as_str() {
                "nmethod" if nmethod == 0 => nmethod = name(),
                "native nmethod" if native == 0 => native = name(),
                _ => {}
            }
            if nmethod != 0 && native != 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if nmethod != 0 && native != 0 { (nmethod, native) } else { (0, 0) }
    }

    /// Configuration of the in-kernel unwinder for this JVM.
    pub(super) fn config(
        &self,
        reader: Reader<'_>,
        layout: &Layout,
        return_barrier: u64,
        feature: u32,
    ) -> config::Jvm {
        let mut jvm = config::Jvm::ZERO;
        for (slot, heap) in jvm.heaps.iter_mut().zip(&self.heaps) {
            *slot = config::CodeHeap { low: heap.low, high: heap.high, segment_map: heap.segment_map };
        }
        jvm.heap_count = self.heaps.len() as u32;
        jvm.code_low = self.heaps.iter().map(|heap| heap.low).min().unwrap_or(0);
        jvm.code_high = self.heaps.iter().map(|heap| heap.high).max().unwrap_or(0);
        jvm.interpreter_low = self.interpreter.start;
        jvm.interpreter_high = self.interpreter.end;
        jvm.call_stub_return = self.call_stub_return;
        jvm.return_barrier = return_barrier;
        jvm.log2_segment_bytes = self.heaps.first().map_or(0, |heap| heap.log2_segment_bytes);
        let code = &layout.code;
        jvm.heap_block_bytes = offset(code.block_bytes);
        jvm.block_used = offset(code.block_used.offset);
        jvm.blob_frame_size = offset(code.blob_frame_size.offset);
        jvm.blob_name = offset(code.blob_name.offset);
        let nmethod = &layout.nmethod;
        jvm.nmethod_compile_id = offset(nmethod.compile_id.offset);
        jvm.nmethod_comp_level = offset(nmethod.comp_level.offset);
        jvm.nmethod_orig_pc_offset = offset(nmethod.orig_pc_offset.offset);
        jvm.nmethod_deopt_handler = offset(nmethod.deopt_handler.offset);
        jvm.nmethod_deopt_mh_handler = nmethod.deopt_mh_handler.map_or(0, |field| offset(field.offset));
        jvm.deopt_relative = u32::from(nmethod.deopt_relative);
        jvm.method_const_method = offset(layout.method.const_method.offset);
        jvm.interpreter_bcp_below_fp = if feature == 8 { BCP_BELOW_FP_JDK8 } else { BCP_BELOW_FP };
        match code.kind {
            Some((field, nmethod)) => {
                jvm.blob_kind = offset(field.offset);
                jvm.kind_nmethod = u32::from(nmethod);
            }
            None => {
                jvm.blob_kind = u32::MAX;
                (jvm.name_nmethod, jvm.name_native_nmethod) = self.nmethod_names(reader);
            }
        }
        jvm
    }
}

/// Names of the heaps, in the order in which the JVM lists them when there are `count` of them.
/// Source: HotSpot, `CodeCache::add_heap`, which sorts by `CodeBlobType`.
pub(super) fn heap_names(count: usize) -> &'static [&'static str] {
    match count {
        1 => &["CodeCache"],
        2 => &["non-profiled nmethods", "non-nmethods"],
        3 => &["non-profiled nmethods", "profiled nmethods", "non-nmethods"],
        _ => &["code heap"; config::CODE_HEAPS],
    }
}

/// Offsets and sizes are below 4096: [`super::vmstructs`] gives sizes that are, and an offset of a
/// structure that is not makes reads fail.
fn offset(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn heaps(reader: Reader<'_>, layout: &CodeLayout) -> Result<Vec<Heap>, ReadError> {
    match layout.heaps {
        Heaps::One(address) => Ok(vec![heap(reader, layout, reader.pointer(address)?)?]),
        Heaps::Many { address, length, data } => {
            let array = reader.pointer(address)?;
            let count = reader.field(array, length)?;
            let data = reader.pointer_field(array, data)?;
            // More than this is no count of heaps.
            if count > 16 {
                return Err(ReadError::OutOfBounds(count));
            }
            (0..count).map(|index| heap(reader, layout, reader.pointer(data + 8 * index)?)).collect()
        }
    }
}

fn heap(reader: Reader<'_>, layout: &CodeLayout, address: u64) -> Result<Heap, ReadError> {
    let heap = Heap {
        address,
        low: reader.pointer_field(address, layout.memory_low)?,
        high: reader.pointer_field(address, layout.memory_high)?,
        committed: reader.pointer_field(address, layout.memory_committed)?,
        segment_map: reader.pointer_field(address, layout.segment_map)?,
        log2_segment_bytes: reader.field(address, layout.log2_segment_bytes)? as u32,
    };
    let sizes_hold = heap.low < heap.high
        && heap.high - heap.low <= MAX_HEAP_BYTES
        && (heap.low..=heap.high).contains(&heap.committed)
        && (6..=16).contains(&heap.log2_segment_bytes);
    if sizes_hold { Ok(heap) } else { Err(ReadError::OutOfBounds(address)) }
}

fn interpreter(reader: Reader<'_>, layout: &CodeLayout) -> Result<Range<u64>, ReadError> {
    let queue = reader.pointer(layout.interpreter)?;
    let start = reader.pointer_field(queue, layout.stub_buffer)?;
    let length = reader.field(queue, layout.buffer_limit)?;
    if length == 0 || length > MAX_HEAP_BYTES {
        return Err(ReadError::OutOfBounds(length));
    }
    // Until it is made it has more room than it will need; other code comes to lie in the rest. JDK 8
    // keeps the rest.
    if let Heaps::Many { .. } = layout.heaps
        && let Ok(used) = reader.field(queue, layout.queue_end)
        && length.checked_sub(used).is_none_or(|rest| rest > MAX_INTERPRETER_SLACK_BYTES)
    {
        return Err(ReadError::OutOfBounds(used));
    }
    Ok(start..start + length)
}
