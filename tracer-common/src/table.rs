//! Keys and values of the BPF maps that user space reads.

use crate::{
    sampling::WeightedSize,
    shared,
    stack::{StackId, StackIndex},
};

shared! {
    /// An allocation that was not freed yet, in `LIVE` or `LIVE_OVERFLOW`, by its address with a bit of [`key`] or
    /// none.
    pub struct Allocation: 32 {
        /// A [`WeightedSize`].
        pub weighed: u64,
        /// `CLOCK_MONOTONIC`.
        pub time_ns: u64,
        pub tid: u32,
        /// GC epoch in which it was made.
        pub epoch: u32,
        pub stack: StackIndex,
        pub reserved: u32,
    }
}

impl Allocation {
    #[inline(always)]
    pub const fn weighed(&self) -> WeightedSize {
        WeightedSize(self.weighed)
    }
}

/// Allocations in a [`LiveSet`]. Their addresses and the count fill one line of the cache.
pub const LIVE_WAYS: usize = 7;
/// Sets in `LIVE`; a power of two.
pub const LIVE_SETS: u32 = 1 << 15;

shared! {
    /// An element of `LIVE`: some of the live allocations whose addresses have the same hash.
    pub struct LiveSet: 288 {
        /// Allocations in `LIVE_OVERFLOW`, because they found no place here.
        pub overflow_count: u64,
        /// 0: the place is free. [`BEING_WRITTEN`]: it will not be in a moment.
        pub addresses: [u64; LIVE_WAYS],
        pub allocations: [Allocation; LIVE_WAYS],
    }
}

/// No address of an allocation.
pub const BEING_WRITTEN: u64 = 1;

/// The element of `LIVE` for `address`.
#[inline(always)]
pub fn live_set(address: u64) -> u32 {
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - LIVE_SETS.ilog2())) as u32
}

shared! {
    /// Totals of one stack: the allocations made from it, and how much of them was freed, wherever that was.
    /// Sampled allocations count with their weights.
    pub struct StackTotals: 72 {
        pub allocated_bytes: u64,
        pub allocated_count: u64,
        pub freed_bytes: u64,
        pub freed_count: u64,
        /// The part of `freed_bytes` that threads freed which work off what collections found.
        pub collected_bytes: u64,
        /// Variances, as far as it was sampled; those of bytes in [`crate::sampling::VARIANCE_UNIT`]s. Freed is a
        /// part of allocated, so live has the difference.
        pub allocated_bytes_variance: u64,
        pub allocated_count_variance: u64,
        pub freed_bytes_variance: u64,
        pub freed_count_variance: u64,
    }
}

shared! {
    /// An element of `STACKS`, which has them in the order in which they were seen first.
    pub struct StackEntry: 104 {
        /// [`StackId::ABSENT`]: the entry is not in use.
        pub id: StackId,
        /// 1 once the frames are in the ring buffer.
        pub sent: u64,
        /// Walks that gave it.
        pub walk_count: u64,
        pub totals: StackTotals,
        /// Reason why these walks ended: a [`crate::unwind::Stop`].
        pub stop: u32,
        pub reserved: u32,
    }
}

/// Bits of an element of `STACK_INDEX` that are an index in `STACKS`; the others are as in the stack's id.
/// All 0: the place is free.
pub const STACK_INDEX_BITS: u32 = 20;
/// Places of `STACK_INDEX` for each stack that `STACKS` has room for, so that a free one is near.
pub const STACK_PLACES: u32 = 4;

/// Does the thread of this name free what unreachable Java objects held? These are the JVM's reference
/// handler (which runs `jdk.internal.ref.Cleaner`), its finalizers (JDK 8 and 11: `Finalizer`, and
/// `Secondary finalizer` of `System.runFinalization`), and the threads of `java.lang.ref.Cleaner`
/// (`Common-Cleaner`, `Cleaner-0`, ...). Names are as the kernel keeps them, 15 bytes and a zero: here as
/// two words.
#[inline(always)]
pub fn frees_for_the_collector([first, second]: [u64; 2]) -> bool {
    let word = |text: &[u8; 8]| u64::from_le_bytes(*text);
    if first == word(b"Referenc") {
        second == word(b"e Handl\0")
    } else if first == word(b"Common-C") {
        second == word(b"leaner\0\0")
    } else if first == word(b"Finalize") {
        second == word(b"r\0\0\0\0\0\0\0")
    } else if first == word(b"Secondar") {
        second == word(b"y final\0")
    } else {
        first == word(b"Cleaner-")
    }
}

/// A thread's name, as [`frees_for_the_collector`] takes it.
pub fn name_words(comm: &[u8; 16]) -> [u64; 2] {
    let both = u128::from_le_bytes(*comm);
    [both as u64, (both >> 64) as u64]
}

shared! {
    /// Switches of user space while the programs run, and words that they share: the one element of
    /// `CONTROL`.
    pub struct Control: 16 {
        /// 0: every program returns at once. Set when all probes are attached, cleared before they are
        /// detached, so what is recorded begins and ends at one moment for all probes.
        pub enabled: u32,
        /// The GC epoch: collections that ended in the session.
        pub epoch: u32,
        /// Number after the GC epoch in which classes were last unloaded; 0: none were. A method's address means the
        /// same method only as long as this is the same.
        pub class_epoch: u32,
        /// Places at which the target may be stopped: one of [`may_stop`]. Cleared when it is, so that it runs on for
        /// good if nobody answers.
        pub may_stop: u32,
    }
}

shared! {
    /// Deadline until which the programs record: the one element of `DEADLINE`. Past it they return at once and stop
    /// nobody, so nothing is recorded, and nobody is held up, for a recorder that does not run. Times are
    /// `CLOCK_MONOTONIC`.
    pub struct Deadline: 24 {
        /// Renewed by user space; 0: there is no deadline.
        pub silent_from_ns: u64,
        /// The planned end of the recording; 0: there is none.
        pub end_ns: u64,
        /// The kernel's clock ticks at which the programs compare with the times next. Theirs alone.
        pub checked_until_jiffies: u64,
    }
}

/// See [`Control::may_stop`].
pub mod may_stop {
    /// A target that was not started for the recording, or is stopped.
    pub const NOT: u32 = 0;
    /// Stops where the target is about to end.
    pub const AT_END: u32 = 1;
    /// Stops at the end, and where a walk meets code that is not known yet.
    pub const AT_UNKNOWN_CODE: u32 = 2;
}

/// The function at which a probe on held memory is set: its attach cookie. Arguments are counted from 0.
pub mod lifecycle {
    /// `inflateInit2_`, `inflateInit_` and `inflateCopy`: 0 is the stream.
    pub const INFLATE_INIT: u64 = 0;
    /// `deflateInit_`: 0 is the stream.
    pub const DEFLATE_INIT: u64 = 1;
    /// `deflateInit2_`: 0 is the stream, 3 are the window's bits, 4 is the memory level.
    pub const DEFLATE_INIT2: u64 = 2;
    /// `deflateCopy`: 0 is the new stream, 1 the old one.
    pub const DEFLATE_COPY: u64 = 3;
    /// The JDK's native `Inflater.init` and `Deflater.init`: the result is the stream.
    pub const INFLATER_INIT: u64 = 4;
    pub const DEFLATER_INIT: u64 = 5;
    /// The JDK's native `Unsafe.allocateMemory0`: 2 is the size.
    pub const ALLOCATE_MEMORY: u64 = 6;
    /// `Unsafe.reallocateMemory0`: 2 is the old address, 3 the size.
    pub const REALLOCATE_MEMORY: u64 = 7;
    /// `inflateEnd` and `deflateEnd`: 0 is the stream.
    pub const INFLATE_END: u64 = 8;
    pub const DEFLATE_END: u64 = 9;
    /// The JDK's native `Inflater.end` and `Deflater.end`: 2 is the stream.
    pub const INFLATER_END: u64 = 10;
    pub const DEFLATER_END: u64 = 11;
    /// `Unsafe.freeMemory0`: 2 is the address.
    pub const FREE_MEMORY: u64 = 12;
}

/// Bits of the keys of `LIVE` that no address has. A held resource is not the block that malloc gave at the same
/// address: a stream can be the first thing in a block.
pub mod key {
    /// The address is that of the `z_stream` of an inflater.
    pub const INFLATE: u64 = 1 << 62;
    /// The address is that of the `z_stream` of a deflater.
    pub const DEFLATE: u64 = 1 << 61;
    /// The address is that of a block that the JDK asked for.
    pub const JDK: u64 = 1 << 60;
    /// The bits of the address.
    pub const ADDRESS: u64 = (1 << 57) - 1;
}

shared! {
    /// Addresses: the one element of `JAVA_HEAP`.
    pub struct Range: 16 {
        pub low: u64,
        /// The first one behind.
        pub high: u64,
    }
}

/// Locations of a USDT argument at the probe.
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
    /// One argument of a USDT probe. `register` is a DWARF number, as in [`crate::arch::REGISTERS`].
    pub struct UsdtArgument: 16 {
        pub value: i64,
        /// Location, one of [`usdt_location`].
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

/// A bit of `TABLE_EPOCH`: the JVM tells when code and classes go, so stacks with Java frames can be remembered.
pub const KEEPS_JAVA: u64 = 1;
/// The step by which `TABLE_EPOCH` rises.
pub const EPOCH_STEP: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_free_for_the_collector_are_known_by_name() {
        let comm = |name: &str| {
            let mut comm = [0; 16];
            name.bytes().take(15).zip(&mut comm).for_each(|(byte, place)| *place = byte);
            name_words(&comm)
        };
        for (name, frees) in [
            ("Reference Handler", true),
            ("Finalizer", true),
            ("Secondary finalizer", true),
            ("Common-Cleaner", true),
            ("Cleaner-0", true),
            ("Cleaner-117", true),
            ("Cleaner", false),
            ("Finalizer-pool", false),
            ("Reference Handles", true),
            ("Reference", false),
            ("main", false),
            ("", false),
        ] {
            assert_eq!(frees_for_the_collector(comm(name)), frees, "{name}");
        }
    }
}
