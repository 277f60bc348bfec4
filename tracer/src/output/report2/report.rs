//! `tracer.report/2`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::frames::FrameTable;
use super::rows::{CategoryOut, FindingOut, LineOut, SiteOut, Six};
use super::{unknown, write};
use crate::limits::{Fits, Limit};
use crate::output::Options;
use crate::profile::{
    CachedStacks, Censuses, CodeCache, CreatorLine, Estimate, Filtered, Memory, Place, Profile, Quality,
    Series, Session, SiteFrame, Target, ThreadNames, TouchedCategory, TouchedMemory, TouchedSite,
};
use crate::recording::AboutHolders;

/// The schema's name.
const SCHEMA: &str = "tracer.report/2";
/// Findings that are written, the largest.
const FINDINGS: usize = 1_000;

/// Writes a profile; with `options.top`, only so many of its sites.
///
/// # Errors
/// Writing failed.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut frames = FrameTable::default();
    let top = options.top.unwrap_or(usize::MAX);
    let sites: Vec<SiteOut<'_>> =
        profile.sites.iter().take(top).map(|site| SiteOut::new(site, &mut frames)).collect();
    let threads = ThreadsOut::new(profile, &mut frames);
    let touched = profile.touched.as_ref().map(|touched| TouchedOut::new(touched, &mut frames));
    let by_line = profile.by_line.iter().map(|row| LineOut::new(row, sites.len())).collect();
    let document = Report {
        schema: SCHEMA,
        target: &profile.target,
        session: &profile.session,
        trust: &profile.quality,
        totals: (&profile.totals).into(),
        filtered: &profile.filtered,
        finding_count: profile.findings.len(),
        findings: profile.findings.iter().take(FINDINGS).map(Into::into).collect(),
        by_line,
        categories: profile.categories.iter().map(Into::into).collect(),
        sites,
        threads,
        code_cache: &profile.code_cache,
        memory: &profile.memory,
        limits: profile.limits.as_deref(),
        fits: profile.fits.as_ref(),
        touched,
        series: &profile.series,
        census: &profile.census,
        holders: profile.holders.as_ref().ok(),
        unknown: unknown::reasons(profile),
        frames: frames.into_frames(),
    };
    write(&document, options.pretty, out)
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    target: &'a Target,
    session: &'a Session,
    trust: &'a Quality,
    totals: Six,
    filtered: &'a Filtered,
    finding_count: usize,
    findings: Vec<FindingOut<'a>>,
    by_line: Vec<LineOut<'a>>,
    categories: Vec<CategoryOut<'a>>,
    sites: Vec<SiteOut<'a>>,
    threads: ThreadsOut<'a>,
    code_cache: &'a CodeCache,
    memory: &'a Memory,
    limits: Option<&'a [Limit]>,
    fits: Option<&'a Fits>,
    touched: Option<TouchedOut<'a>>,
    series: &'a Series,
    census: &'a Censuses,
    holders: Option<&'a AboutHolders>,
    unknown: BTreeMap<String, String>,
    frames: Vec<&'a SiteFrame>,
}

#[derive(Serialize)]
struct ThreadsOut<'a> {
    live: u64,
    started: u64,
    exited: u64,
    stack_reserved_bytes: Option<u64>,
    stack_resident_bytes: Option<u64>,
    cached_stacks: Option<CachedStacks>,
    creators: Vec<CreatorOut>,
    names: &'a [ThreadNames],
}

/// The threads that one line started.
#[derive(Serialize)]
struct CreatorOut {
    owner: Option<Place>,
    count: u64,
    live: u64,
    stack_reserved_bytes: u64,
    stack_resident_bytes: u64,
    /// Frames of the stack that started most.
    frames: Vec<u32>,
}

impl<'a> ThreadsOut<'a> {
    fn new(profile: &'a Profile, frames: &mut FrameTable<'a>) -> Self {
        let threads = &profile.threads;
        let creator = |row: CreatorLine<'a>| CreatorOut {
            owner: row.owner,
            count: row.count,
            live: row.live,
            stack_reserved_bytes: row.stack_reserved_bytes,
            stack_resident_bytes: row.stack_resident_bytes,
            frames: frames.indices(row.frames),
        };
        Self {
            creators: threads.creators_by_line().into_iter().map(creator).collect(),
            live: threads.live,
            started: threads.started,
            exited: threads.exited,
            stack_reserved_bytes: threads.stack_reserved_bytes,
            stack_resident_bytes: threads.stack_resident_bytes,
            cached_stacks: threads.cached_stacks,
            names: &threads.names,
        }
    }
}

#[derive(Serialize)]
struct TouchedOut<'a> {
    fault_count: u64,
    page_bytes: u64,
    java_heap_fault_count: u64,
    sample_count: u64,
    bytes: u64,
    standard_error_bytes: u64,
    categories: &'a [TouchedCategory],
    sites: Vec<TouchedSiteOut<'a>>,
}

#[derive(Serialize)]
struct TouchedSiteOut<'a> {
    category: &'a str,
    kind: Option<&'a str>,
    #[serde(flatten)]
    estimate: Estimate,
    owner: Option<Place>,
    frames: Vec<u32>,
    complete: Option<bool>,
}

impl<'a> TouchedOut<'a> {
    fn new(touched: &'a TouchedMemory, frames: &mut FrameTable<'a>) -> Self {
        let site = |site: &'a TouchedSite| TouchedSiteOut {
            category: &site.category,
            kind: site.kind.as_deref(),
            estimate: site.estimate,
            owner: site.path.owner.and_then(|at| site.frames.get(at)).map(|frame| Place::from(&**frame)),
            frames: frames.indices(&site.frames),
            complete: site.complete,
        };
        Self {
            sites: touched.sites.iter().map(site).collect(),
            fault_count: touched.fault_count,
            page_bytes: touched.page_bytes,
            java_heap_fault_count: touched.java_heap_fault_count,
            sample_count: touched.sample_count,
            bytes: touched.bytes,
            standard_error_bytes: touched.standard_error_bytes,
            categories: &touched.categories,
        }
    }
}
