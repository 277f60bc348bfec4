//! Native Memory Tracking, the JVM's own account, beside what is told from outside: a table for the census and for the
//! report.

use super::style::Style;
use super::text::verdicts;
use super::{clean, table, units};
use crate::census::Census;
use crate::census::document::{NativeMemoryTracking, TrackedCategory};

/// Categories that are shown, if they have no part beside them; the others are one row.
const MAX_ROWS: usize = 12;

/// Lines of the table, with a heading; none if the JVM does not track. `before`: an earlier census, by which growth is
/// told.
pub(super) fn lines(census: &Census, before: Option<&Census>, style: Style) -> String {
    let Some(tracked) = &census.census.native_memory_tracking else { return String::new() };
    let before = before.and_then(|before| before.census.native_memory_tracking.as_ref());
    let mut header = vec!["", "reserved", "committed", "here", "malloc"];
    header.extend(before.map(|_| "grew by"));
    let mut rows = table::new(&header, 1..header.len());
    let cell = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), units::bytes);
    let grew = |categories: &[TrackedCategory]| {
        let before = before?.categories.iter();
        let names = |category: &&TrackedCategory| categories.iter().any(|other| other.name == category.name);
        let less: u64 = before.filter(names).map(held_bytes).fold(0, u64::saturating_add);
        let more: u64 = categories.iter().map(held_bytes).fold(0, u64::saturating_add);
        Some(units::bytes_more(more.cast_signed().saturating_sub(less.cast_signed())))
    };
    let mut add = |name: String, categories: &[TrackedCategory], here: Option<u64>| {
        let sum = |of: fn(&TrackedCategory) -> Option<u64>| {
            categories.iter().filter_map(of).reduce(u64::saturating_add)
        };
        let reserved = sum(|category| Some(category.reserved_bytes)).filter(|bytes| *bytes > 0);
        let committed = sum(|category| category.committed_bytes.filter(|_| category.reserved_bytes > 0));
        let malloc = sum(|category| Some(category.allocated_bytes())).filter(|bytes| *bytes > 0);
        let mut row = vec![name, cell(reserved), cell(committed), cell(here), cell(malloc)];
        row.extend(before.map(|_| grew(categories).unwrap_or_default()));
        rows.add_row(row);
    };
    // What stands beside a part of the balance is always told.
    let is_shown = |(at, category): &(usize, TrackedCategory)| *at < MAX_ROWS || !category.parts.is_empty();
    let (shown, rest): (Vec<_>, Vec<_>) = tracked.categories.iter().cloned().enumerate().partition(is_shown);
    for (_, category) in &shown {
        let name = clean(&category.name).into_owned();
        add(name, std::slice::from_ref(category), category.parts_committed_bytes);
    }
    if !rest.is_empty() {
        let rest: Vec<TrackedCategory> = rest.into_iter().map(|(_, category)| category).collect();
        add(format!("{} smaller", units::count(rest.len() as u64)), &rest, None);
    }
    add("all".to_owned(), &tracked.categories, None);
    let heading = format!("Native Memory Tracking ({}), the JVM's own account", clean(&tracked.level));
    let table = table::lines(&rows, style, true);
    format!("{}\n{table}{}", style.bold(&heading), notes(census, tracked, style))
}

/// Committed bytes and those of malloc.
fn held_bytes(category: &TrackedCategory) -> u64 {
    category.committed_bytes.unwrap_or(0).saturating_add(category.allocated_bytes())
}

/// Meaning of the columns, and the part of malloc's memory that is tracked.
fn notes(census: &Census, tracked: &NativeMemoryTracking, style: Style) -> String {
    let mut text = "\"here\" is what the balance has of the same mappings, committed.".to_owned();
    if tracked.categories.iter().any(|category| category.committed_bytes.is_none()) {
        text += " What is committed of stacks the JVM counts only when it is asked for its report.";
    }
    if let Some(malloc) = &census.census.malloc {
        let all = malloc.all_in_use().bytes;
        let of_jvm =
            tracked.categories.iter().map(TrackedCategory::allocated_bytes).fold(0, u64::saturating_add);
        text += &format!(
            " malloc has {} in use, of which the JVM tracks {}: headers and what libraries allocate are not in it.",
            units::bytes(all),
            units::bytes(of_jvm)
        );
    }
    let lines = verdicts::lines(&text, style.width.saturating_sub(2));
    format!("  {}\n", lines.join("\n  "))
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::recording::fixture;

    /// A census of a JVM that tracks so many categories, each of so many MiB more than the one before.
    fn census(count: u64, more: u64) -> Census {
        let mut census = fixture::census(3);
        let category = |at: u64| TrackedCategory {
            name: format!("\u{1b}Category {at}"),
            reserved_bytes: 100 << 20,
            committed_bytes: (at != 2).then_some((20 + more - at) << 20),
            malloc_bytes: 1 << 20,
            parts_committed_bytes: (at == 0).then_some(21 << 20),
            ..TrackedCategory::default()
        };
        census.census.native_memory_tracking = Some(NativeMemoryTracking {
            level: "summary".to_owned(),
            categories: (0..count).map(category).collect(),
        });
        census
    }

    #[test]
    fn rows_add_up_and_fit_the_width() {
        let now = census(15, 4);
        let told = lines(&now, Some(&census(15, 0)), Style::new(false, 0));
        assert!(told.lines().all(|line| line.width() <= 80), "{told}");
        assert!(!told.contains('\u{1b}'), "{told}");
        let row = |name: &str| {
            let line = told
                .lines()
                .find(|line| line.trim_start_matches([' ', '\u{fffd}']).starts_with(name))
                .unwrap_or_else(|| panic!("{told}"));
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert!(row("Category 0").ends_with("100.0 MiB 24.0 MiB 21.0 MiB 1.0 MiB +4.0 MiB"), "{told}");
        assert!(row("Category 2").ends_with("100.0 MiB - - 1.0 MiB 0 B"), "{told}");
        // 14 categories of 24 MiB, less 0 to 14 without 2; and the three that have no row.
        assert!(row("3 smaller").ends_with("300.0 MiB 33.0 MiB - 3.0 MiB +12.0 MiB"), "{told}");
        assert!(row("all").ends_with("1.5 GiB 233.0 MiB - 15.0 MiB +56.0 MiB"), "{told}");
        assert!(told.contains("of which the JVM tracks 15.0 MiB"), "{told}");
        // Without an earlier census nothing grew.
        let once = lines(&now, None, Style::new(false, 0));
        assert!(!once.contains("grew by") && once.contains("24.0 MiB"), "{once}");
        assert_eq!(lines(&fixture::census(3), None, Style::new(false, 0)), "");
    }
}
