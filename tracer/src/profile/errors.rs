//! Standard errors of sampled totals.
//!
//! Each allocation is taken or left by itself, so variances of sums are sums (`tracer_common::sampling`). But they are
//! estimated from the same samples: where a few heavy ones are missing by chance, the total is too small, and its
//! variance too, just then. So nine samples more of the heaviest kind are added to it. Whatever a program allocates,
//! the truth is within three errors as often as it should be, at any number of samples; with many, they hardly matter.

use serde::Serialize;
use tracer_common::sampling::{MAX_WEIGHT, VARIANCE_UNIT};

use crate::recording::{self, HeaviestSample, Recording};

/// Three times √(K + 9) above K is the bound that the mean of a Poisson variable exceeds once in 370 times when K was
/// seen, for any K up to 100; for none seen it is half as much again as need be.
const MISSED: f64 = 9.0;

/// Standard errors of the totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Errors {
    pub allocated_bytes_error: Option<u64>,
    pub allocated_count_error: Option<u64>,
    pub freed_bytes_error: Option<u64>,
    pub freed_count_error: Option<u64>,
    pub live_bytes_error: Option<u64>,
    pub live_count_error: Option<u64>,
}

/// Variances of the totals; those of bytes in units of [`VARIANCE_UNIT`]. Freed memory is a part of what was
/// allocated, and each allocation is taken or left by itself: live has the difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variances {
    pub allocated_bytes: u64,
    pub allocated_count: u64,
    pub freed_bytes: u64,
    pub freed_count: u64,
    /// Bytes for which the heaviest sample stands, as far as they are known.
    pub heaviest_bytes: u64,
    pub heaviest_count: u64,
}

impl Variances {
    /// Variances of no stack yet; `None` if the recording was not sampled. The heaviest sample is what it can be for
    /// all that was allocated, taken or left; for an interval and the largest weight, if the recording does not tell.
    pub fn none(recording: &Recording) -> Option<Variances> {
        let interval_bytes = recording.session.sample_bytes?;
        let any = HeaviestSample { bytes: interval_bytes, count: MAX_WEIGHT.into() };
        let HeaviestSample { bytes, count } = recording.quality.heaviest_sample.unwrap_or(any);
        Some(Variances { heaviest_bytes: bytes, heaviest_count: count, ..Variances::default() })
    }

    /// Variances of a stack. Most stacks allocate much the same each time: their heaviest sample is taken for their
    /// mean one.
    pub fn of(totals: &recording::Totals) -> Variances {
        let bytes = u128::from(totals.allocated_bytes_variance) * u128::from(VARIANCE_UNIT);
        let mean = bytes / u128::from(totals.allocated_bytes.max(1));
        Variances {
            allocated_bytes: totals.allocated_bytes_variance,
            allocated_count: totals.allocated_count_variance,
            freed_bytes: totals.freed_bytes_variance,
            freed_count: totals.freed_count_variance,
            heaviest_bytes: u64::try_from(mean).unwrap_or(u64::MAX),
            heaviest_count: totals.allocated_count_variance / totals.allocated_count.max(1),
        }
    }

    /// Variances of both together.
    pub fn plus(self, other: Variances) -> Variances {
        Variances {
            allocated_bytes: self.allocated_bytes.saturating_add(other.allocated_bytes),
            allocated_count: self.allocated_count.saturating_add(other.allocated_count),
            freed_bytes: self.freed_bytes.saturating_add(other.freed_bytes),
            freed_count: self.freed_count.saturating_add(other.freed_count),
            heaviest_bytes: self.heaviest_bytes.max(other.heaviest_bytes),
            heaviest_count: self.heaviest_count.max(other.heaviest_count),
        }
    }

    pub fn errors(self) -> Errors {
        let error = |variance: u64, unit: u64, heaviest: u64| {
            let missed = MISSED * (heaviest as f64).powi(2);
            Some((variance as f64 * unit as f64 + missed).sqrt().ceil() as u64)
        };
        let bytes = |variance| error(variance, VARIANCE_UNIT, self.heaviest_bytes);
        let count = |variance| error(variance, 1, self.heaviest_count);
        Errors {
            allocated_bytes_error: bytes(self.allocated_bytes),
            allocated_count_error: count(self.allocated_count),
            freed_bytes_error: bytes(self.freed_bytes),
            freed_count_error: count(self.freed_count),
            live_bytes_error: bytes(self.allocated_bytes.saturating_sub(self.freed_bytes)),
            live_count_error: count(self.allocated_count.saturating_sub(self.freed_count)),
        }
    }
}

#[cfg(test)]
mod tests;
