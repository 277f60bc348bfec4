//! Return probes replace a call's return address on the stack by the kernel's trampoline. The true
//! one is in the task's list of calls under way.

use aya_ebpf::helpers::{bpf_get_current_task, bpf_probe_read_kernel};
use tracer_common::counter::Counter;

use crate::{config, counters};

/// Calls under way that are looked through.
const DEPTH: u32 = 16;

#[inline(always)]
fn pointer(address: u64) -> u64 {
    // SAFETY: a kernel address; the helper checks it.
    unsafe { bpf_probe_read_kernel(address as *const u64) }.unwrap_or(0)
}

/// The trampoline's address in the calling process, 0 if it has none or it cannot be told.
///
/// A global function, as the other one: the verifier goes through it once, whatever led to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn trampoline_address() -> u64 {
    let offsets = &config::get().kernel;
    if offsets.mm_xol_area == 0 {
        return 0;
    }
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let mm = pointer(task + offsets.task_mm as u64);
    if mm == 0 {
        return 0;
    }
    let area = pointer(mm + offsets.mm_xol_area as u64);
    if area == 0 { 0 } else { pointer(area + offsets.xol_area_vaddr as u64) }
}

/// Address of the calling thread's own structure (its FS base): above its stack, if the C library made that. The
/// largest address if it cannot be told.
#[inline(always)]
pub fn thread_structure() -> u64 {
    let offset = config::get().kernel.task_thread_pointer;
    // SAFETY: a helper without arguments.
    match if offset == 0 { 0 } else { pointer(unsafe { bpf_get_current_task() } + offset as u64) } {
        0 => u64::MAX,
        address => address,
    }
}

/// The true return address of the call whose return address was at `slot`, 0 if there is none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn original_return_address(slot: u64, trampoline: u64) -> u64 {
    let offsets = &config::get().kernel;
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let utask = pointer(task + offsets.task_utask as u64);
    if utask == 0 {
        return 0;
    }
    let mut instance = pointer(utask + offsets.utask_return_instances as u64);
    for _ in 0..DEPTH {
        if instance == 0 {
            return 0;
        }
        if pointer(instance + offsets.return_instance_stack as u64) == slot {
            let address = pointer(instance + offsets.return_instance_orig_ret_vaddr as u64);
            // Several probes can wait at one call (a tail call): all but the first of them saved the
            // trampoline itself.
            if address != trampoline {
                counters::add(Counter::TrampolinesReplaced, 1);
                return address;
            }
        }
        instance = pointer(instance + offsets.return_instance_next as u64);
    }
    0
}
