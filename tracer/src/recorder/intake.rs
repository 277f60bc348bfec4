//! The events that are taken from the ring buffer and not yet written, and when what they add up to is.

use crate::recording::Call;

/// Age up to which the last sample counts as new when a collection begins: beside the ticks, a sample is then taken
/// unless there is such a one.
const COLLECTION_SAMPLE_NS: u64 = 200_000_000;

/// See the module.
#[derive(Default)]
pub(super) struct Intake {
    /// Allocations and frees, if every one is kept.
    calls: Vec<Call>,
    malformed_count: u64,
    /// Losses up to the last tick.
    lost_count: u64,
    /// Time of the last tick, `CLOCK_MONOTONIC`.
    ticked_ns: u64,
    /// A collection began after the last tick.
    collection_began: bool,
}

impl Intake {
    /// A record of the ring buffer could not be decoded.
    pub(super) fn malformed(&mut self) {
        self.malformed_count += 1;
    }

    pub(super) fn malformed_count(&self) -> u64 {
        self.malformed_count
    }

    pub(super) fn set_lost_count(&mut self, lost_count: u64) {
        self.lost_count = lost_count;
    }

    pub(super) fn lost_count(&self) -> u64 {
        self.lost_count
    }

    pub(super) fn call(&mut self, call: Call) {
        self.calls.push(call);
    }

    /// The calls since the last time.
    pub(super) fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }

    pub(super) fn collection_began(&mut self) {
        self.collection_began = true;
    }

    /// Takes in that all changes up to `time_ns` are being written.
    pub(super) fn ticked(&mut self, time_ns: u64) {
        self.ticked_ns = time_ns;
        self.collection_began = false;
    }

    /// Is a sample due because a collection began?
    pub(super) fn is_sample_due(&self, time_ns: u64) -> bool {
        self.collection_began && time_ns.saturating_sub(self.ticked_ns) >= COLLECTION_SAMPLE_NS
    }
}
