//! malloc's own counts of what it mapped (`malloc_par`), found beside the main arena.
//!
//! It lies in the same data, and is told by what must hold in it: the first break, the counters and
//! their maxima, the thresholds. 24 bytes were added before the counters in 2.35, 8 in 2.43; all forms are
//! tried.

use std::ops::Range;

use super::Amount;
use super::source::HeapSource;

/// Words from its start to the first break: to 2.34, from 2.35, from 2.43.
const WORDS_TO_BREAK: [usize; 3] = [9, 12, 13];
/// Offsets of the counters, four 32-bit words, in the same versions.
const COUNTERS: [usize; 3] = [40, 60, 68];
const MAX_DATA_BYTES: u64 = 32 << 20;
/// Words from its start to its end.
const WORDS: usize = 18;
/// The largest threshold that malloc moves to, or takes from its user.
const MAX_MMAP_THRESHOLD: u64 = 32 << 20;

/// The largest chunk that a thread's cache may be set to keep (from 2.42).
const MAX_CACHE_BYTES: u64 = 8 << 20;

/// Fields of `malloc_par` that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    /// The first address that brk gave.
    pub(super) first_break: u64,
    pub(super) mapped: Amount,
}

/// The parameters in `data`, if exactly one place can be them.
pub(super) fn find(source: &HeapSource<'_>, data: Range<u64>) -> Option<Parameters> {
    let length = data.end.saturating_sub(data.start).min(MAX_DATA_BYTES);
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    source.memory.read(data.start, &mut bytes).ok()?;
    let mut found = None;
    for start in (0..bytes.len()).step_by(8) {
        let Some(bytes) = bytes.get(start..start + 8 * WORDS) else { break };
        for form in 0..WORDS_TO_BREAK.len() {
            if let Some(parameters) = parse(source, bytes, form) {
                if found.is_some_and(|other| other != parameters) {
                    return None;
                }
                found = Some(parameters);
            }
        }
    }
    found
}

fn parse(source: &HeapSource<'_>, bytes: &[u8], form: usize) -> Option<Parameters> {
    let word = |index: usize| -> Option<u64> {
        Some(u64::from_le_bytes(bytes.get(8 * index..8 * index + 8)?.try_into().ok()?))
    };
    let at_break = *WORDS_TO_BREAK.get(form)?;
    let first_break = word(at_break)?;
    let counters = *COUNTERS.get(form)?;
    let counter = |index: usize| -> Option<u64> {
        let start = counters + 4 * index;
        Some(u32::from_le_bytes(bytes.get(start..start + 4)?.try_into().ok()?).into())
    };
    let (trim, top_pad, threshold, arena_test) = (word(0)?, word(1)?, word(2)?, word(3)?);
    let (count, limit, max_count, fixed) = (counter(0)?, counter(1)?, counter(2)?, counter(3)?);
    let (mapped, max_mapped) = (word(at_break - 2)?, word(at_break - 1)?);
    let (cache_bins, cache_bytes, cache_count) =
        (word(at_break + 1)?, word(at_break + 2)?, word(at_break + 3)?);
    let holds = first_break.is_multiple_of(16)
        && source.is_writable(first_break)
        && threshold != 0
        && threshold <= MAX_MMAP_THRESHOLD
        && (trim >= 1 << 12 || fixed == 1)
        && top_pad < 1 << 40
        && arena_test <= 1 << 16
        && fixed <= 1
        && count <= max_count
        && max_count <= limit
        && limit <= i32::MAX as u64
        && mapped <= max_mapped
        && mapped.is_multiple_of(4096)
        && (count == 0) == (mapped == 0)
        && mapped / 4096 >= count
        && cache_bins <= 64
        && cache_bytes <= MAX_CACHE_BYTES
        && cache_count <= 0xffff
        // Several of these are zero in memory that is anything: not all of them are, here.
        && limit != 0
        && arena_test != 0;
    holds.then_some(Parameters { first_break, mapped: Amount { bytes: mapped, count } })
}
