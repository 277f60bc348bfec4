//! Events from the BPF programs' ring buffer.
//!
//! Its data is mapped once. The kernel offers it twice in a row, so that every record is in one piece; but mapped
//! pages count as the reader's memory as often as they are mapped. A record that goes on at the beginning is
//! put together in a copy.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, SeqCst},
    },
};

use aya::maps::Map;
use memmap2::{MmapOptions, MmapRaw};
use rustix::param::page_size;

use super::{
    decode::decode,
    event::{DecodeError, Event, EventSource},
};
use crate::probe::{ProbeError, probes::Probes};

/// Bits of a record's length (`include/uapi/linux/bpf.h`): it is still being written; nobody is to read it.
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
/// Length and place of a record, before its bytes.
const HEADER_BYTES: usize = 8;

/// The ring buffer `EVENTS`. Its descriptor is readable when there is something in it.
pub struct RingSource {
    file: File,
    /// A page whose first word is up to where it was read.
    consumer: MmapRaw,
    /// A page whose first word is up to where it was written, and the data.
    producer: MmapRaw,
    /// Position up to which the ring was read. Positions only grow: where they are in the data is their remainder.
    position: u64,
    data_bytes: usize,
}

impl RingSource {
    /// Reads from the ring buffer of `probes`.
    ///
    /// # Errors
    /// It was taken before, or cannot be mapped.
    pub fn take(probes: &mut Probes) -> Result<Self, ProbeError> {
        let Map::RingBuf(map) = probes.take_map("EVENTS")? else {
            return Err(ProbeError::MissingMap("EVENTS"));
        };
        let data_bytes = map.info()?.max_entries() as usize;
        let file = map.fd().as_fd().try_clone_to_owned().map(File::from);
        file.and_then(|file| Self::map(file, data_bytes)).map_err(|source| ProbeError::Io {
            what: "cannot map the ring buffer of the BPF programs".to_owned(),
            source,
        })
    }

    fn map(file: File, data_bytes: usize) -> io::Result<Self> {
        let consumer = MmapOptions::new().len(page_size()).map_raw(&file)?;
        let mut producer = MmapOptions::new();
        producer.offset(page_size() as u64).len(page_size() + data_bytes);
        let producer = producer.map_raw_read_only(&file)?;
        let mut ring = Self { file, consumer, producer, position: 0, data_bytes };
        ring.position = ring.consumer_position().load(Acquire);
        Ok(ring)
    }

    fn consumer_position(&self) -> &AtomicU64 {
        // SAFETY: the word is in the mapping, which lives as long as this, and aligned as a page is.
        unsafe { AtomicU64::from_ptr(self.consumer.as_mut_ptr().cast()) }
    }

    fn producer_position(&self) -> &AtomicU64 {
        // SAFETY: as above. It is only read.
        unsafe { AtomicU64::from_ptr(self.producer.as_mut_ptr().cast()) }
    }

    /// The length word of the record at the position.
    fn record_length(&self) -> u32 {
        // SAFETY: a record begins there, in the data, aligned to 8 bytes. It is only read.
        unsafe { AtomicU32::from_ptr(self.data(self.position as usize).cast_mut().cast()) }.load(SeqCst)
    }

    /// A place in the data.
    fn data(&self, at: usize) -> *const u8 {
        // SAFETY: in the mapping, whose first page is not data.
        unsafe { self.producer.as_ptr().add(page_size() + at % self.data_bytes) }
    }

    /// Bytes of a record that is complete and not given back: they do not change.
    fn bytes(&self, begin: usize, length: usize) -> &[u8] {
        let is_within = begin.checked_add(length).is_some_and(|end| end <= self.data_bytes);
        // SAFETY: in the data.
        if is_within { unsafe { std::slice::from_raw_parts(self.data(begin), length) } } else { &[] }
    }

    /// Gives the record of this length at the position back to the kernel.
    ///
    /// The store comes before the loads that follow, as in the kernel the commit of a record before the look at this
    /// position: so either the record is seen here, or the kernel sees that somebody waits for it.
    fn consume(&mut self, length: usize) {
        self.position += (HEADER_BYTES + length).next_multiple_of(8) as u64;
        self.consumer_position().store(self.position, SeqCst);
    }

    /// Decodes the record of this length at the position.
    fn decode(&mut self, length: usize) -> Result<Event, DecodeError> {
        let begin = (self.position as usize + HEADER_BYTES) % self.data_bytes;
        let until_end = self.data_bytes - begin;
        if length <= until_end {
            return decode(self.bytes(begin, length));
        }
        let joined = [self.bytes(begin, until_end), self.bytes(0, length - until_end)].concat();
        decode(&joined)
    }
}

impl EventSource for RingSource {
    fn next(&mut self) -> Option<Result<Event, DecodeError>> {
        while self.position != self.producer_position().load(SeqCst) {
            let word = self.record_length();
            let length = (word & !(BUSY | DISCARDED)) as usize;
            if word & BUSY != 0 || length > self.data_bytes {
                return None;
            }
            let event = (word & DISCARDED == 0).then(|| self.decode(length));
            self.consume(length);
            if event.is_some() {
                return event;
            }
        }
        None
    }
}

impl AsFd for RingSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use tracer_common::record::{Header, ThreadRecord, kind};
    use zerocopy::IntoBytes;

    use super::*;
    use crate::ingest::event::EventKind;

    const DATA_BYTES: usize = 4096;

    /// The kernel's side: a file with the same pages.
    struct Producer {
        memory: MmapRaw,
        position: usize,
    }

    impl Producer {
        fn new() -> (Self, RingSource) {
            let file = File::from(memfd_create("ring", MemfdFlags::CLOEXEC).expect("memfd"));
            let length = 2 * page_size() + DATA_BYTES;
            ftruncate(&file, length as u64).expect("its size");
            let memory = MmapOptions::new().len(length).map_raw(&file).expect("mapped");
            (Self { memory, position: 0 }, RingSource::map(file, DATA_BYTES).expect("a ring"))
        }

        fn put(&mut self, at: usize, bytes: &[u8]) {
            for (at, byte) in (at..).zip(bytes) {
                // SAFETY: in the mapping.
                unsafe { *self.memory.as_mut_ptr().add(2 * page_size() + at % DATA_BYTES) = *byte };
            }
        }

        /// Writes a record, and gives where its length word is.
        fn write(&mut self, bytes: &[u8], flags: u32) -> usize {
            let at = self.position;
            self.put(at, &(bytes.len() as u32 | flags).to_ne_bytes());
            self.put(at + HEADER_BYTES, bytes);
            self.position += (HEADER_BYTES + bytes.len()).next_multiple_of(8);
            // SAFETY: in the mapping, and aligned.
            unsafe { self.memory.as_mut_ptr().add(page_size()).cast::<u64>().write(self.position as u64) };
            at
        }
    }

    /// A record of thread `tid`, and some bytes behind it.
    fn thread(tid: u32, more: usize) -> Vec<u8> {
        let header = Header { kind: kind::THREAD_EXIT, tid, ..Header::ZERO };
        let mut bytes = ThreadRecord { header, ..ThreadRecord::ZERO }.as_bytes().to_vec();
        bytes.resize(bytes.len() + more, 0xff);
        bytes
    }

    fn next_tid(ring: &mut RingSource) -> Option<u32> {
        let event = ring.next()?.expect("an event");
        assert!(matches!(event.kind, EventKind::ThreadExited { .. }), "{event:?}");
        Some(event.tid.0)
    }

    #[test]
    fn records_come_whole_and_in_order_wherever_the_data_ends() {
        let (mut producer, mut ring) = Producer::new();
        for tid in 0..1_000 {
            producer.write(&thread(tid, tid as usize * 7 % 300), 0);
            producer.write(&thread(!0, tid as usize % 9), DISCARDED);
            assert_eq!(next_tid(&mut ring), Some(tid));
            assert_eq!(next_tid(&mut ring), None);
            assert_eq!(ring.consumer_position().load(SeqCst), producer.position as u64, "it is given back");
        }
        assert!(producer.position > 20 * DATA_BYTES);
    }

    #[test]
    fn what_is_being_written_is_waited_for() {
        let (mut producer, mut ring) = Producer::new();
        let at = producer.write(&thread(1, 0), BUSY);
        producer.write(&thread(2, 0), 0);
        assert_eq!(next_tid(&mut ring), None);
        producer.put(at, &(thread(1, 0).len() as u32).to_ne_bytes());
        assert_eq!([next_tid(&mut ring), next_tid(&mut ring), next_tid(&mut ring)], [Some(1), Some(2), None]);
    }
}
