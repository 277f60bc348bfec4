//! Events from the BPF programs' ring buffer.

use std::os::fd::{AsRawFd, RawFd};

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

impl AsRawFd for RingSource {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}
