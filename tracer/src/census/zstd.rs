//! zstd's contexts (`ZSTD_CCtx`, `ZSTD_DCtx`), by proof: they point to themselves and to a workspace of their own.
//!
//! A compressing context names its workspace by six addresses in order, from the first byte of a block of malloc's of
//! just that length to its end; and elsewhere the workspace's first objects: two tables of the same size, in either
//! order, and what follows them. A decompressing one begins with the addresses of four tables in itself, at the
//! places where they lie; of three of them a library's own may stand in. Random words do so with a chance of
//! less than 2^-140 and 2^-170 for each place; words that someone arranged so are a context, for all that can be told.
//! A context that has not worked yet, or does so with a dictionary's tables, is not found.
//! Source: zstd 1.4.4 to 1.5.7, `zstd_compress_internal.h`, `zstd_cwksp.h`, `zstd_decompress_internal.h`.

use tracer_common::arch::{ADDRESS_END, ADDRESS_FIRST};

use super::document::Zstd;
use super::owners::Owners;
use crate::process::memory::ProcessMemory;

/// Lengths of blocks that can be a compressing context.
const COMPRESS_BYTES: std::ops::RangeInclusive<u64> = 1_000..=8_192;
/// Words of the length of a workspace, and of each of the two tables that it begins with.
const WORKSPACE_BYTES: std::ops::RangeInclusive<u64> = 1 << 13..=1 << 34;
const TABLE_BYTES: std::ops::RangeInclusive<u64> = 1 << 12..=1 << 14;
/// Lengths of blocks that can be a decompressing one: with its tables, and with the largest buffers within.
const DECOMPRESS_BYTES: std::ops::RangeInclusive<u64> = 90_000..=400_000;
/// Offsets of its tables: of literal lengths, of match lengths, of offsets, and Huffman's.
const TABLES: [u64; 4] = [32, 6_192, 4_136, 10_296];
/// Entries of a table begin with a number of so many bytes.
const TABLE_ALIGNMENT: u64 = 4;
/// The most that a Huffman table's description says.
const MAX_TABLE_LOG: u8 = 12;
/// Words before a block's length.
const WORD_BYTES: u64 = 8;
/// Bytes by which a block may be longer than what was asked for: whole pages, if it is mapped alone.
const SLACK_BYTES: u64 = 2 * 4_096;
/// Kept until they are proved.
const MAX_CANDIDATES: usize = 1 << 20;

/// Collects what can be a context: address and length.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    compress: Vec<(u64, u64)>,
    decompress: Vec<(u64, u64)>,
}

impl Candidates {
    /// Looks at a block of `bytes` at `address` that begins with `head`.
    #[inline]
    pub(super) fn see(&mut self, owners: &Owners, head: &[u8], address: u64, bytes: u64) {
        if COMPRESS_BYTES.contains(&bytes) {
            if self.compress.len() < MAX_CANDIDATES && may_compress(head) {
                self.compress.push((address, bytes));
            }
        } else if DECOMPRESS_BYTES.contains(&bytes)
            && self.decompress.len() < MAX_CANDIDATES
            && begins_with_tables(owners, head, address)
        {
            self.decompress.push((address, bytes));
        }
    }

    /// Streams that are proven.
    pub(super) fn prove(self, memory: &dyn ProcessMemory) -> Zstd {
        let mut found = Zstd::default();
        let sums = [
            (&self.compress, &mut found.compress, compress as Proof),
            (&self.decompress, &mut found.decompress, decompress),
        ];
        for (candidates, sum, prove) in sums {
            for &(address, bytes) in candidates {
                let mut block = vec![0; usize::try_from(bytes).unwrap_or(0)];
                if memory.read(address, &mut block).is_err() {
                    continue;
                }
                let words: Vec<u64> =
                    block.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
                if let Some(others) = prove(memory, &words) {
                    sum.count += 1;
                    sum.bytes = sum.bytes.saturating_add(bytes + WORD_BYTES).saturating_add(others);
                }
            }
        }
        found
    }
}

/// Bytes that a context of these words holds outside of itself; `None` if it is no context.
type Proof = fn(&dyn ProcessMemory, &[u64]) -> Option<u64>;

/// The stage, and two flags.
fn may_compress(head: &[u8]) -> bool {
    const MAX: [u32; 3] = [3, 1, 1];
    let halves = head.as_chunks::<4>().0;
    halves.len() >= MAX.len() && halves.iter().zip(MAX).all(|(half, max)| u32::from_le_bytes(*half) <= max)
}

fn begins_with_tables(owners: &Owners, head: &[u8], address: u64) -> bool {
    let Some(words) = head.as_chunks::<8>().0.first_chunk::<4>() else { return false };
    let words = words.map(u64::from_le_bytes);
    let is_table = |word: u64| word.is_multiple_of(TABLE_ALIGNMENT) && owners.has(word);
    let own = |(word, offset): (u64, u64)| word == address.wrapping_add(offset);
    let places = || words.into_iter().zip(TABLES);
    places().next_back().is_some_and(own) && places().take(3).all(|place| own(place) || is_table(place.0))
}

fn compress(memory: &dyn ProcessMemory, words: &[u64]) -> Option<u64> {
    let workspace = |at: &[u64]| {
        let &[start, end, objects, table, valid, allocated] = at else { return None };
        let holds = is_pointer(start)
            && end < ADDRESS_END
            && WORKSPACE_BYTES.contains(&end.checked_sub(start)?)
            && (start + 1..=table).contains(&objects)
            && (objects..=allocated).contains(&table)
            && (objects..=end).contains(&valid)
            && (table..=end).contains(&allocated)
            && has_first_objects(words, start, objects);
        holds.then(|| length(memory, start, end - start))?
    };
    words.windows(6).find_map(workspace)
}

/// Are the workspace's first objects there: two of the same size, whose places may have been exchanged, and the
/// next one?
fn has_first_objects(words: &[u64], start: u64, objects_end: u64) -> bool {
    let pair = |(at, pair): (usize, &[u64])| {
        let &[one, other] = pair else { return None };
        let size = one.abs_diff(other);
        if one.min(other) != start || !TABLE_BYTES.contains(&size) {
            return None;
        }
        let next = start + 2 * size;
        (next < objects_end).then_some((at, next))
    };
    let pairs = || words.windows(2).enumerate().filter_map(pair);
    pairs().any(|(at, next)| words.get(at + 2..).unwrap_or_default().contains(&next))
}

fn decompress(memory: &dyn ProcessMemory, words: &[u64]) -> Option<u64> {
    let [log, kind, used, _] = (*words.get(TABLES[3] as usize / 8)? as u32).to_le_bytes();
    if !(1..=MAX_TABLE_LOG).contains(&log) || kind > 1 || used > MAX_TABLE_LOG {
        return None;
    }
    // Buffers of a stream: what comes in, and what goes out right behind it.
    let buffers = |at: &[u64]| {
        let &[input, input_bytes, position, _, output, output_bytes] = at else { return None };
        let holds = is_pointer(input)
            && input_bytes > 0
            && position <= input_bytes
            && input.checked_add(input_bytes) == Some(output)
            && WORKSPACE_BYTES.contains(&output_bytes)
            && WORKSPACE_BYTES.contains(&input_bytes.checked_add(output_bytes)?);
        holds.then(|| length(memory, input, input_bytes + output_bytes))?
    };
    Some(words.windows(6).find_map(buffers).unwrap_or(0))
}

/// The length of malloc's block at `start`, if it holds `asked` bytes and not much more.
fn length(memory: &dyn ProcessMemory, start: u64, asked: u64) -> Option<u64> {
    let length = memory.read_u64(start.checked_sub(WORD_BYTES)?).ok()? & !7;
    (asked..=asked + SLACK_BYTES).contains(&length).then_some(length)
}

fn is_pointer(word: u64) -> bool {
    word.is_multiple_of(8) && (ADDRESS_FIRST..ADDRESS_END).contains(&word)
}

#[cfg(test)]
mod tests;
