//! The one layout of tables: columns without borders, numbers at the right, no line wider than it may be.

use std::io::{self, Write};
use std::ops::Range;

use comfy_table::{CellAlignment, Table, presets};

use super::fitted::cut;
use super::style::Style;

/// Columns that a cell's padding takes.
pub(super) const PADDING: usize = 2;

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

/// The lines of a table, none wider than the style's width or with blanks at its end. `total`: the last row is the sum.
pub(super) fn lines(table: &Table, style: Style, total: bool) -> String {
    let last = table.row_count();
    let mut out = String::new();
    for (at, line) in table.lines().enumerate() {
        // Styled as lines: the escapes of styled cells would count as columns.
        let line = cut(line.trim_end(), style.width);
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

/// Writes the lines of a table at a report's width.
pub(super) fn write_lines(table: &Table, style: Style, total: bool, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(lines(table, style, total).as_bytes())
}
