//! Rows of one line put together, whatever their categories are.

use std::collections::HashMap;

use super::findings::word;
use crate::profile::{LineRow, Place, Profile};

/// Bytes, in so many allocations.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) bytes: u64,
    pub(super) count: u64,
}

/// Memory that a line has of the allocator's memory.
pub(super) struct Merged<'a> {
    pub(super) line: &'a Place,
    pub(super) live: Sum,
    pub(super) freed: Sum,
    /// Categories with most first, without those of less than a hundredth of it.
    pub(super) categories: Vec<&'a str>,
    /// Word of the row with most.
    pub(super) word: &'static str,
}

/// The lines of the rows that are wanted.
pub(super) fn merged<'a>(profile: &'a Profile, is_wanted: impl Fn(&LineRow) -> bool) -> Vec<Merged<'a>> {
    let mut lines: Vec<Merged<'a>> = Vec::new();
    let mut of_categories: Vec<Vec<(&'a str, u64)>> = Vec::new();
    let mut by_function: HashMap<&str, usize> = HashMap::new();
    let rows = profile.by_line.iter().filter(|row| row.source == "allocator" && is_wanted(row));
    for (row, line) in rows.filter_map(|row| Some((row, row.line.as_ref()?))) {
        let at = *by_function.entry(&line.function).or_insert_with(|| {
            let word = row.verdict.as_ref().map_or("", word);
            let (live, freed) = (Sum::default(), Sum::default());
            lines.push(Merged { line, live, freed, categories: Vec::new(), word });
            of_categories.push(Vec::new());
            lines.len() - 1
        });
        let Some((merged, amounts)) = lines.get_mut(at).zip(of_categories.get_mut(at)) else { continue };
        let add = |sum: &mut Sum, bytes, count| {
            sum.bytes = sum.bytes.saturating_add(bytes);
            sum.count = sum.count.saturating_add(count);
        };
        add(&mut merged.live, row.totals.live_bytes, row.totals.live_count);
        add(&mut merged.freed, row.totals.freed_bytes, row.totals.freed_count);
        match amounts.iter_mut().find(|(category, _)| *category == row.category) {
            Some((_, bytes)) => *bytes = bytes.saturating_add(row.totals.live_bytes),
            None => amounts.push((&row.category, row.totals.live_bytes)),
        }
    }
    for (merged, mut amounts) in lines.iter_mut().zip(of_categories) {
        amounts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let least = merged.live.bytes / 100;
        merged.categories = amounts.iter().filter(|(_, bytes)| *bytes >= least).map(|(id, _)| *id).collect();
    }
    lines
}
