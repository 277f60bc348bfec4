//! The findings of a profile: what somebody must do something about, one for each illness, the largest first.

use std::cmp::Reverse;

use serde::Serialize;

use super::{Category, Kind, Verdict};

/// Categories that grow together: what the JVM keeps for classes, and what it keeps for threads.
const FAMILIES: [&[&str]; 2] = [&["metaspace", "class", "symbol", "code-cache"], &["thread-stack", "thread"]];

/// One illness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: Kind,
    /// The row that tells it, then others that the same code makes grow.
    pub rows: Vec<RowName>,
    /// Bytes that it added in the time that it was watched; of retention, bytes that malloc keeps.
    pub size_bytes: u64,
    /// Who holds most of it.
    pub owner: Option<String>,
}

/// A row of [`super::Profile::categories`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowName {
    pub category: String,
    pub source: &'static str,
}

impl RowName {
    /// Is it the name of this row?
    pub fn is_of(&self, row: &Category) -> bool {
        self.category == row.id && self.source == row.source
    }
}

/// The findings among these rows. Retention comes last, unless malloc keeps more than all others added.
pub(super) fn of(categories: &[Category]) -> Vec<Finding> {
    let verdicts = categories.iter().filter_map(|row| Some((row, row.verdict.as_ref()?.kind)));
    let mut rows: Vec<(&Category, Kind, u64)> = verdicts
        .filter(|(_, kind)| kind.is_finding())
        .map(|(row, kind)| (row, kind, size_bytes(row)))
        .collect();
    rows.sort_by_key(|(row, _, size)| (Reverse(*size), row.source, row.id.clone()));
    let mut findings: Vec<Finding> = Vec::new();
    for (row, kind, size_bytes) in rows {
        let owner = row.owners.first().map(|owner| owner.function.clone());
        let name = RowName { category: row.id.clone(), source: row.source };
        let is_same = |finding: &&mut Finding| {
            let of_family = finding.rows.iter().any(|other| is_family(&other.category, &row.id));
            let of_owner = finding.owner == owner && (owner.is_some() || of_family);
            kind != Kind::Retention
                && finding.kind != Kind::Retention
                && (of_family && (of_owner || owner.is_none() || finding.owner.is_none())
                    || of_owner && finding.kind == kind)
        };
        match findings.iter_mut().find(is_same) {
            Some(finding) => {
                finding.rows.push(name);
                finding.size_bytes = finding.size_bytes.saturating_add(size_bytes);
                finding.owner = finding.owner.take().or(owner);
            }
            None => findings.push(Finding { kind, rows: vec![name], size_bytes, owner }),
        }
    }
    let others = findings.iter().filter(|finding| finding.kind != Kind::Retention);
    let others_bytes = others.map(|finding| finding.size_bytes).fold(0, u64::saturating_add);
    let retention = categories.iter().filter_map(|row| retained_bytes(row.verdict.as_ref()?)).max();
    let is_small = retention.unwrap_or_default() <= others_bytes;
    findings
        .sort_by_key(|finding| (finding.kind == Kind::Retention && is_small, Reverse(finding.size_bytes)));
    findings
}

/// Bytes that malloc keeps of the memory freed in the recording; what it kept before has grown nothing. None: another
/// verdict.
pub fn retained_bytes(verdict: &Verdict) -> Option<u64> {
    let figure = |name| verdict.figures.whole(name).unwrap_or_default();
    let freed_bytes = figure("peak_bytes").saturating_sub(figure("live_bytes"));
    (verdict.kind == Kind::Retention).then(|| figure("kept_bytes").min(freed_bytes))
}

/// The bytes that a row's finding added, at most those that it has in memory.
fn size_bytes(row: &Category) -> u64 {
    let figures = row.verdict.as_ref().map(|verdict| &verdict.figures);
    let figure = |name| figures.and_then(|figures| figures.whole(name));
    let size = figure("kept_bytes")
        .or_else(|| figure("grown_bytes"))
        .unwrap_or_default()
        .max(if row.totals.allocated_count > 0 { row.totals.live_bytes } else { 0 });
    // What is mapped may be reserved alone.
    match row.resident_bytes.filter(|_| row.source == "mapping") {
        Some(resident) => size.min(resident),
        None => size,
    }
}

fn is_family(one: &str, other: &str) -> bool {
    FAMILIES.iter().any(|family| family.contains(&one) && family.contains(&other))
}
