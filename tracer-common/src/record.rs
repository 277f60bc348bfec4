//! Records of the ring buffer: what is rare and must be seen in order.

use crate::{shared, stack::StackId};

/// The kind of a record: [`Header::kind`].
pub mod kind {
    /// A stack seen for the first time: [`super::StackRecord`] and its frames.
    pub const STACK: u32 = 1;
    /// A successful mapping system call: [`super::MappingRecord`].
    pub const MAPPING: u32 = 2;
    /// A thread of the target was created: [`super::ThreadRecord`].
    pub const THREAD_START: u32 = 3;
    /// A thread of the target ended: [`super::ThreadRecord`].
    pub const THREAD_EXIT: u32 = 4;
    /// The target replaced its program: [`super::ThreadRecord`].
    pub const EXEC: u32 = 6;
    /// A garbage collection began: only the header, of which `detail` is 1 for a full one.
    pub const GC_BEGIN: u32 = 7;
    /// A garbage collection ended: only the header.
    pub const GC_END: u32 = 8;
    /// The JVM installed an nmethod: [`super::NmethodRecord`].
    pub const NMETHOD_LOAD: u32 = 9;
    /// The JVM unloaded an nmethod: [`super::NmethodRecord`] without names.
    pub const NMETHOD_UNLOAD: u32 = 10;
    /// A Java thread started: [`super::JavaThreadRecord`].
    pub const JAVA_THREAD_START: u32 = 11;
    /// A Java thread ended: [`super::JavaThreadRecord`].
    pub const JAVA_THREAD_STOP: u32 = 12;
    /// An allocation (`--events`): [`super::AllocationRecord`].
    pub const ALLOCATION: u32 = 14;
    /// A free (`--events`): [`super::AllocationRecord`].
    pub const FREE: u32 = 15;
    /// A page fault that was sampled: [`super::FaultRecord`].
    pub const FAULT: u32 = 16;
    /// The target was stopped (SIGSTOP) until somebody lets it run on: only the header, whose `detail` says where, as
    /// [`crate::table::may_stop`] does.
    pub const STOPPED: u32 = 17;
}

shared! {
    /// The first bytes of every record.
    pub struct Header: 24 {
        /// Kind of the record, one of [`kind`].
        pub kind: u32,
        /// Thread id in the initial pid namespace.
        pub tid: u32,
        /// `CLOCK_MONOTONIC`, ns.
        pub time_ns: u64,
        /// The GC epoch: how many collections had ended in the session.
        pub epoch: u32,
        /// A number whose meaning depends on the kind; 0 for most.
        pub detail: u32,
    }
}

shared! {
    /// A stack; `frame_count` [`crate::unwind::Frame`]s follow, leaf first. If `saved_bytes` is not 0,
    /// the walk met a module that it did not know yet, and can be taken up again where
    /// `last_pc`, `last_sp`, `last_fp` and `last_flags` say, at the last frame, which is to be
    /// replaced: what the stack held in the page of `last_sp` and those above is in the record from
    /// [`SAVED_OFFSET`] on.
    pub struct StackRecord: 72 {
        pub header: Header,
        /// 64-bit hash over the frames, which is the stack's id everywhere. Never 0.
        pub stack: StackId,
        /// Registers at which the walk ended.
        pub last_pc: u64,
        pub frame_count: u32,
        /// Reason why the walk ended: a [`crate::unwind::Stop`].
        pub stop: u32,
        pub last_sp: u64,
        pub last_fp: u64,
        /// Bit 0: `last_pc` is a return address. From bit 1 on: [`crate::walk::way`].
        pub last_flags: u32,
        pub saved_bytes: u32,
    }
}

/// Frames that a stack can have at most to be taken up again.
pub const SAVED_FRAMES: usize = 128;
/// Offset of the saved part of a stack in a record, bytes.
pub const SAVED_OFFSET: usize = size_of::<StackRecord>() + SAVED_FRAMES * size_of::<crate::unwind::Frame>();
/// Bytes reserved for the saved part of a stack: whole pages, since a page can be read or not.
pub const SAVED_BYTES: usize = 128 << 10;
/// The saved part of a stack begins at a multiple of this, at or below `last_sp`.
pub const SAVED_PAGE_BYTES: usize = crate::arch::PAGE_BYTES as usize;

/// The system call of a [`MappingRecord`].
pub mod mapping_call {
    /// `address`, `length_bytes` as mapped; `argument` = fd, `protection`, `flags` as asked.
    pub const MMAP: u32 = 1;
    /// `address`, `length_bytes` as asked.
    pub const MUNMAP: u32 = 2;
    /// `argument` = old address, `argument2` = old length; `address`, `length_bytes` = the new.
    pub const MREMAP: u32 = 3;
    /// `address` = the new break.
    pub const BRK: u32 = 4;
    /// `protection` = the new protection.
    pub const MPROTECT: u32 = 5;
    /// `argument` = the advice.
    pub const MADVISE: u32 = 6;
}

shared! {
    /// A mapping system call that succeeded.
    pub struct MappingRecord: 88 {
        pub header: Header,
        /// The call, one of [`mapping_call`].
        pub call: u32,
        /// `PROT_*`.
        pub protection: u32,
        pub address: u64,
        pub length_bytes: u64,
        /// `MAP_*` of mmap, `MREMAP_*` of mremap.
        pub flags: u64,
        pub argument: u64,
        pub argument2: u64,
        /// The caller's stack, 0 if none was taken.
        pub stack: StackId,
        /// 1 if the call was made inside an allocator call: the memory is the allocator's.
        pub in_allocator: u64,
    }
}

shared! {
    /// A thread of the target started, ended, or became another program.
    pub struct ThreadRecord: 56 {
        pub header: Header,
        /// The thread that started or ended.
        pub subject_tid: u32,
        pub reserved: u32,
        /// The creator's stack at start, 0 otherwise.
        pub stack: StackId,
        pub comm: [u8; 16],
    }
}

shared! {
    /// A page fault that wrote. It was taken with a chance of one in two to the power of `header.detail`.
    pub struct FaultRecord: 40 {
        pub header: Header,
        pub address: u64,
        pub stack: StackId,
    }
}

/// Bytes kept of each name in a [`NmethodRecord`].
pub const NAME_BYTES: usize = 120;

shared! {
    /// An nmethod was installed or unloaded; names are modified UTF-8, cut at [`NAME_BYTES`].
    pub struct NmethodRecord: 416 {
        pub header: Header,
        /// Start of the code (not of the blob). 0 in an unload: HotSpot does not tell it.
        pub code: u64,
        pub size_bytes: u64,
        pub class_length: u32,
        pub method_length: u32,
        pub signature_length: u32,
        pub reserved: u32,
        /// Class with `/` between packages.
        pub class: [u8; NAME_BYTES],
        pub method: [u8; NAME_BYTES],
        pub signature: [u8; NAME_BYTES],
    }
}

shared! {
    /// A Java thread started or stopped.
    pub struct JavaThreadRecord: 280 {
        pub header: Header,
        /// `java.lang.Thread.getId()`.
        pub java_id: u64,
        /// Thread id as the JVM knows it (in its own pid namespace).
        pub os_tid: u32,
        pub daemon: u32,
        pub name_length: u32,
        pub reserved: u32,
        /// UTF-8, cut.
        pub name: [u8; 232],
    }
}

shared! {
    /// An allocation or free, with `--events`. It counts 2^`header.detail` times.
    pub struct AllocationRecord: 48 {
        pub header: Header,
        pub address: u64,
        pub size_bytes: u64,
        pub stack: StackId,
    }
}
