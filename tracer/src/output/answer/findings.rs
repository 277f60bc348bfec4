//! The findings, by the line of code: at most a handful, each with its evidence and one thing to do.

use std::cmp::Reverse;
use std::io;

use unicode_width::UnicodeWidthStr;

use super::screen::{Screen, names, wrapped};
use super::{FINDINGS, Options, held, holders};
use crate::output::{clean, units};
use crate::profile::{
    Category, Finding, LineRow, OwnerShare, Place, Profile, Proof, Sentence, Verdict, VerdictKind,
};

/// Lines about earlier memory that are told beside findings, at most.
const BESIDE: usize = 2;
/// Lines of evidence on the first screen.
const EVIDENCE_LINES: usize = 2;
/// Categories that are named of all else.
const ELSE_NAMES: usize = 4;
/// Owners of a category that are named with `-v` at most.
const OWNERS: usize = 3;

pub(super) fn findings(profile: &Profile, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let found = &profile.findings;
    screen.gap()?;
    if found.is_empty() {
        return held::nothing_found(profile, screen);
    }
    let title = match found.iter().all(|finding| word(&finding.verdict) == "leak") {
        true => "LEAKS, by the line that allocates",
        false => "FINDINGS, by the line that allocates",
    };
    header(title, screen)?;
    let most = if options.all { usize::MAX } else { FINDINGS };
    let mut told_bytes = 0_u64;
    for (at, finding) in found.iter().take(most).enumerate() {
        told_bytes = told_bytes.saturating_add(finding.amounts.live_bytes);
        tell(at + 1, finding, profile, options, screen)?;
    }
    if let Some(rest) = found.get(most.min(found.len())..).filter(|rest| !rest.is_empty()) {
        let bytes = rest.iter().fold(0, |sum: u64, finding| sum.saturating_add(finding.amounts.live_bytes));
        told_bytes = told_bytes.saturating_add(bytes);
        let more = format!("{} more, {}: --all", units::count(rest.len() as u64), units::bytes(bytes));
        screen.paragraph("    ", &more)?;
    }
    let else_bytes = profile.totals.live_bytes.saturating_sub(told_bytes);
    if else_bytes > 0 {
        let names = else_names(profile, found);
        let names = if names.is_empty() { names } else { format!(" ({names})") };
        screen.paragraph("    ", &format!("all else {}: ok{names}", units::bytes(else_bytes)))?;
    }
    held::before(profile, BESIDE, screen)
}

/// A title, and the heads of the three columns of numbers.
pub(super) fn header(title: &str, screen: &mut Screen<'_>) -> io::Result<()> {
    let style = screen.style;
    let columns = cells("not freed", "grew", "left");
    let used = title.width() + columns.width();
    if used < screen.width {
        let gap = " ".repeat(screen.width - used);
        screen.line(&format!("{}{gap}{}", style.bold(title), style.dim(&columns)))
    } else {
        screen.paragraph("", title)?;
        let gap = " ".repeat(screen.width.saturating_sub(columns.width()));
        screen.line(&format!("{gap}{}", style.dim(&columns)))
    }
}

/// The three columns of numbers.
pub(super) fn cells(bytes: &str, growth: &str, count: &str) -> String {
    format!("{bytes:>9} {growth:>11} {count:>7}")
}

fn tell(
    number: usize,
    finding: &Finding,
    profile: &Profile,
    options: &Options,
    screen: &mut Screen<'_>,
) -> io::Result<()> {
    let amounts = &finding.amounts;
    let bytes = if amounts.live_bytes == 0 { amounts.mapped_bytes } else { amounts.live_bytes };
    let cells = cells(&units::bytes(bytes), &growth(finding), &units::count(amounts.live_count));
    let title = match (&finding.line, finding.rows.first()) {
        (Some(line), _) => names(line),
        (None, _) if finding.kind == VerdictKind::Retention => vec!["malloc: free, kept".to_owned()],
        (None, row) => vec![clean(row.map_or("", |row| row.category.as_str())).into_owned()],
    };
    screen.row(&format!("{number:>2} "), &title, &cells)?;
    let indent = "     ";
    screen.paragraph(indent, &held_there(finding, profile))?;
    let rows: Vec<&LineRow> = finding.by_line.iter().filter_map(|&at| profile.by_line.get(at)).collect();
    if let Some(holders) = holders::line(&rows, screen.width.saturating_sub(indent.len())) {
        screen.paragraph(indent, &holders)?;
    }
    let is_whole = options.verbose || options.all;
    screen.paragraph(indent, &evidence(finding, is_whole, screen.width.saturating_sub(indent.len())))?;
    if is_whole {
        owners(finding, profile, indent, screen)?;
    }
    if finding.verdict.advice != "nothing" {
        let advice = clean(&finding.verdict.advice).into_owned();
        let long = wrapped(&advice, screen.width.saturating_sub(indent.len() + 5)).len() > 1;
        let advice = if long && !is_whole { first_clause(&advice) } else { advice };
        screen.paragraph(&format!("{indent}fix: "), &advice)?;
    }
    Ok(())
}

/// The evidence; where it may not be whole, what fits in few lines of so many columns.
fn evidence(finding: &Finding, is_whole: bool, width: usize) -> String {
    let evidence = &finding.verdict.evidence;
    let kind = word(&finding.verdict);
    let told = |evidence: &Sentence| match kind {
        "leak" | "kept by malloc" => clean(&evidence.to_string()).into_owned(),
        _ => format!("{kind}: {}", clean(&evidence.to_string())),
    };
    if is_whole {
        return told(evidence);
    }
    // It is of the first of several categories, where the row's numbers are of all.
    let subject = match &finding.rows[..] {
        [first, _, ..] => Some(format!("its {}", first.category)),
        _ => None,
    };
    let brief = evidence.brief(&growth(finding), subject.as_deref());
    let whole = told(&brief);
    if wrapped(&whole, width).len() <= EVIDENCE_LINES { whole } else { told(&brief.main_clause()) }
}

/// Growth in bytes; where nothing of malloc's grows, in threads or mappings.
fn growth(finding: &Finding) -> String {
    let amounts = &finding.amounts;
    let per_min = amounts.growth_count_per_s.map(|rate| rate * 60.0).filter(|rate| *rate >= 0.5);
    match (amounts.growth_bytes_per_s, per_min) {
        (_, Some(rate)) if finding.is_of("thread-stack") => format!("{:.0}/min", rate),
        (Some(growth), _) if growth > 0 => units::bytes_per_s(growth as f64),
        _ => String::new(),
    }
}

/// Contents of a line: what is allocated, how large each is, of which categories, and what is mapped beside it.
fn held_there(finding: &Finding, profile: &Profile) -> String {
    let amounts = &finding.amounts;
    let mut categories: Vec<&str> = Vec::new();
    for row in finding.rows.iter().filter(|row| amounts.live_bytes == 0 || row.source == "allocator") {
        // Stacks of a line's threads are told as such.
        let is_told = finding.share.is_none() && row.category == "thread-stack";
        if !is_told && !categories.contains(&row.category.as_str()) {
            categories.push(&row.category);
        }
    }
    let categories = clean(&categories.join(", ")).into_owned();
    if finding.kind == VerdictKind::Retention {
        return "memory that was freed, and that malloc did not give back".to_owned();
    }
    let mut parts = Vec::new();
    match finding.share {
        Some(share) if finding.line.is_some() => {
            parts.push(format!("{categories}: {:.0} % of it by this line", share * 100.0));
        }
        Some(_) => parts.push(format!("{categories}: no line holds half of it")),
        None => {
            parts.extend(cause(finding, profile));
            if !finding.is_of("thread-stack") {
                parts.extend(size_of_each(amounts.live_bytes, amounts.live_count));
            }
            parts.extend(Some(categories).filter(|categories| !categories.is_empty()));
        }
    }
    // Memory that was asked for and never touched does not count.
    let is_untouched = |bytes: &u64| u128::from(*bytes) * 10 < u128::from(amounts.live_bytes) * 9;
    if let Some(bytes) = amounts.resident_bytes.filter(is_untouched) {
        parts.push(format!("{} in memory", units::bytes(bytes)));
    }
    if finding.is_of("thread-stack") {
        let threads = units::counted(amounts.live_count, "thread");
        parts.push(match amounts.live_bytes {
            // They are the row's bytes.
            0 => format!("stacks of {threads} in memory"),
            _ => format!("stacks of {threads}, {} in memory", units::bytes(amounts.mapped_bytes)),
        });
    } else if amounts.live_bytes == 0 {
        parts.push("mapped: not part of what malloc handed out".to_owned());
    } else if amounts.mapped_bytes > 0 {
        let mapped = finding.rows.iter().filter(|row| row.source == "mapping");
        let mapped: Vec<&str> = mapped.map(|row| row.category.as_str()).collect();
        parts.push(format!(
            "and {} mapped ({})",
            units::bytes(amounts.mapped_bytes),
            clean(&mapped.join(", "))
        ));
    }
    parts.join(", ")
}

/// The call of a library or the JDK below the line.
fn cause(finding: &Finding, profile: &Profile) -> Option<String> {
    let row = profile.by_line.get(*finding.by_line.first()?)?;
    let places = profile.sites.get(*row.sites.first()?)?.places();
    let owner = row.line.as_ref().map(|line| line.function.as_str());
    let cause = places.iter().rev().find(|place| Some(place.function.as_str()) != owner)?;
    names(&Place { line: None, ..cause.clone() }).pop()
}

fn size_of_each(bytes: u64, count: u64) -> Option<String> {
    let each = bytes.checked_div(count)?;
    let is_exact = each.saturating_mul(count) == bytes;
    let about = if is_exact || count == 1 { "" } else { "about " };
    Some(format!("{about}{} each", units::bytes(each)))
}

/// Owners of a category that grows as a whole.
fn owners(finding: &Finding, profile: &Profile, indent: &str, screen: &mut Screen<'_>) -> io::Result<()> {
    let row = finding.rows.first().filter(|_| finding.share.is_some());
    let category = row.and_then(|row| {
        profile
            .categories
            .iter()
            .find(|category| category.id == row.category && category.source == row.source)
    });
    let Some(category) = category.filter(|category| !category.owners.is_empty()) else { return Ok(()) };
    let of = match category.id.as_str() {
        "code-cache" => " of the code is of classes made for them",
        "metaspace" => " of what defining classes allocated",
        _ => "",
    };
    let owner = |owner: &OwnerShare| format!("{} {:.0} %", clean(&owner.function), owner.share * 100.0);
    let owners: Vec<String> = category.owners.iter().take(OWNERS).map(owner).collect();
    screen.paragraph(indent, &format!("by: {}{of}", owners.join(", ")))
}

/// Word for a verdict on the first screen.
pub(super) fn word(verdict: &Verdict) -> &'static str {
    match (verdict.kind, verdict.proof) {
        (VerdictKind::Leak, _) => "leak",
        (VerdictKind::GcPending, Proof::None) => "unproven",
        (VerdictKind::GcPending, _) => "gc-pending",
        (VerdictKind::Retention, _) => "kept by malloc",
        (VerdictKind::TooShort, _) => "too short to tell",
        (VerdictKind::Pool | VerdictKind::Transient | VerdictKind::Steady, _) => "ok",
    }
}

/// Advice up to its first `;` or `:` that is not in brackets.
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
pub(super) fn else_names(profile: &Profile, found: &[Finding]) -> String {
    let is_told = |row: &Category| found.iter().any(|finding| finding.is_of(&row.id));
    let mut rows: Vec<&Category> = profile
        .categories
        .iter()
        .filter(|row| row.source == "allocator" && row.totals.live_bytes > 0 && !is_told(row))
        .collect();
    rows.sort_by_key(|row| Reverse(row.totals.live_bytes));
    let names: Vec<String> = rows.iter().take(ELSE_NAMES).map(|row| clean(&row.id).into_owned()).collect();
    let more = rows.len() - names.len();
    let more = if more > 0 { format!(" and {} more", units::count(more as u64)) } else { String::new() };
    names.join(", ") + &more
}
