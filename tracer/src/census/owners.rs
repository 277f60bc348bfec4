//! Owner of a chunk, told by the library that its first words point into.
//!
//! An object of C++ begins with the address of its table of virtual functions, an object of C often with
//! that of a table of functions or of a function. So a chunk belongs to the library in whose code or constants
//! one of its first words lies. A random word does so with a chance of less than 2^-36 (256 MiB of libraries
//! in 2^64 addresses), one of four words with less than 2^-34. Bytes that were arranged so are taken for what they
//! look like, and a word that a former owner left there is believed.

use std::ops::Range;

use super::document::Library;
use crate::process::mapping::Mapping;

/// Words of a chunk that are asked.
const WORDS: usize = 4;
/// A table of functions is aligned to this.
const TABLE_ALIGNMENT: u64 = 8;
/// Shifts of the bits for parts without a library: one for so many bytes, in a circle of so many.
const COARSE_SHIFT: u32 = 21;
const COARSE_BITS: usize = 1 << 16;

/// The code and constants of all libraries, and what was counted for each.
#[derive(Debug)]
pub(super) struct Owners {
    /// Sorted by address; the index of the library.
    ranges: Vec<(Range<u64>, bool, usize)>,
    libraries: Vec<Library>,
    coarse: Vec<u64>,
}

impl Owners {
    pub(super) fn new(mappings: &[Mapping]) -> Self {
        let mut libraries: Vec<Library> = Vec::new();
        for mapping in mappings.iter().filter(|mapping| mapping.is_file() && mapping.executable) {
            if !libraries.iter().any(|library| library.path == mapping.path) {
                libraries.push(Library { path: mapping.path.clone(), ..Library::default() });
            }
        }
        let mut this = Self { ranges: Vec::new(), libraries, coarse: vec![0; COARSE_BITS / 64] };
        for mapping in mappings.iter().filter(|mapping| mapping.readable && !mapping.writable) {
            let library = this.libraries.iter().position(|library| library.path == mapping.path);
            let Some(library) = library.filter(|_| mapping.is_file()) else { continue };
            this.ranges.push((mapping.start..mapping.end, mapping.executable, library));
            // In a circle: more parts than it has set no more bits.
            let parts = mapping.start >> COARSE_SHIFT..=mapping.end.saturating_sub(1) >> COARSE_SHIFT;
            for part in parts.take(COARSE_BITS) {
                let (word, bit) = place(part);
                if let Some(word) = this.coarse.get_mut(word) {
                    *word |= bit;
                }
            }
        }
        this.ranges.sort_by_key(|(range, ..)| range.start);
        this
    }

    /// Counts a chunk of `bytes` that begins with `head`.
    #[inline]
    pub(super) fn add(&mut self, head: &[u8], bytes: u64) {
        let mut words = head.as_chunks::<8>().0.iter().take(WORDS);
        let library = words.find_map(|word| self.library(u64::from_le_bytes(*word)));
        if let Some(library) = library.and_then(|index| self.libraries.get_mut(index)) {
            library.count += 1;
            library.bytes += bytes;
        }
    }

    /// Can a table of functions be at this address?
    #[inline]
    pub(super) fn has_constants(&self, address: u64) -> bool {
        self.find(address)
            .is_some_and(|(executable, _)| !executable && address.is_multiple_of(TABLE_ALIGNMENT))
    }

    /// Is the address in a library? Some have their constants and their code in one mapping.
    #[inline]
    pub(super) fn has(&self, address: u64) -> bool {
        self.find(address).is_some()
    }

    /// Is code at `function`, of the library that has its constants at `constants`?
    pub(super) fn is_code_beside(&self, constants: u64, function: u64) -> bool {
        let library = self.find(constants).map(|(_, library)| library);
        self.find(function).is_some_and(|(executable, other)| executable && library == Some(other))
    }

    #[inline]
    fn library(&self, address: u64) -> Option<usize> {
        let (executable, library) = self.find(address)?;
        (executable || address.is_multiple_of(TABLE_ALIGNMENT)).then_some(library)
    }

    /// Owner of the code (true) or constants that are at `address`.
    #[inline]
    fn find(&self, address: u64) -> Option<(bool, usize)> {
        let (word, bit) = place(address >> COARSE_SHIFT);
        // Most words end here.
        if self.coarse.get(word)? & bit == 0 {
            return None;
        }
        let after = self.ranges.partition_point(|(range, ..)| range.start <= address);
        let (range, executable, library) = self.ranges.get(after.checked_sub(1)?)?;
        // Where a file begins is neither code nor a table: the dynamic linker keeps that address.
        (range.start < address && address < range.end).then_some((*executable, *library))
    }

    /// The libraries that have chunks, those with most bytes first.
    pub(super) fn finish(self) -> Vec<Library> {
        let mut libraries = self.libraries;
        libraries.retain(|library| library.count > 0);
        libraries.sort_by_key(|library| std::cmp::Reverse(library.bytes));
        libraries
    }
}

/// Position of the bit for a part of the address space.
#[inline]
fn place(part: u64) -> (usize, u64) {
    let bit = part as usize % COARSE_BITS;
    (bit / 64, 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONSTANTS: u64 = 0x7f00_0030_0000;
    const CODE: u64 = 0x7f00_0040_0000;

    fn owners() -> Owners {
        let part = |start, length, executable, writable, path: &str| Mapping {
            start,
            end: start + length,
            readable: true,
            writable,
            executable,
            inode: 7,
            path: path.to_owned(),
            ..Mapping::default()
        };
        Owners::new(&[
            part(CONSTANTS, 0x1000, false, false, "/lib/libssl.so.3"),
            part(CODE, 0x2000, true, false, "/lib/libssl.so.3"),
            part(CODE + 0x2000, 0x1000, false, true, "/lib/libssl.so.3"),
            // No library, but a file of data.
            part(0x7f00_0080_0000, 0x1000, false, false, "/usr/share/locale"),
        ])
    }

    fn count(words: &[u64]) -> u64 {
        let mut owners = owners();
        let head: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        owners.add(&head, 48);
        owners.finish().first().map_or(0, |library| library.count)
    }

    #[test]
    fn tables_and_functions_among_the_first_words() {
        assert_eq!(count(&[CONSTANTS + 16, 0, 0, 0]), 1);
        assert_eq!(count(&[1, 2, 3, CODE + 0x1fff]), 1);
        assert_eq!(count(&[1, 2, 3, 4, CODE + 16]), 0, "the fifth word");
        assert_eq!(count(&[CONSTANTS + 17, CODE + 0x2000, CONSTANTS - 8, 0x7f00_0080_0000]), 0);
        assert_eq!(count(&[CONSTANTS, CODE]), 0, "where mappings begin");
        assert_eq!(count(&[CODE, CODE + 1, CONSTANTS + 8]), 1, "a chunk counts once");
        assert_eq!(count(&[]), 0);
        let mut owners = owners();
        owners.add(&[0xff; 5], 32);
        assert_eq!(owners.finish(), []);
    }

    proptest! {
        #[test]
        fn random_words_are_nobodys(words in prop::collection::vec(any::<u64>(), 4096)) {
            for words in words.chunks(4) {
                prop_assert_eq!(count(words), 0);
            }
        }

        /// Addresses all around the library, and of the part that is written to.
        #[test]
        fn hostile_words_are_nobodys(seeds in prop::collection::vec((0_u8..5, any::<u32>()), 1024)) {
            let words: Vec<u64> = seeds.iter().map(|(kind, value)| match kind {
                0 => CODE + 0x2000 + u64::from(value % 0x10_0000),
                1 => CONSTANTS - 1 - u64::from(value % 0x10_0000),
                2 => CONSTANTS + u64::from(value % 0x1000) / 8 * 8 + 1 + u64::from(value % 7),
                // The same bit of the coarse table.
                3 => CODE + (1 << 37) * (1 + u64::from(value % 64)),
                _ => u64::from(*value),
            }).collect();
            for words in words.chunks(4) {
                prop_assert_eq!(count(words), 0);
            }
        }
    }
}
