//! Memory that was touched for the first time: an estimate from sampled page faults, beside all totals and in none
//! of them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use tracer_common::arch::PAGE_BYTES;

use super::build::{Shown, at, frame_traits, frames};
use super::{CallPath, SiteFrame, site};
use crate::attribute::{FrameTraits, Rules, Source};
use crate::recording::{Recording, TouchedBy};
use crate::symbolize::Frame;

/// Owners whose memory is of one kind, by which a category is told; what others own is told by the stack.
const OWNERS: [(&str, &str); 8] = [
    ("java-heap", "java-heap"),
    ("metaspace", "metaspace"),
    ("class-space", "metaspace"),
    ("code-cache", "code-cache"),
    ("gc", "gc"),
    ("thread-stack", "thread-stack"),
    ("cached-stack", "thread-stack"),
    ("mapped-file", "file"),
];

/// Kind by which rules know all other memory: memory that malloc touches while it serves a call is no mapping of
/// malloc's, but the caller's.
const KIND: &str = "touched";

/// See the module.
#[derive(Clone, Debug, Serialize)]
pub struct TouchedMemory {
    /// Page faults of the process that wrote: all of them, counted.
    pub fault_count: u64,
    pub page_bytes: u64,
    /// Faults in the Java heap, where they are counted and not looked at.
    pub java_heap_fault_count: u64,
    /// Samples of the others: how many were looked at.
    pub sample_count: u64,
    /// Bytes that those stand for, as pages, and the standard error of that.
    pub bytes: u64,
    pub standard_error_bytes: u64,
    pub categories: Vec<TouchedCategory>,
    pub sites: Vec<TouchedSite>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TouchedCategory {
    pub id: String,
    pub name: String,
    #[serde(flatten)]
    pub estimate: Estimate,
}

#[derive(Clone, Debug, Serialize)]
pub struct TouchedSite {
    pub category: String,
    pub kind: Option<String>,
    #[serde(flatten)]
    pub estimate: Estimate,
    pub owner: Option<String>,
    pub frames: Vec<Arc<SiteFrame>>,
    /// Does the stack reach the thread's entry?
    pub complete: Option<bool>,
    #[serde(skip)]
    pub path: CallPath,
}

/// Bytes that samples stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Estimate {
    pub sample_count: u64,
    pub bytes: u64,
    pub standard_error_bytes: u64,
    #[serde(skip)]
    variance: u64,
}

impl Estimate {
    fn add(&mut self, by: &TouchedBy) {
        self.sample_count = self.sample_count.saturating_add(by.sample_count);
        self.bytes = self.bytes.saturating_add(by.fault_count.saturating_mul(PAGE_BYTES));
        self.variance = self.variance.saturating_add(by.variance);
        self.standard_error_bytes = ((self.variance as f64).sqrt() * PAGE_BYTES as f64).round() as u64;
    }
}

/// Estimates that the recording has of it. `None` if faults were not sampled.
pub(super) fn build(recording: &Recording, rules: &Rules, shown: &Shown) -> Option<TouchedMemory> {
    let touched = recording.touched.as_ref()?;
    let traits = frame_traits(recording, rules);
    let names = site::frame_names(&recording.frames);
    let mut all = Estimate::default();
    let mut categories: Vec<TouchedCategory> = Vec::new();
    let mut sites: Vec<TouchedSite> = Vec::new();
    let mut places = HashMap::new();
    for by in &touched.by {
        let Some(stack) = recording.stack(by.stack) else { continue };
        all.add(by);
        let pairs: Vec<(&Frame, &FrameTraits)> = stack
            .frames
            .iter()
            .filter_map(|&frame| Some((at(&recording.frames, frame)?, at(&traits, frame)?)))
            .collect();
        let told = OWNERS.iter().find(|(owner, _)| *owner == by.owner).map_or(KIND, |(_, kind)| kind);
        let complete = stack.complete == Some(true);
        let attribution = rules.classify(&pairs, &Source::Mapping(told.to_owned()), complete);
        match categories.iter_mut().find(|row| row.id == attribution.category) {
            Some(row) => row.estimate.add(by),
            None => {
                let mut estimate = Estimate::default();
                estimate.add(by);
                let (id, name) = (attribution.category.clone(), rules.category_name(&attribution.category));
                categories.push(TouchedCategory { id, name, estimate });
            }
        }
        let key = (attribution.category.clone(), site::key(recording, stack, &names));
        let place = *places.entry(key).or_insert_with(|| {
            let frames = frames(shown, stack);
            let owner = attribution.owner.and_then(|owner| frames.get(owner));
            sites.push(TouchedSite {
                category: attribution.category.clone(),
                kind: attribution.kind.clone(),
                estimate: Estimate::default(),
                owner: owner.map(|frame| frame.function.clone()),
                complete: stack.complete,
                path: CallPath { leaf: attribution.leaf, cause: attribution.cause, owner: attribution.owner },
                frames,
            });
            sites.len() - 1
        });
        if let Some(site) = sites.get_mut(place) {
            site.estimate.add(by);
        }
    }
    categories.sort_by_key(|row| Reverse(row.estimate.bytes));
    sites.sort_by_key(|site| Reverse(site.estimate.bytes));
    Some(TouchedMemory {
        fault_count: touched.fault_count,
        page_bytes: PAGE_BYTES,
        java_heap_fault_count: touched.java_heap_fault_count,
        sample_count: all.sample_count,
        bytes: all.bytes,
        standard_error_bytes: all.standard_error_bytes,
        categories,
        sites,
    })
}
