//! The code cache: its heaps and methods at the end, and what the session added.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::OwnerShare;
use super::class_owners::ClassOwners;
use crate::census;
use crate::recording::{self, Recording};
use crate::verdict::Generator;

#[derive(Clone, Debug, Serialize)]
pub struct CodeCache {
    pub reserved_bytes: Option<u64>,
    pub committed_bytes: Option<u64>,
    pub used_bytes: Option<u64>,
    pub heaps: Vec<CodeHeap>,
    /// Methods by size.
    pub methods: Vec<CodeMethod>,
    /// Bytes that compilers installed in the session, and those of them that were dropped again; none if the JVM did
    /// not tell.
    pub installed_bytes: Option<u64>,
    pub installed_count: Option<u64>,
    pub dropped_bytes: Option<u64>,
    pub dropped_count: Option<u64>,
    /// Methods of classes that were generated at run time, or loaded many times, by the pattern of their
    /// names, by size.
    pub generated: Vec<GeneratedCode>,
}

/// Code of generated classes.
#[derive(Clone, Debug, Serialize)]
pub struct GeneratedCode {
    pub pattern: String,
    pub count: u64,
    pub bytes: u64,
    /// Owner that had most of such classes defined in the session, and its part of what defining them allocated. `None`
    /// if  nobody had.
    pub owner: Option<OwnerShare>,
}

#[derive(Clone, Debug, Serialize)]
pub struct CodeHeap {
    pub name: String,
    pub reserved_bytes: Option<u64>,
    pub committed_bytes: Option<u64>,
    pub used_bytes: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct CodeMethod {
    pub method: String,
    pub tier: Option<String>,
    pub bytes: u64,
}

/// The code cache of a recording; [`CodeCache::name_owners`] is to follow.
pub(super) fn build(recording: &Recording) -> CodeCache {
    let heaps = &recording.code_cache.heaps;
    // A sum of which a part is missing is not known; neither is one of nothing.
    let sum = |part: fn(&recording::CodeHeap) -> Option<u64>| {
        if heaps.is_empty() { None } else { heaps.iter().map(part).sum::<Option<u64>>() }
    };
    let methods = methods(recording);
    let last = recording.code_series.last();
    CodeCache {
        installed_bytes: last.map(|sample| sample.loaded_bytes),
        installed_count: last.map(|sample| sample.loaded_count),
        dropped_bytes: last.map(|sample| sample.unloaded_bytes),
        dropped_count: last.map(|sample| sample.unloaded_count),
        generated: generated(&methods),
        reserved_bytes: sum(|heap| heap.reserved_bytes),
        committed_bytes: sum(|heap| heap.committed_bytes),
        used_bytes: sum(|heap| heap.used_bytes),
        heaps: heaps
            .iter()
            .map(|heap| CodeHeap {
                name: heap.name.clone(),
                reserved_bytes: heap.reserved_bytes,
                committed_bytes: heap.committed_bytes,
                used_bytes: heap.used_bytes,
            })
            .collect(),
        methods,
    }
}

impl CodeCache {
    /// Bytes of the code of classes that were generated at run time or loaded many times; `None` if methods are not known.
    pub(super) fn generated_bytes(&self) -> Option<u64> {
        (!self.methods.is_empty()).then(|| self.generated.iter().map(|row| row.bytes).sum())
    }

    /// Says of generated classes who has them made.
    pub(super) fn name_owners(&mut self, classes: &ClassOwners) {
        for row in &mut self.generated {
            row.owner = classes.first(Generator::of_class(&row.pattern));
        }
    }
}

/// Methods by size.
fn methods(recording: &Recording) -> Vec<CodeMethod> {
    let mut methods: Vec<CodeMethod> = recording
        .code_cache
        .methods
        .iter()
        .map(|method| CodeMethod {
            method: method.method.clone(),
            tier: method.tier.clone(),
            bytes: method.bytes,
        })
        .collect();
    methods.sort_by_key(|method| Reverse(method.bytes));
    methods
}

/// Generated code by size; owners are not known yet.
fn generated(methods: &[CodeMethod]) -> Vec<GeneratedCode> {
    let classes = methods.iter().map(|method| (class(method), method.bytes));
    let mut generated: Vec<GeneratedCode> = census::generated(classes)
        .into_iter()
        .map(|row| GeneratedCode { pattern: row.pattern, count: row.count, bytes: row.bytes, owner: None })
        .collect();
    generated.extend(loaded_again(methods));
    generated.sort_by_key(|row| Reverse(row.bytes));
    generated
}

/// The class of a method.
fn class(method: &CodeMethod) -> &str {
    method.method.rsplit_once('.').map_or(method.method.as_str(), |(class, _)| class)
}

/// Classes that have so many copies of a method, of one tier, are loaded many times.
const COPIES_MIN: u64 = 8;

/// Code of classes that many loaders loaded, each for itself.
fn loaded_again(methods: &[CodeMethod]) -> Vec<GeneratedCode> {
    let mut copies: BTreeMap<(&str, Option<&str>), u64> = BTreeMap::new();
    for method in methods {
        *copies.entry((&method.method, method.tier.as_deref())).or_default() += 1;
    }
    let mut classes: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let again = |method: &&CodeMethod| {
        copies
            .get(&(method.method.as_str(), method.tier.as_deref()))
            .is_some_and(|&count| count >= COPIES_MIN)
            && !census::is_generated(class(method))
    };
    for method in methods.iter().filter(again) {
        let (count, bytes) = classes.entry(class(method)).or_default();
        (*count, *bytes) = (*count + 1, bytes.saturating_add(method.bytes));
    }
    let row = |(class, (count, bytes)): (&str, (u64, u64))| GeneratedCode {
        pattern: class.to_owned(),
        count,
        bytes,
        owner: None,
    };
    classes.into_iter().map(row).collect()
}
