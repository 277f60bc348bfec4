//! Fields of type `long` that have the addresses of native blocks: found by their values, without a list.
//!
//! A random value is the address of a live block with a chance of the blocks' bytes in 2^47 (4e-7 for 60 MiB), so a
//! field is believed if nearly all of its values are such, all equally far from the block's beginning, or if several
//! different blocks are found by it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::blocks::Blocks;
use crate::hotspot::heap::{ClassId, MarkedHeap, Object, Walked, is_static};

/// Bytes below which a block proves no field: small blocks are many.
const MIN_PROOF_BYTES: u64 = 64;
/// Largest distance of an address from its block's beginning: what libraries put before what they hand out.
const MAX_OFFSET: u64 = 4096;
/// Part of a field's values that must be addresses, per cent, and different blocks that are enough without.
pub(super) const MIN_SHARE: u64 = 90;
pub(super) const MIN_BLOCKS: usize = 3;
/// Least part of the values of a field with so many blocks, per cent: less is what chance brings.
pub(super) const MIN_SHARE_OF_MANY: u64 = 1;
/// Hits kept.
const MAX_HITS: usize = 1 << 25;

/// A field of a class by which blocks are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FieldId {
    pub(super) class: ClassId,
    /// Offset from the object's start; that of a static field is marked ([`is_static`]).
    pub(super) offset: u32,
}

impl FieldId {
    /// Is it a static field?
    pub(super) fn is_static(self) -> bool {
        is_static(self.offset)
    }
}

/// An object that has the address of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    /// Index of the block.
    pub(super) block: usize,
    pub(super) field: FieldId,
    pub(super) object: Object,
    pub(super) distance: u64,
}

/// Places that were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) hits: Vec<Hit>,
    pub(super) walked: Walked,
    /// Fields of which some values are addresses of memory that was freed: objects keep them.
    pub(super) stale: HashSet<FieldId>,
}

#[derive(Default)]
struct Evidence {
    values: u64,
    /// Number of them that are addresses of memory that malloc has freed.
    stale: u64,
    /// Hits, and the blocks that prove, by the distance from the block's beginning.
    by_distance: BTreeMap<u64, (u64, HashSet<usize>)>,
}

impl Evidence {
    /// The distance at which the field has addresses, if it has.
    fn distance(&self) -> Option<u64> {
        let (distance, (hits, blocks)) = self.by_distance.iter().max_by_key(|(_, (hits, _))| *hits)?;
        let share = 100 * hits / self.values.max(1);
        let is_nearly_all = share >= MIN_SHARE && !blocks.is_empty();
        let is_many = blocks.len() >= MIN_BLOCKS && share >= MIN_SHARE_OF_MANY;
        (is_nearly_all || is_many).then_some(*distance)
    }
}

/// Finds every object that has the address of a block.
pub(super) fn find(look: &mut MarkedHeap<'_, '_>, blocks: &Blocks) -> Found {
    let range = blocks.range();
    let mut evidence: HashMap<FieldId, Evidence> = HashMap::new();
    let mut hits = Vec::new();
    let walked = look.each_long(&mut |object, offset, value| {
        let field = FieldId { class: object.class, offset };
        let evidence = evidence.entry(field).or_default();
        evidence.values += 1;
        if !range.contains(&value) || value % 8 != 0 {
            return;
        }
        let Some((block, distance)) = blocks.find(value) else {
            evidence.stale += u64::from(blocks.is_freed(value));
            return;
        };
        if distance > MAX_OFFSET {
            return;
        }
        let (count, proofs) = evidence.by_distance.entry(distance).or_default();
        *count += 1;
        if blocks.get(block).is_some_and(|block| block.bytes >= MIN_PROOF_BYTES) {
            proofs.insert(block);
        }
        if hits.len() < MAX_HITS {
            hits.push(Hit { block, field, object, distance });
        }
    });
    let stale = believed(&evidence, &mut hits);
    Found { hits, walked, stale }
}

/// Keeps the hits of fields that are believed, and those that they prove. Gives the fields that have addresses of memory
/// that was freed.
fn believed(evidence: &HashMap<FieldId, Evidence>, hits: &mut Vec<Hit>) -> HashSet<FieldId> {
    let believed: HashMap<FieldId, u64> =
        evidence.iter().filter_map(|(field, evidence)| Some((*field, evidence.distance()?))).collect();
    let stale: HashSet<FieldId> =
        evidence.iter().filter(|(_, evidence)| evidence.stale > 0).map(|(field, _)| *field).collect();
    let is_believed = |hit: &Hit| believed.get(&hit.field) == Some(&hit.distance);
    // A block that a field is believed to have proves each other object that has the very same address: of many direct
    // buffers, few may have memory of their own, while each of their cleaners has.
    let proved: HashSet<(usize, u64)> =
        hits.iter().filter(|hit| is_believed(hit)).map(|hit| (hit.block, hit.distance)).collect();
    hits.retain(|hit| {
        is_believed(hit) || !stale.contains(&hit.field) && proved.contains(&(hit.block, hit.distance))
    });
    stale
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of the class with this number.
    fn field(class: u32) -> FieldId {
        FieldId { class: ClassId::numbered(class), offset: 16 }
    }

    fn hit(block: usize, class: u32, distance: u64) -> Hit {
        let object = Object { address: 8 * block as u64, class: ClassId::numbered(class), index: None };
        Hit { block, field: field(class), object, distance }
    }

    /// What was met of a field with so many values, of which so many are stale, and these hits of large blocks.
    fn evidence(values: u64, stale: u64, hits: &[Hit]) -> Evidence {
        let mut evidence = Evidence { values, stale, ..Evidence::default() };
        for hit in hits {
            let (count, blocks) = evidence.by_distance.entry(hit.distance).or_default();
            *count += 1;
            blocks.insert(hit.block);
        }
        evidence
    }

    /// Of a thousand buffers, two have memory of their own, which their cleaners' field has, too: by the buffers' field
    /// alone they would be chance.
    #[test]
    fn few_of_many_buffers_are_proved_by_their_cleaners() {
        const BUFFER: u32 = 1;
        const CLEANER: u32 = 2;
        let kept = |stale: u64, distance: u64| {
            let buffers = [hit(0, BUFFER, distance), hit(1, BUFFER, distance), hit(7, BUFFER, 0)];
            let cleaners = [hit(0, CLEANER, 0), hit(1, CLEANER, 0)];
            let all = HashMap::from([
                (field(BUFFER), evidence(1000, stale, &buffers)),
                (field(CLEANER), evidence(2, 0, &cleaners)),
            ]);
            let mut hits: Vec<Hit> = buffers.into_iter().chain(cleaners).collect();
            let stale = believed(&all, &mut hits);
            let kept = hits.iter().map(|hit| (hit.field, hit.block)).collect::<Vec<_>>();
            (kept, stale.into_iter().collect::<Vec<_>>())
        };
        let cleaners = vec![(field(CLEANER), 0), (field(CLEANER), 1)];
        let both = [vec![(field(BUFFER), 0), (field(BUFFER), 1)], cleaners.clone()].concat();
        assert_eq!(kept(0, 0), (both, vec![]), "not the block that no cleaner has");
        assert_eq!(kept(0, 16), (cleaners.clone(), vec![]), "another address in the same block");
        assert_eq!(
            kept(1, 0),
            (cleaners, vec![field(BUFFER)]),
            "a field that keeps addresses of freed memory"
        );
    }
}
