//! Rows as the second version writes them: totals, verdicts, lines, sites.

use std::rc::Rc;

use serde::Serialize;

use super::frames::FrameTable;
use crate::profile::{
    Amounts, Category, Errors, Figures, Finding, HolderShare, LineRow, LineShare, OwnerShare, Place, Proof,
    RowName, RowSeries, Sentence, Site, SiteThread, Totals, Verdict, VerdictKind,
};

/// The six totals; with their standard errors only where they are estimates.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Six {
    allocated_bytes: u64,
    allocated_count: u64,
    freed_bytes: u64,
    freed_count: u64,
    live_bytes: u64,
    live_count: u64,
    #[serde(flatten)]
    errors: Option<Errors>,
}

impl From<&Totals> for Six {
    fn from(totals: &Totals) -> Six {
        Six {
            allocated_bytes: totals.allocated_bytes,
            allocated_count: totals.allocated_count,
            freed_bytes: totals.freed_bytes,
            freed_count: totals.freed_count,
            live_bytes: totals.live_bytes,
            live_count: totals.live_count,
            errors: totals.variances.map(|_| totals.errors),
        }
    }
}

#[derive(Serialize)]
pub(super) struct VerdictOut<'a> {
    kind: VerdictKind,
    proof: Proof,
    evidence: &'a Sentence,
    advice: &'a str,
    figures: &'a Figures,
}

impl<'a> From<&'a Verdict> for VerdictOut<'a> {
    fn from(verdict: &'a Verdict) -> Self {
        let Verdict { kind, proof, evidence, advice, figures } = verdict;
        Self { kind: *kind, proof: *proof, evidence, advice, figures }
    }
}

/// A finding, as the text names it.
#[derive(Serialize)]
pub(super) struct FindingOut<'a> {
    kind: VerdictKind,
    rows: &'a [RowName],
    owner: Option<&'a Place>,
    /// Indices of rows by line.
    by_line: &'a [usize],
    /// The line's part of a category that was found as a whole.
    share: Option<f64>,
    size_bytes: u64,
    #[serde(flatten)]
    amounts: Amounts,
    verdict: VerdictOut<'a>,
}

impl<'a> From<&'a Finding> for FindingOut<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            kind: finding.kind,
            rows: &finding.rows,
            owner: finding.line.as_ref(),
            by_line: &finding.by_line,
            share: finding.share,
            size_bytes: finding.size_bytes,
            amounts: finding.amounts,
            verdict: (&finding.verdict).into(),
        }
    }
}

/// A row by line.
#[derive(Serialize)]
pub(super) struct LineOut<'a> {
    source: &'a str,
    category: &'a str,
    kind: Option<&'a str>,
    line: Option<&'a Place>,
    lines: &'a [LineShare],
    #[serde(flatten)]
    totals: Six,
    resident_bytes: Option<u64>,
    growth_bytes_per_s: Option<i64>,
    growth_count_per_s: Option<f64>,
    verdict: Option<VerdictOut<'a>>,
    sites: Vec<usize>,
    threads: &'a [SiteThread],
    kept_by: Option<&'a [HolderShare]>,
}

impl<'a> LineOut<'a> {
    /// `sites`: how many of them the document has.
    pub(super) fn new(row: &'a LineRow, sites: usize) -> Self {
        Self {
            source: row.source,
            category: &row.category,
            kind: row.kind.as_deref(),
            line: row.line.as_ref(),
            lines: &row.lines,
            totals: (&row.totals).into(),
            resident_bytes: row.resident_bytes,
            growth_bytes_per_s: row.growth_bytes_per_s,
            growth_count_per_s: row.growth_count_per_s,
            verdict: row.verdict.as_ref().map(Into::into),
            sites: row.sites.iter().copied().filter(|&site| site < sites).collect(),
            threads: &row.threads,
            kept_by: row.holders.as_deref(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct CategoryOut<'a> {
    id: &'a str,
    name: &'a str,
    source: &'a str,
    #[serde(flatten)]
    totals: Six,
    resident_bytes: Option<u64>,
    owners: &'a [OwnerShare],
    growth_bytes_per_s: Option<i64>,
    verdict: Option<VerdictOut<'a>>,
}

impl<'a> From<&'a Category> for CategoryOut<'a> {
    fn from(row: &'a Category) -> Self {
        Self {
            id: &row.id,
            name: &row.name,
            source: row.source,
            totals: (&row.totals).into(),
            resident_bytes: row.resident_bytes,
            owners: &row.owners,
            growth_bytes_per_s: row.growth_bytes_per_s,
            verdict: row.verdict.as_ref().map(Into::into),
        }
    }
}

#[derive(Serialize)]
pub(super) struct SiteOut<'a> {
    category: &'a str,
    kind: Option<&'a str>,
    source: &'a str,
    #[serde(flatten)]
    totals: Six,
    growth_bytes_per_s: Option<i64>,
    verdict: Option<VerdictOut<'a>>,
    owner: Option<Rc<Place>>,
    path: Vec<Rc<Place>>,
    threads: &'a [SiteThread],
    frames: Vec<u32>,
    complete: Option<bool>,
    series: Option<&'a RowSeries>,
    kept_by: Option<&'a [HolderShare]>,
}

impl<'a> SiteOut<'a> {
    pub(super) fn new(site: &'a Site, frames: &mut FrameTable<'a>) -> Self {
        Self {
            category: &site.category,
            kind: site.kind.as_deref(),
            source: site.source,
            totals: (&site.totals).into(),
            growth_bytes_per_s: site.growth_bytes_per_s,
            verdict: site.verdict.as_ref().map(Into::into),
            owner: site.owner_frame().map(|frame| frames.place(frame)),
            path: frames.path(site),
            threads: &site.threads,
            frames: frames.indices(&site.frames),
            complete: site.complete,
            series: site.series.as_ref(),
            kept_by: site.holders.as_deref(),
        }
    }
}
