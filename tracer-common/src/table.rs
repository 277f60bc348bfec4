//! Keys and values of the BPF maps that user space reads.

use crate::shared;

shared! {
    /// Value of `LIVE` (key: address, u64): an allocation that was not freed yet.
    pub struct Allocation: 32 {
        pub size_bytes: u64,
        pub stack: u64,
        /// `CLOCK_MONOTONIC`.
        pub time_ns: u64,
        pub tid: u32,
        /// GC epoch in which it was made.
        pub epoch: u32,
    }
}

shared! {
    /// Value of `STACKS` (key: stack id, u64): what was allocated from a stack, and how much of
    /// just that was freed, wherever it was freed.
    pub struct StackTotals: 40 {
        pub allocated_bytes: u64,
        pub allocated_count: u64,
        pub freed_bytes: u64,
        pub freed_count: u64,
        /// 1 once the frames are in the ring buffer.
        pub sent: u64,
    }
}

/// The stack on which allocations are booked when `STACKS` is full.
pub const OVERFLOW_STACK: u64 = 1;
/// The stack on which allocations are booked when no walk could be made.
pub const NO_STACK: u64 = 2;

shared! {
    /// What user space switches while the programs run, and what they tell each other: the one element of
    /// `CONTROL`.
    pub struct Control: 16 {
        /// 0: every program returns at once. Set when all probes are attached, cleared before they are
        /// detached, so what is recorded begins and ends at one moment for all probes.
        pub enabled: u32,
        /// The GC epoch: collections that ended in the session.
        pub epoch: u32,
        /// One more than the GC epoch in which classes were last unloaded; 0: none were. A method's
        /// address means the same method only as long as this is the same.
        pub class_epoch: u32,
        pub reserved: u32,
    }
}

/// Where one USDT argument lies at the probe.
pub mod usdt_location {
    pub const NONE: u8 = 0;
    /// `value` is the constant.
    pub const CONSTANT: u8 = 1;
    /// The register `register`.
    pub const REGISTER: u8 = 2;
    /// Memory at register + `value`.
    pub const MEMORY: u8 = 3;
}

shared! {
    /// One argument of a USDT probe. `register` is a DWARF register number (x86-64: 0 rax, 1 rdx,
    /// 2 rcx, 3 rbx, 4 rsi, 5 rdi, 6 rbp, 7 rsp, 8–15 r8–r15).
    pub struct UsdtArgument: 16 {
        pub value: i64,
        /// One of [`usdt_location`].
        pub location: u8,
        pub register: u8,
        /// 1, 2, 4 or 8.
        pub size_bytes: u8,
        /// 1 if to be sign-extended.
        pub signed: u8,
        pub reserved: u32,
    }
}

/// Arguments that a probe can have (HotSpot's largest here, compiled-method-load, has 8).
pub const USDT_ARGUMENTS: usize = 10;

shared! {
    /// Value of `USDT_SPECS` (index: the attach cookie).
    pub struct UsdtSpec: 160 {
        pub arguments: [UsdtArgument; USDT_ARGUMENTS],
    }
}
