//! Events from the BPF programs' ring buffer.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};

use super::{
    decode::decode,
    event::{DecodeError, Event, EventSource},
};

/// The ring buffer `EVENTS`. Its descriptor is readable when there is something in it.
pub struct RingSource {
    ring: RingBuf<MapData>,
}

impl RingSource {
    /// Reads from `ring`.
    pub fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring }
    }
}

impl EventSource for RingSource {
    fn next(&mut self) -> Option<Result<Event, DecodeError>> {
        self.ring.next().map(|bytes| decode(&bytes))
    }
}

impl AsFd for RingSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring buffer keeps its descriptor open as long as it lives.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }
}
