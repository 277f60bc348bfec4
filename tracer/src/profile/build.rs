//! A recording becomes a profile.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::code::{self, CodeCache};
use super::judge::{Judge, Kept, Making};
use super::makers::{self, Generator, Makers};
use super::{
    Category, Censuses, Jvm, Profile, SCHEMA, Series, Session, Site, SiteFrame, SiteThread, Target, Totals,
    Variances, Verdict, Way, memory, metaspace, owners, series, site, threads, touched, trust,
};
use crate::attribute::{Attribution, FrameTraits, Rules};
use crate::recording::{Recording, Source, Stack, State, Step, Total};
use crate::symbolize::{Frame, FrameKind};

/// The reason under which rows are counted that say more was freed than allocated.
const INCONSISTENT: &str = "inconsistent_totals";

impl Profile {
    /// The profile of a recording by these rules.
    pub fn build(recording: &Recording, rules: &Rules) -> Profile {
        let mut lost: BTreeMap<String, u64> = recording
            .lost
            .iter()
            .filter(|&(_, &count)| count > 0)
            .map(|(why, &count)| (why.clone(), count))
            .collect();
        let shown: Vec<Arc<SiteFrame>> =
            recording.frames.iter().map(|frame| Arc::new(SiteFrame::from(frame))).collect();
        let mut code_cache = code::build(recording);
        let Rows { sites, mut categories, series, kept } =
            rows(recording, rules, &shown, &code_cache, &mut lost);
        let mut totals = Totals::none(Variances::none(recording));
        for category in categories.iter().filter(|category| category.source == "allocator") {
            totals.add(&category.totals);
        }
        memory::set_resident(recording, &mut categories);
        let memory = memory::build(recording, rules);
        categories.extend(kept.and_then(|kept| kept.category(&memory, rules)));
        let makers = Makers::of(&sites);
        code_cache.name_owners(&makers);
        let threads = threads::build(recording, rules, &shown);
        owners::set(&mut categories, &sites, &makers, &code_cache, &threads.creators);
        Profile {
            schema: SCHEMA,
            target: target(recording),
            session: session(recording),
            trust: trust::build(recording, lost),
            totals,
            categories,
            sites,
            threads,
            code_cache,
            memory,
            touched: touched::build(recording, rules, &shown),
            series,
            census: Censuses::of(recording),
            state: recording.state.clone(),
        }
    }
}

/// A site while it is put together.
struct Draft<'a> {
    source: &'static str,
    /// Its row among the categories.
    category: usize,
    attribution: Attribution,
    totals: Totals,
    /// The stack that the site shows, and its weight among the site's stacks.
    stack: &'a Stack,
    weight: (u64, u64),
    threads: BTreeMap<String, u64>,
}

/// What is made of the totals.
struct Rows {
    sites: Vec<Site>,
    categories: Vec<Category>,
    series: Series,
    kept: Option<Kept>,
}

fn rows(
    recording: &Recording,
    rules: &Rules,
    shown: &Shown,
    code_cache: &CodeCache,
    lost: &mut BTreeMap<String, u64>,
) -> Rows {
    let traits: Vec<FrameTraits> = recording.frames.iter().map(|frame| rules.frame(frame)).collect();
    let names = site::frame_names(&recording.frames);
    let live_threads = live_threads(recording);

    let mut drafts: Vec<Draft<'_>> = Vec::new();
    let mut by_key = HashMap::new();
    let mut category_rows: Vec<(String, &'static str, Totals)> = Vec::new();
    let mut by_category = HashMap::new();
    // For the course: the site and category of each row.
    let mut places = Vec::with_capacity(recording.totals.len());
    for row in &recording.totals {
        let Some(stack) = at(&recording.stacks, row.stack) else {
            places.push(None);
            continue;
        };
        let is_sampled = recording.session.sample_bytes.is_some() && row.source == Source::Allocator;
        let totals = consistent(row, is_sampled, lost);
        let attribution = attribution(recording, rules, &traits, stack, row);
        let source = row.source.as_str();
        let category = *by_category.entry((attribution.category.clone(), source)).or_insert_with(|| {
            category_rows.push((attribution.category.clone(), source, Totals::default()));
            category_rows.len() - 1
        });
        if let Some((_, _, sum)) = category_rows.get_mut(category) {
            sum.add(&totals);
        }
        let key = (source, category, attribution.kind.clone(), site::key(recording, stack, &names));
        let weight = (totals.live_bytes, totals.allocated_bytes);
        let place = *by_key.entry(key).or_insert_with(|| {
            let (totals, threads) = (Totals::default(), BTreeMap::new());
            let attribution = attribution.clone();
            drafts.push(Draft { source, category, attribution, totals, stack, weight, threads });
            drafts.len() - 1
        });
        if let Some(draft) = drafts.get_mut(place) {
            draft.totals.add(&totals);
            if weight > draft.weight {
                (draft.stack, draft.weight, draft.attribution) = (stack, weight, attribution);
            }
            if source == "allocator" {
                for (name, live_bytes) in live_threads.get(&row.stack).into_iter().flatten() {
                    let live = draft.threads.entry(name.clone()).or_default();
                    *live = live.saturating_add(*live_bytes);
                }
            }
        }
        places.push(Some((place, category)));
    }

    // Sites, categories, and some of their own: class loaders, all that was allocated, and each line that has
    // classes generated.
    let loaders = drafts.len() + category_rows.len();
    let all = loaders + 1;
    let mut generating: HashMap<u32, usize> = HashMap::new();
    let generates: Vec<Option<usize>> = drafts
        .iter()
        .map(|draft| {
            let frames = draft.stack.frames.iter().filter_map(|&it| Some((it, at(&recording.frames, it)?)));
            let functions = frames.clone().map(|(_, frame)| frame.function.as_str());
            let generator = Generator::of(&draft.attribution.category, functions)?;
            let asks =
                |(_, frame): &(u32, &Frame)| frame.kind == FrameKind::Java && makers::asks(&frame.function);
            let line = *at(&names, frames.clone().find(asks)?.0)?;
            let next = all + 1 + generating.len();
            (generator != Generator::Loader).then(|| *generating.entry(line).or_insert(next))
        })
        .collect();
    let group_count = all + 1 + generating.len();
    let of_place = |&(site, category): &(usize, usize)| {
        let mut groups = vec![site, drafts.len() + category];
        let draft = drafts.get(site);
        let is_loader = |draft: &&Draft<'_>| {
            draft.attribution.category == "class" && draft.attribution.kind.as_deref() == Some("loader")
        };
        groups.extend(draft.filter(is_loader).map(|_| loaders));
        groups.extend(draft.filter(|draft| draft.source == "allocator").map(|_| all));
        groups.extend(generates.get(site).copied().flatten());
        groups
    };
    let groups: Vec<Vec<usize>> =
        places.iter().map(|place| place.as_ref().map_or_else(Vec::new, of_place)).collect();
    let generated_bytes = code_cache.generated_bytes();
    let making = Making { loaders, generating: all + 1..group_count, generated_bytes };
    let judge = Judge::new(recording, rules, &groups, group_count, making);
    let first_kinds = first_kinds(&drafts, category_rows.len());
    let compilers =
        category_rows.iter().position(|(id, source, _)| id == "compiler" && *source == "allocator");
    let kept = judge.allocator(all, compilers.map(|row| drafts.len() + row));
    let mut series = Series::new(recording, &judge);
    for (row, (id, source, _)) in category_rows.iter().enumerate() {
        series.add(id, source, judge.series(drafts.len() + row));
    }
    let mut categories = categories(category_rows, rules, &judge, drafts.len(), &first_kinds);
    metaspace::judge(&mut categories, recording, rules, &judge);
    let mut sites: Vec<(usize, Site)> = drafts
        .into_iter()
        .enumerate()
        .map(|(group, draft)| {
            let Attribution { category, kind, .. } = &draft.attribution;
            let (growth, verdict) = judge.row(group, category, kind.as_deref());
            (group, finish(shown, draft, growth, verdict))
        })
        .collect();
    // Stable: what is equal stays in the order of the recording.
    sites.sort_by_key(|(_, site)| {
        (site.source, Reverse(site.totals.live_bytes), Reverse(site.totals.allocated_bytes))
    });
    for source in ["allocator", "mapping"] {
        let of_source = sites.iter_mut().filter(|(_, site)| site.source == source);
        for (group, site) in of_source.take(series::SITES) {
            site.series = Some(judge.series(*group));
        }
    }
    let sites = sites.into_iter().map(|(_, site)| site).collect();
    Rows { sites, categories, series, kept }
}

/// The kind, for each category, of the site that holds most of it.
fn first_kinds(drafts: &[Draft<'_>], category_count: usize) -> Vec<Option<String>> {
    let mut first: Vec<Option<&Draft<'_>>> = vec![None; category_count];
    for draft in drafts {
        if let Some(first) = first.get_mut(draft.category)
            && first.is_none_or(|first| first.totals.live_bytes <= draft.totals.live_bytes)
        {
            *first = Some(draft);
        }
    }
    first.into_iter().map(|draft| draft?.attribution.kind.clone()).collect()
}

fn categories(
    rows: Vec<(String, &'static str, Totals)>,
    rules: &Rules,
    judge: &Judge<'_>,
    first_group: usize,
    first_kinds: &[Option<String>],
) -> Vec<Category> {
    let category = |(row, (id, source, totals)): (usize, (String, &'static str, Totals))| {
        let kind = first_kinds.get(row).and_then(Option::as_deref);
        let (growth_bytes_per_s, verdict) = judge.row(first_group + row, &id, kind);
        Category {
            name: rules.category_name(&id),
            source,
            totals,
            resident_bytes: None,
            owners: Vec::new(),
            growth_bytes_per_s,
            verdict: Some(verdict),
            id,
        }
    };
    let mut categories: Vec<Category> = rows.into_iter().enumerate().map(category).collect();
    categories.sort_by(|one, other| {
        let key = |row: &Category| {
            (row.source, Reverse(row.totals.live_bytes), Reverse(row.totals.allocated_bytes), row.id.clone())
        };
        key(one).cmp(&key(other))
    });
    categories
}

fn finish(shown: &Shown, draft: Draft<'_>, growth: Option<i64>, verdict: Verdict) -> Site {
    let frames = frames(shown, draft.stack);
    let Attribution { category, kind, leaf, cause, owner } = draft.attribution;
    let mut threads: Vec<SiteThread> =
        draft.threads.into_iter().map(|(name, live_bytes)| SiteThread { name, live_bytes }).collect();
    threads.sort_by_key(|thread| Reverse(thread.live_bytes));
    Site {
        category,
        kind,
        source: draft.source,
        totals: draft.totals,
        growth_bytes_per_s: growth,
        verdict: Some(verdict),
        owner: owner.and_then(|owner| frames.get(owner)).map(|frame| frame.function.clone()),
        threads,
        frames,
        complete: draft.stack.complete,
        series: None,
        way: Way { leaf, cause, owner },
        stop: draft.stack.stop.clone(),
    }
}

fn attribution(
    recording: &Recording,
    rules: &Rules,
    traits: &[FrameTraits],
    stack: &Stack,
    row: &Total,
) -> Attribution {
    let pairs: Vec<(&Frame, &FrameTraits)> = stack
        .frames
        .iter()
        .filter_map(|&frame| Some((at(&recording.frames, frame)?, at(traits, frame)?)))
        .collect();
    rules.classify(&pairs, &row.source, stack.complete == Some(true))
}

/// The totals of a row, of which live must be what is left of allocated. Counters are read while
/// they run, so a free may be seen whose allocation was not yet: counted, never hidden.
fn consistent(row: &Total, is_sampled: bool, lost: &mut BTreeMap<String, u64>) -> Totals {
    let totals = row.totals;
    if totals.freed_bytes > totals.allocated_bytes || totals.freed_count > totals.allocated_count {
        *lost.entry(INCONSISTENT.to_owned()).or_default() += 1;
    }
    let mut sum = Totals::default();
    sum.add(&Totals {
        allocated_bytes: totals.allocated_bytes,
        allocated_count: totals.allocated_count,
        freed_bytes: totals.freed_bytes.min(totals.allocated_bytes),
        freed_count: totals.freed_count.min(totals.allocated_count),
        variances: is_sampled.then(|| Variances::of(&totals)),
        ..Totals::default()
    });
    sum
}

/// What each thread holds of each stack, by the thread's name.
fn live_threads(recording: &Recording) -> HashMap<u32, Vec<(String, u64)>> {
    // The last of a tid is the one that can hold something: its name came last.
    let names: HashMap<u32, &str> =
        recording.threads.iter().filter_map(|thread| Some((thread.tid, thread.name.as_deref()?))).collect();
    let mut live: HashMap<u32, Vec<(String, u64)>> = HashMap::new();
    for row in recording.live_by_thread.iter().filter(|row| row.live_bytes > 0) {
        let name = names.get(&row.tid).map_or_else(|| format!("[tid {}]", row.tid), |&name| name.to_owned());
        live.entry(row.stack).or_default().push((name, row.live_bytes));
    }
    live
}

/// A recording's frames as sites show them, at the same indices: shared, because many stacks have the same.
pub(super) type Shown = [Arc<SiteFrame>];

pub(super) fn frames(shown: &Shown, stack: &Stack) -> Vec<Arc<SiteFrame>> {
    stack.frames.iter().filter_map(|&frame| at(shown, frame)).cloned().collect()
}

pub(super) fn at<T>(items: &[T], index: u32) -> Option<&T> {
    items.get(usize::try_from(index).ok()?)
}

fn target(recording: &Recording) -> Target {
    let target = &recording.target;
    Target {
        pid: target.pid,
        comm: target.comm.clone(),
        command: target.command.clone(),
        jvm: target.jvm.as_ref().map(|jvm| Jvm {
            version: jvm.version.clone(),
            vendor: jvm.vendor.clone(),
            gc: jvm.gc.clone(),
            java_home: jvm.java_home.clone(),
        }),
        container: target.container.clone(),
    }
}

fn session(recording: &Recording) -> Session {
    let session = &recording.session;
    Session {
        started: session.started.clone(),
        duration_ns: recording.duration_ns,
        probes: session.probes.clone(),
        sample_bytes: session.sample_bytes,
        gc_count: session.gc_probes.then(|| count(recording.collections.len())),
        max_overhead_percent: session.max_overhead_percent,
        overhead_percent: session.overhead.and_then(|took| percent(took.probes_ns, took.target_ns)),
        overhead_percent_of_cpu: session.overhead.and_then(|took| percent(took.probes_ns, took.span_ns)),
        steps: session
            .steps
            .iter()
            .map(|step| Step { time_ns: step.time_ns.saturating_sub(session.started_ns), ..step.clone() })
            .collect(),
        ended: match &recording.state {
            State::Finished(reason) => Some(reason.clone()),
            State::Recording | State::Unfinished => None,
        },
    }
}

/// With one decimal. None: of nothing.
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 1_000.0).round() / 10.0)
}

pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
