//! A return address in compiled code → the methods there, innermost first, with bytecode indexes.
//!
//! Takes a blob that is an nmethod and a pc in it; gives [`Scope`]s: where each `Method*` is and which
//! of its bytecodes called. What the methods are called is `method`'s. Debug information is exact at
//! calls, so inlining is too.
//! Source: HotSpot, `code/{nmethod,pcDesc,scopeDesc,debugInfo}.hpp`.

use super::code_cache::Blob;
use super::layout::{CodeStart, DebugLayout, MetadataLayout, NmethodLayout};
use super::read::{ReadError, Reader, Record, pointer};
use super::unsigned5::{MAX_BYTES, Numbers};

/// Bytes of all pc descriptors of one nmethod.
const MAX_PCS_BYTES: usize = 1 << 20;
/// Bytes of scopes that an offset may reach over.
const MAX_SCOPES_BYTES: u64 = 1 << 22;
/// Methods inlined into one another at one place (HotSpot's own limits are below 20).
const MAX_INLINED: usize = 256;
/// `Method*`s that the scopes of one nmethod may name.
const MAX_METADATA: u32 = 1 << 20;
/// Bytes from the start of a blob or of its debug information to any part.
const MAX_OFFSET: u64 = 1 << 31;
/// A scope's sender offset, method index and bytecode index are three numbers.
const SCOPE_BYTES: u64 = 3 * MAX_BYTES as u64;

/// A method that was running at a pc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// Address of the `Method`.
    pub(super) method: u64,
    /// Index of the bytecode that called; 0 where compiled code stands before the first.
    pub(super) bci: u32,
}

/// The header of an nmethod.
#[derive(Debug)]
pub(super) struct Nmethod<'a> {
    layout: &'a NmethodLayout,
    record: Record,
    pub(super) compile_id: u32,
    /// 0: the wrapper of a native method; 1 to 3: C1; 4: C2.
    pub(super) level: u8,
    /// Address of the outermost `Method`, 0 if its class is gone.
    pub(super) method: u64,
}

impl<'a> Nmethod<'a> {
    /// Reads the header at `address`, which must be a blob named as an nmethod.
    pub(super) fn read(
        reader: Reader<'_>,
        layout: &'a NmethodLayout,
        address: u64,
    ) -> Result<Self, ReadError> {
        let record = reader.record(address, layout.bytes)?;
        Ok(Self {
            layout,
            compile_id: record.field(layout.compile_id)? as u32,
            level: record.field(layout.comp_level)? as u8,
            method: record.field(layout.method)?,
            record,
        })
    }

    /// The compile id that memory has for the nmethod at `address` now.
    pub(super) fn compile_id_now(
        reader: Reader<'_>,
        layout: &NmethodLayout,
        address: u64,
    ) -> Result<u32, ReadError> {
        Ok(reader.field(address, layout.compile_id)? as u32)
    }

    /// The methods at `pc` (a return address), innermost first; at least the nmethod's own.
    ///
    /// # Errors
    /// The debug information cannot be read or makes no sense.
    pub(super) fn scopes(&self, reader: Reader<'_>, blob: &Blob, pc: u64) -> Result<Vec<Scope>, ReadError> {
        let outer = Scope { method: pointer(self.method)?, bci: 0 };
        let places = self.places(blob)?;
        let Some(offset) = self.scope_offset(reader, &places, pc.wrapping_sub(blob.code.start))? else {
            return Ok(vec![outer]);
        };
        let mut scopes = Vec::new();
        let mut next = offset;
        while next != 0 {
            if u64::from(next) > MAX_SCOPES_BYTES || scopes.len() >= MAX_INLINED {
                return Err(ReadError::OutOfBounds(next.into()));
            }
            let at = places.scopes + u64::from(next);
            let length = SCOPE_BYTES.min(places.scopes_end.saturating_sub(at));
            let bytes = reader.bytes(at, length, SCOPE_BYTES as usize)?;
            let mut numbers = Numbers::new(&bytes, self.layout.excluded_low_bytes);
            let mut number = || numbers.unsigned().ok_or(ReadError::OutOfBounds(at));
            let (sender, index, bci) = (number()?, number()?, number()?);
            let index = index.checked_sub(1).filter(|index| *index < MAX_METADATA);
            let index = index.ok_or(ReadError::OutOfBounds(at))?;
            let method = reader.pointer(places.metadata + 8 * u64::from(index))?;
            // Stored plus 1, because before the first bytecode it is −1.
            scopes.push(Scope { method, bci: bci.saturating_sub(1) });
            // Callers are written first: offsets fall, and a loop is not followed.
            if sender >= next {
                return Err(ReadError::OutOfBounds(at));
            }
            next = sender;
        }
        // The outermost scope is the nmethod's own method: anything else is torn.
        match scopes.last() {
            Some(last) if last.method == self.method => Ok(scopes),
            _ => Err(ReadError::OutOfBounds(self.method)),
        }
    }

    /// The offset of the scope at `code_offset`, `None` if only the method is known there.
    fn scope_offset(
        &self,
        reader: Reader<'_>,
        places: &Places,
        code_offset: u64,
    ) -> Result<Option<u32>, ReadError> {
        let stride = usize::try_from(self.layout.pc_desc_bytes).unwrap_or(0);
        let pcs = reader.bytes(places.pcs, places.pcs_bytes, MAX_PCS_BYTES)?;
        // (Offset of the code, of the scope.)
        let read = |descriptor: &[u8]| -> Option<(i32, i32)> {
            let field = |offset: u64| {
                let start = usize::try_from(offset).ok()?;
                let bytes = descriptor.get(start..start.checked_add(4)?)?;
                Some(i32::from_le_bytes(bytes.try_into().ok()?))
            };
            Some((field(self.layout.pc_offset.offset)?, field(self.layout.scope_offset.offset)?))
        };
        if stride == 0 {
            return Err(ReadError::OutOfBounds(0));
        }
        let descriptors: Option<Vec<_>> = pcs.chunks_exact(stride).map(read).collect();
        let descriptors = descriptors.ok_or(ReadError::OutOfBounds(places.pcs))?;
        let wanted = i32::try_from(code_offset).map_err(|_| ReadError::OutOfBounds(code_offset))?;
        // Sorted, between a first of −1 and a last that is huge. HotSpot takes the first that is not
        // before the pc; at calls it is equal.
        let index = descriptors.partition_point(|(offset, _)| *offset < wanted);
        match descriptors.get(index) {
            Some((_, scope)) if index + 1 < descriptors.len() => {
                u32::try_from(*scope).map(|scope| Some(scope).filter(|scope| *scope != 0)).or(Ok(None))
            }
            // The last is the sentinel: the pc is behind every call.
            _ => Ok(None),
        }
    }

    /// Where the parts of the debug information are.
    fn places(&self, blob: &Blob) -> Result<Places, ReadError> {
        let record = &self.record;
        let blob_end = blob.address + u64::from(blob.size_bytes);
        let offset = |field| {
            let offset = record.field(field)?;
            if offset > MAX_OFFSET { Err(ReadError::OutOfBounds(offset)) } else { Ok(offset) }
        };
        let in_blob = |field| Ok(blob.address + offset(field)?);
        let (pcs, pcs_end, scopes, scopes_end, metadata) = match self.layout.debug {
            DebugLayout::InBlob { metadata, scopes_pcs, scopes_pcs_end, scopes_data } => {
                let scopes = match scopes_data {
                    CodeStart::Address(field) => record.pointer(field)?,
                    CodeStart::Offset(field) => in_blob(field)?,
                };
                let pcs = in_blob(scopes_pcs)?;
                (pcs, in_blob(scopes_pcs_end)?, scopes, blob_end, in_blob(metadata)?)
            }
            DebugLayout::Immutable { data, size, scopes_pcs, scopes_data, metadata } => {
                let data = record.pointer(data)?;
                let scopes = data + offset(scopes_data)?;
                let metadata = match metadata {
                    MetadataLayout::AfterData(field) => blob.code.end + offset(field)?,
                    MetadataLayout::Mutable { data, relocation_size } => {
                        record.pointer(data)? + offset(relocation_size)?
                    }
                };
                (data + offset(scopes_pcs)?, scopes, scopes, data + offset(size)?, metadata)
            }
        };
        let pcs_bytes = pcs_end.checked_sub(pcs).ok_or(ReadError::OutOfBounds(pcs))?;
        Ok(Places { pcs, pcs_bytes, scopes, scopes_end, metadata: pointer(metadata)? })
    }
}

/// Runtime addresses of an nmethod's debug information.
#[derive(Clone, Copy, Debug)]
struct Places {
    pcs: u64,
    pcs_bytes: u64,
    scopes: u64,
    scopes_end: u64,
    metadata: u64,
}
