//! Mapping calls as tracepoints tell them: their arguments at entry, their result at the return.
//!
//! For kernels that cannot trace their functions (see `syscall_returns`): while a tracepoint of system calls is in use,
//! every system call of every process goes the slow way into the kernel.
//!
//! A thread is in one system call at a time, so one slot each is enough. All `sys_enter` tracepoints
//! have the call's number at offset 8 and its arguments from offset 16, `sys_exit` the result there.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_NO_PREALLOC},
    macros::{map, tracepoint},
    maps::HashMap,
    programs::TracePointContext,
};
use tracer_common::counter::Counter;

use super::mapping_call::MappingCall;
use crate::{config, counters};

#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    words: [u64; 6],
}

#[map]
static SYSCALLS: HashMap<u64, Arguments> = HashMap::with_max_entries(1 << 15, BPF_F_NO_PREALLOC);

#[tracepoint]
pub fn sys_enter_mapping(ctx: TracePointContext) -> u32 {
    if let Some(thread) = config::target_thread() {
        // SAFETY: the tracepoint's fixed fields.
        if let Ok(words) = unsafe { ctx.read_at::<[u64; 6]>(16) }
            && SYSCALLS.insert(thread, Arguments { words }, BPF_ANY as u64).is_err()
        {
            counters::add(Counter::LostEvent, 1);
        }
    }
    0
}

/// For all of them: a program for each would be verified once for each.
#[tracepoint]
pub fn sys_exit_mapping(ctx: TracePointContext) -> u32 {
    if let Some(thread) = config::target_thread() {
        leave(&ctx, thread);
    }
    0
}

#[inline(always)]
fn leave(ctx: &TracePointContext, thread: u64) {
    let Some(entered) = SYSCALLS.get_ptr(thread) else {
        return;
    };
    // SAFETY: a valid map value, which only this thread uses.
    let [a0, a1, a2, a3, a4, _] = unsafe { (*entered).words };
    let _ = SYSCALLS.remove(thread);
    // SAFETY: the tracepoint's fixed fields.
    let (number, result) = unsafe { (ctx.read_at::<u32>(8), ctx.read_at::<u64>(16)) };
    if let (Ok(number), Ok(result)) = (number, result) {
        MappingCall { number, arguments: [a0, a1, a2, a3, a4], result }.record::<true>(thread);
    }
}
