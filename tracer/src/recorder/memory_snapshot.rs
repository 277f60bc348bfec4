//! Snapshots of the process's memory, as recordings keep them.

use std::collections::BTreeMap;

use tracer_common::stack::StackId;

use crate::{
    limits::Limit,
    recording::{CodeCache, Heap, HeapArena, MappedMemory, Memory, MemoryPart, ThreadStack},
    session::mappings::Mappings,
    vmmap::{self, Map, Owner, Usage},
};

/// Arenas that are kept.
const MAX_ARENAS: usize = 512;

/// See the module.
pub(super) struct MemorySnapshot {
    /// Time at which it was asked for, `CLOCK_MONOTONIC`.
    pub(super) time_ns: u64,
    /// CPU time that it took.
    pub(super) took_ns: u64,
    /// Was malloc's heap walked?
    pub(super) walked_heap: bool,
    pub(super) map: Map,
    pub(super) limits: Vec<Limit>,
    /// The code cache; walked when the heap is.
    pub(super) code: Option<CodeCache>,
    /// Paths of modules that have an allocator which they do not export.
    pub(super) own_allocators: Vec<String>,
}

impl MemorySnapshot {
    /// Owner of the memory at `address`.
    pub(super) fn owner_at(&self, address: u64) -> Option<&'static str> {
        self.map.owner_at(address).map(Owner::id)
    }

    /// Range of the Java heap.
    pub(super) fn java_heap(&self) -> Option<std::ops::Range<u64>> {
        self.map.java_heap()
    }

    /// Time at which it was asked for, `CLOCK_MONOTONIC`.
    pub(super) fn time_ns(&self) -> u64 {
        self.time_ns
    }

    /// The code cache, if it was walked.
    pub(super) fn take_code(&mut self) -> Option<CodeCache> {
        self.code.take()
    }

    /// The snapshot as recordings keep it. `mappings`: who mapped what nobody owns.
    pub(super) fn memory(&self, mappings: &Mappings) -> Memory<StackId> {
        let total = self.map.total();
        let memory_limit = self.limits.iter().find(|limit| limit.id == "cgroup-memory");
        let of = |owner: Owner| self.map.parts.iter().filter(move |part| part.owner == owner);
        let mut mapped: BTreeMap<StackId, Usage> = BTreeMap::new();
        for part in of(Owner::Unexplained) {
            for (stack, bytes) in mappings.mapped_by(part.range.start, part.range.end) {
                mapped.entry(stack).or_default().add(&share(&part.usage, bytes));
            }
        }
        Memory {
            time_ns: Some(self.time_ns),
            rss_bytes: self.map.rss_bytes,
            pss_bytes: Some(total.pss_bytes),
            swap_bytes: Some(total.swap_bytes),
            limit_bytes: memory_limit.and_then(|limit| limit.limit),
            limit_used_bytes: memory_limit.and_then(|limit| limit.limit.and(limit.used)),
            unexplained_bytes: Some(of(Owner::Unexplained).map(|part| part.usage.resident_bytes).sum()),
            parts: self.map.by_owner().into_iter().map(part).collect(),
            mapped: mapped
                .into_iter()
                .map(|(stack, usage)| MappedMemory {
                    stack,
                    reserved_bytes: usage.reserved_bytes,
                    committed_bytes: usage.committed_bytes,
                    resident_bytes: usage.resident_bytes,
                })
                .collect(),
            heap: self.map.heap.as_ref().map(heap),
            limits: Some(self.limits.clone()),
        }
    }

    /// The stacks of threads, by address.
    pub(super) fn thread_stacks(&self) -> Vec<ThreadStack> {
        let stack = |stack: &vmmap::StackUse| ThreadStack {
            tid: stack.tid,
            reserved_bytes: stack.usage.reserved_bytes,
            resident_bytes: stack.usage.resident_bytes,
        };
        self.map.stacks.iter().map(stack).collect()
    }
}

/// The share that `bytes` of a part have of it.
fn share(usage: &Usage, bytes: u64) -> Usage {
    let of = |whole: u64| {
        let share = u128::from(whole) * u128::from(bytes) / u128::from(usage.reserved_bytes.max(1));
        u64::try_from(share).unwrap_or(whole)
    };
    Usage {
        reserved_bytes: bytes,
        committed_bytes: of(usage.committed_bytes),
        resident_bytes: of(usage.resident_bytes),
        pss_bytes: of(usage.pss_bytes),
        swap_bytes: of(usage.swap_bytes),
    }
}

fn part((owner, usage): (Owner, Usage)) -> MemoryPart {
    MemoryPart {
        id: owner.id().to_owned(),
        reserved_bytes: Some(usage.reserved_bytes),
        committed_bytes: Some(usage.committed_bytes),
        resident_bytes: Some(usage.resident_bytes),
        pss_bytes: Some(usage.pss_bytes),
        swap_bytes: Some(usage.swap_bytes),
    }
}

fn heap(heap: &crate::glibc::Malloc) -> Heap {
    let arena = |arena: &crate::glibc::Arena| HeapArena {
        is_main: arena.is_main,
        thread_count: arena.attached_threads,
        resident_bytes: arena.resident_bytes,
        in_use_bytes: arena.holdings.in_use.bytes,
        in_use_count: arena.holdings.in_use.count,
        free_bytes: arena.holdings.free_bytes(),
        top_bytes: arena.holdings.top_bytes,
    };
    Heap {
        arenas: heap.arenas.iter().take(MAX_ARENAS).map(arena).collect(),
        mapped_bytes: heap.mapped.amount().bytes,
        mapped_count: heap.mapped.amount().count,
        mapped_resident_bytes: heap.mapped.resident_bytes.unwrap_or(0),
    }
}
