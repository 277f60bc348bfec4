//! Memory by owner, threads and the code cache: what each has in both.

use std::io::{self, Write};

use crate::output::style::Style;
use crate::output::text::{census::more, table};
use crate::output::{clean, label, units};
use crate::profile::diff::{CodeDiff, MemoryDiff, Pair, ThreadsDiff};

/// Rows of a table.
const ROWS: usize = 12;
const NAME_WIDTH: usize = 50;

pub(super) fn memory(memory: &MemoryDiff, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let changed: Vec<_> = memory.parts.iter().filter(|part| part.resident_bytes.differs()).collect();
    if changed.is_empty() && !memory.rss_bytes.differs() {
        return Ok(());
    }
    writeln!(out)?;
    table::write_title("Memory of the process by owner, resident", style, out)?;
    let mut rows = table::new(&["owner", "base", "new", "change"], 1..4);
    for part in ends(&changed, ROWS) {
        rows.add_row(sizes(&part.name, part.resident_bytes));
    }
    rows.add_row(sizes("all, as the kernel counts it (RSS)", memory.rss_bytes));
    table::write_lines(&rows, style, true, out)?;
    rest(changed.len(), ROWS, "part", out)
}

pub(super) fn threads(threads: Option<&ThreadsDiff>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let Some(threads) = threads.filter(|threads| threads.differs()) else { return Ok(()) };
    writeln!(out)?;
    table::write_title("Threads", style, out)?;
    let mut rows = table::new(&["", "base", "new", "change"], 1..4);
    rows.add_row(counts("live at the end", threads.live));
    rows.add_row(counts("started in the session", threads.started));
    rows.add_row(counts("ended in the session", threads.exited));
    rows.add_row(sizes("their stacks, in memory", threads.stack_resident_bytes));
    let changed: Vec<_> = threads.names.iter().filter(|row| row.live.differs()).collect();
    for row in ends(&changed, ROWS) {
        rows.add_row(counts(&format!("live: {}", row.pattern), row.live));
    }
    table::write_lines(&rows, style, false, out)?;
    rest(changed.len(), ROWS, "name", out)
}

pub(super) fn code(code: Option<&CodeDiff>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let Some(code) = code.filter(|code| code.differs()) else { return Ok(()) };
    writeln!(out)?;
    table::write_title("Code cache", style, out)?;
    let mut rows = table::new(&["", "base", "new", "change"], 1..4);
    rows.add_row(sizes("used", code.used_bytes));
    rows.add_row(sizes("committed", code.committed_bytes));
    rows.add_row(counts("methods", code.method_count));
    rows.add_row(sizes("installed in the session", code.installed_bytes));
    for heap in code.heaps.iter().filter(|heap| heap.used_bytes.differs()) {
        rows.add_row(sizes(&heap.name, heap.used_bytes));
    }
    let changed: Vec<_> = code.generated.iter().filter(|row| row.bytes.differs()).collect();
    for row in ends(&changed, ROWS / 2) {
        rows.add_row(sizes(&format!("of generated classes {}", row.pattern), row.bytes));
    }
    table::write_lines(&rows, style, false, out)
}

fn sizes(name: &str, pair: Pair) -> [String; 4] {
    let name = label::fit(&clean(name), NAME_WIDTH).into_owned();
    [name, size(pair.base), size(pair.new), more(pair, units::bytes_more)]
}

fn counts(name: &str, pair: Pair) -> [String; 4] {
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), units::count);
    let name = label::fit(&clean(name), NAME_WIDTH).into_owned();
    [name, count(pair.base), count(pair.new), more(pair, units::count_more)]
}

pub(super) fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), units::bytes)
}

/// The first and the last rows, which changed most, if there are more than so many.
fn ends<'a, T>(rows: &'a [&'a T], most: usize) -> impl Iterator<Item = &'a T> {
    let (first, last) = if rows.len() > most { (most - most / 3, most / 3) } else { (rows.len(), 0) };
    rows.iter().take(first).chain(rows.iter().skip(rows.len() - last)).copied()
}

fn rest(all: usize, most: usize, thing: &str, out: &mut dyn Write) -> io::Result<()> {
    match all.checked_sub(most).filter(|&more| more > 0) {
        Some(more) => writeln!(out, "  and {} that changed less", units::counted(more as u64, thing)),
        None => Ok(()),
    }
}
