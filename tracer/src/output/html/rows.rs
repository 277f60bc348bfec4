//! Findings and rows by line, as the page gets them: those of one source, with the sites behind each.

use serde_json::{Value, json};

use super::courses::Courses;
use crate::output::answer::kept;
use crate::output::answer::screen::names;
use crate::output::holders::in_one_line;
use crate::output::label::clean;
use crate::profile::kept::merged;
use crate::profile::{Finding, LineRow, Profile};

/// Findings that a page has, the largest.
const FINDINGS: usize = 200;
/// Ways of holding that a row has, those with most bytes.
const WAYS: usize = 6;
/// A path is never cut by its width.
const WHOLE: usize = 10_000;

/// The rows of the page's source.
pub(super) struct Rows {
    /// Indices of the profile's rows.
    shown: Vec<usize>,
    /// The row of each of the source's sites, as an index into `shown`; -1: it has none.
    pub(super) of_sites: Vec<i32>,
}

impl Rows {
    pub(super) fn of(profile: &Profile, source: &str) -> Self {
        let is_shown = |row: &LineRow| row.source == source;
        let shown: Vec<usize> =
            profile.by_line.iter().enumerate().filter(|(_, row)| is_shown(row)).map(|(at, _)| at).collect();
        let mut rows = vec![-1; profile.sites.len()];
        for (number, row) in shown.iter().filter_map(|&at| profile.by_line.get(at)).enumerate() {
            for &site in &row.sites {
                if let Some(of_site) = rows.get_mut(site) {
                    *of_site = i32::try_from(number).unwrap_or(-1);
                }
            }
        }
        let sites = profile.sites.iter().zip(rows).filter(|(site, _)| site.source == source);
        Self { shown, of_sites: sites.map(|(_, row)| row).collect() }
    }

    pub(super) fn by_line(&self, profile: &Profile, courses: &Courses) -> Vec<Value> {
        let row = |row: &LineRow| {
            let kind = row.kind.as_deref().map(|kind| format!(" ({})", clean(kind))).unwrap_or_default();
            let name = row.line.as_ref().and_then(|line| names(line).into_iter().next());
            let threads = row.threads.iter().take(8).map(|thread| clean(&thread.name));
            json!({
                "name": name.as_deref().unwrap_or("no line of the application"),
                "what": format!("{}{kind}", clean(&row.category)),
                "live_bytes": row.totals.live_bytes,
                "resident_bytes": row.resident_bytes,
                "growth_bytes_per_s": row.growth_bytes_per_s,
                "verdict": row.verdict,
                "threads": threads.collect::<Vec<_>>(),
                "kept": kept_by(&[row]),
                "course": row.course.as_ref().map(|course| courses.picked(&course.live_bytes)),
            })
        };
        self.shown.iter().filter_map(|&at| profile.by_line.get(at)).map(row).collect()
    }

    pub(super) fn findings(&self, profile: &Profile, courses: &Courses) -> Vec<Value> {
        let finding = |finding: &Finding| {
            // In ascending order.
            let rows = finding.by_line.iter().filter_map(|at| self.shown.binary_search(at).ok());
            let mut categories: Vec<&str> = finding.rows.iter().map(|row| row.category.as_str()).collect();
            categories.dedup();
            let what = clean(&categories.join(", ")).into_owned();
            let name = finding.line.as_ref().and_then(|line| names(line).into_iter().next());
            let lines: Vec<&LineRow> =
                finding.by_line.iter().filter_map(|&at| profile.by_line.get(at)).collect();
            json!({
                "kept": kept_by(&lines),
                "course": course(finding, &lines, profile).map(|values| courses.picked(&values)),
                "name": name.unwrap_or_else(|| what.clone()),
                "what": what,
                "by_line": rows.collect::<Vec<_>>(),
                "live_bytes": finding.amounts.live_bytes,
                "live_count": finding.amounts.live_count,
                "mapped_bytes": finding.amounts.mapped_bytes,
                "growth_bytes_per_s": finding.amounts.growth_bytes_per_s,
                "growth_count_per_s": finding.amounts.growth_count_per_s,
                "verdict": finding.verdict,
            })
        };
        profile.findings.iter().take(FINDINGS).map(finding).collect()
    }
}

/// Holders of the rows' memory: a sentence, and the ways with their bytes. Null: nobody looked, or nobody does.
fn kept_by(rows: &[&LineRow]) -> Value {
    let Some(text) = kept::line(rows, WHOLE) else { return Value::Null };
    let ways = merged(rows.iter().map(|row| row.kept_by.as_deref())).unwrap_or_default();
    let way = |kept: &crate::profile::KeptBy| {
        json!({
            "state": kept.state,
            "path": in_one_line(&kept.path, WHOLE),
            "bytes": kept.bytes,
            "count": kept.count,
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
