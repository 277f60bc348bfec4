//! `tracer.diff/2`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::frames::FrameTable;
use super::rows::Six;
use super::write;
use crate::output::Options;
use crate::profile::diff::{
    CategoryPair, CensusDiff, CodeDiff, Compared, Diff, Difference, FilteredPair, LinePair, MemoryDiff,
    Rates, Side, SitePair, ThreadsDiff, TotalsPair, Verdicts,
};
use crate::profile::{Place, SiteFrame};

/// The schema's name.
const SCHEMA: &str = "tracer.diff/2";

/// Writes what differs; with `options.top`, only so many of its sites.
///
/// # Errors
/// Writing failed.
pub fn render(diff: &Diff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut frames = FrameTable::default();
    let top = options.top.unwrap_or(usize::MAX);
    let document = Document {
        schema: SCHEMA,
        kind: diff.kind,
        base: &diff.base,
        new: &diff.new,
        notes: &diff.notes,
        totals: diff.totals.as_ref().map(Into::into),
        rates: diff.rates.as_ref(),
        filtered: diff.filtered.as_ref(),
        by_line: diff.by_line.iter().map(Into::into).collect(),
        categories: diff.categories.iter().map(Into::into).collect(),
        sites: diff.sites.iter().take(top).map(|site| SiteOut::new(site, &mut frames)).collect(),
        memory: &diff.memory,
        threads: diff.threads.as_ref(),
        code_cache: diff.code_cache.as_ref(),
        census: diff.census.as_ref(),
        unknown: reasons(diff),
        frames: frames.into_frames(),
    };
    write(&document, options.pretty, out)
}

fn reasons(diff: &Diff) -> BTreeMap<&'static str, &'static str> {
    let mut reasons = BTreeMap::new();
    if diff.kind == Compared::Censuses {
        for path in ["totals", "rates", "filtered", "threads", "code_cache", "base.session", "new.session"] {
            reasons.insert(path, "censuses were compared, which are of one moment and know no stacks");
        }
    }
    if diff.census.is_none() {
        reasons.insert("census", "one of the recordings has no census of its end");
    }
    reasons
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    kind: Compared,
    base: &'a Side,
    new: &'a Side,
    notes: &'a [String],
    totals: Option<PairOut<'a>>,
    rates: Option<&'a Rates>,
    filtered: Option<&'a FilteredPair>,
    by_line: Vec<LineOut<'a>>,
    categories: Vec<CategoryOut<'a>>,
    sites: Vec<SiteOut<'a>>,
    memory: &'a MemoryDiff,
    threads: Option<&'a ThreadsDiff>,
    code_cache: Option<&'a CodeDiff>,
    census: Option<&'a CensusDiff>,
    unknown: BTreeMap<&'static str, &'static str>,
    frames: Vec<&'a SiteFrame>,
}

#[derive(Serialize)]
struct PairOut<'a> {
    base: Six,
    new: Six,
    difference: &'a Difference,
}

impl<'a> From<&'a TotalsPair> for PairOut<'a> {
    fn from(pair: &'a TotalsPair) -> Self {
        Self { base: (&pair.base).into(), new: (&pair.new).into(), difference: &pair.difference }
    }
}

#[derive(Serialize)]
struct LineOut<'a> {
    source: &'a str,
    category: &'a str,
    kind: Option<&'a str>,
    line: Option<&'a Place>,
    #[serde(flatten)]
    totals: PairOut<'a>,
    rates: &'a Rates,
    verdict: Verdicts,
}

impl<'a> From<&'a LinePair> for LineOut<'a> {
    fn from(row: &'a LinePair) -> Self {
        Self {
            source: row.source,
            category: &row.category,
            kind: row.kind.as_deref(),
            line: row.line.as_ref(),
            totals: (&row.totals).into(),
            rates: &row.rates,
            verdict: row.verdict,
        }
    }
}

#[derive(Serialize)]
struct CategoryOut<'a> {
    id: &'a str,
    name: &'a str,
    source: &'a str,
    #[serde(flatten)]
    totals: PairOut<'a>,
    rates: &'a Rates,
    verdict: Verdicts,
}

impl<'a> From<&'a CategoryPair> for CategoryOut<'a> {
    fn from(row: &'a CategoryPair) -> Self {
        Self {
            id: &row.id,
            name: &row.name,
            source: row.source,
            totals: (&row.totals).into(),
            rates: &row.rates,
            verdict: row.verdict,
        }
    }
}

#[derive(Serialize)]
struct SiteOut<'a> {
    category: &'a str,
    kind: Option<&'a str>,
    source: &'a str,
    #[serde(flatten)]
    totals: PairOut<'a>,
    rates: &'a Rates,
    verdict: Verdicts,
    owner: Option<Place>,
    frames: Vec<u32>,
    complete: Option<bool>,
}

impl<'a> SiteOut<'a> {
    fn new(site: &'a SitePair, frames: &mut FrameTable<'a>) -> Self {
        Self {
            category: &site.category,
            kind: site.kind.as_deref(),
            source: site.source,
            totals: (&site.totals).into(),
            rates: &site.rates,
            verdict: site.verdict,
            owner: site.path.owner.and_then(|at| site.frames.get(at)).map(|frame| Place::from(&**frame)),
            frames: frames.indices(&site.frames),
            complete: site.complete,
        }
    }
}
