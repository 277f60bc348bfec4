//! Checked reads of the target's memory: what every other part of `hotspot` reads through.
//!
//! The target is foreign and alive: a pointer may be anything, and may be freed between two reads.
//! So pointers are checked before they are followed, lengths are bounded, and every failure is a
//! [`ReadError`], never a panic. Knows nothing of HotSpot's structures.

use std::fmt;

use tracer_common::arch::{ADDRESS_END, ADDRESS_FIRST};

use super::vmstructs::Field;
use crate::process::memory::ProcessMemory;

/// Reason why a read gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    /// The address is not mapped, or the process is gone.
    #[error("memory at {0:#x} cannot be read")]
    Fault(u64),
    /// Null, not aligned, or outside the user's addresses.
    #[error("{0:#x} is not a pointer")]
    BadPointer(u64),
    /// A length, count or index that cannot be.
    #[error("{0} is out of bounds")]
    OutOfBounds(u64),
    /// Bytes that are not the text they should be.
    #[error("the name at {0:#x} is not text")]
    BadText(u64),
    /// A list that comes to an element again.
    #[error("the list at {0:#x} has no end")]
    Endless(u64),
}

/// The target's memory, read with checks.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    memory: &'a dyn ProcessMemory,
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reader")
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(memory: &'a dyn ProcessMemory) -> Self {
        Self { memory }
    }

    /// Fills `buffer` from `address`.
    pub(super) fn fill(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        if buffer.is_empty() {
            // Wherever a table without entries is said to be.
            return Ok(());
        }
        let end = address.checked_add(buffer.len() as u64);
        if address < ADDRESS_FIRST || end.is_none_or(|end| end > ADDRESS_END) {
            return Err(ReadError::BadPointer(address));
        }
        self.memory.read(address, buffer).map_err(|_| ReadError::Fault(address))
    }

    /// `length` bytes from `address`, if they are at most `limit`.
    pub(super) fn bytes(&self, address: u64, length: u64, limit: usize) -> Result<Vec<u8>, ReadError> {
        let length = usize::try_from(length).ok().filter(|length| *length <= limit);
        let mut buffer = vec![0; length.ok_or(ReadError::OutOfBounds(address))?];
        self.fill(address, &mut buffer)?;
        Ok(buffer)
    }

    /// The `length_bytes` of a structure at the checked pointer `address`.
    pub(super) fn record(&self, address: u64, length_bytes: u64) -> Result<Record, ReadError> {
        Ok(Record { bytes: self.bytes(pointer(address)?, length_bytes, Record::LIMIT)? })
    }

    pub(super) fn u64(&self, address: u64) -> Result<u64, ReadError> {
        let mut bytes = [0; 8];
        self.fill(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn u32(&self, address: u64) -> Result<u32, ReadError> {
        let mut bytes = [0; 4];
        self.fill(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// The pointer at `address`, checked.
    pub(super) fn pointer(&self, address: u64) -> Result<u64, ReadError> {
        pointer(self.u64(address)?)
    }

    /// The value of `field` of the structure at `base`, zero-extended.
    pub(super) fn field(&self, base: u64, field: Field) -> Result<u64, ReadError> {
        let mut bytes = [0; 8];
        let part = bytes.get_mut(..field.width.bytes()).ok_or(ReadError::OutOfBounds(base))?;
        self.fill(pointer(base)?.wrapping_add(field.offset), part)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The pointer in `field` of the structure at `base`, checked.
    pub(super) fn pointer_field(&self, base: u64, field: Field) -> Result<u64, ReadError> {
        pointer(self.field(base, field)?)
    }

    /// The NUL-ended ASCII text at `address`, at most `limit` bytes long.
    pub(super) fn c_string(&self, address: u64, limit: usize) -> Result<String, ReadError> {
        const STEP: u64 = 64;
        let mut text = Vec::new();
        let mut next = address;
        while text.len() <= limit {
            // Up to the next multiple: a read never crosses into a page the text may not reach.
            let length = STEP - next % STEP;
            let chunk = self.bytes(next, length, STEP as usize)?;
            let end = chunk.iter().position(|byte| *byte == 0);
            text.extend_from_slice(chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default());
            if end.is_some() && text.len() <= limit {
                let printable = text.iter().all(|byte| (0x20..0x7f).contains(byte));
                return String::from_utf8(text).ok().filter(|_| printable).ok_or(ReadError::BadText(address));
            }
            next += length;
        }
        Err(ReadError::BadText(address))
    }
}

/// Notices when a list in foreign memory comes to an element again, whatever its length, in a few words of memory.
/// Source: Brent, BIT 20 (1980) 176.
#[derive(Debug, Default)]
pub(super) struct ListGuard {
    /// An element that was passed; the next one is taken when as many again were passed.
    passed: u64,
    since: u64,
    until: u64,
}

impl ListGuard {
    /// Notes that the list has come to `address`, which is not 0.
    pub(super) fn pass(&mut self, address: u64) -> Result<(), ReadError> {
        if address == self.passed {
            return Err(ReadError::Endless(address));
        }
        if self.since == self.until {
            (self.passed, self.since, self.until) = (address, 0, (self.until * 2).max(1));
        }
        self.since += 1;
        Ok(())
    }
}

/// `value`, if it can be the address of a structure: of the user's half and aligned to 8.
pub(super) fn pointer(value: u64) -> Result<u64, ReadError> {
    let possible = (ADDRESS_FIRST..ADDRESS_END).contains(&value) && value.is_multiple_of(8);
    if possible { Ok(value) } else { Err(ReadError::BadPointer(value)) }
}

/// A copy of one structure: its fields are of one moment, as far as one read can be.
#[derive(Clone, Debug)]
pub(super) struct Record {
    bytes: Vec<u8>,
}

impl Record {
    /// No structure that is read whole is larger.
    const LIMIT: usize = 4096;

    /// The value of `field`, zero-extended.
    pub(super) fn field(&self, field: Field) -> Result<u64, ReadError> {
        let start = usize::try_from(field.offset).map_err(|_| ReadError::OutOfBounds(field.offset))?;
        let end = start.checked_add(field.width.bytes()).ok_or(ReadError::OutOfBounds(field.offset))?;
        let part = self.bytes.get(start..end).ok_or(ReadError::OutOfBounds(field.offset))?;
        Ok(part.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// The value of `field` of four bytes or fewer, sign-extended.
    pub(super) fn signed(&self, field: Field) -> Result<i64, ReadError> {
        let unused_bits = 64 - 8 * field.width.bytes() as u32;
        Ok((self.field(field)? << unused_bits) as i64 >> unused_bits)
    }

    /// The pointer in `field`, checked.
    pub(super) fn pointer(&self, field: Field) -> Result<u64, ReadError> {
        pointer(self.field(field)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hotspot::vmstructs::Width;
    use crate::process::memory::ImageMemory;

    #[test]
    fn pointers_are_checked() {
        assert!(pointer(0).is_err() && pointer(4095).is_err() && pointer(8193).is_err());
        assert!(pointer(1 << 47).is_err() && pointer(u64::MAX).is_err());
        assert_eq!(pointer(0x7fff_0000_0008), Ok(0x7fff_0000_0008));
    }

    #[test]
    fn a_list_that_comes_to_an_element_again_ends() {
        for (tail, ring) in [(0, 1), (0, 2), (1, 1), (7, 3), (100, 50), (3, 1000)] {
            let mut guard = ListGuard::default();
            let places = (0_u64..).map(|at| if at < tail { at } else { tail + (at - tail) % ring });
            let passed =
                places.map(|at| 4096 + 8 * at).take_while(|&at| guard.pass(at).is_ok()).count() as u64;
            assert!(passed >= tail + ring && passed <= 4 * (tail + ring), "{tail} {ring}: {passed}");
        }
        let mut guard = ListGuard::default();
        assert!((1..10_000).all(|at| guard.pass(at * 8).is_ok()));
    }

    #[test]
    fn fields_by_width_and_sign() {
        let image = ImageMemory::new(vec![(0x10000, vec![1, 0xff, 0xff, 0, 0, 0, 0, 0x80])]);
        let record = Reader::new(&image).record(0x10000, 8).expect("readable");
        let field = |offset, width| Field { offset, width };
        assert_eq!(record.field(field(0, Width::One)), Ok(1));
        assert_eq!(record.signed(field(1, Width::Two)), Ok(-1));
        assert_eq!(record.field(field(0, Width::Eight)), Ok(0x8000_0000_00ff_ff01));
        assert_eq!(record.field(field(1, Width::Eight)), Err(ReadError::OutOfBounds(1)));
        assert_eq!(record.field(field(u64::MAX, Width::One)), Err(ReadError::OutOfBounds(u64::MAX)));
    }

    #[test]
    fn text_ends_or_is_refused() {
        let mut bytes = b"resolve_static_call\0".to_vec();
        bytes.resize(64, b'x');
        let image = ImageMemory::new(vec![(0x10000, bytes)]);
        let reader = Reader::new(&image);
        assert_eq!(reader.c_string(0x10000, 64).as_deref(), Ok("resolve_static_call"));
        assert_eq!(reader.c_string(0x10008, 64).as_deref(), Ok("static_call"));
        assert!(reader.c_string(0x10000, 4).is_err(), "longer than the limit");
        assert!(reader.c_string(0x10020, 64).is_err(), "no end before the image's");
        assert!(reader.c_string(0, 64).is_err());
    }
}
