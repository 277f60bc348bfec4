//! Ranges of addresses: what is left of one without others.

use std::ops::Range;

/// `ranges` sorted by start, with those that overlap or touch joined.
pub fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// `range` without what is in `taken` (sorted by start, not overlapping).
pub fn without(range: Range<u64>, taken: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let mut start = range.start;
    let first = taken.partition_point(|other| other.end <= range.start);
    for other in taken.iter().skip(first).take_while(|other| other.start < range.end) {
        if other.start > start {
            parts.push(start..other.start);
        }
        start = start.max(other.end);
    }
    if start < range.end {
        parts.push(start..range.end);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_without_others() {
        assert_eq!(without(10..20, &[0..12, 14..15, 19..30]), [12..14, 15..19]);
        assert_eq!(without(10..20, &[0..10, 20..30]), vec![10..20; 1]);
        assert_eq!(without(10..20, &[0..25, 26..30]), []);
        assert_eq!(without(10..20, &[]), vec![10..20; 1]);
    }

    #[test]
    fn ranges_that_overlap_are_one() {
        let ranges = vec![14..15, 0..25, 1..2, 40..50, 50..60, 26..30];
        assert_eq!(joined(ranges), [0..25, 26..30, 40..60]);
        assert_eq!(joined(Vec::new()), []);
    }
}
