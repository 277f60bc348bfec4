//! Findings of a census: the rules by which something stands out, each with its numbers and what to do about it.
//!
//! Reads the document alone. First come findings about memory that the census cannot explain, since they qualify all
//! others; then those with most bytes; last what is usual in healthy programs.

mod blocks;
mod jvm;

use super::document::{Census, Finding, Library};
use crate::process::Pid;
use crate::process::module::file_name;
use crate::units::count;

/// Bytes below which nothing is worth a finding.
const MIN_BYTES: u64 = 16 << 20;
/// Bytes below which memory that nothing explains is not worth a finding.
const MIN_UNEXPLAINED_BYTES: u64 = 64 << 20;
/// Part of the resident memory that has no owner, from which that is the first thing to say, as a divisor.
const UNEXPLAINED_PART: u64 = 4;
/// Inflaters, deflaters, contexts: a program that ends them has few.
const MIN_STATES: u64 = 100;
/// A smaller part of the resident memory is usual for them where many jars are open, as a divisor.
const STATES_PART: u64 = 50;
/// A server may have as many connections at once.
const MIN_CONNECTIONS: u64 = 1_000;
/// Objects of one library: a part of the resident memory, as a divisor.
const LIBRARY_PART: u64 = 10;
/// Memory that malloc keeps is worth a finding from here on: bytes, parts of malloc's and of the resident memory.
const MIN_FREE_BYTES: u64 = 64 << 20;
const FREE_PART: u64 = 2;
const FREE_RSS_PART: u64 = 5;
const JVM: &str = "/libjvm.so";
const MIN_THREADS: u64 = 100;

/// Findings of a census, the most important first.
pub(super) fn of(census: &Census) -> Vec<Finding> {
    let mut findings = Vec::new();
    unexplained(census, &mut findings);
    zlib(census, &mut findings);
    contexts(census, &mut findings);
    malloc(census, &mut findings);
    libraries(census, &mut findings);
    blocks::equal(census, &mut findings);
    blocks::untold(census, &mut findings);
    jvm::of(census, &mut findings);
    let groups = census.census.threads.iter().flat_map(|threads| &threads.groups);
    for group in groups.filter(|group| group.count >= MIN_THREADS) {
        findings.push(finding(
            "threads",
            None,
            format!("{} threads are named {}", count(group.count), group.name),
            Some("thread-stack"),
            "see who starts them, and whether a pool without a bound is behind it",
        ));
    }
    findings.sort_by_key(|finding| (rank(&finding.kind), std::cmp::Reverse(finding.bytes)));
    findings
}

/// The place of a kind among the findings.
fn rank(kind: &str) -> u8 {
    match kind {
        "unexplained" | "allocator" => 0,
        "malloc-free" => 2,
        _ => 1,
    }
}

fn finding(
    kind: &str,
    bytes: Option<u64>,
    evidence: String,
    category: Option<&str>,
    advice: &str,
) -> Finding {
    Finding {
        kind: kind.to_owned(),
        bytes,
        evidence,
        category: category.map(str::to_owned),
        advice: advice.to_owned(),
    }
}

/// A part of the resident memory.
fn rss_part(census: &Census, divisor: u64) -> u64 {
    census.memory.rss_bytes.unwrap_or(0) / divisor
}

fn percent(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}

/// Memory that has no owner, and malloc's of an allocator that is not read.
fn unexplained(census: &Census, findings: &mut Vec<Finding>) {
    let rss = census.memory.rss_bytes.unwrap_or(0);
    let bytes = census.memory.unexplained_bytes.unwrap_or(0);
    let least = MIN_UNEXPLAINED_BYTES.max(rss / UNEXPLAINED_PART);
    let allocator = census.unknown.get("malloc").filter(|_| census.census.malloc.is_none());
    if let Some(why) = allocator.filter(|_| census.target.pid != Pid::default() && bytes >= MIN_BYTES) {
        let evidence = format!(
            "malloc's blocks are not read ({why}): its memory is among the {} % of the resident memory that are unexplained",
            percent(bytes, rss)
        );
        let advice = "record: that tells who allocates, whatever the allocator is";
        findings.push(finding("allocator", Some(bytes), evidence, None, advice));
    } else if bytes >= least {
        let evidence = format!(
            "{} % of the resident memory are unexplained: mapped by the program or a library itself, not by malloc or the JVM",
            percent(bytes, rss)
        );
        let advice = "record: that tells who maps such memory while it is watched; tracer maps --all shows where it lies";
        findings.push(finding("unexplained", Some(bytes), evidence, None, advice));
    }
}

fn zlib(census: &Census, findings: &mut Vec<Finding>) {
    let Some(zlib) = &census.census.zlib else { return };
    let least = rss_part(census, STATES_PART);
    let inflate = "Inflater, or a stream that has one; each open jar has one, too";
    for (sum, what, class) in
        [(zlib.inflate, "inflate", inflate), (zlib.deflate, "deflate", "Deflater, or a stream that has one")]
    {
        if sum.count >= MIN_STATES && sum.bytes >= least || sum.bytes >= MIN_BYTES {
            let evidence = format!("{} {what} states of zlib are alive ({class})", count(sum.count));
            let advice = "close the streams, or call end() on each Inflater and Deflater, instead of waiting for the collector";
            findings.push(finding("zlib", Some(sum.bytes), evidence, Some("zlib"), advice));
        }
    }
}

/// Contexts of zstd and of OpenSSL.
fn contexts(census: &Census, findings: &mut Vec<Finding>) {
    let zstd = census.census.zstd.unwrap_or_default();
    for (sum, what) in [(zstd.compress, "compress"), (zstd.decompress, "decompress")] {
        if sum.count >= MIN_STATES || sum.bytes >= MIN_BYTES {
            let evidence = format!(
                "{} contexts of zstd that {what} are alive (ZstdOutputStream, ZstdInputStream, ...)",
                count(sum.count)
            );
            let advice = "close the streams and contexts that do so, or use one for each thread; a recording tells who makes them";
            findings.push(finding("zstd", Some(sum.bytes), evidence, None, advice));
        }
    }
    let openssl = census.census.openssl.unwrap_or_default();
    for (sum, what, least, advice) in [
        (
            openssl.connections,
            "connections",
            MIN_CONNECTIONS,
            "close each connection, and release each SSLEngine of OpenSSL (ReferenceCountUtil.release); bound the pool that keeps them",
        ),
        (
            openssl.contexts,
            "contexts",
            MIN_STATES,
            "make one SslContext for all connections, and release it when it is replaced",
        ),
    ] {
        if sum.count >= least || sum.bytes >= MIN_BYTES {
            let evidence =
                format!("{} OpenSSL {what} are alive; their buffers come on top", count(sum.count));
            findings.push(finding("openssl", Some(sum.bytes), evidence, None, advice));
        }
    }
}

fn malloc(census: &Census, findings: &mut Vec<Finding>) {
    let Some(malloc) = &census.census.malloc else { return };
    let (free, system) = (malloc.all_free_bytes(), malloc.system_bytes);
    if free >= MIN_FREE_BYTES.max(rss_part(census, FREE_RSS_PART)) && free >= system / FREE_PART {
        let arenas = census.length("/census/malloc/arenas", malloc.arenas.len());
        let evidence = format!(
            "malloc keeps {} % of its {arenas} arenas free: the program freed it, the kernel did not get it back",
            percent(free, system)
        );
        let advice =
            "set MALLOC_ARENA_MAX=2, or trim (jcmd PID System.trim_native_heap, JDK 17.0.9 and later)";
        findings.push(finding("malloc-free", Some(free), evidence, None, advice));
    }
    if malloc.inconsistent > 0 && malloc.inconsistent_bytes >= system / 100 {
        let evidence = format!(
            "malloc's heap makes no sense at {} places: it changes fast, or something wrote over it",
            count(malloc.inconsistent)
        );
        let advice = "take the census again, of the stopped process (kill -STOP) if you can: places that stay are damage";
        findings.push(finding(
            "malloc-inconsistent",
            Some(malloc.inconsistent_bytes),
            evidence,
            None,
            advice,
        ));
    }
}

/// Objects of a library that is not the JVM.
fn libraries(census: &Census, findings: &mut Vec<Finding>) {
    let least = MIN_BYTES.max(rss_part(census, LIBRARY_PART));
    let many = |library: &&Library| library.bytes >= least && !library.path.ends_with(JVM);
    for library in census.census.libraries.iter().flatten().filter(many) {
        let evidence = format!(
            "{} blocks of malloc's begin with addresses of {}: objects of it",
            count(library.count),
            file_name(&library.path)
        );
        let advice = "record: that tells who makes them, and whether they are freed again";
        findings.push(finding("library", Some(library.bytes), evidence, None, advice));
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::{DirectBuffers, Malloc, Memory, MemoryPart, OpenSsl, SizeClass, Sum};
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A process of 500 MiB in which nothing stands out.
    fn healthy() -> Census {
        let mut census = Census::default();
        census.target.pid = Pid(1);
        census.memory = Memory {
            rss_bytes: Some(500 * MIB),
            parts: vec![MemoryPart {
                id: "malloc-arena".into(),
                resident_bytes: Some(60 * MIB),
                ..MemoryPart::default()
            }],
            unexplained_bytes: Some(4 * MIB),
            ..Memory::default()
        };
        census.census.malloc = Some(Malloc {
            system_bytes: 80 * MIB,
            in_use_bytes: 50 * MIB,
            in_use_count: 100_000,
            free_bytes: 20 * MIB,
            top_bytes: 10 * MIB,
            ..Malloc::default()
        });
        census
    }

    fn kinds(census: &Census) -> Vec<String> {
        of(census).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn nothing_stands_out_of_what_is_usual() {
        let mut census = healthy();
        assert_eq!(kinds(&census), [] as [&str; 0]);
        // A pool of three large buffers.
        census.census.direct_buffers =
            Some(DirectBuffers { count: 3, capacity_bytes: 48 * MIB, reserved_bytes: 48 * MIB });
        assert_eq!(kinds(&census), [] as [&str; 0]);
    }

    #[test]
    fn what_has_no_owner_comes_first() {
        let mut census = healthy();
        census.memory.unexplained_bytes = Some(290 * MIB);
        census.census.direct_buffers =
            Some(DirectBuffers { count: 9_000, capacity_bytes: 400 * MIB, reserved_bytes: 400 * MIB });
        assert_eq!(kinds(&census), ["unexplained", "direct-buffer"]);
        assert!(of(&census)[0].evidence.starts_with("58 % of the resident memory"), "{:?}", of(&census)[0]);
    }

    #[test]
    fn an_allocator_that_is_not_read_is_said() {
        let mut census = healthy();
        census.census.malloc = None;
        census.memory.unexplained_bytes = Some(60 * MIB);
        census.unknown.insert("malloc".into(), "the process uses jemalloc, whose chunks are not read".into());
        assert_eq!(kinds(&census), ["allocator"]);
    }

    #[test]
    fn equal_blocks_and_exact_counts_are_found() {
        let mut census = healthy();
        let class = SizeClass { from_bytes: 2_016, to_bytes: 2_016, count: 60_000, bytes: 60_000 * 2_016 };
        let malloc = census.census.malloc.as_mut().expect("malloc");
        malloc.largest_sizes = vec![class];
        malloc.in_use_bytes = 180 * MIB;
        census.census.openssl = Some(OpenSsl {
            connections: Sum { count: 12_000, bytes: 80 * MIB },
            contexts: Sum { count: 3, bytes: 9_000 },
        });
        assert_eq!(kinds(&census), ["equal-blocks", "openssl"]);
        assert!(of(&census)[0].evidence.starts_with("60,000 blocks of 2,016 bytes"), "{:?}", of(&census)[0]);
    }

    #[test]
    fn what_malloc_keeps_comes_last() {
        let mut census = healthy();
        census.memory.rss_bytes = Some(900 * MIB);
        let malloc = census.census.malloc.as_mut().expect("malloc");
        (malloc.system_bytes, malloc.top_bytes) = (500 * MIB, 400 * MIB);
        census.census.direct_buffers =
            Some(DirectBuffers { count: 1_000, capacity_bytes: 100 * MIB, reserved_bytes: 100 * MIB });
        assert_eq!(kinds(&census), ["direct-buffer", "malloc-free"]);
    }
}
