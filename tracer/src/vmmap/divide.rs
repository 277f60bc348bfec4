//! Resident parts of one mapping, piece by piece.

use std::io;
use std::ops::Range;

use tracer_common::arch::PAGE_BYTES;

use super::smaps::{Usage, Vma};
use crate::process::pagemap::{PageState, Residency};

/// Share that each piece of a mapping has of the mapping's memory. The sums are those of the mapping.
pub(super) fn divide(
    vma: &Vma,
    pieces: &[(Range<u64>, Option<u32>)],
    residency: &dyn Residency,
) -> Vec<Usage> {
    if pieces.len() <= 1 {
        return vec![vma.usage; pieces.len()];
    }
    let counts: Vec<(u64, u64)> =
        pieces.iter().map(|(range, _)| count(range, residency).unwrap_or_default()).collect();
    let resident = shares(vma.usage.resident_bytes, counts.iter().map(|count| count.0));
    let swap = shares(vma.usage.swap_bytes, counts.iter().map(|count| count.1));
    let pss = shares(vma.usage.pss_bytes, counts.iter().map(|count| count.0));
    let accessible = vma.usage.committed_bytes > 0;
    let rows = pieces.iter().zip(resident).zip(pss.into_iter().zip(swap));
    rows.map(|(((range, _), resident_bytes), (pss_bytes, swap_bytes))| {
        let reserved_bytes = range.end - range.start;
        let committed_bytes = if accessible { reserved_bytes } else { 0 };
        Usage { reserved_bytes, committed_bytes, resident_bytes, pss_bytes, swap_bytes }
    })
    .collect()
}

/// Bytes of resident and of swapped pages.
fn count(range: &Range<u64>, residency: &dyn Residency) -> io::Result<(u64, u64)> {
    let mut states = [PageState::Absent; 512];
    let (mut resident, mut swapped) = (0, 0);
    let mut next = range.start;
    while next < range.end {
        let count = (range.end - next).div_ceil(PAGE_BYTES).min(512);
        let states = states.get_mut(..usize::try_from(count).unwrap_or(512)).unwrap_or_default();
        residency.pages(next, states)?;
        for state in states.iter() {
            match state {
                PageState::Resident => resident += PAGE_BYTES,
                PageState::Swapped => swapped += PAGE_BYTES,
                PageState::Absent => {}
            }
        }
        next += count * PAGE_BYTES;
    }
    Ok((resident, swapped))
}

/// Divides `total` in proportion to `counts`, which were taken a moment later. The rest that rounding leaves goes
/// to the largest.
fn shares(total: u64, counts: impl Iterator<Item = u64>) -> Vec<u64> {
    let counts: Vec<u64> = counts.collect();
    let sum: u128 = counts.iter().map(|count| u128::from(*count)).sum();
    let share = |count: u64| (u128::from(total) * u128::from(count)).checked_div(sum).unwrap_or(0);
    let mut shares: Vec<u64> = counts.iter().map(|count| u64::try_from(share(*count)).unwrap_or(0)).collect();
    let rest = total.saturating_sub(shares.iter().sum());
    if let Some(largest) = shares.iter_mut().max() {
        *largest += rest;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_add_up(total in 0u64..1 << 40, counts in proptest::collection::vec(0u64..1 << 40, 1..8)) {
            prop_assert_eq!(shares(total, counts.into_iter()).iter().sum::<u64>(), total);
        }
    }

    #[test]
    fn shares_are_exact_where_the_page_map_agrees() {
        assert_eq!(shares(12, [4, 0, 8].into_iter()), [4, 0, 8]);
        assert_eq!(shares(10, [0, 0].into_iter()).iter().sum::<u64>(), 10);
    }
}
