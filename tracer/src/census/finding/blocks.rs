//! Blocks of malloc's: large groups of equal ones, and those that do not tell whose they are.

use super::{MIN_BYTES, finding, percent, rss_part};
use crate::census::document::{Census, Finding, SizeClass, Zstd};
use crate::units::count;

/// Equal blocks: a part of the resident memory, as a divisor; and so many.
const EQUAL_PART: u64 = 10;
const MIN_EQUAL: u64 = 1_000;
/// Groups of equal blocks that are told.
const MAX_EQUAL: usize = 3;
/// Limits below which memory that nothing tells of is not worth a finding: in bytes, and as a part of the resident
/// memory, a divisor.
const MIN_UNTOLD_BYTES: u64 = 64 << 20;
const UNTOLD_PART: u64 = 3;
/// Chunks of zlib's states, windows and tables, from the least to the greatest size (x86-64, malloc's header included).
const ZLIB_SIZES: [std::ops::RangeInclusive<u64>; 4] =
    [5_968..=6_016, 7_168..=7_216, 32_784..=32_848, 65_552..=65_616];
/// Bytes that malloc adds to a block that was asked for, at most: its header, rounding, the JVM's tracking.
const OVERHEAD_BYTES: u64 = 96;

/// Groups of equal blocks that hold much, and are not of a kind that is counted by itself.
pub(super) fn equal(census: &Census, findings: &mut Vec<Finding>) {
    let Some(malloc) = &census.census.malloc else { return };
    let least = MIN_BYTES.max(rss_part(census, EQUAL_PART));
    let large = |class: &&SizeClass| {
        class.is_exact() && class.count >= MIN_EQUAL && class.bytes >= least && !is_counted(census, class)
    };
    for class in malloc.largest_sizes.iter().filter(large).take(MAX_EQUAL) {
        let evidence = format!(
            "{} blocks of {} bytes each (with malloc's header) hold {} % of what malloc has in use",
            count(class.count),
            count(class.from_bytes),
            percent(class.bytes, malloc.all_in_use().bytes)
        );
        let advice = "record: that tells who allocates blocks of this size, and whether they are freed again";
        findings.push(finding("equal-blocks", Some(class.bytes), evidence, None, advice));
    }
}

/// Tells whether most blocks of a size are states of zlib or chunks of the JVM's arenas, which are counted as such.
fn is_counted(census: &Census, class: &SizeClass) -> bool {
    let most = |number: u64| number >= class.count / 2;
    let zlib = census.census.zlib.as_ref().is_some_and(|zlib| {
        let states = zlib.inflate.count.saturating_add(zlib.deflate.count.saturating_mul(2));
        ZLIB_SIZES.iter().any(|sizes| sizes.contains(&class.from_bytes)) && most(states)
    });
    let arenas = census.census.jvm_arena_chunks.iter().flat_map(|chunks| &chunks.lengths).any(|chunks| {
        let sizes = chunks.length_bytes..=chunks.length_bytes.saturating_add(OVERHEAD_BYTES);
        sizes.contains(&class.from_bytes) && most(chunks.count)
    });
    zlib || arenas
}

/// Bytes that malloc has in use, less all that is known of it.
pub(super) fn untold(census: &Census, findings: &mut Vec<Finding>) {
    let counted = &census.census;
    let Some(malloc) = &counted.malloc else { return };
    let in_use_bytes = malloc.all_in_use().bytes;
    let Zstd { compress, decompress } = counted.zstd.unwrap_or_default();
    let openssl = counted.openssl.unwrap_or_default();
    let zlib = counted.zlib.iter().flat_map(|zlib| [zlib.inflate, zlib.deflate]);
    let sums = zlib.chain([compress, decompress, openssl.contexts, openssl.connections]).map(|sum| sum.bytes);
    let libraries = counted.libraries.iter().flatten().map(|library| library.bytes);
    let chunks = counted.jvm_arena_chunks.iter().map(|chunks| chunks.bytes);
    let buffers = counted.direct_buffers.iter().map(|buffers| buffers.reserved_bytes);
    let tables = counted.symbols.iter().map(|tables| tables.symbol_bytes.saturating_add(tables.string_bytes));
    // A finding by its size is told.
    let equal =
        findings.iter().filter(|finding| finding.kind == "equal-blocks").filter_map(|finding| finding.bytes);
    let told = sums.chain(libraries).chain(chunks).chain(buffers).chain(tables).chain(equal);
    let bytes = in_use_bytes.saturating_sub(told.fold(0, u64::saturating_add));
    if bytes < MIN_UNTOLD_BYTES.max(rss_part(census, UNTOLD_PART)) {
        return;
    }
    let most = malloc.largest_sizes.first().map(|most| {
        let sizes = match most.is_exact() {
            true => count(most.from_bytes),
            false => format!("{} to {}", count(most.from_bytes), count(most.to_bytes + 16)),
        };
        let share = percent(most.bytes, in_use_bytes);
        format!("; {} blocks of {sizes} bytes hold {share} % of what malloc has in use", count(most.count))
    });
    let evidence =
        format!("blocks of malloc's are in use that do not tell whose they are{}", most.unwrap_or_default());
    let advice = "record: that tells who allocates such blocks, and whether they are freed again";
    findings.push(finding("untold", Some(bytes), evidence, None, advice));
}
