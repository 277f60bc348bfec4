//! Rows, modules and frames of the unwinder.

use crate::shared;

/// Frames that one stack record can hold.
pub const MAX_FRAMES: usize = 1024;
/// Executable mappings that the unwinder can know.
pub const MAX_MODULES: usize = 1024;

/// Rules by which a [`Row`] finds the canonical frame address (CFA). The return address is at CFA − 8.
pub mod rule {
    /// CFA = sp + 8·`cfa_words`.
    pub const SP: u8 = 0;
    /// CFA = fp + 8·`cfa_words`.
    pub const FP: u8 = 1;
    /// An entry of a procedure linkage table: the CFA is [`crate::arch::plt_cfa`] of pc, sp and `cfa_words`.
    pub const PLT: u8 = 2;
    /// The thread's or process's entry: its return address is undefined. The stack is complete.
    pub const ROOT: u8 = 3;
    /// A signal trampoline: the interrupted registers lie at sp.
    pub const SIGNAL: u8 = 4;
    /// A rule that this format cannot express.
    pub const UNSUPPORTED: u8 = 5;
    /// No function covers these addresses.
    pub const GAP: u8 = 6;
    /// CFA = the word at fp − 8·`cfa_words`: a function that aligned its stack. fp was saved at fp itself if
    /// `fp_words` is not 0.
    pub const FP_INDIRECT: u8 = 7;
}

shared! {
    /// Rule for the caller from `pc` (inclusive) to the next row's.
    pub struct Row: 8 {
        /// ELF virtual address − the lowest one of the module's executable segments' table.
        pub pc: u32,
        /// Offset of the CFA in words: 64 KB of bytes are less than some functions' frames.
        pub cfa_words: u16,
        /// Rule for the CFA, one of [`rule`].
        pub rule: u8,
        /// Place of the saved frame pointer, in words from the CFA (−2: at CFA − 16). 0: unchanged.
        pub fp_words: i8,
    }
}

shared! {
    /// An executable mapping: an element of `MODULES`, which is sorted by `start`.
    pub struct Module: 40 {
        pub start: u64,
        pub end: u64,
        /// `pc − bias` is the value to look up in the rows (modulo 2^64).
        pub bias: u64,
        /// The module's rows are `ROWS[first_row .. first_row + row_count]`. No rows: no CFI.
        pub first_row: u32,
        pub row_count: u32,
        pub reserved: u64,
    }
}

shared! {
    /// The half of `MODULES` that is in use: the one element of `MODULE_TABLE`. User space writes the other half, then
    /// this.
    pub struct ModuleTable: 8 {
        /// Index of the first element.
        pub first: u32,
        pub count: u32,
    }
}

/// The kind of a [`Frame`].
pub mod frame_kind {
    /// `pc` in a native module, or in none; `aux` = the module's first row, which tells modules
    /// apart that had the same address one after the other; `extra` = 1 if `pc` is the very
    /// instruction, 0 if it is a return address.
    pub const NATIVE: u32 = 1;
    /// `pc` in an nmethod; `aux` = the blob's address; `extra` = its compile id. A deoptimized
    /// frame has its original pc here.
    pub const COMPILED: u32 = 2;
    /// `pc` = the `Method*`; `aux` = the bytecode pointer; `extra` = low 32 bits of the
    /// `ConstMethod*` >> 3.
    pub const INTERPRETED: u32 = 3;
    /// `pc` in a stub or adapter of the JVM; `aux` = the blob's address (0: none was found).
    pub const STUB: u32 = 4;
    /// The place where a virtual thread's older frames lie in the heap.
    pub const CONTINUATION: u32 = 5;
}

shared! {
    /// One frame of a stack as the kernel saw it.
    pub struct Frame: 24 {
        pub pc: u64,
        pub aux: u64,
        /// Kind of the frame, one of [`frame_kind`].
        pub kind: u32,
        pub extra: u32,
    }
}

/// Reason why a walk ended.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The thread's entry was reached.
    Complete = 1,
    /// The stack has more frames than are kept.
    Truncated = 2,
    /// The pc is in no known mapping.
    NoMapping = 3,
    /// The module has no call-frame information, or none for this pc.
    NoRow = 4,
    /// The call-frame information has a rule that rows cannot express.
    UnsupportedRule = 5,
    /// A stack word could not be read.
    ReadFault = 6,
    /// The stack pointer did not grow, or the frame pointer is outside the stack.
    BadFrame = 7,
    /// The pc is in the code cache, but in no code blob.
    NoBlob = 8,
    /// A return probe's trampoline whose true return address was not found.
    Trampoline = 9,
    /// A search took more steps than it may.
    Search = 10,
    /// A signal interrupted Java code: its frame may be half built.
    Interrupted = 11,
    /// The carrier's entry was reached, but a virtual thread's older frames lie in the heap, and
    /// are missing where [`frame_kind::CONTINUATION`] is.
    VirtualThread = 12,
}

impl Stop {
    /// Number after the largest reason.
    pub const COUNT: usize = 13;
}
