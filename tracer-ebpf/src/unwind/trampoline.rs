//! Return probes replace a call's return address on the stack by the kernel's trampoline. The true
//! one is in the task's list of calls under way.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_get_current_task, bpf_loop, bpf_probe_read_kernel};
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
    let instance = pointer(utask + offsets.utask_return_instances as u64);
    let mut search = Search { instance, slot, trampoline, address: 0 };
    // SAFETY: the callback has the helper's form, and `search` outlives the call.
    let address = unsafe {
        bpf_loop(DEPTH, instance_step as *mut c_void, (&raw mut search).cast(), 0);
        core::ptr::read_volatile(&raw const search.address)
    };
    if address != 0 {
        counters::add(Counter::TrampolinesReplaced, 1);
    }
    address
}

/// A search among the calls under way.
struct Search {
    /// The kernel's structure of the call that is looked at next; 0: there is none.
    instance: u64,
    slot: u64,
    trampoline: u64,
    /// The address that was found.
    address: u64,
}

unsafe extern "C" fn instance_step(_: u32, search: *mut Search) -> i64 {
    // SAFETY: `bpf_loop` passes on what `original_return_address` gave it.
    let search = unsafe { &mut *search };
    if search.instance == 0 {
        return 1;
    }
    let offsets = &config::get().kernel;
    if pointer(search.instance + offsets.return_instance_stack as u64) == search.slot {
        let address = pointer(search.instance + offsets.return_instance_orig_ret_vaddr as u64);
        // Several probes can wait at one call (a tail call): all but the first of them saved the
        // trampoline itself.
        if address != search.trampoline {
            search.address = address;
            return 1;
        }
    }
    search.instance = pointer(search.instance + offsets.return_instance_next as u64);
    0
}
