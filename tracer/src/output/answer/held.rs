//! Memory that is held where nothing is found: why nothing is, the largest lines, and what was there before the
//! recording.

use std::cmp::Reverse;
use std::io;

use super::FINDINGS;
use super::findings::{cells, else_names, header};
use super::merged::merged;
use super::screen::{Screen, names};
use crate::census;
use crate::limits::Limit;
use crate::output::limits::name;
use crate::output::{clean, units};
use crate::profile::{Category, Profile, VerdictKind};

/// Kind of a census's finding.
const EQUAL_BLOCKS: &str = "equal-blocks";
/// Lines told.
const HELD: usize = 5;
/// A line with less than this part of all that is held says nothing: one in so many.
const LEAST_PART: u64 = 100;

/// Reason why nothing is found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::output) enum Why {
    Filtered,
    NothingGrew,
    TooShort,
    AtLimit,
    NoLeak,
}

impl Why {
    pub(in crate::output) fn of(profile: &Profile) -> Why {
        let is_kind = |row: &&Category| {
            row.verdict.as_ref().is_some_and(|verdict| verdict.kind == VerdictKind::TooShort)
        };
        let short = profile.categories.iter().filter(|row| row.source == "allocator").filter(is_kind);
        let short_bytes = short.fold(0_u64, |sum, row| sum.saturating_add(row.totals.live_bytes));
        match profile {
            _ if profile.totals.allocated_count == 0 && is_filtered(profile) => Why::Filtered,
            _ if profile.categories.is_empty() || profile.totals.allocated_count == 0 => Why::NothingGrew,
            // Most of what is held could not be judged.
            _ if short_bytes > profile.totals.live_bytes / 2 => Why::TooShort,
            _ if profile.limits.iter().flatten().any(is_full) => Why::AtLimit,
            _ => Why::NoLeak,
        }
    }

    pub(in crate::output) const fn as_str(self) -> &'static str {
        match self {
            Why::Filtered => "Nothing that malloc gave passes the filter.",
            Why::NothingGrew => "NOTHING GREW: nothing was allocated in this time.",
            Why::TooShort => "TOO SHORT to tell growth from a start: record longer, -d 5m.",
            Why::AtLimit => "AT A LIMIT, nothing can grow: who holds most is the one to look at.",
            Why::NoLeak => "NO LEAK FOUND: nothing grows all the time.",
        }
    }
}

fn is_full(limit: &Limit) -> bool {
    limit.reached_ns.is_some()
}

/// Tells why nothing is found, and what is held all the same.
pub(super) fn nothing_found(profile: &Profile, screen: &mut Screen<'_>) -> io::Result<()> {
    let why = Why::of(profile);
    screen.paragraph("", why.as_str())?;
    match why {
        Why::Filtered => return Ok(()),
        Why::NothingGrew => return before(profile, FINDINGS, screen),
        Why::TooShort | Why::AtLimit | Why::NoLeak => {}
    }
    let mut rows = merged(profile, |row| row.totals.live_bytes > 0);
    rows.sort_by_key(|row| Reverse(row.live.bytes));
    if profile.totals.live_bytes == 0 {
        screen.paragraph("", "All that was allocated was freed again.")?;
        return before(profile, FINDINGS, screen);
    }
    let least_bytes = profile.totals.live_bytes / LEAST_PART;
    rows.retain(|row| row.live.bytes >= least_bytes);
    let names_of_all = else_names(profile, &[]);
    if rows.is_empty() {
        let held = units::bytes(profile.totals.live_bytes);
        let text = format!("No line of the application holds a hundredth of the {held}: {names_of_all}.");
        screen.paragraph("", &text)?;
        return before(profile, FINDINGS, screen);
    }
    header("What is held, by the line that allocates", screen)?;
    let mut told_bytes = 0_u64;
    for (at, row) in rows.iter().take(HELD).enumerate() {
        told_bytes = told_bytes.saturating_add(row.live.bytes);
        let cells = cells(&units::bytes(row.live.bytes), "", &units::count(row.live.count));
        screen.row(&format!("{:>2} ", at + 1), &names(row.line), &cells)?;
        let mut told = row.categories.iter().map(|id| clean(id)).collect::<Vec<_>>().join(", ");
        if let Some(limit) = full_limit(profile, &row.categories) {
            told = format!("{told}: its limit is met ({})", name(limit));
        } else if why != Why::TooShort {
            told = format!("{told}: {}", row.word);
        }
        screen.paragraph("     ", &told)?;
    }
    let else_bytes = profile.totals.live_bytes.saturating_sub(told_bytes);
    if else_bytes > 0 {
        screen.paragraph("    ", &format!("all else {}", units::bytes(else_bytes)))?;
    }
    before(profile, FINDINGS, screen)
}

/// The limit that is full of what a row holds.
fn full_limit<'a>(profile: &'a Profile, categories: &[&str]) -> Option<&'a Limit> {
    profile.limits.iter().flatten().filter(|limit| is_full(limit)).find(|limit| {
        let of = match limit.id.split(':').next() {
            Some("direct-buffers") => "direct-buffer",
            Some("metaspace" | "class-space") => "metaspace",
            Some("code-cache") => "code-cache",
            Some("threads") => "thread-stack",
            _ => return false,
        };
        categories.contains(&of)
    })
}

fn is_filtered(profile: &Profile) -> bool {
    !profile.filtered.flags.is_empty()
}

/// Memory that was there before the recording and still is, where that is more than what was seen; at most `most` of
/// it.
pub(super) fn before(profile: &Profile, most: usize, screen: &mut Screen<'_>) -> io::Result<()> {
    // A census cannot be filtered, nor compared with a part.
    let (Some(begin), Some(census), false) =
        (&profile.census.begin, &profile.census.end, is_filtered(profile))
    else {
        return Ok(());
    };
    // Blocks of one size are told by what they are, where that is known: by other findings of as many bytes.
    let is_told_twice = |finding: &census::Finding| {
        let bytes = finding.bytes.unwrap_or(0);
        let is_near = |other: u64| other.abs_diff(bytes) <= bytes / 20;
        let mut others = census.findings.iter().filter(|other| other.kind != finding.kind);
        finding.kind == EQUAL_BLOCKS && others.any(|other| other.bytes.is_some_and(is_near))
    };
    let findings = census.findings.iter().filter(|finding| !is_told_twice(finding));
    // The smaller of the two is at most what was there all the time: the rest came meanwhile, or has gone.
    let held = findings.filter_map(|at_end| {
        let at_begin = begin.findings.iter().find(|finding| finding.is_of(at_end))?;
        Some(if at_begin.bytes < at_end.bytes { at_begin } else { at_end })
    });
    let held = held.filter(|finding| finding.bytes.is_none_or(|bytes| bytes > profile.totals.live_bytes));
    let held: Vec<_> = held.take(most).collect();
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
