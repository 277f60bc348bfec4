//! Counters that the BPF programs keep: one for each way in which something can be lost, and for
//! each way in which a stack walk can end.

/// Index into the per-CPU array `COUNTERS`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Allocations not recorded because the live table was full.
    LostLiveFull,
    /// Bytes of those allocations.
    LostLiveFullBytes,
    /// Walks booked on the overflow stack because the stack table was full.
    LostStackFull,
    /// Stack records that found the ring buffer full (sent again at the stack's next use).
    LostStackRecord,
    /// Mapping, thread, GC or code events that found the ring buffer full.
    LostEvent,
    /// Allocator calls whose hand-off from entry to return could not be kept: the table of calls was full.
    LostPending,
    /// Frees and reallocs of addresses not in the live table: allocated before attach.
    UnmatchedFrees,
    /// Walks not made because every scratch slot of the CPU was taken.
    LostScratch,
    /// posix_memalign results that could not be read back.
    LostPointerRead,
    /// Allocations whose address was still live: its free was not seen.
    MissedFrees,
    /// Walks of which at least a part was not in the memo.
    WalksMade,
    /// Remembered walks that a full walk did not confirm, where one was made.
    MemoMismatch,
    /// Return-probe trampolines replaced by the true return address.
    TrampolinesReplaced,
    /// Pcs in no mapping known to the unwinder (user space refreshes the mappings).
    UnknownMapping,
    /// Page faults of the target that wrote, where they are watched.
    WriteFaults,
    /// Write faults in the Java heap, a part of those.
    HeapWriteFaults,
    /// Inflate streams that began, and those that ended, where streams are watched.
    InflateChanges,
}

impl Counter {
    /// Number of counters.
    pub const COUNT: usize = Self::InflateChanges as usize + 1;
    /// All counters, in the order of their index.
    pub const ALL: [Self; Self::COUNT] = [
        Self::LostLiveFull,
        Self::LostLiveFullBytes,
        Self::LostStackFull,
        Self::LostStackRecord,
        Self::LostEvent,
        Self::LostPending,
        Self::UnmatchedFrees,
        Self::LostScratch,
        Self::LostPointerRead,
        Self::MissedFrees,
        Self::WalksMade,
        Self::MemoMismatch,
        Self::TrampolinesReplaced,
        Self::UnknownMapping,
        Self::WriteFaults,
        Self::HeapWriteFaults,
        Self::InflateChanges,
    ];
}
