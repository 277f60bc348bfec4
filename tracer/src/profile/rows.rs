//! The rows of a profile: sites and categories, put together from the rows of a recording's totals.
//!
//! Each site, each category, and whatever else a verdict rests on is a group of rows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::build::{Shown, at, frames};
use super::by_line::{self, LineRow};
use super::code::CodeCache;
use super::filter::{Filter, Filtered, OfThread, Selected};
use super::kept::{Kept, Sums};
use super::{
    CallPath, Category, Peak, PeakTimes, Series, Site, SiteThread, SizeClass, Totals, Variances, peak,
    series, site,
};
use crate::attribute::{Attribution, Rules, plain_name};
use crate::process::Tid;
use crate::recording::{self, LiveSize, Recording, Source, Stack, StackRef};
use crate::symbolize::{Frame, FrameKind};
use crate::verdict::{
    self, AllocatorRetention, ClassChurn, ClassWork, Generator, GroupId, GroupVerdicts, Kind, RowGroups,
};

/// The allocator's rows come before those of mappings.
const SOURCES: [&str; 2] = ["allocator", "mapping"];

/// The part of a profile that is made of a recording's totals.
pub(super) struct Rows {
    /// The allocator's first, each by live bytes.
    pub(super) sites: Vec<Site>,
    /// The allocator's first, each by live bytes.
    pub(super) by_line: Vec<LineRow>,
    /// The allocator's first, each by live bytes.
    pub(super) categories: Vec<Category>,
    pub(super) series: Series,
    /// `None` if malloc is not glibc's, or was not watched.
    pub(super) retention: Option<AllocatorRetention>,
    pub(super) peak_times: PeakTimes,
    pub(super) filtered: Filtered,
}

/// A site while it is put together.
struct SiteDraft<'a> {
    source: &'static str,
    group: GroupId,
    attribution: Attribution,
    /// Totals of the part that passes.
    totals: Totals,
    /// Allocations, passing or not.
    whole_count: u64,
    /// The stack that the site shows, and its weight among the site's stacks.
    stack: &'a Stack,
    weight: Weight,
    /// `None` if it is not known.
    resident_bytes: Option<u64>,
    /// By name: live bytes, and in how many allocations.
    threads: BTreeMap<String, (u64, u64)>,
    /// By the least size of a class: live bytes, and in how many allocations. None: not known of all that passes.
    sizes: Option<BTreeMap<u64, (u64, u64)>>,
    kept: Sums,
}

/// A category while it is put together.
struct CategoryDraft {
    id: String,
    source: &'static str,
    group: GroupId,
    totals: Totals,
    /// The kind of the site that holds most of it.
    first_kind: Option<String>,
}

/// The weight of a stack among those of its site, the more important number first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Weight {
    live_bytes: u64,
    allocated_bytes: u64,
}

/// The rows of what passes of a recording; verdicts and threads are theirs already, owners of categories are not.
/// Verdicts, growth and courses are those of the stacks that pass, whole.
pub(super) fn build(
    recording: &Recording,
    rules: &Rules,
    filter: &Filter,
    selected: Selected,
    shown: &Shown,
    code_cache: &CodeCache,
) -> Rows {
    let names = site::frame_names(&recording.frames);
    let Selected { rows, compilers, is_of_thread, mut filtered } = selected;
    let mut drafts = Drafts::default();
    // It is not known for a part of a stack's memory.
    let kept = if filtered.is_part { None } else { Kept::of(recording) };
    drafts.add_all(recording, &names, rows, is_of_thread.as_ref(), kept.as_ref());
    let Drafts { mut groups, sites, mut categories, all, sum, passing } = drafts;
    filtered.set_rest(&sum, &passing);
    let all = all.unwrap_or_else(|| groups.add());
    name_first_kinds(&mut categories, &sites);
    let lines = line_groups(&mut groups, recording, &sites);
    let churn = class_churn(&mut groups, recording, &sites, &names, code_cache);
    let of_compilers = (!compilers.is_empty()).then(|| groups.add());
    for (row, group) in compilers.into_iter().zip(of_compilers.into_iter().cycle()) {
        groups.put(row, group);
    }
    let verdicts = GroupVerdicts::new(recording, rules, &groups, &churn);
    let retention = verdicts.of_allocator(all, of_compilers);
    let mut series = Series::new(recording, &verdicts);
    for row in &categories {
        series.add(&row.id, row.source, series::RowSeries::of(&verdicts.history(row.group)));
    }
    let mut categories = finish_categories(categories, rules, &verdicts);
    judge_metaspace(&mut categories, rules, filter, &verdicts);
    let mut site_of = vec![None; recording.totals.len()];
    for (number, site) in sites.iter().enumerate() {
        for &row in groups.rows(site.group) {
            if let Some(of_row) = site_of.get_mut(row) {
                *of_row = Some(number);
            }
        }
    }
    let (peaks, peak_times) = peak::of(recording, &site_of, sites.len(), |time_ns| verdicts.since(time_ns));
    let peaks: Vec<Peak> = if filtered.is_part {
        let of_parts = peaks.iter().zip(&sites);
        of_parts.map(|(peak, site)| peak.of_part(&site.totals, site.whole_count)).collect()
    } else {
        peaks
    };
    let (sites, lines) = finish_sites(sites, lines, &peaks, shown, &verdicts, kept.as_ref());
    let by_line = by_line::build(&sites, &lines, &verdicts);
    Rows { sites, by_line, categories, series, retention, peak_times, filtered }
}

/// Sites and categories while rows are added to them.
#[derive(Default)]
struct Drafts<'a> {
    groups: RowGroups,
    sites: Vec<SiteDraft<'a>>,
    categories: Vec<CategoryDraft>,
    /// All that was allocated, passing or not. `None` if nothing was yet.
    all: Option<GroupId>,
    /// The allocator's totals: all of them, and what passes.
    sum: Totals,
    passing: Totals,
}

impl<'a> Drafts<'a> {
    fn add_all(
        &mut self,
        recording: &'a Recording,
        names: &[u32],
        rows: Vec<Option<(Attribution, recording::Totals)>>,
        of_thread: Option<&OfThread>,
        kept: Option<&Kept<'_>>,
    ) {
        let live_threads = of_thread.map(|of_thread| live_threads(recording, of_thread)).unwrap_or_default();
        let resident = live_resident(recording);
        let sizes = live_sizes(recording);
        let (mut sites, mut categories) = (HashMap::new(), HashMap::new());
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
            let of_category = (attribution.category.clone(), source);
            let category = *categories.entry(of_category).or_insert_with(|| {
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
                let (totals, threads, kept) = (Totals::default(), BTreeMap::new(), Sums::new());
                let resident_bytes = resident.as_ref().filter(|_| source == "allocator").map(|_| 0);
                let sizes = (source == "allocator").then(BTreeMap::new);
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
                    kept,
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
                if let Some(kept) = kept {
                    kept.add(row.stack, &mut site.kept);
                }
                // For a part of a stack's blocks, nobody knows which pages are theirs, and how large each is.
                let is_part = totals.live_bytes != totals_of(&row.totals, is_sampled).live_bytes;
                site.resident_bytes = site.resident_bytes.filter(|_| !is_part);
                site.sizes = site.sizes.take().filter(|_| !is_part);
                if let Some(sum) = site.sizes.as_mut() {
                    for size in sizes.get(&row.stack).into_iter().flatten() {
                        let live = sum.entry(size.least_bytes).or_default();
                        *live =
                            (live.0.saturating_add(size.live_bytes), live.1.saturating_add(size.live_count));
                    }
                }
                if let Some((sum, bytes)) = site.resident_bytes.as_mut().zip(resident.as_ref()) {
                    let of_stack = bytes.get(&row.stack).copied().unwrap_or(0);
                    *sum = sum.saturating_add(of_stack.min(totals.live_bytes));
                }
                for held in live_threads.get(&row.stack).into_iter().flatten() {
                    let live = site.threads.entry(held.name.clone()).or_default();
                    *live = (live.0.saturating_add(held.live_bytes), live.1.saturating_add(held.live_count));
                }
            }
        }
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

/// Gives each category the kind of the site that holds most of it.
fn name_first_kinds(categories: &mut [CategoryDraft], sites: &[SiteDraft<'_>]) {
    let mut first: HashMap<(&str, &str), &SiteDraft<'_>> = HashMap::new();
    for site in sites {
        let first = first.entry((&site.attribution.category, site.source)).or_insert(site);
        if first.totals.live_bytes <= site.totals.live_bytes {
            *first = site;
        }
    }
    for category in categories {
        let site = first.get(&(category.id.as_str(), category.source));
        category.first_kind = site.and_then(|site| site.attribution.kind.clone());
    }
}

/// Source, category, kind and method of a line's sites.
type LineKey<'a> = (&'a str, &'a str, Option<&'a str>, Option<String>);

/// The group of each site's line: the sites of one method of the application, or those without one, of a source,
/// category and kind.
fn line_groups(groups: &mut RowGroups, recording: &Recording, sites: &[SiteDraft<'_>]) -> Vec<GroupId> {
    let mut by_key: HashMap<LineKey<'_>, GroupId> = HashMap::new();
    let mut of_sites = Vec::with_capacity(sites.len());
    for site in sites {
        let Attribution { category, kind, owner, .. } = &site.attribution;
        let owner = owner.and_then(|owner| at(&recording.frames, *site.stack.frames.get(owner)?));
        let method = owner.map(|frame| by_line::function(frame.kind, &frame.function));
        let key = (site.source, category.as_str(), kind.as_deref(), method);
        let group = *by_key.entry(key).or_insert_with(|| groups.add());
        for row in groups.rows(site.group).to_vec() {
            groups.put(row, group);
        }
        of_sites.push(group);
    }
    of_sites
}

/// Groups of their own: class loaders, and each line that has classes generated.
fn class_churn(
    groups: &mut RowGroups,
    recording: &Recording,
    sites: &[SiteDraft<'_>],
    names: &[u32],
    code_cache: &CodeCache,
) -> ClassChurn {
    let (loaders, loading, redefining) = (groups.add(), groups.add(), groups.add());
    let mut generating: BTreeMap<u32, GroupId> = BTreeMap::new();
    // Once for each frame, which is on many stacks.
    let work = |frame: &Frame| ClassWork::of(plain_name(&frame.function));
    let work: Vec<Option<ClassWork>> = recording.frames.iter().map(work).collect();
    for site in sites {
        let is_loader =
            site.attribution.category == "class" && site.attribution.kind.as_deref() == Some("loader");
        let line = generating_line(recording, site, names);
        let of_line = line.map(|line| *generating.entry(line).or_insert_with(|| groups.add()));
        let frames = site.stack.frames.iter().filter(|_| site.source == "allocator");
        let of_stack = ClassWork::of_stack(frames.filter_map(|&frame| at(&work, frame).copied()));
        let is_loading = of_stack == Some(ClassWork::Loads);
        let is_redefining = of_stack == Some(ClassWork::Redefines);
        let of_classes = [(is_loader, loaders), (is_loading, loading), (is_redefining, redefining)];
        let of_classes = of_classes.into_iter().filter_map(|(is_of, group)| is_of.then_some(group));
        for group in of_line.into_iter().chain(of_classes) {
            for row in groups.rows(site.group).to_vec() {
                groups.put(row, group);
            }
        }
    }
    let generated_bytes = code_cache.generated_bytes();
    let generating = generating.into_values().collect();
    ClassChurn { loaders, loading, redefining, generating, generated_bytes }
}

/// The line of code for which a site generates classes. `None` if it does not.
fn generating_line(recording: &Recording, site: &SiteDraft<'_>, names: &[u32]) -> Option<u32> {
    let frames = site.stack.frames.iter().filter_map(|&it| Some((it, at(&recording.frames, it)?)));
    let functions = frames.clone().map(|(_, frame)| frame.function.as_str());
    let generator = Generator::of(&site.attribution.category, functions)?;
    let asks = |(_, frame): &(u32, &Frame)| frame.kind == FrameKind::Java && verdict::asks(&frame.function);
    let line = *at(names, frames.clone().find(asks)?.0)?;
    (generator != Generator::Loader).then_some(line)
}

fn finish_categories(
    drafts: Vec<CategoryDraft>,
    rules: &Rules,
    verdicts: &GroupVerdicts<'_>,
) -> Vec<Category> {
    let category = |draft: CategoryDraft| {
        let kind = draft.first_kind.as_deref();
        let (growth_bytes_per_s, verdict) = verdicts.of_group(draft.group, &draft.id, kind);
        Category {
            totals: draft.totals,
            growth_bytes_per_s,
            verdict: Some(verdict),
            ..Category::named(draft.id, draft.source, rules)
        }
    };
    let mut categories: Vec<Category> = drafts.into_iter().map(category).collect();
    categories.sort_by(|one, other| {
        let key = |row: &Category| {
            (row.source, Reverse(row.totals.live_bytes), Reverse(row.totals.allocated_bytes), row.id.clone())
        };
        key(one).cmp(&key(other))
    });
    categories
}

/// Judges metaspace by what is committed of it; a category of its own if it is a finding and nothing of it was mapped
/// in the session.
fn judge_metaspace(
    categories: &mut Vec<Category>,
    rules: &Rules,
    filter: &Filter,
    verdicts: &GroupVerdicts<'_>,
) {
    let id = "metaspace";
    let Some((growth_bytes_per_s, verdict)) = verdicts.of_metaspace(id) else { return };
    let of_mappings = |row: &&mut Category| row.id == id && row.source == "mapping";
    if let Some(row) = categories.iter_mut().find(of_mappings) {
        (row.growth_bytes_per_s, row.verdict) = (growth_bytes_per_s, Some(verdict));
    } else if filter.keeps_category_without_stacks(id)
        && (verdict.kind.is_finding() || verdict.kind == Kind::TooShort)
    {
        categories.push(Category {
            growth_bytes_per_s,
            verdict: Some(verdict),
            ..Category::named(id.to_owned(), "mapping", rules)
        });
    }
}

/// The sites in their order, and the group of each one's line. `lines`: those of the drafts.
fn finish_sites(
    drafts: Vec<SiteDraft<'_>>,
    lines: Vec<GroupId>,
    peaks: &[Peak],
    shown: &Shown,
    verdicts: &GroupVerdicts<'_>,
    kept: Option<&Kept<'_>>,
) -> (Vec<Site>, Vec<GroupId>) {
    let site = |((draft, line), &peak): ((SiteDraft<'_>, GroupId), &Peak)| {
        (draft.group, line, Site { peak, ..finish_site(draft, shown, verdicts, kept) })
    };
    let mut sites: Vec<(GroupId, GroupId, Site)> =
        drafts.into_iter().zip(lines).zip(peaks).map(site).collect();
    // Stable: what is equal stays in the order of the recording.
    sites.sort_by_key(|(.., site)| {
        (site.source, Reverse(site.totals.live_bytes), Reverse(site.totals.allocated_bytes))
    });
    for source in SOURCES {
        let of_source = sites.iter_mut().filter(|(.., site)| site.source == source);
        for (at, (group, _, site)) in of_source.take(series::FOLLOWED).enumerate() {
            let course = series::RowSeries::of(&verdicts.history(*group));
            site.series = Some(course.clone()).filter(|_| at < series::SITES);
            site.course = Some(course);
        }
    }
    let lines = sites.iter().map(|(_, line, _)| *line).collect();
    (sites.into_iter().map(|(.., site)| site).collect(), lines)
}

fn finish_site(
    draft: SiteDraft<'_>,
    shown: &Shown,
    verdicts: &GroupVerdicts<'_>,
    kept: Option<&Kept<'_>>,
) -> Site {
    let Attribution { category, kind, leaf, cause, owner } = draft.attribution;
    let (growth_bytes_per_s, verdict) = verdicts.of_group(draft.group, &category, kind.as_deref());
    let frames = frames(shown, draft.stack);
    let thread = |(name, (live_bytes, live_count))| SiteThread { name, live_bytes, live_count };
    let mut threads: Vec<SiteThread> = draft.threads.into_iter().map(thread).collect();
    threads.sort_by_key(|thread| Reverse(thread.live_bytes));
    Site {
        category,
        kind,
        source: draft.source,
        totals: draft.totals,
        resident_bytes: draft.resident_bytes,
        growth_bytes_per_s,
        verdict: Some(verdict),
        owner: owner.and_then(|owner| frames.get(owner)).map(|frame| frame.function.clone()),
        threads,
        sizes: size_classes(draft.sizes),
        frames,
        complete: draft.stack.complete,
        series: None,
        course: None,
        peak: Peak::default(),
        path: CallPath { leaf, cause, owner },
        kept_by: kept.filter(|_| draft.source == "allocator").map(|kept| kept.told(&draft.kept)),
        stop: draft.stack.stop.clone(),
    }
}

/// The classes of a site, the smallest first. `None` if the recording keeps none of them.
fn size_classes(sizes: Option<BTreeMap<u64, (u64, u64)>>) -> Option<Vec<SizeClass>> {
    let class = |(least_bytes, (live_bytes, live_count))| SizeClass { least_bytes, live_bytes, live_count };
    sizes.filter(|sizes| !sizes.is_empty()).map(|sizes| sizes.into_iter().map(class).collect())
}

/// Bytes in memory of what is live, by stack. `None` if it is not told, or not of all.
fn live_resident(recording: &Recording) -> Option<HashMap<StackRef, u64>> {
    let session = &recording.session;
    let is_whole = session.sample_bytes.is_none() && session.steps.is_empty();
    let rows = &recording.live_resident;
    (is_whole && !rows.is_empty()).then(|| rows.iter().map(|row| (row.stack, row.resident_bytes)).collect())
}

/// What is live of each stack, by classes of sizes.
fn live_sizes(recording: &Recording) -> HashMap<StackRef, Vec<&LiveSize>> {
    let mut sizes: HashMap<StackRef, Vec<&LiveSize>> = HashMap::with_capacity(recording.live_sizes.len());
    for row in recording.live_sizes.iter().filter(|row| row.live_count > 0) {
        sizes.entry(row.stack).or_default().push(row);
    }
    sizes
}

/// Bytes that each thread holds of each stack, by the thread's name.
fn live_threads(recording: &Recording, passes: &OfThread) -> HashMap<StackRef, Vec<SiteThread>> {
    // The last of a tid is the one that can hold something: its name came last.
    let names: HashMap<Tid, &str> =
        recording.threads.iter().filter_map(|thread| Some((thread.tid, thread.name.as_deref()?))).collect();
    let mut live: HashMap<StackRef, Vec<SiteThread>> = HashMap::new();
    for row in recording.live_by_thread.iter().filter(|row| row.live_bytes > 0 && passes(row.tid)) {
        let name = names.get(&row.tid).map_or_else(|| format!("[tid {}]", row.tid), |&name| name.to_owned());
        let held = SiteThread { name, live_bytes: row.live_bytes, live_count: row.live_count };
        live.entry(row.stack).or_default().push(held);
    }
    live
}
