//! Number of bytes each held block leads to: what can be reached from it, from block to block.
//!
//! Only words that are exactly the address of a block are followed, and never into a block that another object has the
//! address of. A block that two lead to counts for the first. Where more than the block itself was counted, the sum is
//! about right: a word may be left over from a former owner.

use std::collections::HashMap;

use super::blocks::Blocks;
use super::verdict::{State, Verdict};
use crate::process::memory::ProcessMemory;

/// Read of one block: tables of pointers are at the beginning of what is larger.
const MAX_READ_BYTES: usize = 64 << 10;
/// Read of all blocks together.
const MAX_ALL_BYTES: u64 = 512 << 20;
/// Fields that lead into the JVM's own structures, which hold far more than the object.
const NOT_FOLLOWED: [(&str, &str); 2] = [("java.lang.Thread", "eetop"), ("NativeLibraryImpl", "handle")];
/// malloc aligns to this.
const ALIGNMENT: u64 = 16;

/// Blocks that a block leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closure {
    /// Bytes with the block itself.
    pub(super) bytes: u64,
    /// The block alone.
    pub(super) exact: bool,
}

/// Closures, in the order of the verdicts, and for each block the index of the verdict to whose closure it belongs.
pub(super) fn of(
    memory: &dyn ProcessMemory,
    blocks: &Blocks,
    verdicts: &[Verdict],
) -> (Vec<Closure>, Vec<Option<u32>>) {
    let mut taken: Vec<Option<u32>> = vec![None; blocks.len()];
    let index: HashMap<u64, usize> = verdicts
        .iter()
        .filter(|verdict| verdict.state != State::None)
        .filter_map(|verdict| Some((verdict.block.address, blocks.at(verdict.block.address)?)))
        .collect();
    for (number, verdict) in (0..).zip(verdicts) {
        let block = index.get(&verdict.block.address);
        if let Some(taken) = block.and_then(|block| taken.get_mut(*block)) {
            *taken = Some(number);
        }
    }
    let range = blocks.range();
    let mut budget = MAX_ALL_BYTES;
    let mut buffer = vec![0_u8; MAX_READ_BYTES];
    let mut closures = Vec::with_capacity(verdicts.len());
    for (number, verdict) in (0..).zip(verdicts) {
        let mut closure = Closure { bytes: verdict.block.bytes, exact: true };
        let mut queue: Vec<usize> = Vec::new();
        if !NOT_FOLLOWED
            .iter()
            .any(|(class, field)| verdict.owner.class.ends_with(class) && verdict.owner.field == *field)
        {
            queue.extend(index.get(&verdict.block.address));
        }
        while let Some(block) = queue.pop().and_then(|block| blocks.get(block)) {
            let length =
                usize::try_from(block.bytes.saturating_sub(8)).unwrap_or(usize::MAX).min(MAX_READ_BYTES);
            let Some(left) = budget.checked_sub(length as u64) else { break };
            budget = left;
            let Some(bytes) = buffer.get_mut(..length / 8 * 8) else { continue };
            if memory.read(block.address, bytes).is_err() {
                continue;
            }
            for word in bytes.as_chunks::<8>().0 {
                let word = u64::from_le_bytes(*word);
                if word % ALIGNMENT != 0 || !range.contains(&word) {
                    continue;
                }
                let Some(next) = blocks.at(word) else { continue };
                let Some(taken) = taken.get_mut(next).filter(|taken| taken.is_none()) else { continue };
                *taken = Some(number);
                closure.exact = false;
                closure.bytes += blocks.get(next).map_or(0, |block| block.bytes);
                queue.push(next);
            }
        }
        closures.push(closure);
    }
    (closures, taken)
}
