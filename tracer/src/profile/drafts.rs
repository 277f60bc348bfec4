//! Sites and categories while a recording's rows are added to them: each is a group of rows, and the sums of what passes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::filter::OfThread;
use super::holders::{self, HoldersByStack};
use super::{SiteThread, SizeClass, Totals, Variances, site};
use crate::attribute::Attribution;
use crate::process::Tid;
use crate::recording::{self, ByStack, LiveSize, Recording, Source, Stack};
use crate::verdict::{GroupId, RowGroups};

/// A site while it is put together.
pub(super) struct SiteDraft<'a> {
    pub(super) source: &'static str,
    pub(super) group: GroupId,
    pub(super) attribution: Attribution,
    /// Totals of the part that passes.
    pub(super) totals: Totals,
    /// Allocations, passing or not.
    pub(super) whole_count: u64,
    /// The stack that the site shows, and its weight among the site's stacks.
    pub(super) stack: &'a Stack,
    weight: Weight,
    /// `None` if it is not known.
    pub(super) resident_bytes: Option<u64>,
    /// Live allocations of each thread, by stack.
    pub(super) threads: Vec<SiteThread>,
    /// Live allocations of each stack, by classes of sizes. `None` if they are not known of all that passes.
    pub(super) sizes: Option<Vec<SizeClass>>,
    pub(super) holders: holders::Sums,
}

/// A category while it is put together.
pub(super) struct CategoryDraft {
    pub(super) id: String,
    pub(super) source: &'static str,
    pub(super) group: GroupId,
    pub(super) totals: Totals,
    /// The kind of the site that holds most of it.
    pub(super) first_kind: Option<String>,
}

/// The weight of a stack among those of its site, the more important number first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Weight {
    live_bytes: u64,
    allocated_bytes: u64,
}

/// Sites and categories while rows are added to them.
#[derive(Default)]
pub(super) struct Drafts<'a> {
    pub(super) groups: RowGroups,
    /// Drafts of sites in the order of their sources, each by live bytes.
    pub(super) sites: Vec<SiteDraft<'a>>,
    pub(super) categories: Vec<CategoryDraft>,
    /// Group of all that was allocated, passing or not. `None` if nothing was yet.
    pub(super) all: Option<GroupId>,
    /// The allocator's totals: all of them, and what passes.
    pub(super) sum: Totals,
    pub(super) passing: Totals,
}

impl<'a> Drafts<'a> {
    /// Adds what passes of each row of the recording's totals.
    pub(super) fn add_all(
        &mut self,
        recording: &'a Recording,
        names: &[u32],
        rows: Vec<Option<(Attribution, recording::Totals)>>,
        of_thread: Option<&OfThread>,
        holders: Option<&HoldersByStack<'_>>,
    ) {
        let live_threads = of_thread.map(|of_thread| live_threads(recording, of_thread)).unwrap_or_default();
        let resident = live_resident(recording);
        let sizes = live_sizes(recording);
        let mut sites = HashMap::with_hasher(RandomState::default());
        for (number, (row, passing)) in recording.totals.iter().zip(rows).enumerate() {
            let Some(stack) = recording.stack(row.stack) else { continue };
            let is_sampled = recording.session.sample_bytes.is_some() && row.source == Source::Allocator;
            let source = row.source.as_str();
            if source == "allocator" {
                let all = *self.all.get_or_insert_with(|| self.groups.add());
                self.groups.put(number, all);
                self.sum.add(&totals_of(&row.totals, is_sampled));
            }
            let Some((attribution, totals)) = passing else { continue };
            let totals = totals_of(&totals, is_sampled);
            if source == "allocator" {
                self.passing.add(&totals);
            }
            // Categories are few.
            let is_of = |draft: &CategoryDraft| draft.source == source && draft.id == attribution.category;
            let category = self.categories.iter().position(is_of).unwrap_or_else(|| {
                let (id, group) = (attribution.category.clone(), self.groups.add());
                let totals = Totals::default();
                self.categories.push(CategoryDraft { id, source, group, totals, first_kind: None });
                self.categories.len() - 1
            });
            if let Some(category) = self.categories.get_mut(category) {
                category.totals.add(&totals);
                self.groups.put(number, category.group);
            }
            let weight = Weight { live_bytes: totals.live_bytes, allocated_bytes: totals.allocated_bytes };
            let key = (source, category, attribution.kind.clone(), site::key(recording, stack, names));
            let site = *sites.entry(key).or_insert_with(|| {
                let (group, attribution) = (self.groups.add(), attribution.clone());
                let (totals, threads, holders) = (Totals::default(), Vec::new(), holders::Sums::new());
                let resident_bytes = resident.as_ref().filter(|_| source == "allocator").map(|_| 0);
                let sizes = (source == "allocator").then(Vec::new);
                self.sites.push(SiteDraft {
                    source,
                    group,
                    attribution,
                    totals,
                    whole_count: 0,
                    stack,
                    weight,
                    resident_bytes,
                    threads,
                    sizes,
                    holders,
                });
                self.sites.len() - 1
            });
            let Some(site) = self.sites.get_mut(site) else { continue };
            self.groups.put(number, site.group);
            site.totals.add(&totals);
            site.whole_count = site.whole_count.saturating_add(row.totals.allocated_count);
            if weight > site.weight {
                (site.stack, site.weight, site.attribution) = (stack, weight, attribution);
            }
            if source == "allocator" {
                if let Some(holders) = holders {
                    holders.add(row.stack, &mut site.holders);
                }
                // For a part of a stack's blocks, nobody knows which pages are theirs, and how large each is.
                let is_part = totals.live_bytes != totals_of(&row.totals, is_sampled).live_bytes;
                site.resident_bytes = site.resident_bytes.filter(|_| !is_part);
                site.sizes = site.sizes.take().filter(|_| !is_part);
                if let Some(of_site) = site.sizes.as_mut() {
                    of_site.extend(sizes.of(row.stack));
                }
                if let Some((sum, bytes)) = site.resident_bytes.as_mut().zip(resident.as_ref()) {
                    let of_stack = bytes.of(row.stack).copied().fold(0, u64::saturating_add);
                    *sum = sum.saturating_add(of_stack.min(totals.live_bytes));
                }
                site.threads.extend(live_threads.of(row.stack).cloned());
            }
        }
        // Stable: what is equal stays in the order of the recording.
        self.sites.sort_by_key(|SiteDraft { source, totals, .. }| {
            (*source, Reverse(totals.live_bytes), Reverse(totals.allocated_bytes))
        });
    }
}

/// The totals of a row, with their variances where it was sampled.
fn totals_of(totals: &recording::Totals, is_sampled: bool) -> Totals {
    let mut sum = Totals::default();
    sum.add(&Totals {
        allocated_bytes: totals.allocated_bytes,
        allocated_count: totals.allocated_count,
        freed_bytes: totals.freed_bytes,
        freed_count: totals.freed_count,
        variances: is_sampled.then(|| Variances::of(totals)),
        ..Totals::default()
    });
    sum
}

/// Bytes in memory of what is live, by stack. `None` if it is not told, or not of all.
fn live_resident(recording: &Recording) -> Option<ByStack<u64>> {
    let session = &recording.session;
    let is_whole = session.sample_bytes.is_none() && session.steps.is_empty();
    let rows = &recording.live_resident;
    (is_whole && !rows.is_empty()).then(|| rows.iter().map(|row| (row.stack, row.resident_bytes)).collect())
}

/// Live allocations of each stack, by classes of sizes.
fn live_sizes(recording: &Recording) -> ByStack<SizeClass> {
    let rows = recording.live_sizes.iter().filter(|row| row.live_count > 0);
    rows.map(|&LiveSize { stack, least_bytes, live_bytes, live_count }| {
        (stack, SizeClass { least_bytes, live_bytes, live_count })
    })
    .collect()
}

/// Bytes that each thread holds of each stack, by the thread's name.
fn live_threads(recording: &Recording, passes: &OfThread) -> ByStack<SiteThread> {
    // The last of a tid is the one that can hold something: its name came last.
    let named = recording.threads.iter().filter_map(|thread| Some((thread.tid, thread.name.as_deref()?)));
    let mut names: HashMap<Tid, Arc<str>> = named.map(|(tid, name)| (tid, name.into())).collect();
    let rows = recording.live_by_thread.iter().filter(|row| row.live_bytes > 0 && passes(row.tid));
    rows.map(|row| {
        let name = names.entry(row.tid).or_insert_with(|| format!("[tid {}]", row.tid).into());
        let held = SiteThread { name: name.clone(), live_bytes: row.live_bytes, live_count: row.live_count };
        (row.stack, held)
    })
    .collect()
}
