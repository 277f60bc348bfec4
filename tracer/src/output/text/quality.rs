//! Quality of the data that the report rests on: what was lost, and how much is known.

use std::io::{self, Write};

use super::{Style, clean, table, units};
use crate::profile::Profile;

/// Sentence for each reason for a loss; others are told by their name.
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

pub(super) fn write(profile: &Profile, all: bool, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let quality = &profile.quality;
    writeln!(out)?;
    table::write_title("Data quality", style, out)?;
    if quality.lost.is_empty() {
        writeln!(out, "  nothing lost")?;
    }
    for (reason, count) in &quality.lost {
        let text = describe(reason);
        writeln!(out, "  {}", style.warn(&format!("LOST {}: {text}", units::count(*count))))?;
    }
    if quality.stacks_total > 0 {
        let share = units::share(quality.stacks_complete, quality.stacks_total);
        writeln!(out, "  stacks complete: {share}")?;
    }
    if let Some(count) = quality.stacks_remembered.filter(|_| all) {
        let share = units::share(count, quality.stacks_total);
        writeln!(out, "  stacks that were taken before, compared and not walked again: {share}")?;
    }
    for end in quality.incomplete.iter().take(if all { usize::MAX } else { 0 }) {
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
    if let Some(bytes) = profile.session.sample_bytes {
        let interval = units::bytes(bytes);
        writeln!(
            out,
            "  sampled: one allocation in about {interval}; what malloc and its like allocated is estimated,"
        )?;
        writeln!(
            out,
            "    right on average; ±: standard error (two in three are within it, nearly all within three)"
        )?;
    }
    if let Some(count) = quality.unmatched_frees.filter(|&count| count > 0) {
        writeln!(out, "  {} freed, too (normal)", units::counted(count, "older block"))?;
    }
    for note in &quality.notes {
        writeln!(out, "  note: {}", clean(note))?;
    }
    Ok(())
}

/// Meaning of a reason for a loss.
pub(super) fn describe(reason: &str) -> String {
    let told = REASONS.iter().find(|(known, _)| *known == reason).map(|(_, text)| *text);
    told.map_or_else(|| clean(reason).replace('_', " "), str::to_owned)
}
