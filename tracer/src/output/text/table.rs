//! The tables of categories: first what was allocated, then what was mapped.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};

use super::{Options, Style, View, WIDTH, clean, label, units};
use crate::profile::{Category, Profile, Totals};

/// Characters that a category's id may take.
const ID_WIDTH: usize = 34;
/// Beside the errors.
const ID_WIDTH_SAMPLED: usize = 20;

pub(super) fn categories(
    profile: &Profile,
    options: &Options,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (source, heading, total) in [
        (
            "allocator",
            match profile.is_light() {
                true => {
                    "Held behind zlib's and the JDK's own calls in the session (light: malloc was not watched)"
                }
                false => "Allocated in the session by malloc and its like (live: not freed by its end)",
            },
            Some(&profile.totals),
        ),
        ("mapping", "Mapped in the session (not part of the above)", None),
    ] {
        let mut rows: Vec<&Category> = profile
            .categories
            .iter()
            .filter(|row| row.source == source && row.totals.allocated_count > 0)
            .collect();
        if rows.is_empty() {
            continue;
        }
        if options.view != View::Live {
            rows.sort_by_key(|row| std::cmp::Reverse(options.view.bytes(&row.totals)));
        }
        writeln!(out)?;
        writeln!(out, "{}", style.bold(heading))?;
        write_table(&rows, total.filter(|_| rows.len() > 1), style, out)?;
    }
    if profile.categories.is_empty() {
        writeln!(out)?;
        writeln!(out, "Nothing was allocated or mapped in the session.")?;
    }
    Ok(())
}

fn write_table(
    rows: &[&Category],
    total: Option<&Totals>,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    // Names where there is room for them.
    let named = table(rows, total, true);
    let fits = named.lines().all(|line| line.trim_end().chars().count() <= WIDTH);
    let shown = if fits { named } else { table(rows, total, false) };
    write_lines(&shown, style, total.is_some(), out)
}

fn table(rows: &[&Category], total: Option<&Totals>, names: bool) -> Table {
    let mapping = rows.first().is_some_and(|row| row.source == "mapping");
    let (allocated, freed) = if mapping { ("mapped", "unmapped") } else { ("allocated", "freed") };
    // The errors need room; what was freed is the rest.
    let is_sampled = rows.iter().any(|row| row.totals.variances.is_some());
    let (mut table, id_width) = if is_sampled {
        let header = ["category", "live", "±", "count", "±", allocated, "±", "growth", "verdict", ""];
        (new(&header, 1..8), ID_WIDTH_SAMPLED)
    } else {
        let header = ["category", "live", "count", allocated, freed, "growth", "verdict", ""];
        (new(&header, 1..6), ID_WIDTH)
    };
    for row in rows {
        let growth = row.growth_bytes_per_s.map_or_else(|| "-".to_owned(), units::rate);
        let id = clean(&row.id);
        let known = id.to_lowercase().ends_with(&row.name.to_lowercase());
        let name = if known || !names { "" } else { row.name.as_str() };
        let verdict = row.verdict.as_ref().map_or("", |verdict| verdict.kind.as_str());
        table.add_row(cells(&label::fit(&id, id_width), &row.totals, growth, verdict, name));
    }
    if let Some(totals) = total {
        table.add_row(cells("total", totals, String::new(), "", ""));
    }
    table
}

fn cells(id: &str, totals: &Totals, growth: String, verdict: &str, name: &str) -> Vec<String> {
    let errors = &totals.errors;
    let (live, count) = (units::bytes(totals.live_bytes), units::count(totals.live_count));
    let allocated = units::bytes(totals.allocated_bytes);
    let numbers = if totals.variances.is_some() {
        vec![
            live,
            units::plus_minus(totals.live_bytes, errors.live_bytes_error),
            count,
            units::plus_minus(totals.live_count, errors.live_count_error),
            allocated,
            units::plus_minus(totals.allocated_bytes, errors.allocated_bytes_error),
        ]
    } else {
        vec![live, count, allocated, units::bytes(totals.freed_bytes)]
    };
    let words = [growth, verdict.to_owned(), clean(name).into_owned()];
    [id.to_owned()].into_iter().chain(numbers).chain(words).collect()
}

/// What a column takes beside its cells.
pub(in crate::output) const PADDING: usize = 2;

/// A table without borders; the columns `numbers` are aligned at the right.
pub(in crate::output) fn new(header: &[&str], numbers: std::ops::Range<usize>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.force_no_tty();
    table.set_header(header.to_vec());
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if at == 0 { 2 } else { 1 }, 1));
        if numbers.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Writes a table, no line wider than the report or with blanks at its end.
pub(in crate::output) fn write_lines(
    table: &Table,
    style: Style,
    total: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let last = table.row_count();
    for (at, line) in table.lines().enumerate() {
        // Styled as lines: the escapes of styled cells would count as columns.
        let line: String = line.chars().take(WIDTH).collect();
        let line = line.trim_end();
        let line = match at {
            0 => style.dim(line),
            at if at == last && total => style.bold(line),
            _ => line.to_owned(),
        };
        writeln!(out, "{line}")?;
    }
    Ok(())
}
