//! The configuration that user space gives the BPF programs before and while they run.

use crate::shared;

shared! {
    /// Offsets in the kernel's structures, bytes: of the return addresses that return probes replaced, of a stack's
    /// end, and of a thread's id. Those of return probes are all 0 if one could not be had, and the trampoline is then a
    /// named failure.
    pub struct KernelOffsets: 40 {
        pub task_utask: u32,
        pub task_mm: u32,
        /// `mm_struct.uprobes_state.xol_area`.
        pub mm_xol_area: u32,
        pub xol_area_vaddr: u32,
        pub utask_return_instances: u32,
        pub return_instance_stack: u32,
        pub return_instance_orig_ret_vaddr: u32,
        pub return_instance_next: u32,
        /// The thread pointer in `task_struct.thread`: the address of the C library's own structure of a thread, at the
        /// top of its stack. 0 if it could not be had.
        pub task_thread_pointer: u32,
        /// `task_struct.pid`.
        pub task_pid: u32,
    }
}

shared! {
    /// Fixed when the programs are loaded: the global `CONFIG`.
    pub struct Config: 88 {
        /// The target's process id in the initial pid namespace.
        pub tgid: u32,
        /// 1: an event record for every allocation and free.
        pub events: u32,
        /// Allocations smaller than this are not recorded. Bytes.
        pub min_size_bytes: u64,
        pub kernel: KernelOffsets,
        /// Scratch slots: this many for each CPU.
        pub slots_per_cpu: u32,
        /// Frames kept of a stack, at most [`crate::unwind::MAX_FRAMES`].
        pub max_frames: u32,
        pub cpu_count: u32,
        /// Always 0: guards a tail call that only has to be there.
        pub tail_call: u32,
        /// Mode of the memo, one of [`memo`].
        pub memo: u32,
        /// A power of two; `MEMO` has this many times [`MEMO_WAYS`] elements.
        pub memo_sets: u32,
        /// Entries of `STACKS`; a power of two.
        pub stack_count: u32,
        /// The time between two clock ticks of the kernel.
        pub tick_ns: u32,
    }
}

/// Pieces of stacks that are remembered for one beginning.
pub const MEMO_WAYS: u32 = 4;

/// The use of the memo: of stacks that were walked before.
pub mod memo {
    /// Stacks are walked again each time.
    pub const OFF: u32 = 0;
    /// Stacks are compared with pieces that are remembered.
    pub const ON: u32 = 1;
    /// Stacks are compared and walked, and differences are counted: a test.
    pub const CHECKED: u32 = 2;
}

/// Code heaps that a JVM can have.
pub const CODE_HEAPS: usize = 4;

shared! {
    /// One of the JVM's code heaps.
    pub struct CodeHeap: 24 {
        /// The reserved range.
        pub low: u64,
        pub high: u64,
        /// Address of the segment map's first byte.
        pub segment_map: u64,
    }
}

shared! {
    /// The target's JVM, as the unwinder needs it: the one element of `JVM`. All zero: no JVM (yet).
    pub struct Jvm: 224 {
        /// `[code_low, code_high)` spans all code heaps. 0, 0: nothing is Java.
        pub code_low: u64,
        pub code_high: u64,
        pub interpreter_low: u64,
        pub interpreter_high: u64,
        /// `StubRoutines::_call_stub_return_address`.
        pub call_stub_return: u64,
        /// `StubRoutines::_cont_returnBarrier` (21+), 0 if there is none.
        pub return_barrier: u64,
        pub heaps: [CodeHeap; CODE_HEAPS],
        pub heap_count: u32,
        pub log2_segment_bytes: u32,
        /// `sizeof(HeapBlock)`.
        pub heap_block_bytes: u32,
        /// Offsets in bytes from here on. `HeapBlock::Header::_used`, a byte.
        pub block_used: u32,
        /// `CodeBlob::_frame_size`, i32, in words.
        pub blob_frame_size: u32,
        /// `nmethod::_compile_id`, i32.
        pub nmethod_compile_id: u32,
        /// `nmethod::_orig_pc_offset`, i32: where a deoptimized frame keeps its pc, from sp.
        pub nmethod_orig_pc_offset: u32,
        /// Offsets of an nmethod at which the deopt handlers' addresses are: absolute (8 bytes, `deopt_relative` = 0)
        /// or from the blob (4 bytes, 1).
        pub nmethod_deopt_handler: u32,
        /// 0 if there is none.
        pub nmethod_deopt_mh_handler: u32,
        pub deopt_relative: u32,
        /// `CodeBlob::_kind`, a byte (25+); `u32::MAX`: tell by the name pointer.
        pub blob_kind: u32,
        /// The value of `_kind` that says nmethod.
        pub kind_nmethod: u32,
        /// `CodeBlob::_name`, used where there is no kind.
        pub blob_name: u32,
        /// `Method::_constMethod`.
        pub method_const_method: u32,
        /// Place of the bytecode pointer in an interpreter frame: bytes below fp. 64 since JDK 9, 56 in 8; 0 is taken
        /// as 64.
        pub interpreter_bcp_below_fp: u32,
        /// `nmethod::_comp_level`, of which the low byte is enough: 0 in the wrapper of a native
        /// method. An offset of 0: unknown.
        pub nmethod_comp_level: u32,
        /// The addresses of the names "nmethod" and "native nmethod", 0 if unknown.
        pub name_nmethod: u64,
        pub name_native_nmethod: u64,
    }
}
