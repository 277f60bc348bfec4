//! The balance: what the process has in memory, by owner, before anything else.

use std::io::{self, Write};

use super::{Style, clean, label, table, units, verdicts};
use crate::output::tracking;
use crate::profile::{Censuses, Memory, MemoryPart, PartGrowth, Profile};

/// Parts shown; what is smaller is one line.
const PARTS: usize = 14;
/// Smaller than this share of all, a part goes into that line, in thousandths.
const SMALL_PER_MILLE: u64 = 3;

pub(super) fn balance(profile: &Profile, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let memory = &profile.memory;
    if memory.rss_bytes.is_none() && memory.parts.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let when = match memory.time_ns {
        Some(time) if time.saturating_add(1_000_000_000) < profile.session.duration_ns => {
            format!(" {} after the session began", units::duration(time))
        }
        _ => " at the end".to_owned(),
    };
    table::write_title(&format!("Memory of the process{when}, by owner"), style, out)?;
    if !memory.parts.is_empty() {
        parts(memory, style, out)?;
    }
    let mut facts = Vec::new();
    if let Some(rss) = memory.rss_bytes {
        facts.push(format!("resident (RSS) {}", units::bytes(rss)));
    }
    if let Some(pss) = memory.pss_bytes {
        facts.push(format!("PSS {}", units::bytes(pss)));
    }
    if let Some(swap) = memory.swap_bytes.filter(|&bytes| bytes > 0) {
        facts.push(format!("swapped {}", units::bytes(swap)));
    }
    if !facts.is_empty() {
        writeln!(out, "  {}", facts.join(", "))?;
    }
    if let Some(again) = memory.rss_counted_again_bytes {
        verdicts::paragraph(&counted_again(again), 2, style.plain(), out)?;
    }
    growth(memory, style, out)?;
    limit(memory, style, out)?;
    tracked(&profile.census, style, out)
}

/// The JVM's own account of the same memory, if it keeps one.
fn tracked(censuses: &Censuses, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let (begin, end) = (censuses.begin.as_deref(), censuses.end.as_deref());
    let lines = match (begin, end) {
        (_, Some(end)) => tracking::lines(end, begin, style),
        (Some(begin), None) => tracking::lines(begin, None, style),
        (None, None) => String::new(),
    };
    if !lines.is_empty() {
        writeln!(out)?;
    }
    out.write_all(lines.as_bytes())
}

/// A sentence about resident bytes that RSS has more than once.
pub(in crate::output) fn counted_again(bytes: u64) -> String {
    format!("RSS has {} of the Java heap again: ZGC maps each page at several addresses", units::bytes(bytes))
}

/// Parts named beside the growth of resident memory, at most; what moved less than this is not worth a name.
const GROWN_PARTS: usize = 5;
const GROWN_BYTES: u64 = 256 << 10;

fn growth(memory: &Memory, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let Some(growth) = &memory.growth else { return Ok(()) };
    let Some(rss) = growth.rss_bytes else { return Ok(()) };
    let moved = growth.parts.iter().filter(|part| part.resident_bytes.unsigned_abs() >= GROWN_BYTES);
    let mut moved: Vec<&PartGrowth> = moved.collect();
    moved.sort_by_key(|part| std::cmp::Reverse(part.resident_bytes.unsigned_abs()));
    let parts = moved.iter().take(GROWN_PARTS);
    let parts: Vec<String> = parts
        .map(|part| format!("{} {}", clean(&part.name), units::bytes_more(part.resident_bytes)))
        .collect();
    let by = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    let since = units::duration(growth.since_ns);
    let text = format!("resident since {since}: {}{by}", units::bytes_more(rss));
    verdicts::paragraph(&text, 2, style.plain(), out)
}

fn limit(memory: &Memory, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let Some(limit) = memory.limit_bytes else { return Ok(()) };
    let used = memory.limit_used_bytes.map(|used| {
        let all = ", page cache and other processes of the group included";
        format!(", of which its control group uses {}{all}", units::bytes(used))
    });
    let text = format!("  limit {}{}", units::bytes(limit), used.unwrap_or_default());
    let tight = memory.limit_used_bytes.is_some_and(|used| used >= limit / 10 * 9);
    writeln!(out, "{}", if tight { style.warn(&text) } else { text })
}

fn parts(memory: &Memory, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let resident: u64 = memory.parts.iter().filter_map(|part| part.resident_bytes).sum();
    // Unexplained memory is always told.
    let is_small = |(index, part): &(usize, &MemoryPart)| {
        let small = part.resident_bytes.unwrap_or(0) <= resident / 1000 * SMALL_PER_MILLE || *index >= PARTS;
        small && part.id != "unexplained"
    };
    let (small, shown): (Vec<_>, Vec<_>) = memory.parts.iter().enumerate().partition(is_small);
    let mut rows = table::new(&["owner", "resident", "committed", "reserved", "share"], 1..5);
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), units::bytes);
    let sum = |parts: &[(usize, &MemoryPart)], part: fn(&MemoryPart) -> Option<u64>| {
        parts.iter().map(|(_, row)| part(row).unwrap_or(0)).fold(0, u64::saturating_add)
    };
    for (_, part) in &shown {
        rows.add_row([
            label::fit(&clean(&part.name), 40).into_owned(),
            size(part.resident_bytes),
            size(part.committed_bytes),
            size(part.reserved_bytes),
            percent(part.resident_bytes.unwrap_or(0), resident),
        ]);
    }
    let mut total = |name: String, parts: &[(usize, &MemoryPart)]| {
        let bytes = sum(parts, |part| part.resident_bytes);
        rows.add_row([
            name,
            units::bytes(bytes),
            units::bytes(sum(parts, |part| part.committed_bytes)),
            units::bytes(sum(parts, |part| part.reserved_bytes)),
            percent(bytes, resident),
        ]);
    };
    if !small.is_empty() {
        total(format!("{} smaller", units::count(small.len() as u64)), &small);
    }
    let all: Vec<_> = memory.parts.iter().enumerate().collect();
    total("all".to_owned(), &all);
    table::write_lines(&rows, style, true, out)
}

fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{:.1} %", part as f64 * 100.0 / whole as f64),
    }
}
