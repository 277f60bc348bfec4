//! Java objects read from outside: references, classes, strings.
//!
//! A collector may move objects while they are read, so a result is checked by what it must be (a
//! string's class is `java.lang.String`), and whoever asks reads twice and compares.

use super::identity::Flags;
use super::java_fields;
use super::layout::{Layout, ObjectLayout};
use super::read::{ReadError, Reader, pointer};
use crate::arch::coloured;

/// Characters of a string that is read.
const MAX_CHARS: u64 = 4096;
/// `String.coder`: one byte a character.
const LATIN1: u8 = 0;

/// Form of references, or class pointers, that are compressed to 32 bits or fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compression {
    pub(super) base: u64,
    pub(super) shift: u32,
}

impl Compression {
    /// Compression of pointers that are as they are.
    pub(super) const NONE: Self = Self { base: 0, shift: 0 };

    /// The address that `narrow` stands for.
    #[inline]
    pub(super) fn decode(self, narrow: u64) -> u64 {
        self.base.wrapping_add(narrow.wrapping_shl(self.shift))
    }
}

/// Layout of objects and references in this JVM.
#[derive(Clone, Debug)]
pub(super) struct Objects {
    layout: ObjectLayout,
    compressed_oops: Option<Compression>,
    compressed_classes: Option<Compression>,
    /// Class pointer in the mark word, above this bit.
    compact: Option<u32>,
    string_class: u64,
    string_value: u64,
    /// JDK 8 has none: its strings are arrays of UTF-16.
    string_coder: Option<u64>,
    thread_name: u64,
    /// Elements of arrays begin at a multiple of 8 bytes (until JDK 23).
    aligned_elements: bool,
}

impl Objects {
    pub(super) fn read(reader: Reader<'_>, layout: &Layout, flags: &Flags) -> Result<Self, ReadError> {
        let objects = layout.objects.as_ref().ok_or(ReadError::OutOfBounds(0))?;
        let is_set = |flag: &str| flags.is_set(reader, flag).unwrap_or(false);
        let compression = |base: u64, shift: u64| -> Result<Compression, ReadError> {
            let shift = reader.u32(shift)?;
            if shift > 32 {
                Err(ReadError::OutOfBounds(shift.into()))
            } else {
                Ok(Compression { base: reader.u64(base)?, shift })
            }
        };
        let string_class = reader.pointer(objects.string_class)?;
        let thread_class = reader.pointer(objects.thread_class)?;
        let offset = |class, name| java_fields::offset(reader, layout, objects, class, name);
        let compact = is_set("UseCompactObjectHeaders");
        Ok(Self {
            compressed_oops: match is_set("UseCompressedOops") {
                true => Some(compression(objects.oop_base, objects.oop_shift)?),
                false => None,
            },
            compressed_classes: match compact
                || objects.compresses_classes
                || is_set("UseCompressedClassPointers")
            {
                true => Some(compression(objects.klass_base, objects.klass_shift)?),
                false => None,
            },
            compact: objects.mark_klass_shift.filter(|_| compact),
            string_class,
            string_value: offset(string_class, "value")?,
            string_coder: offset(string_class, "coder").ok(),
            thread_name: offset(thread_class, "name")?,
            aligned_elements: objects.aligned_elements,
            layout: objects.clone(),
        })
    }

    /// Compression of references; `None` if they take eight bytes.
    pub(super) fn compressed_references(&self) -> Option<Compression> {
        self.compressed_oops
    }

    /// Compression of class pointers; `None` if they take eight bytes.
    pub(super) fn compressed_classes(&self) -> Option<Compression> {
        self.compressed_classes
    }

    /// The bit of the mark word from which on it has the class.
    pub(super) fn compact_shift(&self) -> Option<u32> {
        self.compact
    }

    /// Bytes from an array's start to its length.
    pub(super) fn array_length_offset(&self) -> u64 {
        self.header_bytes()
    }

    pub(super) fn layout(&self) -> &ObjectLayout {
        &self.layout
    }

    /// The name of the `java.lang.Thread` at `thread`.
    pub(super) fn thread_name(&self, reader: Reader<'_>, thread: u64) -> Result<String, ReadError> {
        let name = self.reference(reader, thread + self.thread_name)?;
        self.string(reader, name)
    }

    /// The object that a field at `address` refers to.
    pub(super) fn reference(&self, reader: Reader<'_>, address: u64) -> Result<u64, ReadError> {
        match self.compressed_oops {
            Some(compression) => match reader.u32(address)? {
                0 => Err(ReadError::BadPointer(0)),
                narrow => pointer(compression.decode(narrow.into())),
            },
            None => wide(reader.u64(address)?),
        }
    }

    /// The text of the `java.lang.String` at `string`.
    fn string(&self, reader: Reader<'_>, string: u64) -> Result<String, ReadError> {
        if self.class(reader, string)? != self.string_class {
            return Err(ReadError::BadPointer(string));
        }
        let array = self.reference(reader, string + self.string_value)?;
        let length_at = array + self.header_bytes();
        let length = u64::from(reader.u32(length_at)?);
        let mut coder = [LATIN1];
        let latin1 = match self.string_coder {
            Some(offset) => {
                reader.fill(string + offset, &mut coder)?;
                coder == [LATIN1]
            }
            None => false,
        };
        // An array of JDK 8 counts characters, a later one bytes.
        let bytes = if self.string_coder.is_none() { length.saturating_mul(2) } else { length };
        let bytes = reader.bytes(self.elements(length_at), bytes, 2 * MAX_CHARS as usize)?;
        if latin1 {
            return Ok(bytes.iter().map(|byte| char::from(*byte)).collect());
        }
        let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
        // Java's strings may hold half a surrogate pair.
        Ok(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
    }

    /// Offset of an array's elements, if its length is at `length_at`.
    fn elements(&self, length_at: u64) -> u64 {
        let behind = length_at + 4;
        if self.aligned_elements { behind.next_multiple_of(8) } else { behind }
    }

    /// Bytes before an array's length.
    fn header_bytes(&self) -> u64 {
        match (self.compact, self.compressed_classes) {
            (Some(_), _) => 8,
            (None, Some(_)) => self.layout.klass.offset + 4,
            (None, None) => self.layout.klass.offset + 8,
        }
    }

    /// The address of the class of the object at `object`.
    pub(super) fn class(&self, reader: Reader<'_>, object: u64) -> Result<u64, ReadError> {
        let narrow = match (self.compact, self.compressed_classes) {
            (Some(shift), _) => reader.u64(object)? >> shift,
            (None, Some(_)) => reader.u32(object + self.layout.klass.offset)?.into(),
            (None, None) => return reader.pointer(object + self.layout.klass.offset),
        };
        pointer(self.compressed_classes.unwrap_or(Compression::NONE).decode(narrow))
    }
}

/// The address in a reference of eight bytes: plain, or coloured by generational ZGC.
pub(super) fn wide(reference: u64) -> Result<u64, ReadError> {
    pointer(reference).or_else(|error| match coloured::address(reference) {
        Some(address) => pointer(address),
        None => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_plain_and_coloured() {
        let object = 0x4000_0012_3458;
        assert_eq!(wide(object), Ok(object));
        assert!(wide(0).is_err());
        // ZGC's heap starts at 2^42 or above; one of the four bits from 12 on is set.
        let object = (1 << 42) + 0x1238;
        for bit in 0..4 {
            assert_eq!(wide(object << (13 + bit) | 1 << (12 + bit) | 0x550), Ok(object), "{bit}");
        }
    }
}
