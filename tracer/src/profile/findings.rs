//! The findings of a profile: illnesses that somebody must do something about, the largest first.
//!
//! Takes the rows by line, the categories and who started the threads; gives one finding for each line of code,
//! whatever kinds of memory it makes grow (a thread's stack and its structures, a class and its names), and one for
//! each category that grows as a whole. Every output shows these, so none can name another line, or in another order.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use super::by_line::{LineRow, Place, readable};
use super::{Category, Threads, Verdict, VerdictKind};

/// Categories that grow together: what the JVM keeps for classes, and what it keeps for threads.
const FAMILIES: [&[&str]; 2] = [&["metaspace", "class", "symbol", "code-cache"], &["thread-stack", "thread"]];
/// Share of a category from which on its owner is the one to ask.
const MOST_SHARE: f64 = 0.5;

/// Finding: one illness.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub kind: VerdictKind,
    /// The category that tells it, then others that the same code makes grow.
    pub rows: Vec<RowName>,
    /// Bytes that it added in the time that it was watched; of retention, bytes that malloc keeps.
    pub size_bytes: u64,
    /// The function that holds most of it, as people read it.
    pub owner: Option<String>,
    /// `None` if no line of the application holds half of it.
    #[serde(skip)]
    pub line: Option<Place>,
    /// Indices of rows by line, the one that tells it first.
    #[serde(skip)]
    pub by_line: Vec<usize>,
    /// The line's part of the category, of 1, where the category was found as a whole. `None` if it was found in rows
    /// by line.
    #[serde(skip)]
    pub share: Option<f64>,
    #[serde(skip)]
    pub verdict: Verdict,
    #[serde(skip)]
    pub amounts: Amounts,
}

/// Amounts that a finding holds at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Amounts {
    /// Allocated in the recording and not freed.
    pub live_bytes: u64,
    /// Number of allocations that are not freed; of threads, those that live.
    pub live_count: u64,
    /// Part of `live_bytes` on pages that are in memory. `None` if it is not known.
    pub resident_bytes: Option<u64>,
    /// Mapped and in memory: no part of `live_bytes`.
    pub mapped_bytes: u64,
    /// Growth of `live_bytes`, or of `mapped_bytes` where there are none. `None` if the session was too short to tell.
    pub growth_bytes_per_s: Option<i64>,
    pub growth_count_per_s: Option<f64>,
}

/// A row of [`super::Profile::categories`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowName {
    pub category: String,
    pub source: &'static str,
}

/// The findings among these rows. Retention comes last, unless malloc keeps more than all others added.
pub(super) fn of(categories: &[Category], by_line: &[LineRow], threads: &Threads) -> Vec<Finding> {
    let mut findings = of_lines(categories, by_line, threads);
    let is_finding = |row: &&Category| row.verdict.as_ref().is_some_and(|it| it.kind.is_finding());
    let mut rows: Vec<&Category> = categories.iter().filter(is_finding).collect();
    rows.sort_by_key(|row| (Reverse(size_bytes(row)), row.source, row.id.clone()));
    for row in rows {
        let Some(found) = Finding::of_category(row, by_line) else { continue };
        match findings.iter_mut().find(|finding| finding.is_same(&found)) {
            Some(finding) => finding.join(&found),
            None => findings.push(found),
        }
    }
    let others = findings.iter().filter(|finding| finding.kind != VerdictKind::Retention);
    let others_bytes = others.map(|finding| finding.size_bytes).fold(0, u64::saturating_add);
    // Memory that malloc kept before has grown nothing.
    let is_last = |finding: &Finding| retained_bytes(&finding.verdict).is_some_and(|it| it <= others_bytes);
    findings.sort_by_key(|finding| (is_last(finding), Reverse(finding.size_bytes)));
    findings
}

/// Findings of lines, one for each method of the application whose rows are findings.
fn of_lines(categories: &[Category], by_line: &[LineRow], threads: &Threads) -> Vec<Finding> {
    let mut lines: Vec<Vec<usize>> = Vec::new();
    let mut by_function: HashMap<&str, usize> = HashMap::new();
    for (at, row) in by_line.iter().enumerate() {
        let Some(line) = row.line.as_ref() else { continue };
        if !row.verdict.as_ref().is_some_and(|verdict| verdict.kind.is_finding()) {
            continue;
        }
        let place = *by_function.entry(&line.function).or_insert_with(|| {
            lines.push(Vec::new());
            lines.len() - 1
        });
        lines.get_mut(place).into_iter().for_each(|rows| rows.push(at));
    }
    let mut findings = Vec::new();
    for mut rows in lines {
        let row = |at: usize| by_line.get(at);
        rows.sort_by_key(|&at| Reverse(row(at).map(|row| bytes_of(row, categories, threads))));
        let rows_of = || rows.iter().filter_map(|&at| by_line.get(at));
        let Some((first, verdict)) = rows_of().next().and_then(|row| Some((row, row.verdict.clone()?)))
        else {
            continue;
        };
        let amounts = amounts(&rows_of().collect::<Vec<_>>(), categories, threads);
        let mut finding = Finding {
            kind: verdict.kind,
            rows: Vec::new(),
            size_bytes: amounts.live_bytes.saturating_add(amounts.mapped_bytes),
            owner: first.line.as_ref().map(|line| line.function.clone()),
            line: first.line.clone(),
            share: None,
            verdict,
            amounts,
            by_line: Vec::new(),
        };
        for row in rows_of() {
            finding.add_name(&RowName { category: row.category.clone(), source: row.source });
        }
        finding.by_line = rows;
        findings.push(finding);
    }
    findings
}

/// The sums of one line's rows.
fn amounts(rows: &[&LineRow], categories: &[Category], threads: &Threads) -> Amounts {
    let mut sum = Amounts::default();
    let of_malloc = || rows.iter().filter(|row| row.source == "allocator");
    sum.resident_bytes = of_malloc().map(|row| row.resident_bytes).sum();
    for row in rows {
        let bytes = bytes_of(row, categories, threads);
        if row.source == "allocator" {
            sum.live_bytes = sum.live_bytes.saturating_add(bytes);
            sum.live_count = sum.live_count.saturating_add(row.totals.live_count);
            sum.growth_bytes_per_s = plus(sum.growth_bytes_per_s, row.growth_bytes_per_s);
        } else {
            sum.mapped_bytes = sum.mapped_bytes.saturating_add(bytes);
        }
    }
    let Some(first) = rows.first() else { return sum };
    sum.growth_count_per_s = first.growth_count_per_s;
    // A thread counts once, though it has a stack and structures.
    let stack = rows.iter().find(|row| row.category == "thread-stack");
    if let Some((row, started)) = stack.and_then(|row| Some((row, threads.started_by(row.line.as_ref()?)?))) {
        (sum.live_count, sum.growth_count_per_s) = (started.live, row.growth_count_per_s);
    } else if sum.live_bytes == 0 {
        sum.live_count = rows.iter().map(|row| row.totals.live_count).fold(0, u64::saturating_add);
        sum.growth_bytes_per_s = first.growth_bytes_per_s;
    }
    sum
}

fn plus(sum: Option<i64>, more: Option<i64>) -> Option<i64> {
    Some(sum.unwrap_or(0).saturating_add(more?)).or(sum)
}

/// The weight of a row: not freed, or mapped, of which at most as much counts as is in memory.
fn bytes_of(row: &LineRow, categories: &[Category], threads: &Threads) -> u64 {
    if row.source == "allocator" {
        return row.totals.live_bytes;
    }
    if row.category == "thread-stack" {
        let started = row.line.as_ref().and_then(|line| threads.started_by(line));
        return started.map_or(0, |started| started.stack_resident_bytes);
    }
    let category =
        categories.iter().find(|category| category.id == row.category && category.source == row.source);
    let resident = category.and_then(|category| category.resident_bytes);
    resident.map_or(row.totals.live_bytes, |resident| row.totals.live_bytes.min(resident))
}

impl Finding {
    /// Does the finding make rows of this category grow?
    pub fn is_of(&self, category: &str) -> bool {
        self.rows.iter().any(|row| row.category == category)
    }

    /// A category that grows as a whole, with the line that holds half of it or more.
    fn of_category(row: &Category, by_line: &[LineRow]) -> Option<Finding> {
        let verdict = row.verdict.clone()?;
        let owner = row.owners.first().filter(|owner| owner.share >= MOST_SHARE);
        let is_owners = |line: &LineRow| {
            let function = line.line.as_ref().map(|line| line.function.as_str());
            owner.is_some_and(|owner| {
                function == Some(&*readable(&owner.function)) || function == Some(owner.function.as_str())
            })
        };
        let of_owner = || by_line.iter().enumerate().filter(|(_, line)| is_owners(line));
        let of_category = |line: &LineRow| line.category == row.id && line.source == row.source;
        let mut rows: Vec<usize> =
            of_owner().filter(|(_, line)| of_category(line)).map(|(at, _)| at).collect();
        if rows.is_empty() {
            // Metaspace and code have no rows: who had the classes defined.
            rows = of_owner().take(1).map(|(at, _)| at).collect();
        }
        let line = rows.first().and_then(|&at| by_line.get(at)?.line.clone());
        let size_bytes = size_bytes(row);
        let is_allocator = row.source == "allocator";
        Some(Finding {
            kind: verdict.kind,
            rows: vec![RowName { category: row.id.clone(), source: row.source }],
            size_bytes,
            owner: owner.map(|owner| readable(&owner.function).into_owned()),
            share: Some(owner.filter(|_| line.is_some()).map_or(0.0, |owner| owner.share)),
            line,
            by_line: rows,
            verdict,
            amounts: Amounts {
                live_bytes: if is_allocator { row.totals.live_bytes } else { 0 },
                live_count: row.totals.live_count,
                resident_bytes: None,
                mapped_bytes: if is_allocator && row.totals.live_bytes > 0 { 0 } else { size_bytes },
                growth_bytes_per_s: row.growth_bytes_per_s,
                growth_count_per_s: None,
            },
        })
    }

    /// Is a category that grows as a whole the same illness?
    fn is_same(&self, whole: &Finding) -> bool {
        if self.kind == VerdictKind::Retention || whole.kind == VerdictKind::Retention {
            return false;
        }
        let of_owner = self.owner == whole.owner && self.owner.is_some();
        let has_no_owner = self.owner.is_none() || whole.owner.is_none();
        let is_told = self.share.is_none() && whole.rows.iter().all(|row| self.rows.contains(row));
        let of_family = whole.rows.iter().any(|row| {
            self.rows.iter().any(|other| {
                FAMILIES.iter().any(|family| {
                    family.contains(&row.category.as_str()) && family.contains(&other.category.as_str())
                })
            })
        });
        is_told || of_family && (of_owner || has_no_owner) || of_owner && self.kind == whole.kind
    }

    /// Takes in a category that grows as a whole: its bytes, too, where they are no line's.
    fn join(&mut self, whole: &Finding) {
        let is_new = whole.rows.iter().any(|row| !self.rows.contains(row));
        for row in &whole.rows {
            self.add_name(row);
        }
        let is_mapped =
            whole.rows.iter().all(|row| row.source == "mapping" && row.category != "thread-stack");
        if !is_new || !(self.share.is_some() || is_mapped) {
            return;
        }
        let (sum, more) = (&mut self.amounts, &whole.amounts);
        if more.live_bytes > 0 {
            let growth = plus(sum.growth_bytes_per_s.filter(|_| sum.live_bytes > 0), more.growth_bytes_per_s);
            let count = if sum.live_bytes > 0 { sum.live_count } else { 0 };
            sum.live_count = count.saturating_add(more.live_count);
            sum.growth_bytes_per_s = growth;
        }
        sum.live_bytes = sum.live_bytes.saturating_add(more.live_bytes);
        sum.mapped_bytes = sum.mapped_bytes.saturating_add(more.mapped_bytes);
        self.size_bytes = self.size_bytes.saturating_add(whole.size_bytes);
        self.owner = self.owner.take().or_else(|| whole.owner.clone());
        if self.line.is_none() {
            (self.line, self.by_line) = (whole.line.clone(), whole.by_line.clone());
        }
    }

    fn add_name(&mut self, name: &RowName) {
        if !self.rows.contains(name) {
            self.rows.push(name.clone());
        }
    }
}

/// Bytes that malloc keeps of the memory freed in the recording; what it kept before has grown nothing. `None` for
/// another verdict.
pub fn retained_bytes(verdict: &Verdict) -> Option<u64> {
    let figure = |name| verdict.figures.whole(name).unwrap_or_default();
    let freed_bytes = figure("peak_bytes").saturating_sub(figure("live_bytes"));
    (verdict.kind == VerdictKind::Retention).then(|| figure("kept_bytes").min(freed_bytes))
}

/// The bytes that a row's finding added, at most those that it has in memory.
fn size_bytes(row: &Category) -> u64 {
    let figures = row.verdict.as_ref().map(|verdict| &verdict.figures);
    let figure = |name| figures.and_then(|figures| figures.whole(name));
    let size = figure("kept_bytes")
        .or_else(|| figure("grown_bytes"))
        .unwrap_or_default()
        .max(if row.totals.allocated_count > 0 { row.totals.live_bytes } else { 0 });
    // Mapped memory may be reserved alone.
    match row.resident_bytes.filter(|_| row.source == "mapping") {
        Some(resident) => size.min(resident),
        None => size,
    }
}
