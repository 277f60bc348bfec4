//! Mapping calls at the tracepoints of their returns, for kernels that do not let programs trace their functions.
//!
//! While a tracepoint of system calls is in use, every system call of every process goes the slow way into the kernel
//! (see `syscall_returns` for the other way). Those of the calls' entries are not needed: the caller's registers hold
//! the arguments still.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};

use super::mapping_call::MappingCall;
use crate::{config, regs};

/// `syscalls:sys_exit_...`: the call's number at offset 8, the result at 16.
#[tracepoint]
pub fn sys_exit_mapping(ctx: TracePointContext) -> u32 {
    if let Some(thread) = config::target_thread() {
        // SAFETY: the tracepoint's fixed fields.
        let (number, result) = unsafe { (ctx.read_at::<u32>(8), ctx.read_at::<u64>(16)) };
        if let (Ok(number), Ok(result), Some(arguments)) = (number, result, regs::system_call_arguments()) {
            MappingCall { number, arguments, result }.record::<true>(thread);
        }
    }
    0
}
