//! The sweep over all writable anonymous memory, at every place where an allocator could have put something: for memory
//! of allocators whose structures cannot be read.

use std::ops::Range;

use tracer_common::arch::PAGE_BYTES;

use super::zlib;
use crate::process::mapping::Mapping;
use crate::process::memory::ProcessMemory;
use crate::process::pagemap::{self, Residency};

/// Read at once.
const PART_BYTES: usize = 1 << 20;
/// Allocators align to this.
const STEP_BYTES: usize = 16;

/// Calls `visit` with the address of everything that can be the beginning of a zlib state. Memory in `excluded`
/// (sorted by start, not overlapping) is left out. Gives how many bytes were read.
pub fn sweep(
    memory: &dyn ProcessMemory,
    residency: &dyn Residency,
    mappings: &[Mapping],
    excluded: &[Range<u64>],
    visit: &mut dyn FnMut(u64),
) -> u64 {
    let mut buffer = vec![0; PART_BYTES];
    let mut read_bytes = 0;
    let anonymous = |mapping: &&Mapping| {
        mapping.readable
            && mapping.writable
            && !mapping.shared
            && mapping.inode == 0
            && mapping.path != "[vvar]"
    };
    for mapping in mappings.iter().filter(anonymous) {
        let mut run: Range<u64> = 0..0;
        let mut part = |run: &Range<u64>| {
            let length = (run.end - run.start) as usize;
            let Some(bytes) = buffer.get_mut(..length) else { return };
            if length == 0 || memory.read(run.start, bytes).is_err() {
                return;
            }
            read_bytes += length as u64;
            for (bytes, at) in bytes.chunks_exact(STEP_BYTES).zip((run.start..).step_by(STEP_BYTES)) {
                if zlib::may_be_state(bytes) {
                    visit(at);
                }
            }
        };
        let read = pagemap::each_resident(residency, mapping.start, mapping.end, |page| {
            let after = excluded.partition_point(|range| range.start <= page);
            let last = after.checked_sub(1).and_then(|index| excluded.get(index));
            if last.is_some_and(|range| page < range.end) {
                return;
            }
            if page != run.end || run.end - run.start >= PART_BYTES as u64 {
                part(&run);
                run = page..page;
            }
            run.end = page + PAGE_BYTES;
        });
        // Every chunk found before the page map failed counts.
        if read.is_err() {
            tracing::debug!(start = mapping.start, "the page map could not be read to its end");
        }
        part(&run);
    }
    read_bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::memory::ImageMemory;
    use crate::process::pagemap::AllResident;

    #[test]
    fn every_place_is_seen_once() {
        let length = 3 * PART_BYTES + 4096;
        let mut bytes = vec![0; length];
        let places = [0, PART_BYTES - 16, PART_BYTES, 2 * PART_BYTES + 512, length - 16];
        for at in places {
            bytes[at..at + 8].copy_from_slice(&0x7f00_0000_0010_u64.to_le_bytes());
            bytes[at + 8..at + 12].copy_from_slice(&16180_u32.to_le_bytes());
        }
        let memory = ImageMemory::new(vec![(0x100_0000, bytes)]);
        let mapping = Mapping {
            start: 0x100_0000,
            end: 0x100_0000 + length as u64,
            readable: true,
            writable: true,
            ..Mapping::default()
        };
        let mut seen = Vec::new();
        let mappings = [mapping];
        let page = 0x100_0000 + 2 * PART_BYTES as u64;
        sweep(&memory, &AllResident, &mappings, &[0..1, page..page + 4096], &mut |at| {
            seen.push((at - 0x100_0000) as usize)
        });
        assert_eq!(seen, [places[0], places[1], places[2], places[4]]);
    }
}
