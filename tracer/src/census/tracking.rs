//! The JVM's own account of its native memory beside the balance: which parts are the same mappings.
//!
//! Takes what the JVM's tracking counts and the process's mappings by owner; gives the rows of the document.

use std::cmp::Reverse;

use super::document::{TrackedCategory, text};
use crate::hotspot::stats::{self, Tracking};
use crate::vmmap::{Owner, Usage};

/// Reason why a category has no committed bytes.
pub(super) const STACKS_UNCOUNTED: &str =
    "of stacks of threads: the JVM counts them only when it is asked for its own report (VM.native_memory)";

/// Categories whose mappings are parts of the balance. To JDK 15, metaspace is tracked as part of `Class`.
const SAME: [(&str, &[Owner]); 7] = [
    ("Java Heap", &[Owner::JavaHeap]),
    ("Class", &[Owner::ClassSpace]),
    (METASPACE, &[Owner::Metaspace]),
    ("Code", &[Owner::CodeCache]),
    ("GC", &[Owner::Gc]),
    ("Thread Stack", &[Owner::ThreadStack]),
    ("Shared class space", &[Owner::Cds]),
];
const METASPACE: &str = "Metaspace";
const CLASS_AND_METASPACE: &[Owner] = &[Owner::ClassSpace, Owner::Metaspace];

/// The categories, the largest first.
pub(super) fn categories(tracked: &Tracking, parts: &[(Owner, Usage)]) -> Vec<TrackedCategory> {
    let has_metaspace = tracked.categories.iter().any(|category| category.name == METASPACE);
    let mut rows: Vec<TrackedCategory> = tracked
        .categories
        .iter()
        .map(|category| {
            let same =
                SAME.iter().find(|(name, _)| *name == category.name).map_or(&[][..], |(_, owners)| owners);
            let same = if category.name == "Class" && !has_metaspace { CLASS_AND_METASPACE } else { same };
            row(category, same, parts)
        })
        .collect();
    rows.sort_by_key(|row| Reverse(row.committed_bytes.unwrap_or(0).saturating_add(row.allocated_bytes())));
    rows
}

fn row(category: &stats::TrackedCategory, same: &[Owner], parts: &[(Owner, Usage)]) -> TrackedCategory {
    let same: Vec<&(Owner, Usage)> = parts.iter().filter(|(owner, _)| same.contains(owner)).collect();
    let sum = |of: fn(&Usage) -> u64| {
        (!same.is_empty()).then(|| same.iter().map(|(_, usage)| of(usage)).fold(0, u64::saturating_add))
    };
    TrackedCategory {
        name: text(&category.name),
        reserved_bytes: category.reserved_bytes,
        committed_bytes: category.committed_bytes,
        malloc_bytes: category.malloc_bytes,
        malloc_count: category.malloc_count,
        arena_bytes: category.arena_bytes,
        parts: same.iter().map(|(owner, _)| owner.id().to_owned()).collect(),
        parts_committed_bytes: sum(|usage| usage.committed_bytes),
        parts_reserved_bytes: sum(|usage| usage.reserved_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hotspot::stats::TrackingLevel;

    fn tracked(names: &[(&str, u64)]) -> Tracking {
        let category = |(name, bytes): &(&str, u64)| stats::TrackedCategory {
            name: (*name).to_owned(),
            reserved_bytes: 2 * bytes,
            committed_bytes: Some(*bytes),
            ..stats::TrackedCategory::default()
        };
        Tracking { level: TrackingLevel::Summary, categories: names.iter().map(category).collect() }
    }

    #[test]
    fn each_category_stands_beside_the_same_mappings() {
        let usage = |bytes| Usage { reserved_bytes: 3 * bytes, committed_bytes: bytes, ..Usage::default() };
        let parts =
            [(Owner::Metaspace, usage(70)), (Owner::ClassSpace, usage(9)), (Owner::JavaHeap, usage(500))];
        let told = |tracked: &Tracking| {
            let rows = categories(tracked, &parts).into_iter();
            rows.map(|row| (row.name, row.parts_committed_bytes, row.parts_reserved_bytes))
                .collect::<Vec<_>>()
        };
        let row = |name: &str, committed, reserved| (name.to_owned(), committed, reserved);
        assert_eq!(
            told(&tracked(&[("Symbol", 1), ("Class", 10), ("Metaspace", 68), ("Java Heap", 500)])),
            [
                row("Java Heap", Some(500), Some(1_500)),
                row("Metaspace", Some(70), Some(210)),
                row("Class", Some(9), Some(27)),
                row("Symbol", None, None),
            ]
        );
        assert_eq!(told(&tracked(&[("Class", 79)])), [row("Class", Some(79), Some(237))]);
    }
}
