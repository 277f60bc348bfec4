//! What user space fixed at load, and the test that the target is the one running.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use tracer_common::config::Config;

use crate::maps;

#[unsafe(no_mangle)]
static CONFIG: Config = Config::ZERO;

/// The configuration. Its fields are constants to the verifier.
#[inline(always)]
pub fn get() -> &'static Config {
    // SAFETY: CONFIG is a valid, aligned static. The black box keeps the compiler from folding the
    // zeros that user space replaces at load.
    unsafe { &*core::hint::black_box(&raw const CONFIG) }
}

/// The calling thread: process id above, thread id below, if it belongs to the target and recording is
/// on. Uprobes are scoped by address space, which a vforked child shares; tracepoints are not scoped
/// at all.
#[inline(always)]
pub fn target_thread() -> Option<u64> {
    let thread = bpf_get_current_pid_tgid();
    if (thread >> 32) as u32 != get().tgid || maps::CONTROL.get(0)?.enabled == 0 {
        return None;
    }
    Some(thread)
}
