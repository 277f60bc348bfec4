//! The form of references and object headers in one JVM: compressed or not, and where an object has its class.
//!
//! Decodes words of the copy; knows no classes.

use super::copy::HeapCopy;
use crate::hotspot::oops::Compression;

const WORD_BYTES: u64 = 8;

/// Form in which this JVM writes references and headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Compression of references; none if they take eight bytes.
    pub(super) references: Option<Compression>,
    pub(super) class: ClassPointer,
    pub(super) array_length: u64,
    /// Objects begin at multiples of this.
    pub(super) alignment: u64,
}

/// Place of the class in an object's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClassPointer {
    Wide,
    Narrow(Compression),
    /// The mark word, from this bit on.
    InMark {
        compression: Compression,
        bit: u32,
    },
}

impl Shape {
    /// Bytes of a reference.
    pub(super) fn reference_bytes(&self) -> u64 {
        if self.references.is_some() { 4 } else { WORD_BYTES }
    }

    /// The address that the reference at `address` leads to; 0 for null.
    #[inline]
    pub(super) fn reference(&self, copy: &HeapCopy, address: u64) -> Option<u64> {
        match self.references {
            Some(_) => Some(self.decode(copy.half(address)?)),
            None => copy.word(address),
        }
    }

    /// The address of a compressed reference.
    #[inline]
    pub(super) fn decode(&self, narrow: u32) -> u64 {
        match (self.references, narrow) {
            (_, 0) | (None, _) => 0,
            (Some(compression), narrow) => compression.decode(narrow.into()),
        }
    }

    /// The class pointer of the object at `address`, as its header has it.
    #[inline]
    pub(super) fn pointer(&self, copy: &HeapCopy, address: u64) -> Option<u64> {
        match self.class {
            ClassPointer::Wide => copy.word(address.wrapping_add(WORD_BYTES)),
            ClassPointer::Narrow(_) => copy.half(address.wrapping_add(WORD_BYTES)).map(u64::from),
            ClassPointer::InMark { bit, .. } => Some(copy.word(address)? >> bit),
        }
    }

    /// The class of the object that begins with these bytes.
    pub(super) fn class_in_header(&self, header: &[u8]) -> Option<u64> {
        Some(self.class(self.pointer_in_header(header)?))
    }

    /// The class pointer of the object that begins with these bytes, as its header has it.
    pub(super) fn pointer_in_header(&self, header: &[u8]) -> Option<u64> {
        let word = |at: usize| Some(u64::from_le_bytes(*header.get(at..)?.first_chunk::<8>()?));
        Some(match self.class {
            ClassPointer::Wide => word(8)?,
            ClassPointer::Narrow { .. } => word(8)? & u64::from(u32::MAX),
            ClassPointer::InMark { bit, .. } => word(0)? >> bit,
        })
    }

    /// The length of the array that begins with these bytes.
    pub(super) fn length_in_header(&self, header: &[u8]) -> Option<u32> {
        let length = header.get(self.array_length as usize..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*length))
    }

    /// The class that a pointer leads to.
    pub(super) fn class(&self, pointer: u64) -> u64 {
        match self.class {
            ClassPointer::Wide => pointer,
            ClassPointer::Narrow(compression) | ClassPointer::InMark { compression, .. } => {
                compression.decode(pointer)
            }
        }
    }
}
