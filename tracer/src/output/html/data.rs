//! The report as the page gets it: facts as JSON, stacks as a tree in columns.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::io;

use serde_json::{Value, json};

use super::courses::Courses;
use super::draft::{Draft, index};
use super::rows::{LINES, Rows};
use crate::output::answer::held::Why;
use crate::output::answer::{heading, limits, quality};
use crate::output::calls::Calls;
use crate::output::stacks::source;
use crate::output::{Options, filtered, label, program_name};
use crate::profile::diff::FactPair;
use crate::profile::{CreatorLine, Place, Profile, Site, thread_pattern};

/// Compiled methods that are listed, at most.
const METHODS: usize = 1_000;
/// Patterns of threads' names that can be chosen, those that hold most.
const THREADS: usize = 200;
const OTHER_THREADS: &str = "[other threads]";

/// The page's data.
pub(super) fn of(profile: &Profile, options: &Options) -> io::Result<Vec<u8>> {
    let source = source(options, profile.sites.iter().map(|site| site.source));
    let sites: Vec<&Site> = profile.sites.iter().filter(|site| site.source == source).collect();
    let courses = Courses::of(profile, &sites, source);
    let mut draft = Draft::new();
    let words: Vec<String> =
        courses.others.iter().map(|it| format!("[{} call paths that hold less]", it.count)).collect();
    draft.stacks(&sites.iter().map(|site| Calls::from(*site)).collect::<Vec<_>>(), &words);
    let others = || courses.others.iter();
    let categories = sites.iter().map(|site| Some(site.category.as_str()));
    draft.texts("site_category", categories.chain(others().map(|it| Some(it.category.as_str()))));
    let verdict = |site: &&Site| site.found.map(|kind| kind.as_str());
    draft.texts("site_verdict", sites.iter().map(verdict).chain(others().map(|_| None)));
    for (name, of) in [
        ("site_live_bytes", (|site| site.totals.live_bytes as f64) as fn(&Site) -> f64),
        ("site_live_count", |site| site.totals.live_count as f64),
        ("site_allocated_bytes", |site| site.totals.allocated_bytes as f64),
        ("site_allocated_count", |site| site.totals.allocated_count as f64),
        ("site_peak_bytes", |site| site.peak.bytes_at_peak as f64),
        ("site_growth", |site| site.growth_bytes_per_s.map_or(f64::NAN, |growth| growth as f64)),
    ] {
        draft.numbers(name, sites.iter().map(|site| of(site)).chain(others().map(|_| 0.0)));
    }
    draft.indices("site_course", &courses.rows);
    draft.numbers("course_live", courses.live.iter().copied());
    draft.numbers("course_allocated", courses.allocated.iter().copied());
    threads_of(&mut draft, &sites);
    let rows = Rows::of(profile, source, LINES);
    let lines: Vec<i32> = rows.of_sites.iter().copied().chain(others().map(|_| -1)).collect();
    draft.indices("site_line", &lines);
    let mut code = serde_json::to_value(&profile.code_cache)?;
    if let Some(methods) = code.get_mut("methods").and_then(Value::as_array_mut) {
        methods.truncate(METHODS);
    }
    let why = profile.findings.is_empty().then(|| Why::of(profile));
    let facts = json!({
        "kind": "report",
        "program": program_name(&profile.target),
        "resident": heading::resident(profile),
        "quality": quality::describe(profile),
        "source": source,
        "view": options.view.as_str(),
        "version": env!("CARGO_PKG_VERSION"),
        "target": profile.target,
        "session": profile.session,
        "trust": profile.quality,
        "totals": profile.totals,
        "filtered": filtered::of_profile(profile),
        "met": limits::sentences(profile),
        "why": why.map(Why::as_str),
        "healthy": why.is_some_and(|why| why == Why::NoLeak || why == Why::NothingGrew),
        "findings": rows.findings(profile, &courses),
        "by_line": rows.by_line(profile, &courses),
        "categories": profile.categories,
        "threads": threads(profile)?,
        "code_cache": code,
        "memory": profile.memory,
        "limits": profile.limits,
        "fits": profile.fits,
        "series": profile.series,
        "times_ns": courses.times_ns(profile),
        "census": profile.census,
        "census_facts": FactPair::all(profile.census.begin.as_deref(), profile.census.end.as_deref()),
    });
    draft.finish(facts)
}

/// Memory that threads of each pattern of names have of each site.
fn threads_of(draft: &mut Draft, sites: &[&Site]) {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    let mut held = Vec::new();
    for (at, site) in sites.iter().enumerate() {
        let mut patterns: BTreeMap<String, u64> = BTreeMap::new();
        for thread in &site.threads {
            let sum = patterns.entry(thread_pattern(&thread.name)).or_default();
            *sum = sum.saturating_add(thread.live_bytes);
        }
        for (name, bytes) in patterns {
            let sum = sums.entry(name.clone()).or_default();
            *sum = sum.saturating_add(bytes);
            held.push((at, name, bytes));
        }
    }
    let mut names: Vec<(&String, &u64)> = sums.iter().collect();
    names.sort_by_key(|(_, bytes)| Reverse(**bytes));
    let shown: HashSet<&String> = names.iter().take(THREADS).map(|(name, _)| *name).collect();
    draft.indices("held_site", &held.iter().map(|(at, ..)| index(*at)).collect::<Vec<_>>());
    draft.texts(
        "held_thread",
        held.iter()
            .map(|(_, name, _)| Some(if shown.contains(name) { name.as_str() } else { OTHER_THREADS })),
    );
    draft.numbers("held_bytes", held.iter().map(|(.., bytes)| *bytes as f64));
}

/// Threads, whose creators are merged by line, as in JSON, and have that line in place of their frames.
fn threads(profile: &Profile) -> io::Result<Value> {
    let mut threads = serde_json::to_value(&profile.threads)?;
    let at_line = |place: &Place| {
        let function = label::clean(&place.function);
        place.line.map_or_else(|| function.to_string(), |line| format!("{function}:{line}"))
    };
    let creator = |row: &CreatorLine<'_>| {
        json!({
            "owner": row.owner.as_ref().map(at_line),
            "count": row.count,
            "live": row.live,
            "stack_reserved_bytes": row.stack_reserved_bytes,
            "stack_resident_bytes": row.stack_resident_bytes,
        })
    };
    if let Some(rows) = threads.get_mut("creators") {
        *rows = profile.threads.creators_by_line().iter().map(creator).collect();
    }
    Ok(threads)
}
