//! A return address in compiled code → the methods there, innermost first, with bytecode indexes.
//!
//! Takes a blob that is an nmethod and a pc in it; gives [`Scope`]s: where each `Method*` is and which
//! of its bytecodes called. Names of methods are `method`'s. Debug information is exact at
//! calls, so inlining is too.
//! Source: HotSpot, `code/{nmethod,pcDesc,scopeDesc,debugInfo}.hpp`.

use std::collections::BTreeSet;

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
        let descriptors = self.descriptors(reader, &places)?;
        let Some(offset) = scope_at(&descriptors, pc.wrapping_sub(blob.code.start))? else {
            return Ok(vec![outer]);
        };
        let read = |offset: u32| {
            let at = places.scopes + u64::from(offset);
            let length = SCOPE_BYTES.min(places.scopes_end.saturating_sub(at));
            reader.bytes(at, length, SCOPE_BYTES as usize)
        };
        let mut scopes = Vec::new();
        for (index, bci) in chain(offset, self.layout.excluded_low_bytes, read)? {
            let method = reader.pointer(places.metadata + 8 * u64::from(index))?;
            scopes.push(Scope { method, bci });
        }
        // The outermost scope is the nmethod's own method: anything else is torn.
        match scopes.last() {
            Some(last) if last.method == self.method => Ok(scopes),
            _ => Err(ReadError::OutOfBounds(self.method)),
        }
    }

    /// Debug information about calls, as it is now.
    ///
    /// # Errors
    /// It cannot be read, makes no sense, or there is more than is kept of one nmethod.
    pub(super) fn debug(&self, reader: Reader<'_>, blob: &Blob) -> Result<Debug, ReadError> {
        let places = self.places(blob)?;
        // Up to JDK 22 the pc descriptors follow the scopes, and then come other things.
        let scopes_end = if places.pcs > places.scopes { places.pcs } else { places.scopes_end };
        let scopes_bytes = scopes_end.min(places.scopes_end).saturating_sub(places.scopes);
        Ok(Debug {
            descriptors: self.descriptors(reader, &places)?.into(),
            scopes: reader.bytes(places.scopes, scopes_bytes, MAX_SCOPES_BYTES as usize)?.into(),
            excluded_low_bytes: self.layout.excluded_low_bytes,
            places,
        })
    }

    /// Is the debug information where that of `other`, an earlier reading of the same blob, was?
    pub(super) fn is_at_same_places(&self, other: &Self, blob: &Blob) -> bool {
        matches!((self.places(blob), other.places(blob)), (Ok(ours), Ok(theirs)) if ours == theirs)
    }

    /// The pc descriptors, in the order of their pcs.
    fn descriptors(&self, reader: Reader<'_>, places: &Places) -> Result<Vec<Descriptor>, ReadError> {
        let stride = usize::try_from(self.layout.pc_desc_bytes).unwrap_or(0);
        let pcs = reader.bytes(places.pcs, places.pcs_bytes, MAX_PCS_BYTES)?;
        let read = |descriptor: &[u8]| -> Option<Descriptor> {
            let field = |offset: u64| {
                let start = usize::try_from(offset).ok()?;
                let bytes = descriptor.get(start..start.checked_add(4)?)?;
                Some(i32::from_le_bytes(bytes.try_into().ok()?))
            };
            Some(Descriptor {
                code_offset: field(self.layout.pc_offset.offset)?,
                scope_offset: field(self.layout.scope_offset.offset)?,
            })
        };
        if stride == 0 {
            return Err(ReadError::OutOfBounds(0));
        }
        let descriptors: Option<Vec<_>> = pcs.chunks_exact(stride).map(read).collect();
        descriptors.ok_or(ReadError::OutOfBounds(places.pcs))
    }

    /// Places of the parts of the debug information.
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

/// Descriptor of a call's scope: offsets in bytes, from the start of the code and of the scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Descriptor {
    code_offset: i32,
    scope_offset: i32,
}

/// A copy of the debug information of one nmethod, which outlives it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Debug {
    descriptors: Box<[Descriptor]>,
    scopes: Box<[u8]>,
    excluded_low_bytes: u8,
    places: Places,
}

impl Debug {
    /// Bytes that it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.descriptors) + self.scopes.len()
    }

    /// The methods at `code_offset`, innermost first, as (index in the nmethod's metadata, bytecode
    /// index). `None` if only the nmethod's own is known there.
    ///
    /// # Errors
    /// The copy makes no sense there.
    pub(super) fn scopes(&self, code_offset: u64) -> Result<Option<Vec<(u32, u32)>>, ReadError> {
        match scope_at(&self.descriptors, code_offset)? {
            Some(offset) => self.chain(offset).map(Some),
            None => Ok(None),
        }
    }

    /// The methods that any scope names, by index.
    ///
    /// # Errors
    /// The copy makes no sense.
    pub(super) fn method_indices(&self) -> Result<BTreeSet<u32>, ReadError> {
        let offsets = self.descriptors.iter().filter_map(|one| u32::try_from(one.scope_offset).ok());
        let offsets: BTreeSet<u32> = offsets.filter(|offset| *offset != 0).collect();
        let mut indices = BTreeSet::new();
        for offset in offsets {
            indices.extend(self.chain(offset)?.into_iter().map(|(index, _)| index));
        }
        Ok(indices)
    }

    /// Address at which the pointer to the `Method` with this index was.
    pub(super) fn metadata_address(&self, index: u32) -> u64 {
        self.places.metadata + 8 * u64::from(index)
    }

    /// Do the pc descriptors begin with their sentinel, in order? Memory that took their place after the nmethod was
    /// freed does not.
    pub(super) fn is_plausible(&self) -> bool {
        self.descriptors.first().is_some_and(|first| first.code_offset < 0)
            && self.descriptors.is_sorted_by_key(|one| one.code_offset)
    }

    fn chain(&self, offset: u32) -> Result<Vec<(u32, u32)>, ReadError> {
        chain(offset, self.excluded_low_bytes, |offset| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = start.saturating_add(SCOPE_BYTES as usize).min(self.scopes.len());
            self.scopes.get(start..end).ok_or(ReadError::OutOfBounds(offset.into()))
        })
    }
}

/// The offset of the scope at `code_offset`, `None` if only the method is known there.
fn scope_at(descriptors: &[Descriptor], code_offset: u64) -> Result<Option<u32>, ReadError> {
    let wanted = i32::try_from(code_offset).map_err(|_| ReadError::OutOfBounds(code_offset))?;
    // Sorted, between a first of −1 and a last that is huge. HotSpot takes the first that is not
    // before the pc; at calls it is equal.
    let index = descriptors.partition_point(|one| one.code_offset < wanted);
    Ok(match descriptors.get(index) {
        Some(one) if index + 1 < descriptors.len() => {
            u32::try_from(one.scope_offset).ok().filter(|scope| *scope != 0)
        }
        // The last is the sentinel: the pc is behind every call.
        _ => None,
    })
}

/// The scopes from the one at `first` outwards, as (index in the nmethod's metadata, bytecode index);
/// `read` gives the bytes from an offset on.
fn chain<B: AsRef<[u8]>>(
    first: u32,
    excluded_low_bytes: u8,
    read: impl Fn(u32) -> Result<B, ReadError>,
) -> Result<Vec<(u32, u32)>, ReadError> {
    let mut scopes = Vec::new();
    let mut next = first;
    while next != 0 {
        let nonsense = || ReadError::OutOfBounds(next.into());
        if u64::from(next) > MAX_SCOPES_BYTES || scopes.len() >= MAX_INLINED {
            return Err(nonsense());
        }
        let bytes = read(next)?;
        let mut numbers = Numbers::new(bytes.as_ref(), excluded_low_bytes);
        let mut number = || numbers.unsigned().ok_or_else(nonsense);
        let (sender, index, bci) = (number()?, number()?, number()?);
        let index = index.checked_sub(1).filter(|index| *index < MAX_METADATA).ok_or_else(nonsense)?;
        // Stored plus 1, because before the first bytecode it is −1.
        scopes.push((index, bci.saturating_sub(1)));
        // Callers are written first: offsets fall, and a loop is not followed.
        if sender >= next {
            return Err(nonsense());
        }
        next = sender;
    }
    Ok(scopes)
}

/// Runtime addresses of an nmethod's debug information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places {
    pcs: u64,
    pcs_bytes: u64,
    scopes: u64,
    scopes_end: u64,
    metadata: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_plausible_behind_their_sentinel_and_in_order() {
        let is_plausible = |code_offsets: &[i32]| {
            let one = |&code_offset: &i32| Descriptor { code_offset, scope_offset: 1 };
            let places = Places { pcs: 0, pcs_bytes: 0, scopes: 0, scopes_end: 0, metadata: 0 };
            let descriptors = code_offsets.iter().map(one).collect();
            Debug { descriptors, scopes: Box::default(), excluded_low_bytes: 0, places }.is_plausible()
        };
        assert!(is_plausible(&[-1, 4, 4, 90, i32::MAX]));
        for torn in [&[][..], &[0, 4, 90, i32::MAX], &[-1, 90, 4, i32::MAX], &[4, 90, -1]] {
            assert!(!is_plausible(torn), "{torn:?}");
        }
    }
}
