//! Differences between two profiles, or between two censuses.
//!
//! Every row of either side is in one row here, so the differences add up to that of the totals, and from new
//! to base they are the same with the other sign. Nothing is left out because it did not change: that is for
//! outputs to decide.

mod by_line;
mod facts;
mod notes;
mod pair;
mod parts;
mod sites;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

pub use by_line::LinePair;
pub use facts::{CensusDiff, FactPair};
pub use pair::{Difference, Durations, Pair, Rates, TotalsPair};
pub use parts::{CodeDiff, GeneratedPair, HeapPair, MemoryDiff, PartPair, ThreadsDiff, ThreadsPair};
pub use sites::{SiteLive, SitePair, Verdicts};

use super::census;
use super::{Category, Filtered, Jvm, Profile, Session, Sort, Target, Totals, View};
use crate::census::Census;

/// The schema's name.
pub const SCHEMA: &str = "tracer.diff/1";

/// Differences between two recordings or censuses. Sizes are in bytes, frames leaf first.
#[derive(Clone, Debug, Serialize)]
pub struct Diff {
    pub schema: &'static str,
    pub kind: Compared,
    pub base: Side,
    pub new: Side,
    /// Limits of the comparison, in sentences.
    pub notes: Vec<String>,
    /// `None` for two censuses, like everything that only recordings have.
    pub totals: Option<TotalsPair>,
    pub rates: Option<Rates>,
    /// Memory that is left out of all rows and totals. `None` for censuses.
    pub filtered: Option<FilteredPair>,
    /// The allocator's first, each by how much more is live.
    #[serde(skip)]
    pub by_line: Vec<LinePair>,
    /// The allocator's first, each by how much more is live.
    pub categories: Vec<CategoryPair>,
    /// The allocator's first, each by how much more is live.
    pub sites: Vec<SitePair>,
    pub memory: MemoryDiff,
    pub threads: Option<ThreadsDiff>,
    pub code_cache: Option<CodeDiff>,
    /// Censuses of recordings are those at their ends. `None` if one of them has none.
    pub census: Option<CensusDiff>,
}

/// Memory that is left out on each side.
#[derive(Clone, Debug, Serialize)]
pub struct FilteredPair {
    pub base: Filtered,
    pub new: Filtered,
}

/// Kind of the two sides of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compared {
    Recordings,
    Censuses,
}

/// Side of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// File that it was read from.
    pub file: Option<String>,
    pub target: Target,
    /// `None` for a census.
    pub session: Option<Session>,
    /// Reasons with a count above zero.
    pub lost: BTreeMap<String, u64>,
}

/// A category that both may have.
#[derive(Clone, Debug, Serialize)]
pub struct CategoryPair {
    pub id: String,
    pub name: String,
    /// `allocator` or `mapping`.
    pub source: &'static str,
    #[serde(flatten)]
    pub totals: TotalsPair,
    pub rates: Rates,
    pub verdict: Verdicts,
}

impl Diff {
    /// Differences between two recordings.
    pub fn of_profiles(base: &Profile, new: &Profile) -> Self {
        let durations = Durations { base_ns: base.session.duration_ns, new_ns: new.session.duration_ns };
        let totals = TotalsPair::new(base.totals, new.totals);
        let census = base.census.end.as_deref().zip(new.census.end.as_deref());
        let mut diff = Self {
            schema: SCHEMA,
            kind: Compared::Recordings,
            base: Side::of(base),
            new: Side::of(new),
            notes: notes::of_profiles(base, new),
            rates: Some(Rates::of(&totals, durations)),
            filtered: Some(FilteredPair { base: base.filtered.clone(), new: new.filtered.clone() }),
            totals: Some(totals),
            by_line: by_line::pairs(&base.by_line, &new.by_line, durations),
            categories: categories(&base.categories, &new.categories, durations),
            sites: sites::pairs(&base.sites, &new.sites, durations),
            memory: MemoryDiff::of(&base.memory, &new.memory),
            threads: Some(ThreadsDiff::of(&base.threads, &new.threads)),
            code_cache: Some(CodeDiff::of(&base.code_cache, &new.code_cache)),
            census: census.map(|(base, new)| CensusDiff::of(base, new)),
        };
        diff.sort_by(View::Live);
        diff
    }

    /// Differences between two censuses.
    pub fn of_censuses(base: &Census, new: &Census) -> Self {
        Self {
            schema: SCHEMA,
            kind: Compared::Censuses,
            base: Side::of_census(base),
            new: Side::of_census(new),
            notes: notes::of_targets(&target(base), &target(new)),
            totals: None,
            rates: None,
            filtered: None,
            by_line: Vec::new(),
            categories: Vec::new(),
            sites: Vec::new(),
            memory: MemoryDiff::of_parts(
                Pair::new(base.memory.rss_bytes, new.memory.rss_bytes),
                &census::parts(base),
                &census::parts(new),
            ),
            threads: None,
            code_cache: None,
            census: Some(CensusDiff::of(base, new)),
        }
    }

    /// Keeps only the sites that a view shows, and puts first what grew most in it.
    pub fn keep_view(&mut self, view: View) {
        let shows = |row: &SitePair| {
            let in_view = view.bytes(&row.totals.base) > 0 || view.bytes(&row.totals.new) > 0;
            let verdicts = [row.verdict.base, row.verdict.new];
            in_view && verdicts.into_iter().flatten().any(|kind| view.shows_kind(kind))
        };
        self.sites.retain(|row| view == View::Live || shows(row));
        self.sort_by(view);
    }

    /// Were the sessions so different in length that only what is per second can be compared?
    pub fn has_other_length(&self) -> bool {
        let length = |side: &Side| side.session.as_ref().map_or(0, |session| session.duration_ns);
        notes::is_other_length(length(&self.base), length(&self.new))
    }

    /// Orders rows by the difference of what a key is, those of the allocator first.
    pub fn sort(&mut self, view: View, by: Sort) {
        self.order(|difference| match by {
            Sort::Bytes => view.growth(difference),
            Sort::Count => view.count_growth(difference),
            Sort::Allocated => difference.allocated_bytes,
            Sort::Growth => difference.live_bytes,
        });
    }

    fn sort_by(&mut self, view: View) {
        self.order(|difference| view.growth(difference));
    }

    fn order(&mut self, key: impl Fn(&Difference) -> i64) {
        let growth = |totals: &TotalsPair| Reverse(key(&totals.difference));
        self.by_line.sort_by_key(|row| (row.source, growth(&row.totals)));
        self.categories.sort_by_key(|row| (row.source, growth(&row.totals)));
        self.sites.sort_by_key(|row| (row.source, growth(&row.totals)));
    }

    /// Does nothing differ, as far as it was compared?
    pub fn is_empty(&self) -> bool {
        let rows =
            self.categories.iter().map(|row| &row.totals).chain(self.sites.iter().map(|row| &row.totals));
        let census = self.census.as_ref();
        !(rows.into_iter().any(TotalsPair::differs)
            || self.memory.differs()
            || self.threads.as_ref().is_some_and(ThreadsDiff::differs)
            || self.code_cache.as_ref().is_some_and(CodeDiff::differs)
            || census.is_some_and(|census| census.facts.iter().any(FactPair::differs)))
    }
}

impl View {
    /// Growth in this view.
    pub const fn growth(self, difference: &Difference) -> i64 {
        match self {
            View::Live | View::Leaks | View::Peak => difference.live_bytes,
            View::Allocated => difference.allocated_bytes,
            View::Temporary => difference.freed_bytes,
        }
    }
}

impl View {
    /// Number of further allocations in this view.
    const fn count_growth(self, difference: &Difference) -> i64 {
        match self {
            View::Live | View::Leaks | View::Peak => difference.live_count,
            View::Allocated => difference.allocated_count,
            View::Temporary => difference.freed_count,
        }
    }
}

impl Side {
    fn of(profile: &Profile) -> Self {
        Self {
            file: None,
            target: profile.target.clone(),
            session: Some(profile.session.clone()),
            lost: profile.quality.lost.clone(),
        }
    }

    fn of_census(census: &Census) -> Self {
        Self { file: None, target: target(census), session: None, lost: BTreeMap::new() }
    }
}

fn target(census: &Census) -> Target {
    let target = census.target.clone();
    let jvm = target.jvm.map(|jvm| Jvm {
        version: Some(jvm.version),
        vendor: jvm.vendor,
        gc: jvm.gc,
        java_home: jvm.java_home,
    });
    Target { pid: target.pid, comm: target.comm, command: target.command, jvm, container: target.container }
}

fn categories(base: &[Category], new: &[Category], durations: Durations) -> Vec<CategoryPair> {
    let key = |row: &Category| (row.source, row.id.clone());
    let rows: BTreeMap<_, [Option<&Category>; 2]> = joined(base, new, key);
    let pair = |[base, new]: [Option<&Category>; 2]| {
        let totals_of = |row: Option<&Category>| row.map_or_else(Totals::default, |row| row.totals);
        let verdict_of = |row: Option<&Category>| Some(row?.verdict.as_ref()?.kind);
        let totals = TotalsPair::new(totals_of(base), totals_of(new));
        let shown = new.or(base)?;
        Some(CategoryPair {
            id: shown.id.clone(),
            name: shown.name.clone(),
            source: shown.source,
            rates: Rates::of(&totals, durations),
            totals,
            verdict: Verdicts { base: verdict_of(base), new: verdict_of(new) },
        })
    };
    rows.into_values().filter_map(pair).collect()
}

/// Rows of both sides by their key; where a side has several of a key, the last.
fn joined<'a, T, K: Ord>(
    base: &'a [T],
    new: &'a [T],
    key: impl Fn(&'a T) -> K,
) -> BTreeMap<K, [Option<&'a T>; 2]> {
    let mut rows: BTreeMap<K, [Option<&T>; 2]> = BTreeMap::new();
    base.iter().for_each(|row| rows.entry(key(row)).or_default()[0] = Some(row));
    new.iter().for_each(|row| rows.entry(key(row)).or_default()[1] = Some(row));
    rows
}
