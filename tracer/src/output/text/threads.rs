//! Threads: how many, what their stacks take, by name and by whom they were started.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{Style, clean, label, table, units};
use crate::profile::{Creator, Profile};

/// Names, and creators, that are shown.
const NAMES: usize = 8;
const CREATORS: usize = 5;

pub(super) fn threads(profile: &Profile, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let threads = &profile.threads;
    if threads.live == 0 && threads.exited == 0 {
        return Ok(());
    }
    writeln!(out)?;
    table::write_title("Threads", style, out)?;
    writeln!(
        out,
        "  {} at the end; {} started and {} ended in the session",
        units::count(threads.live),
        units::count(threads.started),
        units::count(threads.exited)
    )?;
    if let (Some(reserved), Some(resident)) = (threads.stack_reserved_bytes, threads.stack_resident_bytes) {
        writeln!(
            out,
            "  their stacks: {} reserved, {} in memory",
            units::bytes(reserved),
            units::bytes(resident)
        )?;
    }
    if let Some(cached) = threads.cached_stacks.filter(|cached| cached.count > 0) {
        writeln!(
            out,
            "  {} of ended threads, which the C library keeps: {} reserved, {} in memory",
            units::counted(cached.count, "stack"),
            units::bytes(cached.reserved_bytes),
            units::bytes(cached.resident_bytes)
        )?;
    }
    let mut names = table::new(&["name", "live", "started", "ended", "stacks", "in memory"], 1..6);
    for row in threads.names.iter().take(NAMES) {
        names.add_row([
            label::fit(&clean(&row.pattern), 40).into_owned(),
            units::count(row.live),
            units::count(row.started),
            units::count(row.exited),
            units::bytes(row.stack_reserved_bytes),
            units::bytes(row.stack_resident_bytes),
        ]);
    }
    table::write_lines(&names, style, false, out)?;
    if let Some(more) = threads.names.len().checked_sub(NAMES).filter(|&more| more > 0) {
        writeln!(out, "  and {}", units::counted(more as u64, "other name"))?;
    }
    for (by, (count, live)) in creators(&threads.creators).iter().take(CREATORS) {
        let (count, live) = (units::count(*count), units::count(*live));
        let text = format!("{count} ({live} live) started by {by}");
        writeln!(out, "  {}", label::fit(&text, style.width.saturating_sub(2)))?;
    }
    Ok(())
}

/// Number of threads each line of code started, and how many of them live, the most first. A way there is another
/// stack, but no other line.
fn creators(creators: &[Creator]) -> Vec<(String, (u64, u64))> {
    let mut by_line: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for creator in creators {
        let by = creator.path.owner.or(creator.path.cause).and_then(|by| creator.frames.get(by));
        let Some(by) = by.map(|frame| label::place(frame)) else { continue };
        let (count, live) = by_line.entry(by).or_default();
        (*count, *live) = (*count + creator.count, *live + creator.live);
    }
    let mut lines: Vec<_> = by_line.into_iter().collect();
    lines.sort_by_key(|(_, (count, _))| Reverse(*count));
    lines
}
