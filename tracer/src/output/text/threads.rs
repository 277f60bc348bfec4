//! Threads: how many, what their stacks take, by name and by whom they were started.

use std::io::{self, Write};

use super::{Style, WIDTH, clean, label, table, units};
use crate::profile::Profile;

/// Names, and creators, that are shown.
const NAMES: usize = 8;
const CREATORS: usize = 5;

pub(super) fn threads(profile: &Profile, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let threads = &profile.threads;
    if threads.live == 0 && threads.exited == 0 {
        return Ok(());
    }
    writeln!(out)?;
    writeln!(out, "{}", style.bold("Threads"))?;
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
    for creator in threads.creators.iter().take(CREATORS) {
        let part = |at: Option<usize>| Some(label::place(creator.frames.get(at?)?));
        let way: Vec<String> =
            [part(creator.way.cause), part(creator.way.owner)].into_iter().flatten().collect();
        if !way.is_empty() {
            let (count, live) = (units::count(creator.count), units::count(creator.live));
            let text = format!("{count} ({live} live) started by {}", way.join(" → "));
            writeln!(out, "  {}", label::fit(&text, WIDTH - 2))?;
        }
    }
    Ok(())
}
