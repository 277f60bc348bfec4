//! Numbers side by side: what the base has, what the new one has, and how much more that is.

use serde::Serialize;

use crate::profile::{Totals, View};

/// A number on both sides. A number that one of them does not know has no difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pair {
    pub base: Option<u64>,
    pub new: Option<u64>,
    pub difference: Option<i64>,
}

impl Pair {
    pub fn new(base: Option<u64>, new: Option<u64>) -> Self {
        Self { base, new, difference: base.zip(new).map(|(base, new)| difference(base, new)) }
    }

    /// Do the sides differ?
    pub fn differs(&self) -> bool {
        self.base != self.new
    }

    /// Growth; what is not known did not grow.
    pub fn growth(&self) -> i64 {
        self.difference.unwrap_or(0)
    }
}

/// The six totals on both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TotalsPair {
    pub base: Totals,
    pub new: Totals,
    pub difference: Difference,
}

/// New minus base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub allocated_bytes: i64,
    pub allocated_count: i64,
    pub freed_bytes: i64,
    pub freed_count: i64,
    pub live_bytes: i64,
    pub live_count: i64,
}

impl TotalsPair {
    pub fn new(base: Totals, new: Totals) -> Self {
        Self { difference: Difference::new(&base, &new), base, new }
    }

    /// Do the sides differ?
    pub fn differs(&self) -> bool {
        self.base != self.new
    }
}

impl Difference {
    pub fn new(base: &Totals, new: &Totals) -> Self {
        let of = |part: fn(&Totals) -> u64| difference(part(base), part(new));
        Self {
            allocated_bytes: of(|totals| totals.allocated_bytes),
            allocated_count: of(|totals| totals.allocated_count),
            freed_bytes: of(|totals| totals.freed_bytes),
            freed_count: of(|totals| totals.freed_count),
            live_bytes: of(|totals| totals.live_bytes),
            live_count: of(|totals| totals.live_count),
        }
    }
}

/// Bytes a second of each session, so that sessions of different lengths can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rates {
    pub allocated_bytes_per_s: Pair,
    pub freed_bytes_per_s: Pair,
    /// Allocated and not freed by the end.
    pub live_bytes_per_s: Pair,
}

/// Durations of the two recordings.
#[derive(Clone, Copy, Debug)]
pub struct Durations {
    pub base_ns: u64,
    pub new_ns: u64,
}

impl Rates {
    /// The rate that belongs to a view.
    pub const fn in_view(&self, view: View) -> Pair {
        match view {
            View::Live | View::Leaks | View::Peak => self.live_bytes_per_s,
            View::Allocated => self.allocated_bytes_per_s,
            View::Temporary => self.freed_bytes_per_s,
        }
    }

    /// The rates of these totals over recordings that lasted so long.
    pub fn of(totals: &TotalsPair, durations: Durations) -> Self {
        let rate = |bytes: u64, duration_ns: u64| {
            let rate = (u128::from(bytes) * 1_000_000_000).checked_div(u128::from(duration_ns))?;
            u64::try_from(rate).ok()
        };
        let pair = |part: fn(&Totals) -> u64| {
            Pair::new(rate(part(&totals.base), durations.base_ns), rate(part(&totals.new), durations.new_ns))
        };
        Self {
            allocated_bytes_per_s: pair(|totals| totals.allocated_bytes),
            freed_bytes_per_s: pair(|totals| totals.freed_bytes),
            live_bytes_per_s: pair(|totals| totals.live_bytes),
        }
    }
}

fn difference(base: u64, new: u64) -> i64 {
    let difference = i128::from(new) - i128::from(base);
    i64::try_from(difference).unwrap_or(if difference < 0 { -i64::MAX } else { i64::MAX })
}
