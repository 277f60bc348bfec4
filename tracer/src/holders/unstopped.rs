//! Looks at a heap that goes on changing, several times, and what they say together.
//!
//! Objects move, blocks do not: so everything is by the address of the block. A holder that any look saw holds the
//! block, and the path was true at that moment. A block for which no look found a holder is `unseen`, never garbage:
//! the holder may have been moving.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::blocks::Blocks;
use super::stopped::Stopper;
use super::verdict::{HolderState, Verdict, Verdicts, verdicts};
use super::{HoldersError, Notice};
use crate::hotspot::heap::HeapCopy;
use crate::process::memory::ProcessMemory;
use crate::process::pagemap::ResidentMemory;

/// Looks that count, tries for them, and the time between.
const LOOKS: u64 = 5;
const MAX_TRIES: u64 = 40;
const BETWEEN: Duration = Duration::from_millis(100);

/// Looks several times. Gives how many looks count, and how many did not.
pub(super) fn look(
    stopper: &Stopper<'_>,
    memory: &(dyn ProcessMemory + Sync),
    mut copy: HeapCopy,
    blocks: &dyn Fn() -> Result<Blocks, HoldersError>,
    notice: &mut dyn FnMut(&Notice),
) -> Result<(Verdicts, Blocks, u64, u64), HoldersError> {
    let Stopper { access, residency, arrays, .. } = stopper;
    let mut best: BTreeMap<u64, Verdict> = BTreeMap::new();
    let mut all = Verdicts::default();
    let mut last_blocks = Blocks::default();
    let (mut looks, mut failed) = (0, 0);
    while looks < LOOKS && looks + failed < MAX_TRIES {
        thread::sleep(BETWEEN);
        let before = access.collections()?;
        if before.active {
            failed += 1;
            continue;
        }
        let Ok(spaces) = access.spaces() else {
            failed += 1;
            continue;
        };
        let copied = stopper.refuse_absent(&spaces.used).is_ok()
            && copy.make_room_for(&spaces).is_ok()
            && access.fill(&mut copy, memory, &spaces.used, arrays, &|| true).is_ok();
        let roots = access.roots(&[], *residency);
        // A collection that came between moved objects.
        let (true, Ok(roots), true) = (copied, roots, access.collections()? == before) else {
            failed += 1;
            continue;
        };
        if looks + 1 == LOOKS {
            notice(&Notice::Moment);
        }
        last_blocks = blocks()?;
        let found = access.look(&copy, roots, |look| {
            verdicts(look, Some(&ResidentMemory::new(memory, *residency)), &last_blocks, &last_blocks)
        })?;
        if found.walked.unproved > 0 {
            failed += 1;
            continue;
        }
        looks += 1;
        all.quality = found.quality;
        all.walked = found.walked;
        for mut verdict in found.verdicts {
            if verdict.state >= HolderState::Collectable {
                verdict.state = HolderState::Unseen;
                verdict.path = std::sync::Arc::default();
            }
            let known = best.entry(verdict.block.address).or_insert_with(|| verdict.clone());
            if verdict.state < known.state || verdict.block != known.block {
                *known = verdict;
            }
        }
    }
    if looks == 0 {
        return Err(HoldersError::Refused(format!(
            "no moment without a collection was found in {MAX_TRIES} looks"
        )));
    }
    // Nothing is said of blocks that are gone.
    all.verdicts = best.into_values().filter(|verdict| last_blocks.has(verdict.block)).collect();
    Ok((all, last_blocks, looks, failed))
}
