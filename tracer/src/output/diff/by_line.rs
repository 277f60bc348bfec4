//! Differences by line of code: the largest change first, whichever its sign.

use std::cmp::Reverse;
use std::io;

use crate::output::answer::screen::{Screen, names};
use crate::output::{Options, View, clean, units};
use crate::profile::diff::{Diff, LinePair};

/// Rows, unless told otherwise.
const ROWS: usize = 10;

/// Writes the rows of a source that make up a hundredth of all change, at least.
pub(super) fn rows(diff: &Diff, source: &str, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let view = options.view;
    let by_time = diff.has_other_length();
    let change = |row: &LinePair| change(row, view, by_time);
    let mut rows: Vec<&LinePair> =
        diff.by_line.iter().filter(|row| row.source == source && change(row) != 0).collect();
    rows.sort_by_key(|row| Reverse(change(row).unsigned_abs()));
    if rows.is_empty() {
        return Ok(());
    }
    let sum = rows.iter().map(|row| change(row).unsigned_abs()).fold(0, u64::saturating_add);
    let is_large = |row: &&&LinePair| change(row).unsigned_abs() >= (sum / 100).max(1) || options.all;
    let most = options.top.unwrap_or(if options.all { usize::MAX } else { ROWS });
    let shown: Vec<&LinePair> = rows.iter().filter(is_large).take(most).copied().collect();
    let what = match (source, by_time) {
        ("mapping", _) => "Mapped, by line",
        (_, true) => "By line, each second",
        (_, false) => "By line",
    };
    screen.gap()?;
    let heads = format!(
        "{:>11} {:>11} {:>12}",
        "base avg/s",
        "new avg/s",
        if by_time { "change avg/s" } else { "change" }
    );
    screen.row("", &[what.to_owned()], &heads)?;
    for row in &shown {
        let rate = row.rates.in_view(view);
        let per_s = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), units::bytes);
        let more = units::bytes_more(change(row));
        let cells = format!("{:>11} {:>11} {more:>12}", per_s(rate.base), per_s(rate.new));
        let kind = row.kind.as_deref().map(|kind| format!(" ({})", clean(kind))).unwrap_or_default();
        let category = format!("{}{kind}", clean(&row.category));
        let title = match &row.line {
            Some(line) => names(line),
            None => vec![format!("{category}, no line of the application")],
        };
        screen.row("  ", &title, &cells)?;
        let verdict = match (row.verdict.base, row.verdict.new) {
            (Some(base), Some(new)) if base != new => format!("{} -> {}", base.as_str(), new.as_str()),
            (None, Some(new)) => format!("new: {}", new.as_str()),
            (Some(_), None) => "gone".to_owned(),
            (_, kind) => kind.map_or_else(String::new, |kind| kind.as_str().to_owned()),
        };
        let [base, new] = [&row.totals.base, &row.totals.new].map(|totals| units::bytes(view.bytes(totals)));
        let of = row.line.as_ref().map_or_else(String::new, |_| format!("{category}, "));
        screen.paragraph("     ", &format!("{of}{base} -> {new}, {verdict}"))?;
        if let Some(advice) = &row.advice {
            screen.paragraph("     fix: ", &clean(advice))?;
        }
    }
    let rest = rows.len() - shown.len();
    if rest > 0 {
        let rest = units::counted(rest as u64, "more line");
        screen.paragraph("  ", &format!("{rest} of less change: --all"))?;
    }
    Ok(())
}

/// Bytes more in the view; in a second, where the recordings are not of one length.
fn change(row: &LinePair, view: View, by_time: bool) -> i64 {
    if by_time { row.rates.in_view(view).growth() } else { view.growth(&row.totals.difference) }
}
