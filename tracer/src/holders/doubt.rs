//! Blocks that look lost and may not be: nothing is said of them that may be wrong.
//!
//! An unreachable object that has a block's address is no proof that the block is lost. The object may have been closed
//! and have kept the address, which malloc has handed out again since; or it may have been a view of what native code
//! still has. So a field that is known to keep stale addresses proves nothing, two dead objects with one address prove
//! nothing, and a block to which memory of native code leads is not lost.

use std::collections::{BTreeMap, HashSet};

use super::blocks::{Block, Blocks};
use super::verdict::{HolderState, Owner, Verdict};
use crate::process::mapping::Mapping;
use crate::process::pagemap::ResidentMemory;

/// Read at once.
const PIECE_BYTES: usize = 1 << 20;
/// Read of native memory in all. Beyond it nothing is called lost.
const MAX_READ_BYTES: u64 = 4 << 30;

/// Takes back that blocks are lost to which other native memory leads: blocks that do not belong to them (`taken`), and
/// the data of libraries.
pub(super) fn take_back(
    memory: &ResidentMemory<'_>,
    mappings: &[Mapping],
    blocks: &Blocks,
    verdicts: &mut [Verdict],
    taken: &mut [Option<u32>],
) {
    let is_lost =
        |verdict: Option<&Verdict>| verdict.is_some_and(|verdict| verdict.state == HolderState::Lost);
    let lost: HashSet<u64> = verdicts
        .iter()
        .filter(|it| it.state == HolderState::Lost)
        .map(|verdict| verdict.block.address)
        .collect();
    if lost.is_empty() {
        return;
    }
    let others = blocks.iter().zip(taken.iter()).filter(|(_, verdict)| {
        !is_lost(verdict.as_ref().and_then(|verdict| verdicts.get(*verdict as usize)))
    });
    let data = mappings.iter().filter(|mapping| mapping.writable && !mapping.shared && mapping.is_file());
    let ranges = others
        .map(|(Block { address, bytes }, _)| (address, bytes.saturating_sub(8)))
        .chain(data.map(|mapping| (mapping.start, mapping.end - mapping.start)));
    let found = leads_to(memory, ranges, &lost);
    let mut taken_back = HashSet::new();
    for (number, verdict) in (0_u32..).zip(verdicts.iter_mut()) {
        let is_led_to = found.as_ref().is_none_or(|found| found.contains(&verdict.block.address));
        if verdict.state == HolderState::Lost && is_led_to {
            verdict.state = HolderState::None;
            taken_back.insert(number);
        }
    }
    for taken in taken.iter_mut().filter(|taken| taken.is_some_and(|number| taken_back.contains(&number))) {
        *taken = None;
    }
}

/// Addresses of `wanted` that are words of the ranges (address, length). `None` if there is too much to read, or a part is
/// swapped out.
fn leads_to(
    memory: &ResidentMemory<'_>,
    ranges: impl Iterator<Item = (u64, u64)>,
    wanted: &HashSet<u64>,
) -> Option<HashSet<u64>> {
    let (least, most) = (*wanted.iter().min()?, *wanted.iter().max()?);
    let mut found = HashSet::new();
    let mut budget = MAX_READ_BYTES;
    let mut buffer = vec![0_u8; PIECE_BYTES];
    for (start, bytes) in ranges {
        budget = budget.checked_sub(bytes)?;
        let mut next = start;
        let end = start.saturating_add(bytes);
        while next < end {
            let length = usize::try_from(end - next).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let Some(piece) = buffer.get_mut(..length) else { break };
            match memory.read(next, piece) {
                Ok(true) => {
                    let words = piece.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
                    found.extend(words.filter(|word| (least..=most).contains(word) && wanted.contains(word)));
                }
                Ok(false) => return None,
                // A block that is gone by now leads nowhere.
                Err(_) => {}
            }
            next += length as u64;
        }
    }
    Some(found)
}

/// A sentence for each field whose blocks may be lost, or another's.
pub(super) fn describe(verdicts: &[Verdict]) -> Option<String> {
    let mut sums: BTreeMap<&Owner, (u64, u64)> = BTreeMap::new();
    for verdict in verdicts.iter().filter(|verdict| verdict.state == HolderState::None) {
        let (count, bytes) = sums.entry(&verdict.owner).or_default();
        *count += 1;
        *bytes = bytes.saturating_add(verdict.block.bytes);
    }
    let (count, bytes) =
        sums.values().fold((0_u64, 0_u64), |sum, one| (sum.0 + one.0, sum.1.saturating_add(one.1)));
    let (owner, _) = sums.iter().max_by_key(|(_, (_, bytes))| *bytes)?;
    Some(format!(
        "{count} {} ({} KiB) may be lost, or be another's: unreachable objects have their addresses (most: {owner}), but such \
         objects keep addresses of what was freed, or native memory or a long[] still leads there",
        if count == 1 { "block" } else { "blocks" },
        bytes >> 10
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::process::memory::ImageMemory;
    use crate::process::pagemap::{AllResident, AllSwapped};

    const HEAP: u64 = 0x7f00_0000_0000;

    /// Three lost blocks: the first leads to the fourth and back, the fifth leads to the second, and nothing to the
    /// third.
    #[test]
    fn what_native_memory_leads_to_is_not_lost() {
        let address = |index: u64| HEAP + 0x100 * index;
        let mut bytes = vec![0_u8; 0x500];
        let mut put = |from: u64, to: u64| {
            let at = (from - HEAP) as usize + 16;
            bytes[at..at + 8].copy_from_slice(&to.to_le_bytes());
        };
        put(address(0), address(3));
        put(address(3), address(0));
        put(address(4), address(1));
        let image = ImageMemory::new(vec![(HEAP, bytes)]);
        let blocks = Blocks::new((0..5).map(|i| Block { address: address(i), bytes: 0x100 }).collect());
        let owner = Owner { class: "C".to_owned(), field: "handle".to_owned() };
        let verdict = |index| Verdict {
            block: blocks.get(index).expect("a block"),
            owner: owner.clone(),
            state: HolderState::Lost,
            path: Arc::default(),
        };
        let mut verdicts = vec![verdict(0), verdict(1), verdict(2)];
        let mut taken = vec![Some(0), Some(1), Some(2), Some(0), None];
        let memory = ResidentMemory::new(&image, &AllResident);
        take_back(&memory, &[], &blocks, &mut verdicts, &mut taken);
        let states = |verdicts: &[Verdict]| -> Vec<HolderState> {
            verdicts.iter().map(|verdict| verdict.state).collect()
        };
        assert_eq!(states(&verdicts), [HolderState::Lost, HolderState::None, HolderState::Lost]);
        // Of a page that is swapped out, nobody knows where it leads.
        let unread = ResidentMemory::new(&image, &AllSwapped);
        let mut unsure = vec![verdict(0), verdict(1), verdict(2)];
        take_back(&unread, &[], &blocks, &mut unsure, &mut [None; 5]);
        assert_eq!(states(&unsure), [HolderState::None; 3]);
        assert_eq!(taken, [Some(0), None, Some(2), Some(0), None]);
        assert!(describe(&verdicts).is_some_and(|text| text.starts_with("1 block ")));
    }
}
