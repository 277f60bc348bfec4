//! The limits that a JVM sets itself: heap, direct buffers, metaspace, class space, code cache, and the heap's place in
//! the way of the program break.

use super::Limit;
use crate::hotspot::Hotspot;
use crate::hotspot::stats::CodeHeap;
use crate::process::Pid;
use crate::process::mapping;
use crate::vmmap::{Map, Owner};

/// Flags have at least this for "unlimited" (`max_uintx`, rounded).
const UNLIMITED_BYTES: u64 = 1 << 56;

pub(super) fn limits(pid: Pid, jvm: &Hotspot, map: Option<&Map>, code_heaps: &[CodeHeap]) -> Vec<Limit> {
    let mut limits = vec![java_heap(jvm), direct_buffers(jvm)];
    limits.extend(metaspace(jvm, map));
    limits.extend(code_cache(jvm, code_heaps));
    limits.push(below_heap(pid, map));
    limits
}

/// A flag of the JVM's that is a number of bytes.
fn flag(jvm: &Hotspot, name: &str) -> Option<u64> {
    jvm.flag_u64(name).filter(|bytes| *bytes > 0 && *bytes < UNLIMITED_BYTES)
}

fn java_heap(jvm: &Hotspot) -> Limit {
    let limit = Limit::bytes("java-heap").limit(flag(jvm, "MaxHeapSize"), "-Xmx (MaxHeapSize)");
    let limit = match jvm.java_heap() {
        Ok(heap) => limit.used(Some(heap.used_bytes)),
        Err(error) => return limit.reason(&error.to_string()),
    };
    if limit.limit.is_none() { limit.reason("the JVM's flag MaxHeapSize cannot be read") } else { limit }
}

fn direct_buffers(jvm: &Hotspot) -> Limit {
    let limit = Limit::bytes("direct-buffers");
    let buffers = match jvm.direct_buffers() {
        Ok(buffers) => buffers,
        Err(error) => return limit.reason(&error.to_string()),
    };
    let limit = limit.used(Some(buffers.reserved_bytes));
    match (flag(jvm, "MaxDirectMemorySize"), buffers.limit_bytes) {
        (Some(most), _) => limit.limit(Some(most), "-XX:MaxDirectMemorySize"),
        (None, Some(most)) => {
            limit.limit(Some(most), "the heap's maximum, the default of -XX:MaxDirectMemorySize")
        }
        // Bits is not loaded before the first buffer.
        (None, None) => match flag(jvm, "MaxHeapSize") {
            Some(most) => {
                limit.limit(Some(most), "about the heap's maximum, the default of -XX:MaxDirectMemorySize")
            }
            None => limit.reason("java.nio.Bits does not tell its limit"),
        },
    }
}

fn metaspace(jvm: &Hotspot, map: Option<&Map>) -> Vec<Limit> {
    let committed = |owner: Owner| {
        let parts = map?.parts.iter().filter(|part| part.owner == owner);
        Some(parts.map(|part| part.usage.committed_bytes).sum::<u64>())
    };
    let class_space = committed(Owner::ClassSpace);
    let both = committed(Owner::Metaspace).zip(class_space).map(|(other, class)| other.saturating_add(class));
    let unread = "the process's mappings cannot be read";
    let metaspace = Limit::bytes("metaspace").used(both);
    let metaspace = match flag(jvm, "MaxMetaspaceSize") {
        Some(most) => metaspace.limit(Some(most), "-XX:MaxMetaspaceSize"),
        None => metaspace.reason("unlimited (-XX:MaxMetaspaceSize is not set)"),
    };
    let classes = Limit::bytes("class-space").used(class_space);
    let classes = match flag(jvm, "CompressedClassSpaceSize") {
        Some(most) if jvm.flag("UseCompressedClassPointers") != Some(false) => {
            classes.limit(Some(most), "-XX:CompressedClassSpaceSize")
        }
        _ => classes.reason("classes are not compressed: there is no class space"),
    };
    [metaspace, classes]
        .into_iter()
        .map(|limit| match (limit.used, &limit.reason) {
            (None, None) => limit.reason(unread),
            _ => limit,
        })
        .collect()
}

/// The code cache as a whole, and each of its segments.
fn code_cache(jvm: &Hotspot, heaps: &[CodeHeap]) -> Vec<Limit> {
    if heaps.is_empty() {
        return vec![Limit::bytes("code-cache:all").reason("the JVM's code cache cannot be read")];
    }
    let sum = |of: fn(&CodeHeap) -> u64| heaps.iter().map(of).fold(0, u64::saturating_add);
    let whole = flag(jvm, "ReservedCodeCacheSize").unwrap_or_else(|| sum(|heap| heap.reserved_bytes));
    let all = Limit::bytes("code-cache:all").used(Some(sum(|heap| heap.used_bytes)));
    let mut limits = vec![all.limit(Some(whole), "-XX:ReservedCodeCacheSize")];
    for heap in heaps.iter().filter(|_| heaps.len() > 1) {
        let Some((segment, flag)) = segment(&heap.name) else { continue };
        let limit = Limit::bytes(&format!("code-cache:{segment}")).used(Some(heap.used_bytes));
        limits.push(limit.limit(Some(heap.reserved_bytes), flag));
    }
    limits
}

/// The id of a segment, and the flag that sets its size.
fn segment(name: &str) -> Option<(&'static str, &'static str)> {
    // "non-profiled nmethods" has the words of "profiled nmethods".
    [
        ("non-nmethods", "non-nmethods", "-XX:NonNMethodCodeHeapSize"),
        ("non-profiled", "non-profiled", "-XX:NonProfiledCodeHeapSize"),
        ("profiled", "profiled", "-XX:ProfiledCodeHeapSize"),
        ("hot", "hot", "-XX:HotCodeHeapSize"),
    ]
    .into_iter()
    .find(|(word, ..)| name.contains(word))
    .map(|(_, id, flag)| (id, flag))
}

/// Limit of the program break by a Java heap with compressed references, which may lie above it: the break then cannot
/// grow beyond it. malloc goes on elsewhere, other users of `brk` do not.
fn below_heap(pid: Pid, map: Option<&Map>) -> Limit {
    let limit = Limit::bytes("native-below-heap");
    let mappings = mapping::read(pid).unwrap_or_default();
    let mut breaks = mappings.iter().filter(|mapping| mapping.path == "[heap]");
    let Some(first) = breaks.next() else {
        return limit.reason("the process has nothing at its program break, or cannot be read");
    };
    let (start, end) = (first.start, breaks.next_back().map_or(first.end, |last| last.end));
    let limit = limit.used(Some(end.saturating_sub(start)));
    match map.and_then(Map::java_heap) {
        Some(heap) if heap.start >= end => {
            limit.limit(Some(heap.start - start), "the Java heap's place (-XX:HeapBaseMinAddress)")
        }
        Some(_) => limit.reason("the Java heap lies below the program break, and is not in its way"),
        None => limit.reason("the place of the Java heap is not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_told_apart() {
        let id = |name| segment(name).map(|(id, _)| id);
        assert_eq!(id("CodeHeap 'non-nmethods'"), Some("non-nmethods"));
        assert_eq!(id("CodeHeap 'profiled nmethods'"), Some("profiled"));
        assert_eq!(id("CodeHeap 'non-profiled nmethods'"), Some("non-profiled"));
        assert_eq!(id("CodeCache"), None);
    }
}
