//! The owners of classes: whose stacks defined them.
//!
//! The weight of an owner is what its definitions allocated.

use std::collections::BTreeMap;

use super::{OwnerShare, Site, SiteFrame};
use crate::verdict::{ClassWork, Generator};

/// Classes that owners had defined in the session.
#[derive(Debug, Default)]
pub(super) struct ClassOwners {
    /// Bytes that the definitions allocated.
    bytes: BTreeMap<Generator, BTreeMap<String, u64>>,
    /// The same of classes that were there and were defined anew.
    redefined: BTreeMap<String, u64>,
}

impl ClassOwners {
    pub(super) fn of(sites: &[Site]) -> ClassOwners {
        let mut bytes: BTreeMap<Generator, BTreeMap<String, u64>> = BTreeMap::new();
        let mut redefined: BTreeMap<String, u64> = BTreeMap::new();
        for site in sites.iter().filter(|site| site.source == "allocator") {
            let functions =
                site.frames.iter().map(|frame: &std::sync::Arc<SiteFrame>| frame.function.as_str());
            let redefines = |_: &&String| functions.clone().any(ClassWork::redefines);
            if let Some(owner) = site.owner.as_ref().filter(redefines) {
                let sum = redefined.entry(owner.clone()).or_default();
                *sum = sum.saturating_add(site.totals.allocated_bytes);
                continue;
            }
            let Some((owner, generator)) = site.owner.clone().zip(Generator::of(&site.category, functions))
            else {
                continue;
            };
            let sum = bytes.entry(generator).or_default().entry(owner).or_default();
            *sum = sum.saturating_add(site.totals.allocated_bytes);
        }
        ClassOwners { bytes, redefined }
    }

    /// Owner that had most of the classes of a generator defined.
    pub(super) fn first(&self, generator: Generator) -> Option<OwnerShare> {
        shares(self.bytes.get(&generator)?.clone()).into_iter().next()
    }

    /// Owners that had classes defined, anew or not, most first.
    pub(super) fn all(&self) -> Vec<OwnerShare> {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (owner, bytes) in self.bytes.values().flatten().chain(&self.redefined) {
            *sums.entry(owner.clone()).or_default() += bytes;
        }
        shares(sums)
    }
}

/// Parts of a whole, the largest first.
pub(super) fn shares(bytes: BTreeMap<String, u64>) -> Vec<OwnerShare> {
    let all: u64 = bytes.values().sum();
    let share = |bytes: u64| bytes as f64 / all.max(1) as f64;
    let mut shares: Vec<OwnerShare> = bytes
        .into_iter()
        .map(|(function, bytes)| OwnerShare { function, share: (share(bytes) * 1e3).round() / 1e3 })
        .collect();
    shares.sort_by(|one, other| other.share.total_cmp(&one.share));
    shares
}
