//! The lines below the first screen: where the resident bytes are, what came and went, threads by pattern.

use std::collections::BTreeMap;
use std::io;

use super::merged::merged;
use super::screen::{Screen, names};
use crate::output::{clean, label, units};
use crate::profile::Profile;
use crate::vmmap::Owner;

/// Parts told; what is smaller is one line.
const PARTS: usize = 12;
/// From so many columns on, there is room for the start beside the end and the change.
const WIDE: usize = 56;
/// Patterns of threads' names told.
const THREADS: usize = 6;
/// Lines told of what came and went.
const PASSED: usize = 3;

pub(super) fn below(profile: &Profile, screen: &mut Screen<'_>) -> io::Result<()> {
    parts(profile, screen)?;
    passed(profile, screen)?;
    threads(profile, screen)
}

/// A part of the process's memory at the start and at the end.
#[derive(Default)]
struct Part {
    start: Option<u64>,
    end: u64,
}

fn parts(profile: &Profile, screen: &mut Screen<'_>) -> io::Result<()> {
    let memory = &profile.memory;
    let Some(rss) = memory.rss_bytes.filter(|_| !memory.parts.is_empty()) else { return Ok(()) };
    let start = memory.series.first().filter(|_| memory.series.len() > 1);
    let mut rows: BTreeMap<&str, Part> = BTreeMap::new();
    // malloc's parts at the end are by what it says itself; at the start, only their sum is known.
    for part in &memory.parts {
        let id = if part.id.starts_with("malloc-") { "malloc" } else { part.id.as_str() };
        rows.entry(id).or_default().end += part.resident_bytes.unwrap_or(0);
    }
    for (id, bytes) in start.into_iter().flat_map(|moment| &moment.resident_bytes) {
        let id = if id.starts_with("malloc-") { "malloc" } else { id.as_str() };
        let row = rows.entry(id).or_default();
        row.start = Some(row.start.unwrap_or(0) + bytes);
    }
    let is_known = start.is_some();
    let mut rows: Vec<(&str, Part)> = rows.into_iter().collect();
    rows.sort_by_key(|(_, part)| std::cmp::Reverse(part.end.max(part.start.unwrap_or(0))));
    screen.gap()?;
    let title = format!("Where the {} are, by part", units::bytes(rss));
    table(&title, ["start", "end", "change"], is_known, screen)?;
    let told = rows.len().min(PARTS);
    for (id, part) in rows.iter().take(told) {
        row(&name(id), part, is_known, screen)?;
        if *id == "malloc" {
            for part in memory.parts.iter().filter(|part| part.id.starts_with("malloc-")) {
                let name = clean(&part.name);
                let name = format!("  {}", name.strip_prefix("malloc: ").unwrap_or(&name));
                let part = Part { start: None, end: part.resident_bytes.unwrap_or(0) };
                row(&name, &part, false, screen)?;
            }
        }
    }
    let rest = rows.get(told..).unwrap_or_default();
    if !rest.is_empty() {
        let part = sum(rest);
        row(&format!("{} smaller", units::count(rest.len() as u64)), &part, is_known, screen)?;
    }
    row("all", &sum(&rows), is_known, screen)?;
    let mut facts = Vec::new();
    if let Some(pss) = memory.pss_bytes {
        facts.push(format!("PSS {}", units::bytes(pss)));
    }
    if let Some(swap) = memory.swap_bytes.filter(|&bytes| bytes > 0) {
        facts.push(format!("swapped {}", units::bytes(swap)));
    }
    if let (Some(limit), Some(used)) = (memory.limit_bytes, memory.limit_used_bytes) {
        facts.push(format!("its control group uses {} of {}", units::bytes(used), units::bytes(limit)));
    }
    if facts.is_empty() { Ok(()) } else { screen.paragraph("  ", &facts.join(", ")) }
}

fn sum(rows: &[(&str, Part)]) -> Part {
    rows.iter().fold(Part::default(), |sum, (_, part)| Part {
        start: Some(sum.start.unwrap_or(0) + part.start.unwrap_or(0)),
        end: sum.end + part.end,
    })
}

fn name(id: &str) -> String {
    match id {
        "malloc" => "malloc".to_owned(),
        _ => clean(Owner::from_id(id).map_or(id, |owner| owner.name())).into_owned(),
    }
}

fn table(title: &str, heads: [&str; 3], is_known: bool, screen: &mut Screen<'_>) -> io::Result<()> {
    let [start, end, change] = heads;
    let cells = match is_known {
        true if screen.width >= WIDE => format!("{start:>10} {end:>10} {change:>11}"),
        true => format!("{end:>10} {change:>11}"),
        false => format!("{end:>10}"),
    };
    screen.row("", &[title.to_owned()], &cells)
}

fn row(name: &str, part: &Part, is_known: bool, screen: &mut Screen<'_>) -> io::Result<()> {
    let end = units::bytes(part.end);
    let cells = match (is_known, part.start) {
        (false, _) => format!("{end:>10}"),
        (true, start) => {
            let start = start.unwrap_or(0);
            let change = i64::try_from(i128::from(part.end) - i128::from(start)).unwrap_or(i64::MAX);
            let start =
                if screen.width >= WIDE { format!("{:>10} ", units::bytes(start)) } else { String::new() };
            format!("{start}{end:>10} {:>11}", units::bytes_more(change))
        }
    };
    let room = screen.width.saturating_sub(cells.len() + 3).max(8);
    screen.plain_row(&format!("  {}", label::fit(name, room)), &cells)
}

/// Lines whose memory came and went.
fn passed(profile: &Profile, screen: &mut Screen<'_>) -> io::Result<()> {
    let mut rows = merged(profile, |row| row.totals.freed_bytes > 0);
    rows.sort_by_key(|row| std::cmp::Reverse(row.freed.bytes));
    if rows.is_empty() {
        return Ok(());
    }
    screen.gap()?;
    let cells = format!("{:>10} {:>9}", "bytes", "times");
    screen.row("", &["Came and went, by line".to_owned()], &cells)?;
    for row in rows.iter().take(PASSED) {
        let (bytes, count) = (units::bytes(row.freed.bytes), units::count(row.freed.count));
        screen.row("  ", &names(row.line), &format!("{bytes:>10} {count:>9}"))?;
    }
    Ok(())
}

fn threads(profile: &Profile, screen: &mut Screen<'_>) -> io::Result<()> {
    let threads = &profile.threads;
    if threads.live == 0 && threads.exited == 0 {
        return Ok(());
    }
    screen.gap()?;
    let text = format!(
        "Threads: {} at the end, {} started and {} ended in this time",
        units::count(threads.live),
        units::count(threads.started),
        units::count(threads.exited)
    );
    screen.paragraph("", &text)?;
    for row in threads.names.iter().take(THREADS) {
        let cells = format!("{:>7} {:>10}", units::count(row.live), units::bytes(row.stack_resident_bytes));
        let room = screen.width.saturating_sub(cells.len() + 3).max(8);
        screen.plain_row(&format!("  {}", label::fit(&clean(&row.pattern), room)), &cells)?;
    }
    let more = threads.names.len().saturating_sub(THREADS) as u64;
    if more > 0 { screen.line(&format!("  and {}", units::counted(more, "other name"))) } else { Ok(()) }
}
