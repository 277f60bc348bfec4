//! Contexts as zstd lays them out, such that are almost ones, and heaps of words that are made to look like them.

use proptest::prelude::*;

use super::*;
use crate::census::document::Sum;
use crate::process::mapping::Mapping;
use crate::process::memory::ImageMemory;

const CONSTANTS: u64 = 0x7f00_0030_0000;
const CONTEXT: u64 = 0x5500_0000_1010;
const WORKSPACE: u64 = 0x5500_0010_0010;
const LENGTH: u64 = 0x2_0000;
const TABLE: u64 = 5_632;

fn owners() -> Owners {
    let part = |start, executable| Mapping {
        start,
        end: start + 0x1000,
        readable: true,
        executable,
        inode: 7,
        path: "/lib/libzstd.so.1".to_owned(),
        ..Mapping::default()
    };
    Owners::new(&[part(CONSTANTS, false), part(CONSTANTS + 0x1000, true)])
}

/// Answer for a block of these words, beside a workspace whose block has the length that `size` says.
fn found(words: &[u64], size: u64) -> Zstd {
    let bytes = |words: &[u64]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
    let block = bytes(words);
    let mut candidates = Candidates::default();
    candidates.see(&owners(), &block[..32], CONTEXT, block.len() as u64);
    let memory = ImageMemory::new(vec![(CONTEXT, block), (WORKSPACE - 8, bytes(&[size, 0]))]);
    candidates.prove(&memory)
}

/// A compressing context: where its workspace is said, and where its first objects.
fn compressing() -> Vec<u64> {
    let mut words = vec![0; 650];
    words[0] = 1 | (1 << 32);
    let end = WORKSPACE + LENGTH;
    let said = [WORKSPACE, end, WORKSPACE + 3 * TABLE, end - 0x8000, end - 0x9000, end - 0x100];
    words[80..86].copy_from_slice(&said);
    words[200..202].copy_from_slice(&[WORKSPACE + TABLE, WORKSPACE]);
    words[260] = WORKSPACE + 2 * TABLE;
    words
}

fn decompressing() -> Vec<u64> {
    let mut words = vec![0; 12_000];
    words[..4].copy_from_slice(&TABLES.map(|table| CONTEXT + table));
    // Its own alignment, no more.
    words[1] = CONSTANTS + 0x44;
    words[TABLES[3] as usize / 8] = 0x0c0b_010c;
    words
}

#[test]
fn contexts() {
    let size = LENGTH + 16;
    let compress = Sum { count: 1, bytes: 650 * 8 + 8 + size };
    assert_eq!(found(&compressing(), size | 1), Zstd { compress, ..Zstd::default() });
    let mut words = compressing();
    words.swap(200, 201);
    assert_eq!(found(&words, (LENGTH + 4096) | 2).compress.count, 1, "mapped alone, and the other order");
    let decompress = Sum { count: 1, bytes: 12_000 * 8 + 8 };
    assert_eq!(found(&decompressing(), 0), Zstd { decompress, ..Zstd::default() });
    let mut words = decompressing();
    words[4_000..4_006].copy_from_slice(&[WORKSPACE, 0x1_0000, 5, 0, WORKSPACE + 0x1_0000, 0x1_0000]);
    assert_eq!(found(&words, size | 1).decompress.bytes, 12_000 * 8 + 8 + size, "with a stream's buffers");
}

#[test]
fn almost_one_is_none() {
    let size = LENGTH + 16;
    for (at, word) in [
        (0, 4),
        (0, 2 << 32),
        (80, WORKSPACE + 8),
        (81, WORKSPACE + LENGTH + 0x100),
        (81, WORKSPACE),
        (82, WORKSPACE),
        (82, u64::MAX),
        (83, WORKSPACE),
        (84, WORKSPACE + LENGTH + 8),
        (85, WORKSPACE + TABLE),
        (200, WORKSPACE + 8),
        (201, WORKSPACE + 8),
        (260, WORKSPACE + 2 * TABLE + 8),
    ] {
        let mut words = compressing();
        words[at] = word;
        assert_eq!(found(&words, size).compress.count, 0, "{at} {word:x}");
    }
    assert_eq!(found(&compressing(), LENGTH - 16).compress.count, 0, "the block is shorter");
    assert_eq!(found(&compressing(), LENGTH + 0x3000).compress.count, 0, "the block is longer");
    for (at, word) in [
        (0, CONTEXT + 40),
        (1, CONSTANTS + 0x42),
        (1, CONSTANTS + 0x3000),
        (2, 0),
        (3, CONSTANTS + 0x40),
        (1_287, 0),
        (1_287, 0x0c00_020c),
        (1_287, 0x000d_000c),
    ] {
        let mut words = decompressing();
        words[at] = word;
        assert_eq!(found(&words, 0).decompress.count, 0, "{at} {word:x}");
    }
}

proptest! {
    /// Addresses of the workspace, its objects, the context and constants at every place: without the two tables
    /// and their follower side by side, or the context's own tables, there is none, and nothing overflows.
    #[test]
    fn hostile_words_are_neither(
        seeds in prop::collection::vec((0_u8..5, any::<u64>()), 650),
        size in any::<u64>(),
    ) {
        let mut words: Vec<u64> = seeds.iter().map(|(kind, value)| match kind {
            0 => WORKSPACE + value % 0x1_0000 * 8 + 8,
            1 => CONTEXT + value % 0x1_0000,
            2 => CONSTANTS + value % 0x1000,
            3 => u64::MAX - value % 0x1_0000,
            _ => *value,
        }).collect();
        words[0] = 1;
        words[1] = 0;
        prop_assert_eq!(found(&words, size), Zstd::default());
        words.resize(12_000, 0x0c00_000c_0c00_000c);
        prop_assert_eq!(found(&words, size), Zstd::default());
    }
}
