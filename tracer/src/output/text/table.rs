//! The tables of categories: first what was allocated, then what was mapped.

use std::io::{self, Write};

use comfy_table::Table;
use unicode_width::UnicodeWidthStr;

use super::{Options, Style, View, clean, label, units};
use crate::profile::{Category, Profile, Totals};

/// Characters that a category's id may take.
const ID_WIDTH: usize = 34;
/// Width of an id beside the errors.
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
        write_title(heading, style, out)?;
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
    let fits = named.lines().all(|line| line.trim_end().width() <= style.width);
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

pub(in crate::output) use crate::output::table::{new, write_lines, write_title};
