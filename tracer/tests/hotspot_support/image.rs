//! Saved process images: what was read of a live JVM, so that a test can read it again anywhere.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use tracer::process::memory::{ImageMemory, ProcessMemory};

/// Memory that remembers every byte that was read of it.
pub(crate) struct RecordingMemory<M> {
    memory: M,
    read: Recorded,
}

/// Ranges that were read: start and bytes. Shared with the [`RecordingMemory`] that fills it.
#[derive(Clone, Default)]
pub(crate) struct Recorded(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

impl<M> RecordingMemory<M> {
    pub(crate) fn new(memory: M) -> (Self, Recorded) {
        let read = Recorded::default();
        (Self { memory, read: read.clone() }, read)
    }
}

impl<M: ProcessMemory> ProcessMemory for RecordingMemory<M> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.memory.read(address, buffer)?;
        let mut ranges = self.read.0.lock().expect("not poisoned");
        let known = ranges.get(&address).map_or(0, Vec::len);
        if known < buffer.len() {
            ranges.insert(address, buffer.to_vec());
        }
        Ok(())
    }
}

impl Recorded {
    /// The ranges, joined where they touch or overlap. For bytes that were read twice, the later reading counts.
    pub(crate) fn ranges(&self) -> Vec<(u64, Vec<u8>)> {
        let mut joined: Vec<(u64, Vec<u8>)> = Vec::new();
        for (start, bytes) in self.0.lock().expect("not poisoned").iter() {
            match joined.last_mut() {
                Some((first, all)) if *first + all.len() as u64 >= *start => {
                    let at = (start - *first) as usize;
                    let overlap = bytes.len().min(all.len() - at);
                    all[at..at + overlap].copy_from_slice(&bytes[..overlap]);
                    all.extend_from_slice(&bytes[overlap..]);
                }
                _ => joined.push((*start, bytes.clone())),
            }
        }
        joined
    }
}

/// A saved image: named addresses and ranges of memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) symbols: Vec<(String, u64)>,
    pub(crate) ranges: Vec<(u64, Vec<u8>)>,
    /// Lines that the test compares with.
    pub(crate) expected: String,
}

impl Image {
    pub(crate) fn memory(&self) -> ImageMemory {
        ImageMemory::new(self.ranges.clone())
    }

    /// The image as compressed bytes: text, symbols and ranges, each with its length before it.
    pub(crate) fn save(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let part = |bytes: &mut Vec<u8>, part: &[u8]| {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        };
        part(&mut bytes, self.expected.as_bytes());
        bytes.extend_from_slice(&(self.symbols.len() as u64).to_le_bytes());
        for (name, address) in &self.symbols {
            part(&mut bytes, name.as_bytes());
            bytes.extend_from_slice(&address.to_le_bytes());
        }
        for (start, range) in &self.ranges {
            bytes.extend_from_slice(&start.to_le_bytes());
            part(&mut bytes, range);
        }
        zstd::encode_all(&bytes[..], 19).expect("compressed")
    }

    pub(crate) fn load(compressed: &[u8]) -> Self {
        let bytes = zstd::decode_all(compressed).expect("compressed");
        let mut rest = &bytes[..];
        let number = |rest: &mut &[u8]| {
            let (head, tail) = rest.split_first_chunk::<8>().expect("a number");
            *rest = tail;
            u64::from_le_bytes(*head)
        };
        let part = |rest: &mut &[u8]| {
            let length = number(rest) as usize;
            let (head, tail) = rest.split_at(length);
            *rest = tail;
            head.to_vec()
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let expected = text(part(&mut rest));
        let count = number(&mut rest);
        let symbols = (0..count).map(|_| (text(part(&mut rest)), number(&mut rest))).collect();
        let mut ranges = Vec::new();
        while !rest.is_empty() {
            ranges.push((number(&mut rest), part(&mut rest)));
        }
        Self { symbols, ranges, expected }
    }
}
