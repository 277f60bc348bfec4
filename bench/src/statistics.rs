//! Medians: one busy moment of the machine does not move them.

use serde::Serialize;

/// The median; 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle)) {
        (_, None) => 0.0,
        (1, Some(value)) => *value,
        (_, Some(value)) => (sorted[middle - 1] + value) / 2.0,
    }
}

/// A median, and the quartiles around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// The spread of these values.
    pub(crate) fn of(values: &[f64]) -> Self {
        let middle = median(values);
        let half = |keeps: &dyn Fn(f64) -> bool| {
            median(&values.iter().copied().filter(|value| keeps(*value)).collect::<Vec<_>>())
        };
        Self { low: half(&|value| value <= middle), median: middle, high: half(&|value| value >= middle) }
    }

    /// `1.03 (1.01-1.06)`.
    pub(crate) fn describe(&self) -> String {
        format!("{:.2} ({:.2}-{:.2})", self.median, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_half() {
        let spread = Spread::of(&[1.0, 2.0, 3.0, 4.0, 100.0]);
        assert_eq!(spread, Spread { low: 2.0, median: 3.0, high: 4.0 });
        assert_eq!(spread.describe(), "3.00 (2.00-4.00)");
    }

    #[test]
    fn of_odd_even_and_no_counts() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[1.0, 100.0, 2.0, 4.0]), 3.0);
        assert_eq!(median(&[]), 0.0);
    }
}
