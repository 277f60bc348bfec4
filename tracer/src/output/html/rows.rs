//! Findings and rows by line, as the page gets them: those of one source, with the sites behind each.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::courses::Courses;
use super::draft::index;
use crate::output::answer;
use crate::output::answer::screen::names;
use crate::output::holders::in_one_line;
use crate::output::label::clean;
use crate::output::units;
use crate::profile::holders::merged;
use crate::profile::{Finding, LineRow, Profile};

/// Findings that a page has, the largest.
const FINDINGS: usize = 200;
/// Rows that are told one by one, at most, those that hold most.
pub(super) const LINES: usize = 1_000;
/// Ways of holding that a row has, those with most bytes.
const WAYS: usize = 6;
/// A path is never cut by its width.
const WHOLE: usize = 10_000;

/// The rows of the page's source: at most so many, those that hold most, and for each finding, and for all else, one row of the others.
pub(super) struct Rows {
    /// Indices of the profile's rows, those that hold most first.
    shown: Vec<usize>,
    /// Rows that are one here.
    rests: Vec<Vec<usize>>,
    /// Rows of each finding, as indices of `shown`, then of `rests`.
    of_findings: Vec<Vec<usize>>,
    /// The row of each of the source's sites; -1: it has none.
    pub(super) of_sites: Vec<i32>,
}

impl Rows {
    pub(super) fn of(profile: &Profile, source: &str, most: usize) -> Self {
        let is_shown = |row: &LineRow| row.source == source;
        let indices = profile.by_line.iter().enumerate().filter(|(_, row)| is_shown(row)).map(|(at, _)| at);
        let mut shown: Vec<usize> = indices.collect();
        let others = shown.split_off(most.min(shown.len()));
        let findings = findings_of_rows(profile, source);
        let finding_of = |row: usize| findings.get(row).copied().flatten();
        let mut rests: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for row in others {
            rests.entry(finding_of(row)).or_default().push(row);
        }
        let mut rows = Self {
            of_findings: vec![Vec::new(); profile.findings.len().min(FINDINGS)],
            rests: Vec::new(),
            of_sites: Vec::new(),
            shown,
        };
        let mut of_sites = vec![-1; profile.sites.len()];
        let mut put = |at: usize, finding: Option<usize>, members: &[usize]| {
            if let Some(of_finding) = finding.and_then(|finding| rows.of_findings.get_mut(finding)) {
                of_finding.push(at);
            }
            for &site in members.iter().filter_map(|&row| profile.by_line.get(row)).flat_map(|row| &row.sites)
            {
                if let Some(of_site) = of_sites.get_mut(site) {
                    *of_site = index(at);
                }
            }
        };
        for (at, &row) in rows.shown.iter().enumerate() {
            put(at, finding_of(row), &[row]);
        }
        for (at, (finding, members)) in rests.into_iter().enumerate() {
            put(rows.shown.len() + at, finding, &members);
            rows.rests.push(members);
        }
        let sites = profile.sites.iter().zip(of_sites).filter(|(site, _)| site.source == source);
        rows.of_sites = sites.map(|(_, row)| row).collect();
        rows
    }

    pub(super) fn by_line(&self, profile: &Profile, courses: &Courses) -> Vec<Value> {
        let row = |row: &LineRow| {
            let kind = row.kind.as_deref().map(|kind| format!(" ({})", clean(kind))).unwrap_or_default();
            let name = row.line.as_ref().and_then(|line| names(line).into_iter().next());
            let threads = row.threads.iter().take(8).map(|thread| clean(&thread.name));
            json!({
                "name": name.as_deref().unwrap_or("no line of the application"),
                "what": format!("{}{kind}", clean(&row.category)),
                "resident_bytes": row.resident_bytes,
                "growth_bytes_per_s": row.growth_bytes_per_s,
                "verdict": row.verdict,
                "threads": threads.collect::<Vec<_>>(),
                "sizes": sizes(row, profile),
                "holders": holders(&[row]),
                "course": row.course.as_ref().map(|course| courses.picked(&course.live_bytes)),
            })
        };
        let of = |at: &usize| profile.by_line.get(*at);
        let rests = self.rests.iter().map(|rows| rest(&rows.iter().filter_map(of).collect::<Vec<_>>()));
        self.shown.iter().filter_map(of).map(row).chain(rests).collect()
    }

    pub(super) fn findings(&self, profile: &Profile, courses: &Courses) -> Vec<Value> {
        let finding = |(rows, finding): (&Vec<usize>, &Finding)| {
            let mut categories: Vec<&str> = finding.rows.iter().map(|row| row.category.as_str()).collect();
            categories.dedup();
            let what = clean(&categories.join(", ")).into_owned();
            let name = finding.line.as_ref().and_then(|line| names(line).into_iter().next());
            let lines: Vec<&LineRow> =
                finding.by_line.iter().filter_map(|&at| profile.by_line.get(at)).collect();
            json!({
                "holders": holders(&lines),
                "course": course(finding, &lines, profile).map(|values| courses.picked(&values)),
                "name": name.unwrap_or_else(|| what.clone()),
                "what": what,
                "by_line": rows,
                "live_bytes": finding.amounts.live_bytes,
                "live_count": finding.amounts.live_count,
                "mapped_bytes": finding.amounts.mapped_bytes,
                "growth_bytes_per_s": finding.amounts.growth_bytes_per_s,
                "growth_count_per_s": finding.amounts.growth_count_per_s,
                "verdict": finding.verdict,
            })
        };
        self.of_findings.iter().zip(&profile.findings).map(finding).collect()
    }
}

/// The finding that each row by line belongs to: those of its line, or of its categories if these were found as a whole.
fn findings_of_rows(profile: &Profile, source: &str) -> Vec<Option<usize>> {
    let mut findings: Vec<Option<usize>> = vec![None; profile.by_line.len()];
    for (at, finding) in profile.findings.iter().take(FINDINGS).enumerate() {
        let is_of_category = |row: &LineRow| {
            finding.rows.iter().any(|name| name.category == row.category && name.source == row.source)
        };
        for (number, (row, of_row)) in profile.by_line.iter().zip(&mut findings).enumerate() {
            let is_of = match finding.share {
                Some(_) => is_of_category(row),
                None => finding.by_line.contains(&number),
            };
            if row.source == source && is_of {
                of_row.get_or_insert(at);
            }
        }
    }
    findings
}

/// Rows that are told as one, because there are so many.
fn rest(rows: &[&LineRow]) -> Value {
    let mut categories: Vec<&str> = rows.iter().map(|row| row.category.as_str()).collect();
    categories.sort_unstable();
    categories.dedup();
    let most = rows.iter().map(|row| row.totals.live_bytes).max().unwrap_or(0);
    let kind = rows.first().and_then(|row| row.verdict.as_ref());
    let is_one = |row: &&LineRow| row.verdict.as_ref().map(|it| it.kind) == kind.map(|it| it.kind);
    let evidence = format!(
        "{} that hold at most {} each: too many to tell them one by one; they are in the graphs and call paths",
        units::counted(rows.len() as u64, "line"),
        units::bytes(most),
    );
    let growth = rows
        .iter()
        .map(|row| row.growth_bytes_per_s)
        .try_fold(0_i64, |sum, growth| Some(sum.saturating_add(growth?)));
    json!({
        "name": format!("{} that hold less", units::counted(rows.len() as u64, "line")),
        "what": clean(&categories.join(", ")),
        "growth_bytes_per_s": growth,
        "verdict": {
            "kind": kind.filter(|_| rows.iter().all(is_one)).map(|it| it.kind),
            "proof": kind.filter(|_| rows.iter().all(is_one)).map(|it| it.proof),
            "evidence": evidence,
        },
        "threads": [],
    })
}

/// Memory of a row that is not freed, by classes of sizes. Null: not known of all of it.
fn sizes(row: &LineRow, profile: &Profile) -> Value {
    let mut classes: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for site in
        row.sites.iter().filter_map(|&site| profile.sites.get(site)).filter(|it| it.totals.live_count > 0)
    {
        let Some(sizes) = &site.sizes else { return Value::Null };
        for size in sizes {
            let sum = classes.entry(size.least_bytes).or_default();
            *sum = (sum.0.saturating_add(size.live_bytes), sum.1.saturating_add(size.live_count));
        }
    }
    classes.into_iter().map(|(least, (bytes, count))| json!([least, bytes, count])).collect()
}

/// Holders of the rows' memory: a sentence, and the ways with their bytes. Null: nobody looked, or nobody does.
fn holders(rows: &[&LineRow]) -> Value {
    let Some(text) = answer::holders::line(rows, WHOLE) else { return Value::Null };
    let ways = merged(rows.iter().map(|row| row.holders.as_deref())).unwrap_or_default();
    let way = |share: &crate::profile::HolderShare| {
        json!({
            "state": share.state,
            "path": in_one_line(&share.path, WHOLE),
            "bytes": share.bytes,
            "count": share.count,
        })
    };
    json!({
        "text": text,
        "ways": ways.iter().take(WAYS).map(way).collect::<Vec<_>>(),
        "more": ways.len().saturating_sub(WAYS),
    })
}

/// Memory that a finding held over time: its rows of malloc's, or the category that tells it.
fn course(finding: &Finding, lines: &[&LineRow], profile: &Profile) -> Option<Vec<u64>> {
    let of_lines: Vec<&LineRow> = lines.iter().copied().filter(|row| row.source == "allocator").collect();
    if finding.share.is_none() && finding.amounts.live_bytes > 0 && !of_lines.is_empty() {
        let mut sum = vec![0_u64; profile.series.times_ns.len()];
        for row in of_lines {
            let values = &row.course.as_ref()?.live_bytes;
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum = sum.saturating_add(*value));
        }
        return Some(sum);
    }
    let row = finding.rows.first()?;
    let of = if row.source == "mapping" { &profile.series.mappings } else { &profile.series.categories };
    of.get(&row.category).map(|course| course.live_bytes.clone())
}
