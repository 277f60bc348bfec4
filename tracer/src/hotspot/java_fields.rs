//! Offsets of fields in the objects of a Java class, from the class's own list of fields.
//!
//! Source: HotSpot, `oops/fieldInfo.hpp` (to 20: six u2 a field; from 21: a stream of numbers).

use super::layout::{FieldsLayout, Layout, MethodLayout, ObjectLayout};
use super::method::Pool;
use super::read::{ReadError, Reader};
use super::unsigned5::Numbers;

/// Fields of one class.
const MAX_FIELDS: u64 = 4096;
/// u2 values for each field, and which of them is what (`FieldInfo`, JDK 8 to 20).
const SLOTS: u64 = 6;
const FLAGS_SLOT: u64 = 0;
const NAME_SLOT: u64 = 1;
const LOW_SLOT: u64 = 4;
const HIGH_SLOT: u64 = 5;
/// An offset lies above this many bits of tag.
const TAG_BITS: u32 = 2;
/// Bit of a field's access flags: `JVM_ACC_STATIC`.
const STATIC: u32 = 8;
/// Flags of a field in the stream (`FieldInfo::FieldFlags`, from 21).
const INJECTED: u32 = 1 << 1;
/// Each of these adds one number: initialized, generic, contended.
const WITH_NUMBER: [u32; 3] = [1 << 0, 1 << 2, 1 << 4];
/// Objects are not larger, as far as the fields asked for go.
const MAX_OFFSET: u32 = 1 << 16;

/// Bytes from an object's start to its field `name`, declared in the class at `class` itself.
///
/// # Errors
/// There is no such field, or memory makes no sense.
pub(super) fn offset(
    reader: Reader<'_>,
    layout: &Layout,
    objects: &ObjectLayout,
    class: u64,
    name: &str,
) -> Result<u64, ReadError> {
    let constants = reader.pointer_field(class, objects.class_constants)?;
    let pool = Pool::read(reader, &layout.method, constants)?;
    let is_name = |index: u64| pool.text(index).is_ok_and(|text| text == name);
    let offset = match objects.fields {
        FieldsLayout::Slots { fields, count, data } => {
            let count = reader.field(class, count)?;
            if count > MAX_FIELDS {
                return Err(ReadError::OutOfBounds(count));
            }
            let array = reader.pointer_field(class, fields)?;
            let bytes =
                reader.bytes(array + data.offset, count * SLOTS * 2, (MAX_FIELDS * SLOTS * 2) as usize)?;
            in_slots(&bytes, is_name)
        }
        FieldsLayout::Stream { stream, data } => {
            let array = reader.pointer_field(class, stream)?;
            let length = reader.u32(array)?;
            let bytes = reader.bytes(array + data.offset, length.into(), 1 << 16)?;
            in_stream(&bytes, &layout.method, is_name)
        }
    };
    offset.filter(|offset| *offset < MAX_OFFSET).map(u64::from).ok_or(ReadError::OutOfBounds(class))
}

/// A field as its class lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    /// Indices into the constant pool.
    name: u32,
    signature: u32,
    offset: u32,
    is_static: bool,
}

/// Every field that the class at `class` declares itself: name, signature, offset, and whether it is static (its offset
/// counts from the `java.lang.Class`).
///
/// # Errors
/// Memory makes no sense.
pub(super) fn declared(
    reader: Reader<'_>,
    layout: &Layout,
    objects: &ObjectLayout,
    class: u64,
) -> Result<Vec<(String, String, u32, bool)>, ReadError> {
    let constants = reader.pointer_field(class, objects.class_constants)?;
    let pool = Pool::read(reader, &layout.method, constants)?;
    let listed = match objects.fields {
        FieldsLayout::Slots { fields, count, data } => {
            let count = reader.field(class, count)?;
            if count > MAX_FIELDS {
                return Err(ReadError::OutOfBounds(count));
            }
            let array = reader.pointer_field(class, fields)?;
            list_slots(&reader.bytes(
                array + data.offset,
                count * SLOTS * 2,
                (MAX_FIELDS * SLOTS * 2) as usize,
            )?)
        }
        FieldsLayout::Stream { stream, data } => {
            let array = reader.pointer_field(class, stream)?;
            let length = reader.u32(array)?;
            list_stream(&reader.bytes(array + data.offset, length.into(), 1 << 16)?, &layout.method)
        }
    };
    let text = |field: Listed| {
        Ok((pool.text(field.name.into())?, pool.text(field.signature.into())?, field.offset, field.is_static))
    };
    listed.into_iter().filter(|field| field.offset < MAX_OFFSET).map(text).collect()
}

fn list_slots(bytes: &[u8]) -> Vec<Listed> {
    let field = |field: &[u8]| {
        let slot = |index: u64| {
            let start = 2 * index as usize;
            let slot = field.get(start..).and_then(|rest| rest.first_chunk::<2>());
            slot.map_or(0, |slot| u16::from_le_bytes(*slot).into())
        };
        Listed {
            name: slot(NAME_SLOT),
            signature: slot(NAME_SLOT + 1),
            offset: (slot(HIGH_SLOT) << 16 | slot(LOW_SLOT)) >> TAG_BITS,
            is_static: slot(FLAGS_SLOT) & STATIC != 0,
        }
    };
    bytes.chunks_exact(2 * SLOTS as usize).map(field).collect()
}

fn list_stream(bytes: &[u8], layout: &MethodLayout) -> Vec<Listed> {
    let mut numbers = Numbers::new(bytes, layout.excluded_low_bytes);
    let mut listed = Vec::new();
    // Fields that the JVM adds come last.
    let (Some(count), Some(_added)) = (numbers.unsigned(), numbers.unsigned()) else { return listed };
    let mut next = || -> Option<Listed> {
        let (name, signature, offset) = (numbers.unsigned()?, numbers.unsigned()?, numbers.unsigned()?);
        let (access_flags, flags) = (numbers.unsigned()?, numbers.unsigned()?);
        for _ in WITH_NUMBER.iter().filter(|bit| flags & **bit != 0) {
            numbers.unsigned()?;
        }
        Some(Listed { name, signature, offset, is_static: access_flags & STATIC != 0 })
    };
    for _ in 0..u64::from(count).min(MAX_FIELDS) {
        match next() {
            Some(field) => listed.push(field),
            None => break,
        }
    }
    listed
}

fn in_slots(bytes: &[u8], is_name: impl Fn(u64) -> bool) -> Option<u32> {
    bytes.chunks_exact(2 * SLOTS as usize).find_map(|field| {
        let slot = |index: u64| {
            let start = 2 * index as usize;
            Some(u32::from(u16::from_le_bytes(field.get(start..start + 2)?.try_into().ok()?)))
        };
        let offset = (slot(HIGH_SLOT)? << 16 | slot(LOW_SLOT)?) >> TAG_BITS;
        is_name(slot(NAME_SLOT)?.into()).then_some(offset)
    })
}

fn in_stream(bytes: &[u8], layout: &MethodLayout, is_name: impl Fn(u64) -> bool) -> Option<u32> {
    let mut numbers = Numbers::new(bytes, layout.excluded_low_bytes);
    // Counts of the class file's fields and of those that the JVM adds.
    let count = u64::from(numbers.unsigned()?) + u64::from(numbers.unsigned()?);
    for _ in 0..count.min(MAX_FIELDS) {
        let name = numbers.unsigned()?;
        let _signature = numbers.unsigned()?;
        let offset = numbers.unsigned()?;
        let _access_flags = numbers.unsigned()?;
        let flags = numbers.unsigned()?;
        for _ in WITH_NUMBER.iter().filter(|bit| flags & **bit != 0) {
            numbers.unsigned()?;
        }
        if flags & INJECTED == 0 && is_name(name.into()) {
            return Some(offset);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_in_slots() {
        let fields: [u16; 12] = [0, 7, 8, 0, 12 << 2, 0, 0, 9, 10, 0, 16 << 2 | 1, 0];
        let bytes: Vec<u8> = fields.iter().flat_map(|slot| slot.to_le_bytes()).collect();
        assert_eq!(in_slots(&bytes, |index| index == 9), Some(16));
        assert_eq!(in_slots(&bytes, |index| index == 7), Some(12));
        assert_eq!(in_slots(&bytes, |index| index == 8), None);
        assert_eq!(in_slots(&bytes[..11], |index| index == 7), None);
        let listed = list_slots(&bytes);
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[1], Listed { name: 9, signature: 10, offset: 16, is_static: false });
    }
}
