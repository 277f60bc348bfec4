//! Chunks of HotSpot's own arenas (of its compilers, and of each thread), among malloc's.
//!
//! Such a chunk begins with the next one and its length, which is one of four, and fits what malloc gave: a word of
//! random bytes is one of them with a chance of 2^-62. A structure that another library links in the same way, in
//! blocks of just these lengths, would be taken for one; so nothing is looked for where no HotSpot is. Chunks that wait
//! in the JVM's pools look like those in use. Source: HotSpot, `memory/arena.hpp` (JDK 8 to 25).

use tracer_common::arch::{ADDRESS_END, ADDRESS_FIRST};

use super::document::ChunkLength;
use crate::process::mapping::Mapping;
use crate::process::memory::ProcessMemory;

/// Bytes by which the lengths are short of a power of two (or ten KiB).
const SLACK: u64 = 40;
const LENGTHS: [u64; 4] = [256 - SLACK, 1024 - SLACK, 10 * 1024 - SLACK, 32 * 1024 - SLACK];
/// Bytes before the chunk, if Native Memory Tracking is on.
const TRACKING_BYTES: usize = 16;
/// Size of its header: to 21, and with what comes later.
const HEADER_BYTES: u64 = 16;
/// Malloc's rounding, the header's growth, and what tracking adds behind.
const MAX_REST_BYTES: u64 = 48;
/// The longest chunk that a link leads to.
const MAX_LENGTH: u64 = 1 << 32;
/// Kept until they are proved.
const MAX_CANDIDATES: usize = 1 << 20;

/// Addresses of what can be a chunk of an arena.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    length: u64,
    next: u64,
    bytes: u64,
}

/// Collects what can be one.
#[derive(Debug, Default)]
pub(super) struct Arenas {
    has_jvm: bool,
    candidates: Vec<Candidate>,
}

impl Arenas {
    pub(super) fn new(mappings: &[Mapping]) -> Self {
        let has_jvm = mappings.iter().any(|mapping| mapping.path.contains("/libjvm.so"));
        Self { has_jvm, candidates: Vec::new() }
    }

    /// Looks at a chunk that begins with `head`.
    #[inline]
    pub(super) fn see(&mut self, head: &[u8], usable_bytes: u64) {
        if !self.has_jvm || self.candidates.len() >= MAX_CANDIDATES {
            return;
        }
        let found = [0, TRACKING_BYTES]
            .into_iter()
            .find_map(|at| candidate(head.get(at..)?, usable_bytes, at as u64));
        self.candidates.extend(found);
    }

    /// Chunks whose link leads to another one, or to nothing, by length.
    pub(super) fn prove(self, memory: &dyn ProcessMemory) -> Vec<ChunkLength> {
        let is_linked = |next: u64| {
            let mut header = [0; HEADER_BYTES as usize];
            next == 0 || memory.read(next, &mut header).is_ok() && is_header(&header)
        };
        LENGTHS
            .into_iter()
            .map(|length_bytes| {
                let all = self.candidates.iter().filter(|candidate| candidate.length == length_bytes);
                let mut sum = ChunkLength { length_bytes, ..ChunkLength::default() };
                for chunk in all.filter(|candidate| is_linked(candidate.next)) {
                    sum.count += 1;
                    sum.bytes += chunk.bytes;
                }
                sum
            })
            .filter(|sum| sum.count > 0)
            .collect()
    }
}

#[inline]
fn candidate(head: &[u8], usable_bytes: u64, before: u64) -> Option<Candidate> {
    let length = word(head, 8)?;
    // Cheap, for every chunk: hardly any goes further.
    if !LENGTHS.contains(&length) {
        return None;
    }
    let rest = usable_bytes.checked_sub(length + before + HEADER_BYTES)?;
    let next = word(head, 0)?;
    let holds = rest <= MAX_REST_BYTES && is_link(next);
    holds.then_some(Candidate { length, next, bytes: usable_bytes + 8 })
}

/// Can these bytes begin a chunk of any length?
fn is_header(header: &[u8]) -> bool {
    let (Some(next), Some(length)) = (word(header, 0), word(header, 8)) else { return false };
    is_link(next) && length != 0 && length.is_multiple_of(8) && length < MAX_LENGTH
}

fn is_link(next: u64) -> bool {
    next == 0 || next.is_multiple_of(8) && (ADDRESS_FIRST..ADDRESS_END).contains(&next)
}

fn word(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::process::memory::ImageMemory;

    const NEXT: u64 = 0x7f00_0000_1000;

    fn head(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn proved(words: &[u64], usable_bytes: u64) -> Vec<ChunkLength> {
        let memory = ImageMemory::new(vec![(NEXT, head(&[0, 32 * 1024 - SLACK]))]);
        let mut arenas = Arenas { has_jvm: true, candidates: Vec::new() };
        arenas.see(&head(words), usable_bytes);
        arenas.prove(&memory)
    }

    #[test]
    fn chunks_as_the_jvm_makes_them() {
        // Chunks of JDK 17, of JDK 25, with tracking; the last of a list, and one with another behind it.
        assert_eq!(proved(&[0, 984, 1, 1], 1000)[0].bytes, 1008);
        assert_eq!(proved(&[NEXT, 984, 1, 1], 1016)[0].count, 1);
        assert_eq!(proved(&[984, 5, NEXT, 32728], 32728 + 16 + 24)[0].length_bytes, 32728);
    }

    #[test]
    fn almost_a_chunk_is_none() {
        for (words, usable_bytes) in [
            ([0, 985, 0, 0], 1000),
            ([0, 984, 0, 0], 984),
            ([0, 984, 0, 0], 1100),
            ([NEXT + 4, 984, 0, 0], 1000),
            // The chunk that it is linked to is none.
            ([NEXT + 8, 984, 0, 0], 1000),
            ([NEXT + 0x1000, 984, 0, 0], 1000),
            ([1 << 47, 984, 0, 0], 1000),
        ] {
            assert_eq!(proved(&words, usable_bytes), [], "{words:x?} {usable_bytes}");
        }
        assert_eq!(proved(&[0], 1000), []);
    }

    proptest! {
        #[test]
        fn random_bytes_are_no_chunk(bytes in prop::collection::vec(any::<u8>(), 1 << 12)) {
            let mut arenas = Arenas { has_jvm: true, candidates: Vec::new() };
            for (head, usable_bytes) in bytes.chunks(32).zip((0..).map(|size| 24 + 16 * size)) {
                arenas.see(head, usable_bytes);
            }
            prop_assert!(arenas.candidates.is_empty());
        }

        /// The right lengths in blocks of any size, with links to what is none.
        #[test]
        fn hostile_bytes_are_no_chunk(seeds in prop::collection::vec((0_usize..4, any::<u32>(), 0_u64..4096), 256)) {
            for (length, next, usable) in seeds {
                let length = LENGTHS[length];
                let fits = usable >= length + 16 && usable <= length + 16 + MAX_REST_BYTES;
                let next = if fits { NEXT + 16 + u64::from(next) } else { 0 };
                prop_assert_eq!(proved(&[next, length, 0, 0], usable), []);
            }
        }
    }
}
