//! The rows of a profile: sites and categories, put together from the rows of a recording's totals.
//!
//! Each site, each category, and whatever else a verdict rests on is a group of rows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::build::{Shown, at, frames};
use super::by_line::{self, LineRow};
use super::code::CodeCache;
use super::drafts::{CategoryDraft, Drafts, SiteDraft};
use super::filter::{Filter, Filtered, Selected};
use super::holders::HoldersByStack;
use super::{CallPath, Category, Peak, PeakTimes, Series, Site, SiteThread, SizeClass, peak, series, site};
use crate::attribute::{Attribution, Rules, plain_name};
use crate::recording::Recording;
use crate::symbolize::{Frame, FrameKind};
use crate::verdict::{
    self, AllocatorRetention, ClassChurn, ClassWork, Generator, GroupId, GroupVerdicts, RowGroups,
    VerdictKind,
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
    let holders = if filtered.is_part { None } else { HoldersByStack::of(recording) };
    drafts.add_all(recording, &names, rows, is_of_thread.as_ref(), holders.as_ref());
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
    let groups: Vec<GroupId> = sites.iter().map(|site| site.group).collect();
    let finish = |(draft, &peak)| Site { peak, ..finish_site(draft, shown, holders.as_ref()) };
    let mut sites: Vec<Site> = sites.into_iter().zip(&peaks).map(finish).collect();
    let by_line = by_line::build(&sites, &lines, &verdicts);
    judge_sites(&mut sites, &groups, &by_line, &verdicts);
    Rows { sites, by_line, categories, series, retention, peak_times, filtered }
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
type LineKey<'a> = (&'a str, &'a str, Option<&'a str>, Option<Rc<str>>);

/// The group of each site's line: the sites of one method of the application, or those without one, of a source,
/// category and kind.
fn line_groups(groups: &mut RowGroups, recording: &Recording, sites: &[SiteDraft<'_>]) -> Vec<GroupId> {
    let mut by_key: HashMap<LineKey<'_>, GroupId> = HashMap::new();
    // By frame, which is on many stacks.
    let mut methods: HashMap<u32, Rc<str>> = HashMap::new();
    let mut of_sites = Vec::with_capacity(sites.len());
    for site in sites {
        let Attribution { category, kind, owner, .. } = &site.attribution;
        let method = owner.and_then(|owner| {
            let number = *site.stack.frames.get(owner)?;
            let frame = at(&recording.frames, number)?;
            let name = || by_line::function(frame.kind, &frame.function).into();
            Some(methods.entry(number).or_insert_with(name).clone())
        });
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
        && (verdict.kind.is_finding() || verdict.kind == VerdictKind::TooShort)
    {
        categories.push(Category {
            growth_bytes_per_s,
            verdict: Some(verdict),
            ..Category::named(id.to_owned(), "mapping", rules)
        });
    }
}

/// Gives the sites that hold most their growth, verdict and course, and all of them the kind of their line's verdict.
/// `groups`: those of the sites.
fn judge_sites(sites: &mut [Site], groups: &[GroupId], by_line: &[LineRow], verdicts: &GroupVerdicts<'_>) {
    for line in by_line {
        for &site in &line.sites {
            let Some(site) = sites.get_mut(site) else { continue };
            site.found = line.verdict.as_ref().map(|verdict| verdict.kind);
            // The line of one site is that site.
            if line.sites.len() == 1 {
                (site.growth_bytes_per_s, site.verdict) = (line.growth_bytes_per_s, line.verdict.clone());
            }
        }
    }
    for source in SOURCES {
        let of_source = sites.iter_mut().zip(groups).filter(|(site, _)| site.source == source);
        for (at, (site, &group)) in of_source.take(series::FOLLOWED).enumerate() {
            let course = series::RowSeries::of(&verdicts.history(group));
            site.series = Some(course.clone()).filter(|_| at < series::SITES);
            site.course = Some(course);
            if site.verdict.is_none() {
                let (growth, verdict) = verdicts.of_group(group, &site.category, site.kind.as_deref());
                site.found = Some(verdict.kind);
                (site.growth_bytes_per_s, site.verdict) = (growth, Some(verdict));
            }
        }
    }
}

fn finish_site(draft: SiteDraft<'_>, shown: &Shown, holders: Option<&HoldersByStack<'_>>) -> Site {
    let Attribution { category, kind, leaf, cause, owner } = draft.attribution;
    let frames = frames(shown, draft.stack);
    Site {
        category,
        kind,
        source: draft.source,
        totals: draft.totals,
        resident_bytes: draft.resident_bytes,
        growth_bytes_per_s: None,
        verdict: None,
        found: None,
        owner: owner.and_then(|owner| frames.get(owner)).map(|frame| frame.function.clone()),
        threads: by_name(draft.threads),
        sizes: by_size(draft.sizes),
        frames,
        complete: draft.stack.complete,
        series: None,
        course: None,
        peak: Peak::default(),
        path: CallPath { leaf, cause, owner },
        holders: holders
            .filter(|_| draft.source == "allocator")
            .map(|holders| holders.shares(&draft.holders)),
        stop: draft.stack.stop.clone(),
    }
}

/// The classes of a site, the smallest first. `None` if the recording keeps none of them.
fn by_size(sizes: Option<Vec<SizeClass>>) -> Option<Vec<SizeClass>> {
    let mut sizes = sizes.filter(|sizes| !sizes.is_empty())?;
    sizes.sort_by_key(|size| size.least_bytes);
    sum_same(
        &mut sizes,
        |one, other| one.least_bytes == other.least_bytes,
        |it| [&mut it.live_bytes, &mut it.live_count],
    );
    Some(sizes)
}

/// Live bytes by name, the most first; threads of one name are one.
fn by_name(mut threads: Vec<SiteThread>) -> Vec<SiteThread> {
    threads.sort_by(|one, other| one.name.cmp(&other.name));
    sum_same(
        &mut threads,
        |one, other| one.name == other.name,
        |it| [&mut it.live_bytes, &mut it.live_count],
    );
    threads.sort_by_key(|thread| Reverse(thread.live_bytes));
    threads
}

/// Makes one of neighbours that are the same, with the sum of their numbers.
fn sum_same<T>(rows: &mut Vec<T>, is_same: fn(&T, &T) -> bool, numbers: fn(&mut T) -> [&mut u64; 2]) {
    rows.dedup_by(|other, sum| {
        let is_same = is_same(other, sum);
        if is_same {
            for (sum, other) in numbers(sum).into_iter().zip(numbers(other)) {
                *sum = sum.saturating_add(*other);
            }
        }
        is_same
    });
}
