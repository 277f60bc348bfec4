//! Events from the BPF programs' ring buffer.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};

use crate::probe::{ProbeError, probes::Probes};

use super::{
    decode::decode,
    event::{DecodeError, Event, EventSource},
};

/// The ring buffer `EVENTS`. Its descriptor is readable when there is something in it.
pub struct RingSource {
    ring: RingBuf<MapData>,
}

impl RingSource {
    /// Reads from the ring buffer of `probes`.
    ///
    /// # Errors
    /// It was taken before.
    pub fn take(probes: &mut Probes) -> Result<Self, ProbeError> {
        Ok(Self { ring: probes.take_map("EVENTS")?.try_into()? })
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
