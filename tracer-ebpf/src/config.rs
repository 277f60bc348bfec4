//! The configuration that user space fixed at load, and the test that the target is the one running.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_tail_call};
use tracer_common::config::Config;

use crate::{deadline, maps};

#[unsafe(no_mangle)]
static CONFIG: Config = Config::ZERO;

/// The configuration. Its fields are constants to the verifier.
#[inline(always)]
pub fn get() -> &'static Config {
    // SAFETY: CONFIG is a valid, aligned static. The black box keeps the compiler from folding the
    // zeros that user space replaces at load.
    unsafe { &*core::hint::black_box(&raw const CONFIG) }
}

/// The calling thread: process id above, thread id below, if it belongs to the target, recording is on and user space
/// is alive. Uprobes are scoped by address space, which a vforked child shares; tracepoints are not scoped at all.
#[inline(always)]
pub fn target_thread() -> Option<u64> {
    let thread = thread_of_target()?;
    if maps::CONTROL.get(0)?.enabled == 0 || !deadline::is_ahead() { None } else { Some(thread) }
}

/// The same, whether recording is on or not.
#[inline(always)]
pub fn thread_of_target() -> Option<u64> {
    keep_task_stack();
    let thread = bpf_get_current_pid_tgid();
    if (thread >> 32) as u32 == get().tgid { Some(thread) } else { None }
}

/// Makes the kernel run the program that this is inlined into, and all its functions, on the stack of
/// the task. Every program needs it.
///
/// Since Linux 6.13 the variables of functions with 64 bytes of them or more can be in memory that
/// belongs to the CPU and the program. That is right only where a program is not entered twice on one
/// CPU; but a uprobe's can be preempted in its middle (PREEMPT, or PREEMPT_LAZY, which 7.x has by
/// default), and another thread of the target then overwrites the variables of the first: seen on 7.2
/// as wild pointers, and the kernel as a whole goes down. Programs with a tail call are exempt (kernel:
/// `check_max_stack_depth` in `kernel/bpf/verifier.c`), even if it is never reached: this one is dead
/// code to the verifier, which removes it.
#[inline(always)]
fn keep_task_stack() {
    if get().tail_call != 0 {
        // SAFETY: never executed, and refused by the verifier if it could be.
        unsafe {
            bpf_tail_call(core::ptr::null_mut(), core::ptr::null_mut(), 0);
        }
    }
}
