//! Memory that each line of the application holds: the unit in which a report answers.
//!
//! Takes finished sites, each with the group of its line; gives one row for each (source, category, kind, method of the
//! application), merged over the method's lines, tiers, lambdas, accessors and proxies. Memory without a line of the
//! application is one row for each (source, category, kind). Rows of a source add up to its totals.

mod creators;
mod name;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

pub use self::creators::CreatorLine;
pub use self::name::{readable, with_initials, without_package};
use super::holders::{self, HolderShare};
use super::series::{FOLLOWED, RowSeries};
use super::threads::pattern;
use super::{Site, SiteFrame, SiteThread, Totals};
use crate::attribute::plain_name;
use crate::symbolize::FrameKind;
use crate::verdict::{GroupId, GroupVerdicts, Verdict};

/// A place in a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Name as people read it, the same in every run: [`readable`].
    pub function: String,
    pub file: Option<String>,
    pub line: Option<u32>,
    /// A Java method: its packages can be shortened.
    #[serde(skip)]
    pub is_java: bool,
}

impl From<&SiteFrame> for Place {
    fn from(frame: &SiteFrame) -> Place {
        Place {
            function: function(frame.kind, &frame.function),
            file: frame.file.clone(),
            line: frame.line.filter(|&line| line > 0),
            is_java: frame.kind == FrameKind::Java,
        }
    }
}

/// The name of a function by which lines are merged.
pub(super) fn function(kind: FrameKind, function: &str) -> String {
    match kind {
        FrameKind::Java => readable(function).into_owned(),
        _ => plain_name(function).to_owned(),
    }
}

/// Memory that one method of the application holds of a category and kind.
#[derive(Clone, Debug)]
pub struct LineRow {
    /// `allocator` or `mapping`.
    pub source: &'static str,
    pub category: String,
    pub kind: Option<String>,
    /// Line that holds most. `None` if no frame of the application is on the stacks.
    pub line: Option<Place>,
    /// Lines by what each holds.
    pub lines: Vec<LineShare>,
    pub totals: Totals,
    /// Live bytes on pages that are in memory. `None` if it is not known.
    pub resident_bytes: Option<u64>,
    /// `None` if the session was too short to tell.
    pub growth_bytes_per_s: Option<i64>,
    pub growth_count_per_s: Option<f64>,
    pub verdict: Option<Verdict>,
    /// Indices into the profile's sites, those that hold most first.
    pub sites: Vec<usize>,
    /// Threads by pattern of their names, those that hold most first.
    pub threads: Vec<SiteThread>,
    /// Holders of most first. `None` if nobody looked, or it is not malloc's.
    pub holders: Option<Vec<HolderShare>>,
    /// Course at the moments of the profile's series. `None` for one of those that hold less.
    pub course: Option<RowSeries>,
}

/// A line of the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LineShare {
    /// `None` if it is not known.
    pub line: Option<u32>,
    pub live_bytes: u64,
    pub live_count: u64,
}

/// The rows of sites, the allocator's first, each by live bytes. `groups`: that of each site's line, of whose rows
/// verdicts and growth are.
pub(super) fn build(sites: &[Site], groups: &[GroupId], verdicts: &GroupVerdicts<'_>) -> Vec<LineRow> {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut by_group: HashMap<GroupId, usize> = HashMap::new();
    for (index, &group) in groups.iter().enumerate() {
        let draft = *by_group.entry(group).or_insert_with(|| {
            drafts.push(Draft { group, sites: Vec::new() });
            drafts.len() - 1
        });
        if let Some(draft) = drafts.get_mut(draft) {
            draft.sites.push(index);
        }
    }
    let finish = |draft: &Draft| Some((draft.group, draft.finish(sites, verdicts)?));
    let mut rows: Vec<(GroupId, LineRow)> = drafts.iter().filter_map(finish).collect();
    rows.sort_by_key(|(_, row)| {
        (row.source, Reverse(row.totals.live_bytes), Reverse(row.totals.allocated_bytes))
    });
    for (group, row) in rows.iter_mut().take(FOLLOWED) {
        row.course = Some(RowSeries::of(&verdicts.history(*group)));
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The sites of a row.
struct Draft {
    group: GroupId,
    sites: Vec<usize>,
}

impl Draft {
    fn finish(&self, all: &[Site], verdicts: &GroupVerdicts<'_>) -> Option<LineRow> {
        let sites = || self.sites.iter().filter_map(|&site| all.get(site));
        let first = sites().next()?;
        let (growth_bytes_per_s, verdict) =
            verdicts.of_group(self.group, &first.category, first.kind.as_deref());
        let mut row = merged(sites());
        row.sites = self.sites.clone();
        row.growth_bytes_per_s = growth_bytes_per_s;
        row.growth_count_per_s = verdicts.growth_count_per_s(self.group);
        row.verdict = Some(verdict);
        Some(row)
    }
}

/// The sum of sites of one line; without growth and verdict.
fn merged<'a>(sites: impl Iterator<Item = &'a Site> + Clone) -> LineRow {
    let mut totals = Totals::default();
    let mut lines: BTreeMap<Option<u32>, (u64, u64)> = BTreeMap::new();
    let mut threads: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut shown: Option<(&Site, u64)> = None;
    let mut resident_bytes = Some(0_u64);
    for site in sites.clone() {
        totals.add(&site.totals);
        resident_bytes =
            resident_bytes.zip(site.resident_bytes).map(|(sum, of_site)| sum.saturating_add(of_site));
        let line = site.owner_frame().and_then(|frame| frame.line).filter(|&line| line > 0);
        let sum = lines.entry(line).or_default();
        *sum = (sum.0.saturating_add(site.totals.live_bytes), sum.1.saturating_add(site.totals.live_count));
        for thread in &site.threads {
            let live = threads.entry(pattern(&thread.name)).or_default();
            let (bytes, count) = (thread.live_bytes, thread.live_count);
            *live = (live.0.saturating_add(bytes), live.1.saturating_add(count));
        }
    }
    let mut lines: Vec<LineShare> = lines
        .into_iter()
        .map(|(line, (live_bytes, live_count))| LineShare { line, live_bytes, live_count })
        .collect();
    lines.sort_by_key(|share| Reverse(share.live_bytes));
    let most = lines.first().and_then(|share| share.line);
    for site in sites.clone() {
        let is_most = site.owner_frame().and_then(|frame| frame.line).filter(|&line| line > 0) == most;
        let weight = site.totals.live_bytes;
        if is_most && shown.is_none_or(|(_, other)| other < weight) {
            shown = Some((site, weight));
        }
    }
    let thread = |(name, (live_bytes, live_count)): (String, (u64, u64))| SiteThread {
        name: name.into(),
        live_bytes,
        live_count,
    };
    let mut threads: Vec<SiteThread> = threads.into_iter().map(thread).collect();
    threads.sort_by_key(|thread| Reverse(thread.live_bytes));
    let shown = shown.map(|(site, _)| site);
    let line = shown.and_then(Site::owner_frame).map(Place::from);
    let holders = holders::merged(sites.map(|site| site.holders.as_deref()));
    LineRow {
        source: shown.map_or("allocator", |site| site.source),
        category: shown.map(|site| site.category.clone()).unwrap_or_default(),
        kind: shown.and_then(|site| site.kind.clone()),
        lines: if line.is_some() { lines } else { Vec::new() },
        line,
        totals,
        resident_bytes,
        growth_bytes_per_s: None,
        growth_count_per_s: None,
        verdict: None,
        sites: Vec::new(),
        threads,
        holders,
        course: None,
    }
}

impl Site {
    /// The frames of leaf → cause → line, as far as they are known.
    pub fn path_frames(&self) -> impl Iterator<Item = &SiteFrame> {
        let path = [self.path.leaf, self.path.cause, self.path.owner];
        let mut frames: Vec<usize> = path.into_iter().flatten().collect();
        frames.dedup();
        frames.into_iter().filter_map(|at| self.frames.get(at)).map(AsRef::as_ref)
    }

    /// The same as places.
    pub fn places(&self) -> Vec<Place> {
        self.path_frames().map(Place::from).collect()
    }

    /// The frame that a person can change.
    pub fn owner_frame(&self) -> Option<&SiteFrame> {
        self.frames.get(self.path.owner?).map(AsRef::as_ref)
    }
}
