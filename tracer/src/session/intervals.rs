//! Address ranges and who owns them.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

/// Disjoint address ranges, each with an owner. Neighbours are not merged.
#[derive(Clone, Debug)]
pub struct Intervals<Owner> {
    /// End (exclusive) and owner of each piece by its start.
    pieces: BTreeMap<u64, (u64, Owner)>,
}

impl<Owner> Default for Intervals<Owner> {
    fn default() -> Self {
        Self { pieces: BTreeMap::new() }
    }
}

impl<Owner: Copy> Intervals<Owner> {
    /// Removes `[start, end)`, and gives what was there, piece by piece.
    pub fn remove(&mut self, start: u64, end: u64) -> Vec<(Range<u64>, Owner)> {
        let mut removed = Vec::new();
        if start >= end {
            return removed;
        }
        self.split_at(start);
        self.split_at(end);
        let inside: Vec<u64> = self.pieces.range(start..end).map(|(start, _)| *start).collect();
        for piece_start in inside {
            if let Some((piece_end, owner)) = self.pieces.remove(&piece_start) {
                removed.push((piece_start..piece_end, owner));
            }
        }
        removed
    }

    /// Gives `[start, end)` to `owner` where nobody owns it yet, and tells how many bytes that were.
    pub fn fill(&mut self, start: u64, end: u64, owner: Owner) -> u64 {
        let mut filled_bytes = 0;
        let mut position = start;
        while position < end {
            if let Some((piece_start, (piece_end, _))) = self.pieces.range(..=position).next_back()
                && *piece_end > position
            {
                debug_assert!(*piece_start <= position);
                position = *piece_end;
                continue;
            }
            let next = self.pieces.range(position..end).next().map_or(end, |(start, _)| *start);
            self.pieces.insert(position, (next, owner));
            filled_bytes += next - position;
            position = next;
        }
        filled_bytes
    }

    /// Owner of the byte at `address`.
    pub fn owner(&self, address: u64) -> Option<Owner> {
        let (_, (end, owner)) = self.pieces.range(..=address).next_back()?;
        (*end > address).then_some(*owner)
    }

    /// Pieces of `[start, end)`, each with its owner, if it has one.
    pub fn pieces(&self, start: u64, end: u64) -> Vec<(Range<u64>, Option<Owner>)> {
        let mut pieces = Vec::new();
        if start >= end {
            return pieces;
        }
        let mut position = start;
        let before = self.pieces.range(..=start).next_back();
        let after = self.pieces.range((Bound::Excluded(start), Bound::Excluded(end)));
        for (&piece_start, &(piece_end, owner)) in before.into_iter().chain(after) {
            let (from, to) = (piece_start.max(start), piece_end.min(end));
            if from >= to {
                continue;
            }
            if position < from {
                pieces.push((position..from, None));
            }
            pieces.push((from..to, Some(owner)));
            position = to;
        }
        if position < end {
            pieces.push((position..end, None));
        }
        pieces
    }

    fn split_at(&mut self, address: u64) {
        if let Some((_, piece)) = self.pieces.range_mut(..address).next_back()
            && piece.0 > address
        {
            let (end, owner) = *piece;
            piece.0 = address;
            self.pieces.insert(address, (end, owner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPACE: u64 = 64;

    #[derive(Clone, Debug)]
    enum Step {
        Fill(u64, u64, u8),
        Remove(u64, u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let range = (0..SPACE, 0..=SPACE).prop_map(|(a, b)| (a.min(b), a.max(b)));
        let fill = (range.clone(), any::<u8>()).prop_map(|((a, b), owner)| Step::Fill(a, b, owner));
        let remove = range.prop_map(|(a, b)| Step::Remove(a, b));
        proptest::collection::vec(prop_oneof![fill, remove], 0..40)
    }

    proptest! {
        #[test]
        fn agrees_with_a_byte_for_each_address(steps in steps()) {
            let mut intervals = Intervals::default();
            let mut bytes = [None; SPACE as usize];
            for step in steps {
                match step {
                    Step::Fill(start, end, owner) => {
                        let free = bytes[start as usize..end as usize].iter_mut().filter(|byte| byte.is_none());
                        let expected = free.map(|byte| *byte = Some(owner)).count() as u64;
                        prop_assert_eq!(intervals.fill(start, end, owner), expected);
                    }
                    Step::Remove(start, end) => {
                        let mut expected = [0u64; 256];
                        for byte in &mut bytes[start as usize..end as usize] {
                            if let Some(owner) = byte.take() {
                                expected[owner as usize] += 1;
                            }
                        }
                        let mut removed = [0u64; 256];
                        for (range, owner) in intervals.remove(start, end) {
                            removed[owner as usize] += range.end - range.start;
                        }
                        prop_assert_eq!(removed, expected);
                    }
                }
                let pieces = intervals.pieces(3, SPACE);
                prop_assert_eq!(pieces.iter().map(|(range, _)| range.end - range.start).sum::<u64>(), SPACE - 3);
                for (range, owner) in pieces {
                    prop_assert!(range.clone().all(|address| bytes[address as usize] == owner), "{:?}", range);
                }
                for address in 0..SPACE {
                    prop_assert_eq!(intervals.owner(address), bytes[address as usize]);
                }
            }
        }
    }
}
