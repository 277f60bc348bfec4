//! HotSpot's UNSIGNED5 coding of 32-bit integers: the numbers in scopes, line tables and field streams.
//!
//! One to five bytes a number. From JDK 20 the byte 0 ends a stream and codes no number, so every
//! byte of a number is at least 1 (`excluded_low_bytes` = 1); before, it is an ordinary byte (0).
//! Source: HotSpot, `compressedStream.hpp` (to 19), `unsigned5.hpp` (from 20).

/// Bytes at which a number goes on are those from here up.
const FIRST_CONTINUING: u32 = 192;
/// Each byte counts this many bits more than the one before.
const BITS_PER_BYTE: u32 = 6;
/// Bytes of the longest number.
pub(super) const MAX_BYTES: usize = 5;

/// A cursor over numbers in UNSIGNED5 coding. Reading past the end gives `None`.
#[derive(Clone, Debug)]
pub(super) struct Numbers<'a> {
    bytes: &'a [u8],
    excluded_low_bytes: u8,
}

impl<'a> Numbers<'a> {
    /// Reads from the first of `bytes` on.
    pub(super) fn new(bytes: &'a [u8], excluded_low_bytes: u8) -> Self {
        Self { bytes, excluded_low_bytes }
    }

    /// The next byte as it is.
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    /// The next number.
    pub(super) fn unsigned(&mut self) -> Option<u32> {
        let mut sum = 0_u32;
        for index in 0..MAX_BYTES as u32 {
            let byte = self.byte()?;
            let digit = u32::from(byte.checked_sub(self.excluded_low_bytes)?);
            sum = sum.wrapping_add(digit << (index * BITS_PER_BYTE));
            if u32::from(byte) < FIRST_CONTINUING {
                break;
            }
        }
        Some(sum)
    }

    /// The next number, with its sign in the lowest bit.
    pub(super) fn signed(&mut self) -> Option<i32> {
        let value = self.unsigned()?;
        Some((value >> 1) as i32 ^ -((value & 1) as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The encoder, as HotSpot has it: the largest digit that goes on, five bytes at most.
    fn encode(value: u32, excluded: u32) -> Vec<u8> {
        let (mut rest, mut bytes) = (u64::from(value), Vec::new());
        let first_continuing = u64::from(FIRST_CONTINUING - excluded);
        while rest >= first_continuing && bytes.len() < MAX_BYTES - 1 {
            let digit = first_continuing + (rest - first_continuing) % 64;
            bytes.push((digit + u64::from(excluded)) as u8);
            rest = (rest - digit) / 64;
        }
        bytes.push((rest + u64::from(excluded)) as u8);
        bytes
    }

    proptest! {
        #[test]
        fn numbers_come_back(values in proptest::collection::vec(any::<u32>(), 1..20), excluded in 0..2_u32) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| encode(*value, excluded)).collect();
            let mut numbers = Numbers::new(&bytes, excluded as u8);
            for value in &values {
                prop_assert_eq!(numbers.unsigned(), Some(*value));
            }
            prop_assert_eq!(numbers.unsigned(), None);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), excluded in 0..2_u8) {
            let mut numbers = Numbers::new(&bytes, excluded);
            while numbers.signed().is_some() {}
        }
    }

    #[test]
    fn an_excluded_byte_is_no_number() {
        assert_eq!(Numbers::new(&[0, 7], 1).unsigned(), None);
        assert_eq!(Numbers::new(&[0, 7], 0).unsigned(), Some(0));
    }

    #[test]
    fn signs() {
        let mut numbers = Numbers::new(&[0, 1, 2, 3, 4], 0);
        let read: Vec<i32> = std::iter::from_fn(|| numbers.signed()).collect();
        assert_eq!(read, [0, -1, 1, -2, 2]);
    }
}
