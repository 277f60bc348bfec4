//! Number of bytes each held block leads to: what can be reached from it, from block to block.
//!
//! Only words that are exactly the address of a block are followed, and never into a block that another object has the
//! address of. A block that two lead to counts for the first. Where more than the block itself was counted, the sum is
//! about right: a word may be left over from a former owner. The memory of a buffer is data, and is not followed: malloc
//! may have left a former owner's address behind the end of it.

use std::collections::HashMap;

use super::blocks::Blocks;
use super::verdict::{HolderState, Owner, Verdict};
use crate::process::pagemap::ResidentMemory;

/// Read of one block: tables of pointers are at the beginning of what is larger.
const MAX_READ_BYTES: usize = 64 << 10;
/// Read of it first. The rest is read only if it leads somewhere: most of what is large is data.
const FIRST_READ_BYTES: usize = 4 << 10;
/// Read of all blocks together.
const MAX_ALL_BYTES: u64 = 512 << 20;
/// Classes (by the end of their names) and fields whose blocks are not followed: they lead into the JVM's own structures,
/// which hold far more than the object, or are the memory of a buffer.
const NOT_FOLLOWED: [(&str, &str); 4] = [
    ("java.lang.Thread", "eetop"),
    ("NativeLibraryImpl", "handle"),
    ("java.nio.DirectByteBuffer", "address"),
    ("java.nio.DirectByteBuffer$Deallocator", "address"),
];
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

/// Closures of all verdicts.
#[derive(Debug)]
pub(super) struct Closures {
    /// In the order of the verdicts.
    pub(super) closures: Vec<Closure>,
    /// For each block, the index of the verdict to whose closure it belongs.
    pub(super) taken: Vec<Option<u32>>,
    /// Verdicts whose blocks were not followed to their end, as too much would have been read.
    pub(super) cut_count: u64,
}

impl Closures {
    /// A sentence about bytes that were not counted.
    pub(super) fn describe(&self) -> Option<String> {
        (self.cut_count > 0).then(|| {
            format!(
                "of {} blocks it was not read what they lead to, as {} MiB had been read by then: they may hold more",
                self.cut_count,
                MAX_ALL_BYTES >> 20
            )
        })
    }
}

/// Closures of the verdicts.
pub(super) fn of(memory: &ResidentMemory<'_>, blocks: &Blocks, verdicts: &[Verdict]) -> Closures {
    within(MAX_ALL_BYTES, memory, blocks, verdicts)
}

/// Closures for which so many bytes are read at most.
fn within(mut budget: u64, memory: &ResidentMemory<'_>, blocks: &Blocks, verdicts: &[Verdict]) -> Closures {
    let mut taken: Vec<Option<u32>> = vec![None; blocks.len()];
    let index: HashMap<u64, usize> = verdicts
        .iter()
        .filter(|verdict| verdict.state != HolderState::None)
        .filter_map(|verdict| Some((verdict.block.address, blocks.at(verdict.block.address)?)))
        .collect();
    for (number, verdict) in (0..).zip(verdicts) {
        let block = index.get(&verdict.block.address);
        if let Some(taken) = block.and_then(|block| taken.get_mut(*block)) {
            *taken = Some(number);
        }
    }
    let range = blocks.range();
    let mut buffer = vec![0_u8; MAX_READ_BYTES];
    let mut closures = Vec::with_capacity(verdicts.len());
    let mut cut_count = 0;
    for (number, verdict) in (0..).zip(verdicts) {
        let mut closure = Closure { bytes: verdict.block.bytes, exact: true };
        let mut queue: Vec<usize> = Vec::new();
        if is_followed(&verdict.owner) {
            queue.extend(index.get(&verdict.block.address));
        }
        while let Some(block) = queue.pop().and_then(|block| blocks.get(block)) {
            let length =
                usize::try_from(block.bytes.saturating_sub(8)).unwrap_or(usize::MAX).min(MAX_READ_BYTES);
            let parts = [0..length.min(FIRST_READ_BYTES), length.min(FIRST_READ_BYTES)..length];
            let mut leads = true;
            for part in parts.into_iter().map(|part| part.start..part.end / 8 * 8) {
                let Some(bytes) = buffer.get_mut(part.clone()).filter(|bytes| leads && !bytes.is_empty())
                else {
                    break;
                };
                let Some(left) = budget.checked_sub(bytes.len() as u64) else {
                    (closure.exact, queue) = (false, Vec::new());
                    cut_count += 1;
                    break;
                };
                budget = left;
                if memory.read(block.address + part.start as u64, bytes).is_err() {
                    break;
                }
                leads = false;
                for word in bytes.as_chunks::<8>().0 {
                    let word = u64::from_le_bytes(*word);
                    if word % ALIGNMENT != 0 || !range.contains(&word) {
                        continue;
                    }
                    let Some(next) = blocks.at(word) else { continue };
                    leads = true;
                    let Some(taken) = taken.get_mut(next).filter(|taken| taken.is_none()) else { continue };
                    *taken = Some(number);
                    closure.exact = false;
                    closure.bytes += blocks.get(next).map_or(0, |block| block.bytes);
                    queue.push(next);
                }
            }
        }
        closures.push(closure);
    }
    Closures { closures, taken, cut_count }
}

fn is_followed(owner: &Owner) -> bool {
    !NOT_FOLLOWED.iter().any(|(class, field)| owner.class.ends_with(class) && owner.field == *field)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::blocks::Block;
    use super::*;
    use crate::process::memory::ImageMemory;
    use crate::process::pagemap::AllResident;

    const HEAP: u64 = 0x7f00_0000_0000;

    /// A block leads to a second and that to a third; the last word of a buffer, which malloc left as it was, does too.
    #[test]
    fn addresses_in_the_memory_of_a_buffer_are_not_followed() {
        let address = |index: u64| HEAP + 0x100 * index;
        let mut bytes = vec![0_u8; 0x300];
        let last_word = 0x100 - 16;
        bytes[last_word..last_word + 8].copy_from_slice(&address(1).to_le_bytes());
        bytes[0x100..0x108].copy_from_slice(&address(2).to_le_bytes());
        let memory = ImageMemory::new(vec![(HEAP, bytes)]);
        let blocks = Blocks::new((0..3).map(|i| Block { address: address(i), bytes: 0x100 }).collect());
        let closure = |class: &str, field: &str| {
            let verdict = || Verdict {
                block: blocks.get(0).expect("a block"),
                owner: Owner { class: class.to_owned(), field: field.to_owned() },
                state: HolderState::Held,
                path: Arc::default(),
            };
            let memory = ResidentMemory::new(&memory, &AllResident);
            let Closures { closures, taken, cut_count } = of(&memory, &blocks, &[verdict()]);
            assert_eq!(cut_count, 0);
            if class == "shop.Codec" {
                // Room for the first block alone: what the second leads to is not known, and said not to be.
                let cut = within(0x100, &memory, &blocks, &[verdict(), verdict()]);
                assert_eq!((cut.closures[0], cut.cut_count), (Closure { bytes: 0x200, exact: false }, 2));
                assert!(cut.describe().is_some_and(|why| why.starts_with("of 2 blocks ")));
            }
            (closures[0], taken)
        };
        let (native, taken) = closure("shop.Codec", "handle");
        assert_eq!((native, taken), (Closure { bytes: 0x300, exact: false }, vec![Some(0); 3]));
        for class in ["java.nio.DirectByteBuffer", "java.nio.DirectByteBuffer$Deallocator"] {
            let (buffer, taken) = closure(class, "address");
            assert_eq!((buffer, taken), (Closure { bytes: 0x100, exact: true }, vec![Some(0), None, None]));
        }
    }
}
