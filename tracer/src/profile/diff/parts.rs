//! Memory by owner, threads and the code cache, side by side.

use std::cmp::Reverse;

use serde::Serialize;

use super::joined;
use super::pair::Pair;
use crate::profile::{CodeCache, CodeHeap, GeneratedCode, Memory, MemoryPart, ThreadNames, Threads};

/// The balance of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryDiff {
    pub rss_bytes: Pair,
    /// Parts by how much more of each is resident.
    pub parts: Vec<PartPair>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartPair {
    pub id: String,
    pub name: String,
    pub reserved_bytes: Pair,
    pub committed_bytes: Pair,
    pub resident_bytes: Pair,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadsDiff {
    pub live: Pair,
    pub started: Pair,
    pub exited: Pair,
    pub stack_reserved_bytes: Pair,
    pub stack_resident_bytes: Pair,
    /// Names by how many more of each are live.
    pub names: Vec<ThreadsPair>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadsPair {
    pub pattern: String,
    pub live: Pair,
    pub started: Pair,
    pub exited: Pair,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CodeDiff {
    pub reserved_bytes: Pair,
    pub committed_bytes: Pair,
    pub used_bytes: Pair,
    pub method_count: Pair,
    /// Bytes installed in the session.
    pub installed_bytes: Pair,
    pub dropped_bytes: Pair,
    /// Heaps by how much more of each is used.
    pub heaps: Vec<HeapPair>,
    /// Methods of classes that were generated at run time, by how much more they take.
    pub generated: Vec<GeneratedPair>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeapPair {
    pub name: String,
    pub committed_bytes: Pair,
    pub used_bytes: Pair,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GeneratedPair {
    pub pattern: String,
    pub count: Pair,
    pub bytes: Pair,
}

/// A number of rows of which one may be missing: `known` if there are rows at all, so that a missing one is
/// none of it.
fn pair<T>(rows: [Option<&T>; 2], known: [bool; 2], part: impl Fn(&T) -> Option<u64>) -> Pair {
    let value = |row: Option<&T>, is_known: bool| match row {
        Some(row) => part(row),
        None => is_known.then_some(0),
    };
    let ([base, new], [base_known, new_known]) = (rows, known);
    Pair::new(value(base, base_known), value(new, new_known))
}

impl MemoryDiff {
    pub(super) fn of(base: &Memory, new: &Memory) -> Self {
        Self::of_parts(Pair::new(base.rss_bytes, new.rss_bytes), &base.parts, &new.parts)
    }

    pub(super) fn of_parts(rss_bytes: Pair, base: &[MemoryPart], new: &[MemoryPart]) -> Self {
        let known = [!base.is_empty(), !new.is_empty()];
        let part = |rows: [Option<&MemoryPart>; 2]| {
            let shown = rows[1].or(rows[0])?;
            Some(PartPair {
                id: shown.id.clone(),
                name: shown.name.clone(),
                reserved_bytes: pair(rows, known, |row| row.reserved_bytes),
                committed_bytes: pair(rows, known, |row| row.committed_bytes),
                resident_bytes: pair(rows, known, |row| row.resident_bytes),
            })
        };
        let rows = joined(base, new, |row| row.id.as_str());
        let mut parts: Vec<PartPair> = rows.into_values().filter_map(part).collect();
        parts.sort_by_key(|row| Reverse((row.resident_bytes.growth(), row.committed_bytes.growth())));
        Self { rss_bytes, parts }
    }

    pub fn differs(&self) -> bool {
        self.rss_bytes.differs()
            || self.parts.iter().any(|row| {
                row.resident_bytes.differs() || row.committed_bytes.differs() || row.reserved_bytes.differs()
            })
    }
}

impl ThreadsDiff {
    pub(super) fn of(base: &Threads, new: &Threads) -> Self {
        let both = |part: fn(&Threads) -> u64| Pair::new(Some(part(base)), Some(part(new)));
        let row = |rows: [Option<&ThreadNames>; 2]| {
            let number = |part: fn(&ThreadNames) -> u64| pair(rows, [true; 2], |row| Some(part(row)));
            Some(ThreadsPair {
                pattern: rows[1].or(rows[0])?.pattern.clone(),
                live: number(|row| row.live),
                started: number(|row| row.started),
                exited: number(|row| row.exited),
            })
        };
        let names = joined(&base.names, &new.names, |row| row.pattern.as_str());
        let mut names: Vec<ThreadsPair> = names.into_values().filter_map(row).collect();
        names.sort_by_key(|row| Reverse((row.live.growth(), row.started.growth())));
        Self {
            live: both(|threads| threads.live),
            started: both(|threads| threads.started),
            exited: both(|threads| threads.exited),
            stack_reserved_bytes: Pair::new(base.stack_reserved_bytes, new.stack_reserved_bytes),
            stack_resident_bytes: Pair::new(base.stack_resident_bytes, new.stack_resident_bytes),
            names,
        }
    }

    pub fn differs(&self) -> bool {
        [self.live, self.started, self.exited, self.stack_reserved_bytes, self.stack_resident_bytes]
            .iter()
            .any(Pair::differs)
            || self.names.iter().any(ThreadsPair::differs)
    }
}

impl ThreadsPair {
    pub fn differs(&self) -> bool {
        [self.live, self.started, self.exited].iter().any(Pair::differs)
    }
}

impl CodeDiff {
    pub(super) fn of(base: &CodeCache, new: &CodeCache) -> Self {
        let both = |part: fn(&CodeCache) -> Option<u64>| Pair::new(part(base), part(new));
        let known = [!base.heaps.is_empty(), !new.heaps.is_empty()];
        let heap = |rows: [Option<&CodeHeap>; 2]| {
            Some(HeapPair {
                name: rows[1].or(rows[0])?.name.clone(),
                committed_bytes: pair(rows, known, |row| row.committed_bytes),
                used_bytes: pair(rows, known, |row| row.used_bytes),
            })
        };
        let heaps = joined(&base.heaps, &new.heaps, |row| row.name.as_str());
        let mut heaps: Vec<HeapPair> = heaps.into_values().filter_map(heap).collect();
        heaps.sort_by_key(|row| Reverse(row.used_bytes.growth()));
        let row = |rows: [Option<&GeneratedCode>; 2]| {
            Some(GeneratedPair {
                pattern: rows[1].or(rows[0])?.pattern.clone(),
                count: pair(rows, known, |row| Some(row.count)),
                bytes: pair(rows, known, |row| Some(row.bytes)),
            })
        };
        let generated = joined(&base.generated, &new.generated, |row| row.pattern.as_str());
        let mut generated: Vec<GeneratedPair> = generated.into_values().filter_map(row).collect();
        generated.sort_by_key(|row| Reverse(row.bytes.growth()));
        Self {
            reserved_bytes: both(|code| code.reserved_bytes),
            committed_bytes: both(|code| code.committed_bytes),
            used_bytes: both(|code| code.used_bytes),
            method_count: both(|code| (!code.heaps.is_empty()).then_some(code.methods.len() as u64)),
            installed_bytes: both(|code| code.installed_bytes),
            dropped_bytes: both(|code| code.dropped_bytes),
            heaps,
            generated,
        }
    }

    pub fn differs(&self) -> bool {
        [
            self.reserved_bytes,
            self.committed_bytes,
            self.used_bytes,
            self.method_count,
            self.installed_bytes,
            self.dropped_bytes,
        ]
        .iter()
        .any(Pair::differs)
    }
}
