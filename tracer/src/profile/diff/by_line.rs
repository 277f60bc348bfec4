//! Rows by line of two recordings: the same method of the same category and kind is one row.

use super::pair::{Durations, Rates, TotalsPair};
use super::{Verdicts, joined};
use crate::profile::{LineRow, Place, Totals};

/// A line that both may have.
#[derive(Clone, Debug)]
pub struct LinePair {
    /// `allocator` or `mapping`.
    pub source: &'static str,
    pub category: String,
    pub kind: Option<String>,
    /// Place in the new one, if it has the line. `None` if no frame of the application is on the stacks.
    pub line: Option<Place>,
    pub totals: TotalsPair,
    pub rates: Rates,
    /// Verdicts as each recording has them.
    pub verdict: Verdicts,
    /// Advice, where the new one has a finding.
    pub advice: Option<String>,
}

/// Pairs the rows of both sides; every row is in one pair.
pub(super) fn pairs(base: &[LineRow], new: &[LineRow], durations: Durations) -> Vec<LinePair> {
    let key = |row: &LineRow| {
        let function = row.line.as_ref().map(|line| line.function.clone());
        (row.source, row.category.clone(), row.kind.clone(), function)
    };
    let pair = |[base, new]: [Option<&LineRow>; 2]| {
        let totals_of = |row: Option<&LineRow>| row.map_or_else(Totals::default, |row| row.totals);
        let verdict_of = |row: Option<&LineRow>| Some(row?.verdict.as_ref()?.kind);
        let shown = new.or(base)?;
        let totals = TotalsPair::new(totals_of(base), totals_of(new));
        let found = new.and_then(|row| row.verdict.as_ref()).filter(|verdict| verdict.kind.is_finding());
        Some(LinePair {
            source: shown.source,
            category: shown.category.clone(),
            kind: shown.kind.clone(),
            line: shown.line.clone(),
            rates: Rates::of(&totals, durations),
            totals,
            verdict: Verdicts { base: verdict_of(base), new: verdict_of(new) },
            advice: found.map(|verdict| verdict.advice.clone()),
        })
    };
    joined(base, new, key).into_values().filter_map(pair).collect()
}
