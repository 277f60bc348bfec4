//! OpenSSL's contexts and connections (`SSL_CTX`, `SSL`), known by the table of their protocol's functions.
//!
//! Both point to an `SSL_METHOD`: it lies in a library's constants, says one of the versions that there are,
//! and all of its functions are code of that library. A random word does not lead to one of the two dozen that
//! there are (2^-59); what else holds such a pointer at the same place would be taken for one of them. A
//! connection says its version before it, a context its library context; from 3.2 on a connection has its
//! context and the table twice.
//! Source: OpenSSL 3.0 to 3.5, `ssl/ssl_local.h`.

use std::collections::HashMap;

use super::document::OpenSsl;
use super::owners::Owners;
use crate::process::memory::ProcessMemory;

/// Bytes below which neither structure can be.
const SMALLEST_BYTES: u64 = 512;
/// Versions of TLS and DTLS, and "any" of each.
const TLS: std::ops::RangeInclusive<u64> = 0x300..=0x304;
const OTHERS: [u64; 5] = [0xfeff, 0xfefd, 0x100, 0x1_0000, 0x1_ffff];
/// Parts that are read of a table: version and flags, the mask, functions.
const TABLE_BYTES: usize = 16 + 8 * FUNCTIONS;
const FUNCTIONS: usize = 6;
/// The highest kind of connection (QUIC has others).
const MAX_KIND: u64 = 3;
/// Kept until they are proved.
const MAX_CANDIDATES: usize = 1 << 20;

/// Collects what can be either.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// The first four words, and the bytes of the chunk.
    all: Vec<([u64; 4], u64)>,
}

impl Candidates {
    /// Looks at a chunk of `bytes` that begins with `head`.
    #[inline]
    pub(super) fn see(&mut self, owners: &Owners, head: &[u8], bytes: u64) {
        if bytes < SMALLEST_BYTES || self.all.len() >= MAX_CANDIDATES {
            return;
        }
        let Some(words) = head.as_chunks::<8>().0.first_chunk::<4>() else { return };
        let words = words.map(u64::from_le_bytes);
        if owners.has_constants(words[1]) || owners.has_constants(words[2]) {
            self.all.push((words, bytes));
        }
    }

    /// Tables that are proven.
    pub(super) fn prove(self, owners: &Owners, memory: &dyn ProcessMemory) -> OpenSsl {
        let mut tables = HashMap::new();
        let mut is_table =
            |address: u64| *tables.entry(address).or_insert_with(|| is_table(owners, memory, address));
        let mut found = OpenSsl::default();
        for ([first, second, third, fourth], bytes) in self.all {
            let sum = if is_table(second) {
                if is_version(first) { &mut found.connections } else { &mut found.contexts }
            } else if first <= MAX_KIND
                && is_table(third)
                && is_table(fourth)
                && memory.read_u64(second.wrapping_add(8)).is_ok_and(&mut is_table)
            {
                &mut found.connections
            } else {
                continue;
            };
            sum.count += 1;
            sum.bytes += bytes;
        }
        found
    }
}

fn is_version(word: u64) -> bool {
    TLS.contains(&word) || OTHERS.contains(&word)
}

fn is_table(owners: &Owners, memory: &dyn ProcessMemory, address: u64) -> bool {
    let mut table = [0; TABLE_BYTES];
    if !owners.has_constants(address) || memory.read(address, &mut table).is_err() {
        return false;
    }
    let mut words = table.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    let version = words.next().unwrap_or(0) & 0xffff_ffff;
    let functions = words.skip(1);
    is_version(version) && functions.into_iter().all(|function| owners.is_code_beside(address, function))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::process::mapping::Mapping;
    use crate::process::memory::ImageMemory;

    const CONSTANTS: u64 = 0x7f00_0030_0000;
    const TABLE: u64 = CONSTANTS + 0x100;
    const CODE: u64 = 0x7f00_0040_0000;
    const OTHER_CODE: u64 = 0x7f00_0050_0000;
    const CONTEXT: u64 = 0x5500_0000_1000;

    fn owners() -> Owners {
        let part = |start, executable, path: &str| Mapping {
            start,
            end: start + 0x1000,
            readable: true,
            executable,
            inode: 7,
            path: path.to_owned(),
            ..Mapping::default()
        };
        Owners::new(&[
            part(CONSTANTS, false, "/lib/libssl.so.3"),
            part(CODE, true, "/lib/libssl.so.3"),
            part(OTHER_CODE, true, "/lib/libc.so.6"),
        ])
    }

    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn table() -> Vec<u64> {
        [0x1_0000, 0].into_iter().chain((1..=6).map(|index| CODE + 16 * index)).collect()
    }

    fn proved(table: &[u64], head: &[u64], size: u64) -> (u64, u64) {
        let memory = ImageMemory::new(vec![
            (CONSTANTS, vec![0; 0x100]),
            (TABLE, [bytes(table), vec![0; 0xe00]].concat()),
            (CONTEXT, bytes(&[0, TABLE, 0, 0])),
        ]);
        let owners = owners();
        let mut candidates = Candidates::default();
        candidates.see(&owners, &bytes(head), size);
        let found = candidates.prove(&owners, &memory);
        (found.contexts.count, found.connections.count)
    }

    #[test]
    fn contexts_and_connections() {
        assert_eq!(proved(&table(), &[0, TABLE, 1, 1], 1040), (1, 0));
        assert_eq!(proved(&table(), &[CONTEXT, TABLE, 1, 1], 1040), (1, 0), "with a library context");
        assert_eq!(proved(&table(), &[0x304, TABLE, 1, 1], 5000), (0, 1), "3.0");
        assert_eq!(proved(&table(), &[0, CONTEXT, TABLE, TABLE], 5000), (0, 1), "3.2");
    }

    #[test]
    fn almost_one_is_none() {
        let mut other = table();
        other[5] = OTHER_CODE + 16;
        let mut version = table();
        version[0] = 0x305;
        for (table, head, size) in [
            (table(), [0, TABLE, 0, 0], 500),
            (table(), [0, TABLE + 8, 0, 0], 1040),
            (table(), [0, TABLE + 4, 0, 0], 1040),
            (table(), [0, CODE + 16, 0, 0], 1040),
            (table(), [0, CONTEXT + 8, TABLE, TABLE], 1040),
            (table(), [4, CONTEXT, TABLE, TABLE], 1040),
            (table(), [0, CONTEXT, TABLE, 0], 1040),
            (other, [0, TABLE, 0, 0], 1040),
            (version, [0, TABLE, 0, 0], 1040),
        ] {
            assert_eq!(proved(&table, &head, size), (0, 0), "{head:x?}");
        }
    }

    proptest! {
        /// Addresses of constants, code and the heap at every place, but of the table itself.
        #[test]
        fn hostile_words_are_neither(seeds in prop::collection::vec((0_u8..4, 0_u64..0x200), 256)) {
            let words: Vec<u64> = seeds.iter().map(|(kind, value)| match kind {
                0 => CONSTANTS + value * 8 + if *value == 0x20 { 8 } else { 0 },
                1 => CODE + value,
                2 => CONTEXT + 16 + value * 8,
                _ => *value,
            }).collect();
            for words in words.chunks(4) {
                prop_assert_eq!(proved(&table(), words, 1040), (0, 0));
            }
        }
    }
}
