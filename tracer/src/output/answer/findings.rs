//! The findings, by the line of code: at most a handful, each with its evidence and one thing to do.
//!
//! A line that holds memory of several kinds (a thread's stack and its structures, a class and its names) is one finding.

use std::cmp::Reverse;
use std::io;

use super::kept;
use super::merged::merged;
use super::screen::{Screen, names, wrapped};
use super::{FINDINGS, Options};
use crate::output::{clean, units};
use crate::profile::by_line::readable;
use crate::profile::{Category, Kind, LineRow, Profile, Proof, Verdict, retained_bytes};

/// Rows told where nothing is found.
const HELD: usize = 5;
/// From this share of a category on, it is told by its owner's line.
const MOST_SHARE: f64 = 0.5;
/// Lines of evidence on the first screen.
const EVIDENCE_LINES: usize = 2;

/// One line's findings together.
struct Finding<'a> {
    /// Its rows, the one that tells it first. Empty: of a category as a whole.
    rows: Vec<&'a LineRow>,
    category: Option<&'a Category>,
    verdict: &'a Verdict,
    /// Not freed, of the rows of the allocator.
    live_bytes: u64,
    /// What is shown where the allocator has nothing of it: resident, or mapped.
    mapped_bytes: u64,
    live_count: u64,
    growth: Option<i64>,
}

pub(super) fn findings(profile: &Profile, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let found = all(profile);
    screen.gap()?;
    if found.is_empty() {
        return nothing(profile, screen);
    }
    let kinds: Vec<&str> = found.iter().map(|finding| word(finding.verdict)).collect();
    let title = match kinds.iter().all(|kind| *kind == "leak") {
        true => "LEAKS, by the line that allocates",
        false => "FINDINGS, by the line that allocates",
    };
    header(title, screen)?;
    let most = if options.all { usize::MAX } else { FINDINGS };
    let mut told_bytes = 0_u64;
    for (at, finding) in found.iter().take(most).enumerate() {
        told_bytes = told_bytes.saturating_add(finding.live_bytes);
        tell(at + 1, finding, profile, options, screen)?;
    }
    if let Some(rest) = found.get(most.min(found.len())..).filter(|rest| !rest.is_empty()) {
        let bytes = rest.iter().fold(0, |sum: u64, finding| sum.saturating_add(finding.live_bytes));
        told_bytes = told_bytes.saturating_add(bytes);
        let more = format!("{} more, {}: --all", units::count(rest.len() as u64), units::bytes(bytes));
        screen.paragraph("    ", &more)?;
    }
    let else_bytes = profile.totals.live_bytes.saturating_sub(told_bytes);
    if else_bytes == 0 {
        return Ok(());
    }
    let names = else_names(profile, &found);
    let names = if names.is_empty() { names } else { format!(" ({names})") };
    screen.paragraph("    ", &format!("all else {}: ok{names}", units::bytes(else_bytes)))
}

/// All findings, the largest first.
fn all(profile: &Profile) -> Vec<Finding<'_>> {
    let mut found: Vec<Finding<'_>> = Vec::new();
    let is_finding = |row: &&LineRow| row.verdict.as_ref().is_some_and(|it| it.kind.is_finding());
    for row in profile.by_line.iter().filter(is_finding).filter(|row| row.line.is_some()) {
        let function = |row: &LineRow| row.line.as_ref().map(|line| line.function.clone());
        let same = found
            .iter_mut()
            .find(|finding| finding.rows.first().is_some_and(|first| function(first) == function(row)));
        match same {
            Some(finding) => finding.rows.push(row),
            None => found.extend(Finding::of_rows(vec![row])),
        }
    }
    for finding in &mut found {
        finding.rows.sort_by_key(|row| Reverse(bytes_of(profile, row)));
        if let Some(whole) = Finding::of_rows(std::mem::take(&mut finding.rows)) {
            *finding = whole;
        }
        finding.measure(profile);
    }
    // What no line has: the category as a whole.
    let has = |found: &[Finding<'_>], row: &Category| {
        let of = |finding: &Finding<'_>| {
            finding.rows.iter().any(|line| line.category == row.id && line.source == row.source)
        };
        // Metadata, names, tables and code live as long as the classes.
        let classes = ["class", "metaspace", "symbol", "code-cache"];
        let of_classes = |finding: &Finding<'_>| {
            classes.contains(&row.id.as_str())
                && finding.rows.iter().any(|line| classes.contains(&line.category.as_str()))
        };
        found.iter().any(|finding| of(finding) || of_classes(finding))
    };
    for row in &profile.categories {
        let Some(verdict) = row.verdict.as_ref().filter(|verdict| verdict.kind.is_finding()) else {
            continue;
        };
        if has(&found, row) {
            continue;
        }
        let is_allocator = row.source == "allocator";
        found.push(Finding {
            rows: lines_of(profile, row),
            category: Some(row),
            verdict,
            live_bytes: if is_allocator { row.totals.live_bytes } else { 0 },
            mapped_bytes: row.resident_bytes.unwrap_or(row.totals.live_bytes),
            live_count: row.totals.live_count,
            growth: row.growth_bytes_per_s,
        });
    }
    let size = |finding: &Finding<'_>| finding.live_bytes.max(finding.mapped_bytes);
    let others = found.iter().filter(|finding| finding.verdict.kind != Kind::Retention);
    let others_bytes = others.map(size).fold(0, u64::saturating_add);
    // Last, unless malloc keeps more of what was freed in the recording than all others hold.
    found.sort_by_key(|finding| {
        let is_last = retained_bytes(finding.verdict).is_some_and(|bytes| bytes <= others_bytes);
        (is_last, Reverse(size(finding)))
    });
    found
}

/// The rows of the line that holds most of a category, where one holds half of it or more.
fn lines_of<'a>(profile: &'a Profile, category: &Category) -> Vec<&'a LineRow> {
    let Some(owner) = category.owners.first().filter(|owner| owner.share >= MOST_SHARE) else {
        return Vec::new();
    };
    let is_owners = |row: &&LineRow| {
        let line = row.line.as_ref();
        line.is_some_and(|line| line.function == readable(&owner.function))
    };
    let of_category = |row: &&LineRow| row.category == category.id && row.source == category.source;
    let rows: Vec<&LineRow> = profile.by_line.iter().filter(is_owners).filter(of_category).collect();
    // Of metaspace and code, who had the classes defined.
    if rows.is_empty() { profile.by_line.iter().filter(is_owners).take(1).collect() } else { rows }
}

impl<'a> Finding<'a> {
    fn of_rows(rows: Vec<&'a LineRow>) -> Option<Finding<'a>> {
        let verdict = rows.first()?.verdict.as_ref()?;
        let (live_bytes, mapped_bytes, live_count, growth) = (0, 0, 0, None);
        Some(Finding { rows, category: None, verdict, live_bytes, mapped_bytes, live_count, growth })
    }

    /// Sums up its rows. Where threads stay, they are counted, and their stacks are what is in memory of them.
    fn measure(&mut self, profile: &Profile) {
        for row in &self.rows {
            if row.source == "allocator" {
                self.live_bytes = self.live_bytes.saturating_add(row.totals.live_bytes);
                self.live_count = self.live_count.saturating_add(row.totals.live_count);
                self.growth =
                    Some(self.growth.unwrap_or(0).saturating_add(row.growth_bytes_per_s.unwrap_or(0)));
            } else {
                self.mapped_bytes = self.mapped_bytes.saturating_add(bytes_of(profile, row));
            }
        }
        let threads = threads_of(profile, self.rows.first().copied());
        if let Some((live, _)) = threads.filter(|_| self.is_of_threads()) {
            self.live_count = live;
        } else if self.live_bytes == 0 {
            self.live_count = self.rows.iter().map(|row| row.totals.live_count).sum();
            self.growth = self.rows.first().and_then(|row| row.growth_bytes_per_s);
        }
    }

    fn is_of_threads(&self) -> bool {
        self.rows.iter().any(|row| row.category == "thread-stack")
    }
}

/// Threads that a row's line started and that live, and what their stacks have in memory.
fn threads_of(profile: &Profile, row: Option<&LineRow>) -> Option<(u64, u64)> {
    let line = row?.line.as_ref()?;
    let creators = profile.threads.creators_by_line();
    let creator =
        creators.into_iter().find(|row| row.owner.as_ref().is_some_and(|it| it.function == line.function))?;
    Some((creator.live, creator.stack_resident_bytes))
}

/// What a row weighs: not freed, or, of stacks, what is in memory.
fn bytes_of(profile: &Profile, row: &LineRow) -> u64 {
    match row.category.as_str() {
        "thread-stack" => threads_of(profile, Some(row)).map_or(0, |(_, bytes)| bytes),
        _ => row.totals.live_bytes,
    }
}

fn header(title: &str, screen: &mut Screen<'_>) -> io::Result<()> {
    let style = screen.style;
    let columns = cells("not freed", "grew", "left");
    let used = title.chars().count() + columns.chars().count();
    if used < screen.width {
        let gap = " ".repeat(screen.width - used);
        screen.line(&format!("{}{gap}{}", style.bold(title), style.dim(&columns)))
    } else {
        screen.paragraph("", title)?;
        let gap = " ".repeat(screen.width.saturating_sub(columns.chars().count()));
        screen.line(&format!("{gap}{}", style.dim(&columns)))
    }
}

/// The three columns of numbers.
fn cells(bytes: &str, growth: &str, count: &str) -> String {
    format!("{bytes:>9} {growth:>11} {count:>7}")
}

fn tell(
    number: usize,
    finding: &Finding<'_>,
    profile: &Profile,
    options: &Options,
    screen: &mut Screen<'_>,
) -> io::Result<()> {
    let mapped = finding.live_bytes == 0;
    let bytes = if mapped { finding.mapped_bytes } else { finding.live_bytes };
    let growth = match finding.growth {
        Some(growth) if growth > 0 => units::bytes_per_s(growth as f64),
        _ => String::new(),
    };
    let cells = cells(&units::bytes(bytes), &growth, &units::count(finding.live_count));
    let title = match (finding.rows.first().and_then(|row| row.line.as_ref()), finding.category) {
        (Some(line), _) => names(line),
        (None, Some(_)) if finding.verdict.kind == Kind::Retention => vec!["malloc: free, kept".to_owned()],
        (None, Some(category)) => vec![clean(&category.name).into_owned()],
        (None, None) => vec!["(no line of the application)".to_owned()],
    };
    screen.row(&format!("{number:>2} "), &title, &cells)?;
    let indent = "     ";
    screen.paragraph(indent, &what(finding, profile, mapped))?;
    if let Some(kept) = kept::line(&finding.rows, screen.width - indent.len()) {
        screen.paragraph(indent, &kept)?;
    }
    let evidence = clean(&finding.verdict.evidence).into_owned();
    let is_whole = options.verbose || options.all;
    let evidence = if is_whole { evidence } else { without_interval(&evidence) };
    let kind = word(finding.verdict);
    let evidence = if kind == "leak" { evidence } else { format!("{kind}: {evidence}") };
    let lines = wrapped(&evidence, screen.width - indent.len());
    let evidence = if is_whole || lines.len() <= EVIDENCE_LINES { evidence } else { first_clause(&evidence) };
    screen.paragraph(indent, &evidence)?;
    if finding.verdict.advice != "nothing" {
        let advice = clean(&finding.verdict.advice).into_owned();
        let long = wrapped(&advice, screen.width - indent.len() - 5).len() > 1;
        let advice = if long && !is_whole { first_clause(&advice) } else { advice };
        screen.paragraph(&format!("{indent}fix: "), &advice)?;
    }
    Ok(())
}

/// What is allocated, and how large each is.
fn what(finding: &Finding<'_>, profile: &Profile, mapped: bool) -> String {
    if finding.verdict.kind == Kind::Retention {
        return "memory that was freed, and that malloc did not give back".to_owned();
    }
    if let Some(category) = finding.category {
        let share = category.owners.first().map_or(0.0, |owner| owner.share * 100.0);
        let source = if category.source == "mapping" { ", which is mapped" } else { "" };
        return match finding.rows.is_empty() {
            true => format!("all of {}{source}: no line holds half of it", clean(&category.id)),
            false => format!("all of {}{source}, {share:.0} % of it by this line", clean(&category.id)),
        };
    }
    let Some(row) = finding.rows.first() else { return String::new() };
    let mut parts = Vec::new();
    let places = row.sites.first().and_then(|&site| profile.sites.get(site)).map(|site| site.places());
    let places = places.unwrap_or_default();
    let owner = row.line.as_ref().map(|line| line.function.as_str());
    let cause = places.iter().rev().find(|place| Some(place.function.as_str()) != owner);
    if let Some(cause) = cause {
        parts.push(names(&crate::profile::Place { line: None, ..cause.clone() }).pop().unwrap_or_default());
    }
    if let Some(each) = row.totals.live_bytes.checked_div(row.totals.live_count)
        && !finding.is_of_threads()
    {
        let exact = each.saturating_mul(row.totals.live_count) == row.totals.live_bytes;
        let about = if exact || row.totals.live_count == 1 { "" } else { "about " };
        parts.push(format!("{about}{} each", units::bytes(each)));
    }
    if let Some((live, _)) = threads_of(profile, Some(row)).filter(|_| finding.is_of_threads()) {
        parts.push(format!("{} left", units::counted(live, "thread")));
        let bytes = finding.mapped_bytes;
        parts.push(format!("{} of their stacks in memory, which is mapped", units::bytes(bytes)));
    } else if mapped {
        parts.push("mapped: not part of what malloc handed out".to_owned());
    }
    let mut categories: Vec<&str> = Vec::new();
    for row in &finding.rows {
        if !categories.contains(&row.category.as_str()) {
            categories.push(&row.category);
        }
    }
    parts.push(clean(&categories.join(", ")).into_owned());
    parts.join(", ")
}

/// One word for a verdict on the first screen.
pub(super) fn word(verdict: &Verdict) -> &'static str {
    match (verdict.kind, verdict.proof) {
        (Kind::Leak, _) => "leak",
        (Kind::GcPending, Proof::None) => "unproven",
        (Kind::GcPending, _) => "gc-pending",
        (Kind::Retention, _) => "kept by malloc",
        (Kind::TooShort, _) => "too short to tell",
        (Kind::Pool | Kind::Transient | Kind::Steady, _) => "ok",
    }
}

/// A sentence without ` (95 %: ... to ...)`.
fn without_interval(text: &str) -> String {
    match text.split_once(" (95 %:") {
        Some((before, after)) => {
            let after = after.split_once(')').map_or("", |(_, after)| after);
            format!("{before}{after}")
        }
        None => text.to_owned(),
    }
}

/// A sentence up to its first `;` or `:` that is not in brackets.
fn first_clause(text: &str) -> String {
    let mut depth = 0_usize;
    let mut before = ' ';
    for (at, char) in text.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 && matches!(before, ';' | ':') => {
                return text.get(..at).unwrap_or(text).trim_end_matches([';', ':']).to_owned();
            }
            _ => {}
        }
        before = char;
    }
    text.to_owned()
}

/// The categories of all else, the largest first.
fn else_names(profile: &Profile, found: &[Finding<'_>]) -> String {
    let is_told = |row: &Category| {
        found.iter().flat_map(|finding| &finding.rows).any(|line| line.category == row.id)
            || found.iter().filter_map(|finding| finding.category).any(|other| other.id == row.id)
    };
    let mut rows: Vec<&Category> = profile
        .categories
        .iter()
        .filter(|row| row.source == "allocator" && row.totals.live_bytes > 0 && !is_told(row))
        .collect();
    rows.sort_by_key(|row| Reverse(row.totals.live_bytes));
    let mut names: Vec<String> = rows.iter().take(4).map(|row| clean(&row.id).into_owned()).collect();
    if rows.len() > names.len() {
        names.push("...".to_owned());
    }
    names.join(", ")
}

/// Where nothing is found: why, and what is held all the same.
fn nothing(profile: &Profile, screen: &mut Screen<'_>) -> io::Result<()> {
    let held =
        || profile.categories.iter().filter(|row| row.source == "allocator" && row.totals.live_bytes > 0);
    let is_kind = |row: &Category| row.verdict.as_ref().is_some_and(|verdict| verdict.kind == Kind::TooShort);
    let is_short = held().next().is_some() && held().all(is_kind);
    if profile.totals.allocated_count == 0 && is_filtered(profile) {
        return screen.paragraph("", "Nothing that malloc gave passes the filter.");
    }
    if profile.categories.is_empty() || profile.totals.allocated_count == 0 {
        screen.paragraph("", "Nothing was allocated in this time.")?;
        return before(profile, screen);
    }
    if is_short {
        screen.paragraph("", "TOO SHORT to tell growth from a start: record longer, -d 5m.")?;
    } else {
        screen.paragraph("", "NO LEAK FOUND: nothing grows all the time.")?;
    }
    let mut rows = merged(profile, |row| row.totals.live_bytes > 0);
    rows.sort_by_key(|row| Reverse(row.live.bytes));
    if rows.is_empty() {
        let names = else_names(profile, &[]);
        screen.paragraph("", &format!("No line of the application holds any of it: {names}."))?;
        return before(profile, screen);
    }
    header("What is held, by the line that allocates", screen)?;
    let mut told_bytes = 0_u64;
    for (at, row) in rows.iter().take(HELD).enumerate() {
        told_bytes = told_bytes.saturating_add(row.live.bytes);
        let cells = cells(&units::bytes(row.live.bytes), "", &units::count(row.live.count));
        screen.row(&format!("{:>2} ", at + 1), &names(row.line), &cells)?;
        let mut told = row.categories.iter().map(|id| clean(id)).collect::<Vec<_>>().join(", ");
        if !is_short {
            told = format!("{told}: {}", row.word);
        }
        screen.paragraph("     ", &told)?;
    }
    let else_bytes = profile.totals.live_bytes.saturating_sub(told_bytes);
    screen.paragraph("    ", &format!("all else {}", units::bytes(else_bytes)))?;
    before(profile, screen)
}

fn is_filtered(profile: &Profile) -> bool {
    !profile.filtered.flags.is_empty()
}

/// What was there before the recording, where that is more than what was seen.
fn before(profile: &Profile, screen: &mut Screen<'_>) -> io::Result<()> {
    // A census cannot be filtered, nor compared with a part.
    let Some(census) = profile.census.end.as_ref().filter(|_| !is_filtered(profile)) else { return Ok(()) };
    let findings = census.findings.iter();
    let held = findings.filter(|finding| finding.bytes.is_none_or(|bytes| bytes > profile.totals.live_bytes));
    let held: Vec<_> = held.take(FINDINGS).collect();
    if held.is_empty() {
        return Ok(());
    }
    screen.gap()?;
    screen.paragraph("", "HELD SINCE BEFORE, by what its memory says; who allocated it was not seen")?;
    for (at, finding) in held.iter().enumerate() {
        let bytes = finding.bytes.map(|bytes| format!("{}: ", units::bytes(bytes))).unwrap_or_default();
        screen.paragraph(&format!("{:>2} ", at + 1), &format!("{bytes}{}", clean(&finding.evidence)))?;
        screen.paragraph("     fix: ", &clean(&finding.advice))?;
    }
    Ok(())
}
