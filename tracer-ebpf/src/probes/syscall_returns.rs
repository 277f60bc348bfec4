//! Mapping calls as the kernel's own functions for them return: no other call, and no other function, costs anything.
//!
//! The kernel calls the function of a system call with a pointer to the caller's registers, which hold the number and
//! the arguments still when it returns. Each program is loaded for one function: those of calls that map memory walk the
//! stack, which is long to verify, and is verified for each. One behind a tail call would do for all three, if kernels
//! took programs of functions with equal types for equal.

use aya_ebpf::{macros::fexit, programs::FExitContext};

use super::mapping_call::MappingCall;
use crate::{config, regs};

#[fexit]
pub fn mmap_return(ctx: FExitContext) -> i32 {
    record::<true>(&ctx)
}

#[fexit]
pub fn mremap_return(ctx: FExitContext) -> i32 {
    record::<true>(&ctx)
}

#[fexit]
pub fn brk_return(ctx: FExitContext) -> i32 {
    record::<true>(&ctx)
}

#[fexit]
pub fn munmap_return(ctx: FExitContext) -> i32 {
    record::<false>(&ctx)
}

#[fexit]
pub fn mprotect_return(ctx: FExitContext) -> i32 {
    record::<false>(&ctx)
}

#[fexit]
pub fn madvise_return(ctx: FExitContext) -> i32 {
    record::<false>(&ctx)
}

#[inline(always)]
fn record<const WALKS: bool>(ctx: &FExitContext) -> i32 {
    if let Some(thread) = config::target_thread() {
        let (number, arguments) = regs::system_call(ctx);
        // Behind the function's one argument.
        let call = MappingCall { number, arguments, result: ctx.arg(1) };
        call.record::<WALKS>(thread);
    }
    0
}
