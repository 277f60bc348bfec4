//! The table by line of code: each row of the profile, with its lines, threads and verdict.

use std::io::{self, Write};

use super::{Options, View, clean, units};
use crate::output::answer::screen::{Screen, names};
use crate::profile::{LineRow, Profile};

/// Rows, unless told otherwise; and with every table.
const ROWS: usize = 10;
const ALL_ROWS: usize = 100;
/// Threads and lines named for a row.
const MEMBERS: usize = 4;

/// Writes the rows of a source that hold most.
pub(super) fn lines(
    profile: &Profile,
    source: &str,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut screen = Screen::new(options, out);
    let view = options.view;
    let mut rows: Vec<&LineRow> =
        profile.by_line.iter().filter(|row| row.source == source && view.bytes(&row.totals) > 0).collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_by_key(|row| std::cmp::Reverse(view.bytes(&row.totals)));
    let sum =
        |rows: &[&LineRow]| rows.iter().fold(0_u64, |sum, row| sum.saturating_add(view.bytes(&row.totals)));
    let of_source = profile.by_line.iter().filter(|row| row.source == source);
    let allocated_bytes = of_source.fold(0_u64, |sum, row| sum.saturating_add(row.totals.allocated_bytes));
    let (title, asked) = match source {
        "mapping" => ("By line, mapped", "mapped"),
        _ => ("By line", "allocated"),
    };
    let held = match view {
        View::Live | View::Leaks => "not freed",
        View::Peak => "at peak",
        View::Allocated => asked,
        View::Temporary => "freed",
    };
    screen.gap()?;
    let heads = cells(held, "count", "in memory", asked, "share");
    screen.row("", &[title.to_owned()], &heads)?;
    let most = options.top.unwrap_or(if options.all { ALL_ROWS } else { ROWS });
    for row in rows.iter().take(most) {
        let title = row.line.as_ref().map_or_else(|| vec!["(no line of the application)".to_owned()], names);
        let share = percent(row.totals.allocated_bytes, allocated_bytes);
        let cells = cells(
            &units::bytes(view.bytes(&row.totals)),
            &units::count(view.count(&row.totals)),
            &row.resident_bytes.map_or_else(|| "-".to_owned(), units::bytes),
            &units::bytes(row.totals.allocated_bytes),
            &share,
        );
        screen.row("  ", &title, &cells)?;
        screen.paragraph("     ", &describe(row))?;
    }
    let rest = rows.get(most..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(());
    }
    let more = units::counted(rest.len() as u64, "smaller row");
    screen.paragraph("  ", &format!("and {more} with {} (--top N shows more)", units::bytes(sum(rest))))
}

fn cells(bytes: &str, count: &str, resident: &str, allocated: &str, share: &str) -> String {
    format!("{bytes:>10} {count:>9} {resident:>10} {allocated:>10} {share:>6}")
}

fn percent(part: u64, whole: u64) -> String {
    let percent = u128::from(part).saturating_mul(100).checked_div(u128::from(whole)).unwrap_or(0);
    if percent == 0 && part > 0 { "< 1 %".to_owned() } else { format!("{percent} %") }
}

/// Category, verdict, growth, the lines of the method, and who allocated.
fn describe(row: &LineRow) -> String {
    let kind = row.kind.as_deref().map(|kind| format!(" ({})", clean(kind))).unwrap_or_default();
    let mut parts = vec![format!("{}{kind}", clean(&row.category))];
    if let Some(verdict) = &row.verdict {
        parts.push(verdict.kind.as_str().to_owned());
    }
    parts.extend(row.growth_bytes_per_s.filter(|&growth| growth != 0).map(units::rate));
    if row.lines.len() > 1 {
        let line = |number: Option<u32>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let lines: Vec<String> = row.lines.iter().take(MEMBERS).map(|share| line(share.line)).collect();
        let more = if row.lines.len() > MEMBERS { ", ..." } else { "" };
        parts.push(format!("lines {}{more}", lines.join(", ")));
    }
    if !row.threads.is_empty() {
        let thread = |thread: &crate::profile::SiteThread| {
            format!("{} {}", clean(&thread.name), units::bytes(thread.live_bytes))
        };
        let threads: Vec<String> = row.threads.iter().take(MEMBERS).map(thread).collect();
        let more = if row.threads.len() > MEMBERS { ", ..." } else { "" };
        parts.push(format!("threads: {}{more}", threads.join(", ")));
    }
    parts.join("; ")
}
