//! Findings in the JVM's own structures.

use super::{MIN_BYTES, finding, percent, rss_part};
use crate::census::document::{Census, CodeHeap, Finding, LoaderType, Sum};
use crate::units::count;

/// Direct buffers: a part of the resident memory, as a divisor; a pool has fewer, unless it holds a larger part.
const BUFFERS_PART: u64 = 20;
const MIN_BUFFERS: u64 = 64;
const FEW_BUFFERS_PART: u64 = 4;
const MIN_LOADERS: u64 = 100;
const MIN_JNI: u64 = 20_000;
const MIN_QUEUE: u64 = 2_000;
/// A program interns as many strings only if it makes them.
const MIN_STRINGS: u64 = 1_000_000;
/// Arenas of compilers and threads: a part of the resident memory, as a divisor.
const ARENAS_PART: u64 = 10;
/// Loaders that a JVM makes itself, one for each reflective call that is often made.
const OF_REFLECTION: &str = "DelegatingClassLoader";

pub(super) fn of(census: &Census, findings: &mut Vec<Finding>) {
    buffers(census, findings);
    loaders(census, findings);
    references(census, findings);
    compilers(census, findings);
}

fn buffers(census: &Census, findings: &mut Vec<Finding>) {
    let Some(buffers) = &census.census.direct_buffers else { return };
    let bytes = buffers.reserved_bytes;
    let is_many = buffers.count >= MIN_BUFFERS || bytes >= rss_part(census, FEW_BUFFERS_PART);
    if bytes >= MIN_BYTES.max(rss_part(census, BUFFERS_PART)) && is_many {
        let evidence =
            format!("{} direct buffers are reachable, or wait for the collector", count(buffers.count));
        let advice = "pool the buffers, or bound them by -XX:MaxDirectMemorySize";
        findings.push(finding("direct-buffer", Some(bytes), evidence, Some("direct-buffer"), advice));
    }
}

fn loaders(census: &Census, findings: &mut Vec<Finding>) {
    let many = |kind: &&LoaderType| kind.count >= MIN_LOADERS && !kind.name.ends_with(OF_REFLECTION);
    for kind in census.census.class_loaders.iter().flatten().filter(many) {
        let evidence = format!(
            "{} class loaders of type {} hold {} classes",
            count(kind.count),
            kind.name,
            count(kind.classes)
        );
        let advice = "look for what keeps old loaders reachable: threads, thread locals, drivers, caches";
        findings.push(finding("class-loader", kind.metaspace_bytes, evidence, Some("metaspace"), advice));
    }
}

/// References of native code, and interned strings.
fn references(census: &Census, findings: &mut Vec<Finding>) {
    if let Some(jni) = &census.census.jni {
        let (global, weak) = (
            Sum { count: jni.global_count, bytes: jni.global_bytes },
            Sum { count: jni.weak_count, bytes: jni.weak_bytes },
        );
        for (references, kind) in [(global, "global"), (weak, "weak global")] {
            if references.count >= MIN_JNI {
                let evidence = format!("native code holds {} {kind} JNI references", count(references.count));
                let advice = "native code must call DeleteGlobalRef or DeleteWeakGlobalRef for each";
                findings.push(finding("jni", Some(references.bytes), evidence, None, advice));
            }
        }
    }
    if let Some(tables) = census.census.symbols.filter(|tables| tables.string_count >= MIN_STRINGS) {
        let evidence = format!(
            "{} strings are interned (String.intern, names of JSON fields)",
            count(tables.string_count)
        );
        let advice = "do not intern what comes from outside; the strings themselves are in the Java heap";
        findings.push(finding(
            "interned-strings",
            Some(tables.string_bytes),
            evidence,
            Some("symbol"),
            advice,
        ));
    }
}

/// The compilers: their queues, their arenas, and the code cache.
fn compilers(census: &Census, findings: &mut Vec<Finding>) {
    for queue in census.census.compile_queues.iter().flatten().filter(|queue| queue.length >= MIN_QUEUE) {
        let evidence = format!("{} methods wait in the {}", count(queue.length), queue.name);
        let advice = "the compilers do not keep up: their arenas and the code cache will grow";
        findings.push(finding("compile-queue", None, evidence, Some("compiler"), advice));
    }
    let least = MIN_BYTES.max(rss_part(census, ARENAS_PART));
    if let Some(chunks) = census.census.jvm_arena_chunks.as_ref().filter(|chunks| chunks.bytes >= least) {
        let evidence =
            format!("{} chunks of the JVM's arenas (compilers, threads) are allocated", count(chunks.count));
        let advice = "a large method is being compiled, or was: see it with -XX:+PrintCompilation, or record";
        findings.push(finding("jvm-arenas", Some(chunks.bytes), evidence, Some("compiler"), advice));
    }
    let nearly_full =
        |heap: &&CodeHeap| heap.used_bytes >= heap.reserved_bytes / 10 * 9 && heap.reserved_bytes > MIN_BYTES;
    for heap in census.census.code_cache.iter().flat_map(|code| &code.heaps).filter(nearly_full) {
        let full = percent(heap.used_bytes, heap.reserved_bytes);
        let evidence = format!("{} is {full} % full", heap.name);
        let advice = "raise -XX:ReservedCodeCacheSize, or see which generated classes fill it";
        findings.push(finding("code-cache", Some(heap.used_bytes), evidence, Some("code-cache"), advice));
    }
}
