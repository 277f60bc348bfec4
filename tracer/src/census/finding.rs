//! What stands out of a census: each with its evidence, and what to watch to learn who does it.

use super::document::{Census, CodeHeap, Finding, Library, LoaderType, Sum, Zstd};
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

pub(super) fn of(census: &Census) -> Vec<Finding> {
    let mut findings = Vec::new();
    let large = census.memory.rss_bytes.unwrap_or(0) / RSS_PART;
    zlib(census, &mut findings);
    zstd(census, &mut findings);
    malloc(census, large, &mut findings);
    libraries(census, &mut findings);
    untold(census, &mut findings);
    jvm(census, large, &mut findings);
    let groups = census.census.threads.iter().flat_map(|threads| &threads.groups);
    for group in groups.filter(|group| group.count >= MIN_THREADS) {
        findings.push(Finding {
            kind: "threads".to_owned(),
            bytes: None,
            evidence: format!("{} threads are named {}", group.count, group.name),
            category: Some("thread-stack".to_owned()),
            advice: "see who starts them, and whether a pool without a bound is behind it".to_owned(),
        });
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.bytes));
    findings
}

fn zlib(census: &Census, findings: &mut Vec<Finding>) {
    let Some(zlib) = &census.census.zlib else { return };
    let least = census.memory.rss_bytes.unwrap_or(0) / STATES_PART;
    let inflate = "Inflater, or a stream that has one; each open jar has one, too";
    for (sum, what, class) in
        [(zlib.inflate, "inflate", inflate), (zlib.deflate, "deflate", "Deflater, or a stream that has one")]
    {
        if sum.count >= MIN_STATES && sum.bytes >= least || sum.bytes >= MIN_BYTES {
            findings.push(Finding {
                kind: "zlib".to_owned(),
                bytes: Some(sum.bytes),
                evidence: format!("{} {what} states of zlib are alive ({class})", sum.count),
                category: Some("zlib".to_owned()),
                advice: "close the streams, or call end() on each Inflater and Deflater, instead of waiting for the collector".to_owned(),
            });
        }
    }
}

fn zstd(census: &Census, findings: &mut Vec<Finding>) {
    let zstd = census.census.zstd.unwrap_or_default();
    for (sum, what) in [(zstd.compress, "compress"), (zstd.decompress, "decompress")] {
        if sum.count >= MIN_STATES || sum.bytes >= MIN_BYTES {
            findings.push(Finding {
                kind: "zstd".to_owned(),
                bytes: Some(sum.bytes),
                evidence: format!("{} contexts of zstd that {what} are alive (ZstdOutputStream, ZstdInputStream, ...)", sum.count),
                category: None,
                advice: "close the streams and contexts that do so, or use one for each thread; a recording tells who makes them".to_owned(),
            });
        }
    }
}

fn malloc(census: &Census, large: u64, findings: &mut Vec<Finding>) {
    let Some(malloc) = &census.census.malloc else { return };
    let kept = malloc.all_free_bytes();
    let system = malloc.system_bytes;
    if kept >= MIN_BYTES.max(large) && kept >= system / 5 {
        let share = 100 * kept / system.max(1);
        findings.push(Finding {
            kind: "malloc-free".to_owned(),
            bytes: Some(kept),
            evidence: format!(
                "malloc keeps {share} % of its {} arenas free: the program freed it, the kernel did not get it back",
                malloc.arenas.len()
            ),
            category: None,
            advice: "set MALLOC_ARENA_MAX=2, or trim (jcmd PID System.trim_native_heap, JDK 17.0.9 and later)".to_owned(),
        });
    }
    if malloc.inconsistent > 0 && malloc.inconsistent_bytes >= system / 100 {
        findings.push(Finding {
            kind: "malloc-inconsistent".to_owned(),
            bytes: Some(malloc.inconsistent_bytes),
            evidence: format!(
                "malloc's heap makes no sense at {} places: it changes fast, or something wrote over it",
                malloc.inconsistent
            ),
            category: None,
            advice: "take the census again, of the stopped process (kill -STOP) if you can: places that stay are damage".to_owned(),
        });
    }
}

/// Objects of a library that is not the JVM.
fn libraries(census: &Census, findings: &mut Vec<Finding>) {
    let least = MIN_BYTES.max(census.memory.rss_bytes.unwrap_or(0) / LIBRARY_PART);
    let many = |library: &&Library| library.bytes >= least && !library.path.ends_with(JVM);
    for library in census.census.libraries.iter().flatten().filter(many) {
        let name = file_name(&library.path);
        findings.push(Finding {
            kind: "library".to_owned(),
            bytes: Some(library.bytes),
            evidence: format!(
                "{} blocks of malloc's begin with addresses of {name}: objects of it",
                library.count
            ),
            category: None,
            advice: "record: that tells who makes them, and whether they are freed again".to_owned(),
        });
    }
}

/// What malloc has in use, less all that is known of it.
fn untold(census: &Census, findings: &mut Vec<Finding>) {
    let counted = &census.census;
    let Some(malloc) = &counted.malloc else { return };
    let in_use_bytes = malloc.all_in_use().bytes;
    let Zstd { compress, decompress } = counted.zstd.unwrap_or_default();
    let zlib = counted.zlib.iter().flat_map(|zlib| [zlib.inflate, zlib.deflate]);
    let states = zlib.chain([compress, decompress]).map(|sum| sum.bytes);
    let libraries = counted.libraries.iter().flatten().map(|library| library.bytes);
    let chunks = counted.jvm_arena_chunks.iter().map(|chunks| chunks.bytes);
    let buffers = counted.direct_buffers.iter().map(|buffers| buffers.reserved_bytes);
    let tables = counted.symbols.iter().map(|tables| tables.symbol_bytes.saturating_add(tables.string_bytes));
    let told = states.chain(libraries).chain(chunks).chain(buffers).chain(tables);
    let bytes = in_use_bytes.saturating_sub(told.fold(0, u64::saturating_add));
    if bytes < MIN_UNTOLD_BYTES.max(census.memory.rss_bytes.unwrap_or(0) / UNTOLD_PART) {
        return;
    }
    let most = malloc.largest_sizes.first().map(|most| {
        let sizes = match most.is_exact() {
            true => most.from_bytes.to_string(),
            false => format!("{} to {}", most.from_bytes, most.to_bytes + 16),
        };
        let share = 100 * most.bytes / in_use_bytes.max(1);
        format!("; {} blocks of {sizes} bytes hold {share} % of what malloc has in use", most.count)
    });
    findings.push(Finding {
        kind: "untold".to_owned(),
        bytes: Some(bytes),
        evidence: format!(
            "blocks of malloc's are in use that do not tell whose they are{}",
            most.unwrap_or_default()
        ),
        category: None,
        advice: "record: that tells who allocates such blocks, and whether they are freed again".to_owned(),
    });
}

fn jvm(census: &Census, large: u64, findings: &mut Vec<Finding>) {
    let counted = &census.census;
    if let Some(buffers) = &counted.direct_buffers
        && buffers.reserved_bytes >= MIN_BYTES.max(large)
    {
        findings.push(Finding {
            kind: "direct-buffer".to_owned(),
            bytes: Some(buffers.reserved_bytes),
            evidence: format!("{} direct buffers are reachable, or wait for the collector", buffers.count),
            category: Some("direct-buffer".to_owned()),
            advice: "pool the buffers, or bound them by -XX:MaxDirectMemorySize".to_owned(),
        });
    }
    let many = |kind: &&LoaderType| kind.count >= MIN_LOADERS && !kind.name.ends_with(OF_REFLECTION);
    for kind in counted.class_loaders.iter().flatten().filter(many) {
        findings.push(Finding {
            kind: "class-loader".to_owned(),
            bytes: kind.metaspace_bytes,
            evidence: format!(
                "{} class loaders of type {} hold {} classes",
                kind.count, kind.name, kind.classes
            ),
            category: Some("metaspace".to_owned()),
            advice: "look for what keeps old loaders reachable: threads, thread locals, drivers, caches"
                .to_owned(),
        });
    }
    if let Some(jni) = &counted.jni {
        let (global, weak) = (
            Sum { count: jni.global_count, bytes: jni.global_bytes },
            Sum { count: jni.weak_count, bytes: jni.weak_bytes },
        );
        for (references, kind) in [(global, "global"), (weak, "weak global")] {
            if references.count >= MIN_JNI {
                findings.push(Finding {
                    kind: "jni".to_owned(),
                    bytes: Some(references.bytes),
                    evidence: format!("native code holds {} {kind} JNI references", references.count),
                    category: None,
                    advice: "native code must call DeleteGlobalRef or DeleteWeakGlobalRef for each"
                        .to_owned(),
                });
            }
        }
    }
    for queue in counted.compile_queues.iter().flatten().filter(|queue| queue.length >= MIN_QUEUE) {
        findings.push(Finding {
            kind: "compile-queue".to_owned(),
            bytes: None,
            evidence: format!("{} methods wait in the {}", queue.length, queue.name),
            category: Some("compiler".to_owned()),
            advice: "the compilers do not keep up: their arenas and the code cache will grow".to_owned(),
        });
    }
    let nearly_full =
        |heap: &&CodeHeap| heap.used_bytes >= heap.reserved_bytes / 10 * 9 && heap.reserved_bytes > MIN_BYTES;
    for heap in counted.code_cache.iter().flat_map(|code| &code.heaps).filter(nearly_full) {
        findings.push(Finding {
            kind: "code-cache".to_owned(),
            bytes: Some(heap.used_bytes),
            evidence: format!(
                "{} is {} % full",
                heap.name,
                100 * heap.used_bytes / heap.reserved_bytes.max(1)
            ),
            category: Some("code-cache".to_owned()),
            advice: "raise -XX:ReservedCodeCacheSize, or see which generated classes fill it".to_owned(),
        });
    }
}
