//! The one layout of tables: columns without borders, numbers at the right, no line wider than it may be.

use std::io::{self, Write};
use std::ops::Range;

use comfy_table::{CellAlignment, ColumnConstraint, Table, presets};
use unicode_width::UnicodeWidthStr;

use super::answer::screen::wrapped;
use super::fit;
use super::fitted::cut;
use super::style::Style;

/// Columns that a cell's padding takes.
pub(super) const PADDING: usize = 2;
/// Columns of a name: other columns are left out before it gets less.
const LEAST_NAME: usize = 20;
/// Heads of the columns that are the last to go.
const LAST: [&str; 2] = ["change", "resident"];

/// A table without borders; the columns `numbers` are aligned at the right.
pub(super) fn new(header: &[&str], numbers: Range<usize>) -> Table {
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

/// The lines of a table, none wider than the style's width or with blanks at its end. Where a row has no room, its name
/// gives way, and then whole columns do, those behind the name first: no number is cut. `total`: the last row is the
/// sum.
pub(super) fn lines(table: &Table, style: Style, total: bool) -> String {
    let mut table = table.clone();
    let names = table.column_max_content_widths().first().map_or(0, |&width| usize::from(width)) + PADDING;
    let least = names.min(LEAST_NAME + PADDING);
    let widest = |table: &Table| table.lines().map(|line| line.trim_end().width()).max().unwrap_or(0);
    let columns = table.column_count();
    let is_last = |at: &usize| {
        let head = table.header().and_then(|heads| heads.cell_iter().nth(*at));
        head.is_some_and(|head| LAST.contains(&head.content().trim()))
    };
    let mut optional: Vec<usize> = (1..columns.saturating_sub(1)).collect();
    optional.sort_by_key(is_last);
    for at in optional {
        if widest(&table) - (names - least) <= style.width {
            break;
        }
        if let Some(column) = table.column_mut(at) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
    }
    let room = names.saturating_sub(widest(&table).saturating_sub(style.width));
    let last = table.row_count();
    let mut out = String::new();
    for (at, line) in table.lines().enumerate() {
        // Styled as lines: the escapes of styled cells would count as columns.
        let line = with_name_in(line.trim_end(), names, room);
        let line = cut(&line, style.width);
        let line = match at {
            0 if line.is_empty() => continue,
            0 => style.dim(&line),
            at if at == last && total => style.bold(&line),
            _ => line,
        };
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// A line whose first `names` columns have their text in `room`.
fn with_name_in(line: &str, names: usize, room: usize) -> String {
    if room >= names {
        return line.to_owned();
    }
    let name = cut(line, names);
    let rest = line.get(name.len()..).unwrap_or_default();
    let name = fit(name.trim_end(), room).into_owned();
    format!("{name}{}{rest}", " ".repeat(room.saturating_sub(name.width())))
}

/// Writes the title of a table or list, in lines that fit.
pub(super) fn write_title(title: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
    wrapped(title, style.width).iter().try_for_each(|line| writeln!(out, "{}", style.bold(line)))
}

/// Writes the lines of a table at a report's width.
pub(super) fn write_lines(table: &Table, style: Style, total: bool, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(lines(table, style, total).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(width: usize) -> String {
        let mut table = new(&["", "base", "new", "change"], 1..4);
        table.add_row(["a name of thirty letters, all in all", "1.0 MiB", "200.0 MiB", "+199.0 MiB"]);
        table.add_row(["  漢字仮名漢字仮名漢字仮名", "0 B", "12 B", ""]);
        lines(&table, Style::new(false, width), true)
    }

    #[test]
    fn names_give_way_and_then_columns_but_no_number_is_cut() {
        for width in 30..90 {
            let text = rendered(width);
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
            assert!(text.contains("+199.0 MiB\n") && text.contains("  a "), "{width}:\n{text}");
            assert_eq!(text.contains("1.0 MiB  "), text.contains("base"), "{width}:\n{text}");
        }
        assert!(rendered(80).contains("a name of thirty letters, all in all  1.0 MiB"), "{}", rendered(80));
        assert!(rendered(60).contains("…") && rendered(60).contains(" 1.0 MiB"), "{}", rendered(60));
        assert!(!rendered(50).contains("base") && rendered(50).contains("200.0 MiB"), "{}", rendered(50));
        assert!(!rendered(40).contains("new") && rendered(40).contains("change"), "{}", rendered(40));
    }
}
