//! Memory of malloc by what it is: seen allocated and live, in use without having been seen allocated, and free.

use tracer_common::arch::PAGE_BYTES;

use super::{Arena, Heap, Memory, MemoryPart};
use crate::attribute::{Rules, Source};
use crate::profile::Category;
use crate::recording::{self, BEGAN_WITH_SESSION, CensusMoment, Recording};
use crate::verdict::AllocatorRetention;

/// Size from which on malloc may give a block a mapping of its own, in whole pages (`M_MMAP_THRESHOLD`).
const MAPPED_BYTES: u64 = 128 << 10;
/// The category of what malloc keeps. `None` if the balance does not tell it.
pub(in crate::profile) fn retained(
    memory: &Memory,
    retention: &AllocatorRetention,
    rules: &Rules,
) -> Option<Category> {
    let resident = |id: &str| memory.parts.iter().find(|part| part.id == id)?.resident_bytes;
    let retained_bytes = resident("malloc-free")?;
    let used_bytes = resident("malloc-live").unwrap_or(0) + resident("malloc-before").unwrap_or(0);
    Some(Category {
        resident_bytes: Some(retained_bytes),
        verdict: Some(retention.verdict(retained_bytes, used_bytes)),
        ..Category::named("allocator".to_owned(), "allocator", rules)
    })
}

/// Name of malloc's memory that is in use and was not seen allocated.
pub(super) fn unseen_name(recording: &Recording) -> &'static str {
    let mut censuses = recording.censuses.iter();
    match censuses.find(|census| census.moment == CensusMoment::Begin) {
        _ if recording.session.probes == recording::LIGHT => "malloc: not watched",
        // From some moment on, to keep within the budget.
        _ if recording.session.steps.iter().any(|step| step.level != "sampled") => {
            "malloc: in use, not seen allocated"
        }
        // By samples, or since the end of the session.
        Some(census) if census.census.as_ref().is_err_and(|why| why == BEGAN_WITH_SESSION) => {
            "malloc: in use, not seen allocated"
        }
        _ => "malloc: from before the session",
    }
}

/// malloc's memory by what it is. `seen`: what was seen allocated and is live, with malloc's headers.
pub(super) fn divide_malloc(
    malloc: &MemoryPart,
    heap: Option<&recording::Heap>,
    seen: u64,
    unseen_name: &str,
) -> Vec<MemoryPart> {
    const LIVE: (&str, &str) = ("malloc-live", "malloc: live, seen allocated");
    let mut rest = malloc.clone();
    let resident = malloc.resident_bytes.unwrap_or(0);
    let Some(heap) = heap else {
        let live = rest.take(seen, seen.min(resident), LIVE.0, LIVE.1);
        return vec![live, rest.named("malloc-rest", "malloc: from before, or free")];
    };
    let in_use = resident - resident_free(heap).min(resident);
    let (held, unseen) = (in_use_bytes(heap), unseen(heap, seen));
    let before = share(in_use, unseen, held);
    let live = rest.take(held.saturating_sub(unseen), in_use - before, LIVE.0, LIVE.1);
    let before = rest.take(unseen, before, "malloc-before", unseen_name);
    // Memory that is reserved and committed beyond them is free, too.
    vec![live, before, rest.named("malloc-free", "malloc: free, kept")]
}

/// Bytes that were seen allocated and are live, as malloc's chunks: each of a stack's is taken for one of its average
/// size.
pub(super) fn seen_bytes(recording: &Recording) -> u64 {
    let heap = recording.memory.heap.as_ref();
    let mut mapped_left = heap.map_or(0, |heap| heap.mapped_count);
    let mut seen: u64 = 0;
    for row in recording.totals.iter().filter(|row| row.source == Source::Allocator) {
        let totals = &row.totals;
        let count = totals.allocated_count.saturating_sub(totals.freed_count);
        let bytes = totals.allocated_bytes.saturating_sub(totals.freed_bytes);
        let average = bytes.checked_div(count).unwrap_or(0);
        // Source: glibc, `malloc.c`, `request2size` and `sysmalloc_mmap`.
        let chunk = average.saturating_add(8 + 15) / 16 * 16;
        let mapped = if average >= MAPPED_BYTES { count.min(mapped_left) } else { 0 };
        mapped_left -= mapped;
        let in_pages = average.saturating_add(16 + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        seen = seen.saturating_add(mapped.saturating_mul(in_pages));
        seen = seen.saturating_add((count - mapped).saturating_mul(chunk.max(32)));
    }
    seen
}

/// Bytes that malloc handed out, with its headers.
fn in_use_bytes(heap: &recording::Heap) -> u64 {
    let arenas = heap.arenas.iter().map(|arena| arena.in_use_bytes);
    arenas.fold(heap.mapped_bytes, u64::saturating_add)
}

/// The part of it that was not seen allocated.
fn unseen(heap: &recording::Heap, seen: u64) -> u64 {
    let all = in_use_bytes(heap);
    all.saturating_sub(seen)
}

/// `part` of `whole`, of `bytes`: what is in use may not have been touched, one part like the other.
fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(bytes).min(bytes)
}

/// Bytes that malloc keeps in memory, and nobody uses. Memory in use may not have been touched yet, so it can be
/// more.
fn resident_free(heap: &recording::Heap) -> u64 {
    let of = |arena: &recording::HeapArena| {
        let free = arena.free_bytes.saturating_add(arena.top_bytes);
        arena.resident_bytes.unwrap_or(0).saturating_sub(arena.in_use_bytes).min(free)
    };
    heap.arenas.iter().map(of).fold(0, u64::saturating_add)
}

pub(super) fn heap(heap: &recording::Heap) -> Heap {
    let sum =
        |part: fn(&recording::HeapArena) -> u64| heap.arenas.iter().map(part).fold(0, u64::saturating_add);
    let arena = |arena: &recording::HeapArena| Arena {
        main: arena.is_main,
        threads: arena.thread_count,
        resident_bytes: arena.resident_bytes,
        in_use_bytes: arena.in_use_bytes,
        in_use_count: arena.in_use_count,
        free_bytes: arena.free_bytes,
        top_bytes: arena.top_bytes,
    };
    Heap {
        in_use_bytes: sum(|arena| arena.in_use_bytes),
        in_use_count: sum(|arena| arena.in_use_count),
        free_bytes: sum(|arena| arena.free_bytes),
        top_bytes: sum(|arena| arena.top_bytes),
        mapped_bytes: heap.mapped_bytes,
        mapped_count: heap.mapped_count,
        arenas: heap.arenas.iter().map(arena).collect(),
    }
}
