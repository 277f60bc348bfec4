//! Contents of malloc's chunks and of the JVM's statistics, at the start and at the end of the session: it explains what
//! was there before the session, of which no stack is known.

use std::io::{self, Write};

use super::verdicts::{lines, paragraph};
use super::{Style, clean, label, table, units};
use crate::census::{Census, Finding};
use crate::profile::Censuses;
use crate::profile::census::Fact;
use crate::profile::diff::{FactPair, Pair};

/// Findings, and members of a list, that are shown.
const FINDINGS: usize = 5;
const MEMBERS: usize = 3;
/// Members of a list of which there are fewer are not worth a line.
const MIN_COUNT: u64 = 10;
const NAME_WIDTH: usize = 40;

pub(super) fn censuses(censuses: &Censuses, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let (begin, end) = (censuses.begin.as_deref(), censuses.end.as_deref());
    if begin.is_none() && end.is_none() && censuses.unknown.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    table::write_title("Read from its memory at the start and at the end of the session", style, out)?;
    findings(begin, end, style, out)?;
    if let Some(begin) = begin {
        before(begin, style, out)?;
    }
    let mut members = 0;
    let is_shown = |fact: &&FactPair| {
        if !fact.id.contains('/') {
            members = 0;
            return !fact.is_nothing();
        }
        let is_many = fact.count.base.max(fact.count.new).unwrap_or(0) >= MIN_COUNT;
        members += usize::from(is_many);
        is_many && members <= MEMBERS
    };
    let facts = FactPair::all(begin, end);
    let shown: Vec<&FactPair> = facts.iter().filter(is_shown).collect();
    rows(&shown, ["at the start", "at the end"], style, out)?;
    for (moment, name) in [("begin", "start"), ("end", "end")] {
        if let Some(why) = censuses.unknown.get(moment) {
            writeln!(out, "  not known at the {name}: {}", clean(why))?;
        }
    }
    Ok(())
}

fn findings_of(census: Option<&Census>) -> &[Finding] {
    census.map(|census| &*census.findings).unwrap_or_default()
}

/// Findings; one that was there at only one of the two moments says so.
fn findings(
    begin: Option<&Census>,
    end: Option<&Census>,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (before, after) = (findings_of(begin), findings_of(end));
    let is_in = |finding: &Finding, others: &[Finding]| others.iter().any(|other| other.is_of(finding));
    let mut marked = Vec::new();
    for finding in after {
        let since = begin.is_some() && !is_in(finding, before);
        marked.push((finding, if since { " (no finding at the start)" } else { "" }));
    }
    for finding in before.iter().filter(|finding| !is_in(finding, after)) {
        marked.push((finding, if end.is_some() { " (no finding at the end)" } else { "" }));
    }
    for (finding, mark) in marked.iter().take(FINDINGS) {
        let held = finding.bytes.map(|bytes| format!("{}: ", units::bytes(bytes))).unwrap_or_default();
        let text = format!("{held}{}{mark}", clean(&finding.evidence));
        for (at, line) in lines(&text, style.width.saturating_sub(4)).iter().enumerate() {
            writeln!(out, "{:indent$}{}", "", style.warn(line), indent = if at == 0 { 2 } else { 4 })?;
        }
    }
    if let Some(more) = marked.len().checked_sub(FINDINGS).filter(|&more| more > 0) {
        writeln!(out, "  and {}", units::counted(more as u64, "other finding"))?;
    }
    Ok(())
}

/// Kinds of memory that malloc held when the session started.
fn before(begin: &Census, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let facts = Fact::all_of(begin);
    let Some(held) = facts.iter().find(|fact| fact.id == "malloc-in-use").and_then(|fact| fact.bytes) else {
        return Ok(());
    };
    let parts: Vec<String> = facts
        .iter()
        // A figure below a hundredth explains nothing.
        .filter(|fact| fact.of == Some("malloc-in-use") && fact.bytes.is_some_and(|bytes| bytes > held / 100))
        .filter_map(|fact| {
            Some(format!("{} in {} {}", units::bytes(fact.bytes?), units::count(fact.count?), fact.name))
        })
        .collect();
    let parts = if parts.is_empty() { String::new() } else { format!(", of it {}", parts.join(", ")) };
    let text = format!("Before the session malloc had {} in use{parts}.", units::bytes(held));
    paragraph(&text, 2, style.plain(), out)
}

/// Facts side by side, with what they grew by.
pub(in crate::output) fn rows(
    facts: &[&FactPair],
    [base, new]: [&str; 2],
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    if facts.is_empty() {
        return Ok(());
    }
    let heads = ["", base, "count", new, "count", "change", "count"];
    let mut rows = table::new(&heads, 1..heads.len());
    for [name, numbers @ ..] in facts.iter().map(|fact| cells(fact)) {
        let indent = name.len() - name.trim_start().len();
        let name = format!("{:indent$}{}", "", label::fit(name.trim_start(), NAME_WIDTH - indent));
        rows.add_row([name].into_iter().chain(numbers));
    }
    table::write_lines(&rows, style, false, out)
}

/// Name, and bytes and count in the one and the other and what they grew by.
fn cells(fact: &FactPair) -> [String; 7] {
    let indent = match (fact.of, fact.id.contains('/')) {
        (Some("libraries"), true) => "    ",
        (Some(_), _) => "  ",
        (None, _) => "",
    };
    let bytes = |bytes: Option<u64>| bytes.map(units::bytes).unwrap_or_default();
    let count = |count: Option<u64>| count.map(units::count).unwrap_or_default();
    [
        format!("{indent}{}", clean(&fact.name)),
        bytes(fact.bytes.base),
        count(fact.count.base),
        bytes(fact.bytes.new),
        count(fact.count.new),
        more(fact.bytes, units::bytes_more),
        more(fact.count, units::count_more),
    ]
}

/// Growth of a number; nothing where it did not.
pub(in crate::output) fn more(pair: Pair, text: fn(i64) -> String) -> String {
    pair.difference.filter(|&difference| difference != 0).map(text).unwrap_or_default()
}
