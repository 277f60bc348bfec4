//! Holders of the memory of a row: the groups of the look at the Java heap that the recording has.
//!
//! Takes the recording's look; gives each row of the allocator the groups that its live bytes are of. `None` where
//! nobody looked, or where there is nothing to look for: mappings have no owner on the heap.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use crate::holders::{HolderState, Owner, Step};
use crate::recording::{HolderStack, Recording, StackRef};

/// The part of a row that is held one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HolderShare {
    /// Index of the group of the look.
    #[serde(skip)]
    group: u32,
    pub state: HolderState,
    /// The field that has the address. `None` if no Java object has it.
    pub owner: Option<Owner>,
    /// Path from the root to the owner.
    pub path: Arc<[Step]>,
    /// Live allocations of the session.
    pub count: u64,
    pub bytes: u64,
}

#[cfg(test)]
impl HolderShare {
    /// Rows of a look that was not made.
    pub(crate) fn of(
        group: u32,
        state: HolderState,
        path: Arc<[Step]>,
        count: u64,
        bytes: u64,
    ) -> HolderShare {
        HolderShare { group, state, owner: None, path, count, bytes }
    }
}

/// Bytes and count by group.
pub(super) type Sums = BTreeMap<u32, (u64, u64)>;

/// The look of a recording.
pub(super) struct HoldersByStack<'a> {
    by_stack: HashMap<StackRef, Vec<&'a HolderStack>>,
    /// Groups: owner and path are shared by all rows.
    groups: Vec<HolderShare>,
}

impl<'a> HoldersByStack<'a> {
    /// `None` if nobody looked.
    pub(super) fn of(recording: &'a Recording) -> Option<Self> {
        let holders = recording.holders.as_ref().ok()?;
        let mut by_stack: HashMap<StackRef, Vec<&HolderStack>> = HashMap::new();
        for row in &holders.stacks {
            by_stack.entry(row.stack).or_default().push(row);
        }
        let groups = (0..).zip(&holders.groups).map(|(group, of)| HolderShare {
            group,
            state: of.state,
            owner: of.owner.clone(),
            path: of.path.clone().into(),
            count: 0,
            bytes: 0,
        });
        Some(Self { by_stack, groups: groups.collect() })
    }

    /// Adds what a stack has.
    pub(super) fn add(&self, stack: StackRef, sums: &mut Sums) {
        for row in self.by_stack.get(&stack).into_iter().flatten() {
            let (bytes, count) = sums.entry(row.group).or_default();
            *bytes = bytes.saturating_add(row.live_bytes);
            *count = count.saturating_add(row.live_count);
        }
    }

    /// The sums by group, those with most bytes first.
    pub(super) fn shares(&self, sums: &Sums) -> Vec<HolderShare> {
        let shares = sums.iter().filter_map(|(group, (bytes, count))| {
            let of = self.groups.get(usize::try_from(*group).ok()?)?;
            Some(HolderShare { bytes: *bytes, count: *count, ..of.clone() })
        });
        sorted(shares.collect())
    }
}

/// Sums of several rows, by group. `None` if nobody looked.
pub fn merged<'a>(rows: impl Iterator<Item = Option<&'a [HolderShare]>>) -> Option<Vec<HolderShare>> {
    let mut all: Option<BTreeMap<u32, HolderShare>> = None;
    for row in rows.flatten() {
        let all = all.get_or_insert_default();
        for share in row {
            all.entry(share.group)
                .and_modify(|sum| {
                    sum.bytes = sum.bytes.saturating_add(share.bytes);
                    sum.count = sum.count.saturating_add(share.count);
                })
                .or_insert_with(|| share.clone());
        }
    }
    Some(sorted(all?.into_values().collect()))
}

fn sorted(mut shares: Vec<HolderShare>) -> Vec<HolderShare> {
    shares.sort_by_key(|share| Reverse(share.bytes));
    shares
}
