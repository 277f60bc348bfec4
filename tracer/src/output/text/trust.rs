//! What the report rests on: threads, memory as a whole, and what was lost.

use std::io::{self, Write};

use super::{Style, WIDTH, clean, label, table, units};
use crate::profile::Profile;

/// What is told of each reason for a loss; others are told by their name.
const REASONS: [(&str, &str); 10] = [
    ("lost_live_table_full", "allocations were not recorded: the table of live allocations was full"),
    ("lost_stack_table_full", "allocations have no stack: the table of stacks was full"),
    ("lost_stack_record", "stacks came late: the ring buffer was full"),
    ("lost_event", "mapping, thread, GC or code events are missing: the ring buffer was full"),
    ("lost_pending", "allocator calls are missing: too many were under way at once"),
    ("lost_scratch", "allocations have no stack: the CPU's scratch space was taken"),
    ("lost_pointer_read", "results of posix_memalign could not be read"),
    ("missed_frees", "frees were not seen"),
    ("malformed_records", "records could not be understood"),
    ("inconsistent_totals", "rows said more freed than allocated, and were cut"),
];

pub(super) fn trust(profile: &Profile, all: bool, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let trust = &profile.trust;
    writeln!(out)?;
    writeln!(out, "{}", style.bold("How far to trust this"))?;
    if trust.lost.is_empty() {
        writeln!(out, "  nothing lost")?;
    }
    for (reason, count) in &trust.lost {
        let told = REASONS.iter().find(|(known, _)| known == reason).map(|(_, text)| *text);
        let text = told.map_or_else(|| clean(reason).replace('_', " "), str::to_owned);
        writeln!(out, "  {}", style.warn(&format!("LOST {}: {text}", units::count(*count))))?;
    }
    if trust.stacks_total > 0 {
        let share = units::share(trust.stacks_complete, trust.stacks_total);
        writeln!(out, "  stacks complete: {share}")?;
    }
    for end in trust.incomplete.iter().take(if all { usize::MAX } else { 0 }) {
        let module = end.module.as_deref().unwrap_or("no module");
        let place = format!(
            "{} in {}, {} with {}",
            clean(&end.reason),
            clean(module),
            units::counted(end.allocated_count, "allocation"),
            units::bytes(end.allocated_bytes)
        );
        writeln!(out, "    {}: {place}", units::counted(end.stack_count, "incomplete stack"))?;
    }
    if let Some(count) = trust.unmatched_frees.filter(|&count| count > 0) {
        writeln!(
            out,
            "  {} of memory that was not seen allocated (before the session, mostly)",
            units::counted(count, "free")
        )?;
    }
    for note in &trust.notes {
        writeln!(out, "  note: {}", clean(note))?;
    }
    Ok(())
}

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
    for creator in threads.creators.iter().take(3) {
        let part =
            |at: Option<usize>| at.and_then(|at| creator.frames.get(at)).map(|frame| label::place(frame));
        let way: Vec<String> =
            [part(creator.way.cause), part(creator.way.owner)].into_iter().flatten().collect();
        if !way.is_empty() {
            let text = format!("{} started by {}", units::count(creator.count), way.join(" → "));
            writeln!(out, "  {}", label::fit(&text, WIDTH - 2))?;
        }
    }
    Ok(())
}

pub(super) fn memory(profile: &Profile, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let memory = &profile.memory;
    let Some(rss_bytes) = memory.rss_bytes else { return Ok(()) };
    writeln!(out)?;
    writeln!(out, "{}", style.bold("Memory of the process"))?;
    let limit =
        memory.limit_bytes.map(|limit| format!(" of a limit of {}", units::bytes(limit))).unwrap_or_default();
    let unexplained = memory
        .unexplained_bytes
        .map(|bytes| format!(", {} of it unexplained", units::bytes(bytes)))
        .unwrap_or_default();
    writeln!(out, "  resident (RSS) {}{limit}{unexplained}", units::bytes(rss_bytes))?;
    if memory.parts.is_empty() {
        return Ok(());
    }
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), units::bytes);
    let mut parts = table::new(&["part", "reserved", "committed", "resident"], 1..4);
    for part in &memory.parts {
        parts.add_row([
            label::fit(&clean(&part.id), 40).into_owned(),
            size(part.reserved_bytes),
            size(part.committed_bytes),
            size(part.resident_bytes),
        ]);
    }
    table::write_lines(&parts, style, false, out)
}
