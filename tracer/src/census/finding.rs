//! What stands out of a census: each with its evidence, and what to watch to learn who does it.

use super::{Census, Library};
use crate::hotspot::books::CodeHeap;
use crate::process::module::file_name;

/// Below this, nothing is worth a finding.
const MIN_BYTES: u64 = 16 << 20;
/// Part of the resident memory from which something stands out, as a divisor.
const RSS_PART: u64 = 20;
/// Below this, memory that nothing tells of is not worth a finding, and neither is a smaller part of the resident
/// memory, as a divisor.
const MIN_UNTOLD_BYTES: u64 = 64 << 20;
const UNTOLD_PART: u64 = 3;
/// Inflaters, deflaters: a program that ends them has few.
const MIN_STATES: u64 = 100;
/// Fewer bytes of them are usual where many jars are open: a part of the resident memory, as a divisor.
const STATES_PART: u64 = 50;
/// Objects of one library: a part of the resident memory, as a divisor.
const LIBRARY_PART: u64 = 10;
const JVM: &str = "/libjvm.so";
const MIN_LOADERS: u64 = 100;
const MIN_THREADS: u64 = 100;
const MIN_JNI: u64 = 20_000;
const MIN_QUEUE: u64 = 2_000;
/// Loaders that a JVM makes itself, one for each reflective call that is often made.
const OF_REFLECTION: &str = "DelegatingClassLoader";

/// Something that stands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `zlib`, `direct-buffer`, `malloc-free`, ...
    pub kind: &'static str,
    /// Bytes that it holds, as far as they are known.
    pub bytes: Option<u64>,
    /// In one sentence, with the numbers.
    pub evidence: String,
    /// The category that a recording has it in, if there is one.
    pub category: Option<&'static str>,
    /// What to do about it.
    pub advice: &'static str,
}

pub(super) fn of(census: &Census) -> Vec<Finding> {
    let mut findings = Vec::new();
    let large = census.rss_bytes.unwrap_or(0) / RSS_PART;
    zlib(census, &mut findings);
    zstd(census, &mut findings);
    malloc(census, large, &mut findings);
    libraries(census, &mut findings);
    untold(census, &mut findings);
    jvm(census, large, &mut findings);
    for group in census.threads.iter().flatten().filter(|group| group.count >= MIN_THREADS) {
        findings.push(Finding {
            kind: "threads",
            bytes: None,
            evidence: format!("{} threads are named {}", group.count, group.name),
            category: Some("thread-stack"),
            advice: "see who starts them, and whether a pool without a bound is behind it",
        });
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.bytes));
    findings
}

fn zlib(census: &Census, findings: &mut Vec<Finding>) {
    let zlib = &census.native.zlib;
    let least = census.rss_bytes.unwrap_or(0) / STATES_PART;
    let inflate = "Inflater, or a stream that has one; each open jar has one, too";
    for (sum, what, class) in
        [(zlib.inflate, "inflate", inflate), (zlib.deflate, "deflate", "Deflater, or a stream that has one")]
    {
        if sum.count >= MIN_STATES && sum.bytes >= least || sum.bytes >= MIN_BYTES {
            findings.push(Finding {
                kind: "zlib",
                bytes: Some(sum.bytes),
                evidence: format!("{} {what} states of zlib are alive ({class})", sum.count),
                category: Some("zlib"),
                advice: "close the streams, or call end() on each Inflater and Deflater, instead of waiting for the collector",
            });
        }
    }
}

fn zstd(census: &Census, findings: &mut Vec<Finding>) {
    let zstd = &census.native.zstd;
    for (sum, what) in [(zstd.compress, "compress"), (zstd.decompress, "decompress")] {
        if sum.count >= MIN_STATES || sum.bytes >= MIN_BYTES {
            findings.push(Finding {
                kind: "zstd",
                bytes: Some(sum.bytes),
                evidence: format!("{} contexts of zstd that {what} are alive (ZstdOutputStream, ZstdInputStream, ...)", sum.count),
                category: None,
                advice: "close the streams and contexts that do so, or use one for each thread; a recording tells who makes them",
            });
        }
    }
}

fn malloc(census: &Census, large: u64, findings: &mut Vec<Finding>) {
    let Ok(malloc) = &census.native.malloc else { return };
    let total = malloc.total();
    let kept = total.free_bytes() + total.top_bytes;
    let system = malloc.system_bytes();
    if kept >= MIN_BYTES.max(large) && kept >= system / 5 {
        let share = 100 * kept / system.max(1);
        findings.push(Finding {
            kind: "malloc-free",
            bytes: Some(kept),
            evidence: format!(
                "malloc keeps {share} % of its {} arenas free: the program freed it, the kernel did not get it back",
                malloc.arenas.len()
            ),
            category: None,
            advice: "set MALLOC_ARENA_MAX=2, or trim (jcmd PID System.trim_native_heap, JDK 17.0.9 and later)",
        });
    }
    if total.inconsistent.count > 0 && total.inconsistent.bytes >= system / 100 {
        findings.push(Finding {
            kind: "malloc-inconsistent",
            bytes: Some(total.inconsistent.bytes),
            evidence: format!(
                "malloc's heap makes no sense at {} places: it changes fast, or something wrote over it",
                total.inconsistent.count
            ),
            category: None,
            advice: "take the census again, of the stopped process (kill -STOP) if you can: places that stay are damage",
        });
    }
}

/// Objects of a library that is not the JVM.
fn libraries(census: &Census, findings: &mut Vec<Finding>) {
    let least = MIN_BYTES.max(census.rss_bytes.unwrap_or(0) / LIBRARY_PART);
    let many = |library: &&Library| library.bytes >= least && !library.path.ends_with(JVM);
    for library in census.native.libraries.iter().filter(many) {
        let name = file_name(&library.path);
        findings.push(Finding {
            kind: "library",
            bytes: Some(library.bytes),
            evidence: format!(
                "{} blocks of malloc's begin with addresses of {name}: objects of it",
                library.count
            ),
            category: None,
            advice: "record: that tells who makes them, and whether they are freed again",
        });
    }
}

/// What malloc has in use, less all that is known of it.
fn untold(census: &Census, findings: &mut Vec<Finding>) {
    let Ok(malloc) = &census.native.malloc else { return };
    let in_use_bytes = malloc.total().in_use.bytes + malloc.mapped.amount().bytes;
    let native = &census.native;
    let sums = [native.zlib.inflate, native.zlib.deflate, native.zstd.compress, native.zstd.decompress];
    let libraries = native.libraries.iter().map(|library| library.bytes);
    let chunks = native.arena_chunks.iter().map(|chunks| chunks.bytes);
    let books = census.books().map(|jvm| {
        let buffers = jvm.direct_buffers.as_ref().map_or(0, |buffers| buffers.reserved_bytes);
        buffers + jvm.tables.as_ref().map_or(0, |tables| tables.symbols.bytes + tables.strings.bytes)
    });
    let told = sums.iter().map(|sum| sum.bytes).chain(libraries).chain(chunks).chain(books);
    let bytes = in_use_bytes.saturating_sub(told.fold(0, u64::saturating_add));
    if bytes < MIN_UNTOLD_BYTES.max(census.rss_bytes.unwrap_or(0) / UNTOLD_PART) {
        return;
    }
    let most = malloc.sizes.largest(1).first().map(|most| {
        let sizes = match most.from_bytes == most.to_bytes {
            true => most.from_bytes.to_string(),
            false => format!("{} to {}", most.from_bytes, most.to_bytes + 16),
        };
        let share = 100 * most.bytes / in_use_bytes.max(1);
        format!("; {} blocks of {sizes} bytes hold {share} % of what malloc has in use", most.count)
    });
    findings.push(Finding {
        kind: "untold",
        bytes: Some(bytes),
        evidence: format!(
            "blocks of malloc's are in use that do not tell whose they are{}",
            most.unwrap_or_default()
        ),
        category: None,
        advice: "record: that tells who allocates such blocks, and whether they are freed again",
    });
}

fn jvm(census: &Census, large: u64, findings: &mut Vec<Finding>) {
    let Some(jvm) = census.books() else { return };
    if let Ok(buffers) = &jvm.direct_buffers
        && buffers.reserved_bytes >= MIN_BYTES.max(large)
    {
        findings.push(Finding {
            kind: "direct-buffer",
            bytes: Some(buffers.reserved_bytes),
            evidence: format!("{} direct buffers are reachable, or wait for the collector", buffers.count),
            category: Some("direct-buffer"),
            advice: "pool the buffers, or bound them by -XX:MaxDirectMemorySize",
        });
    }
    if let Ok(loaders) = &jvm.loaders {
        let many = |kind: &&crate::hotspot::books::LoaderType| {
            kind.count >= MIN_LOADERS && !kind.name.ends_with(OF_REFLECTION)
        };
        for kind in loaders.types.iter().filter(many) {
            findings.push(Finding {
                kind: "class-loader",
                bytes: kind.metaspace.map(|metaspace| metaspace.committed_bytes),
                evidence: format!(
                    "{} class loaders of type {} hold {} classes",
                    kind.count, kind.name, kind.class_count
                ),
                category: Some("metaspace"),
                advice: "look for what keeps old loaders reachable: threads, thread locals, drivers, caches",
            });
        }
    }
    if let Ok(jni) = &jvm.jni {
        for (references, kind) in [(jni.global, "global"), (jni.weak, "weak global")] {
            if references.count >= MIN_JNI {
                findings.push(Finding {
                    kind: "jni",
                    bytes: Some(references.bytes),
                    evidence: format!("native code holds {} {kind} JNI references", references.count),
                    category: None,
                    advice: "native code must call DeleteGlobalRef or DeleteWeakGlobalRef for each",
                });
            }
        }
    }
    for queue in jvm.compile_queues.iter().flatten().filter(|queue| queue.length >= MIN_QUEUE) {
        findings.push(Finding {
            kind: "compile-queue",
            bytes: None,
            evidence: format!("{} methods wait in the {}", queue.length, queue.name),
            category: Some("compiler"),
            advice: "the compilers do not keep up: their arenas and the code cache will grow",
        });
    }
    let nearly_full =
        |heap: &&CodeHeap| heap.used_bytes >= heap.reserved_bytes / 10 * 9 && heap.reserved_bytes > MIN_BYTES;
    for heap in jvm.code.heaps.iter().filter(nearly_full) {
        findings.push(Finding {
            kind: "code-cache",
            bytes: Some(heap.used_bytes),
            evidence: format!(
                "{} is {} % full",
                heap.name,
                100 * heap.used_bytes / heap.reserved_bytes.max(1)
            ),
            category: Some("code-cache"),
            advice: "raise -XX:ReservedCodeCacheSize, or see which generated classes fill it",
        });
    }
}
