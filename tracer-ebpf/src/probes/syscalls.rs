//! Mapping system calls: their arguments at entry, one record at a successful return.
//!
//! A thread is in one system call at a time, so one slot each is enough. All `sys_enter` tracepoints
//! have the call's number at offset 8 and its arguments from offset 16, `sys_exit` the result there.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_NO_PREALLOC},
    macros::{map, tracepoint},
    maps::HashMap,
    programs::TracePointContext,
};
use tracer_common::{
    arch::system_call,
    counter::Counter,
    record::{MappingRecord, kind, mapping_call},
    stack::StackId,
};

use crate::{config, counters, emit, in_flight, maps, unwind};

#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    words: [u64; 6],
}

#[map]
static SYSCALLS: HashMap<u64, Arguments> = HashMap::with_max_entries(1 << 15, BPF_F_NO_PREALLOC);

/// Results from here up are negated error numbers.
const ERRORS: u64 = -4095_i64 as u64;

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

/// The end of any mapping call: a program for each would be verified once for each.
#[tracepoint]
pub fn sys_exit_mapping(ctx: TracePointContext) -> u32 {
    if let Some(thread) = config::target_thread() {
        leave(&ctx, thread);
    }
    0
}

#[inline(always)]
fn leave(ctx: &TracePointContext, thread: u64) {
    let Some(arguments) = SYSCALLS.get_ptr(thread) else {
        return;
    };
    // SAFETY: a valid map value, which only this thread uses.
    let [a0, a1, a2, a3, a4, _] = unsafe { (*arguments).words };
    let _ = SYSCALLS.remove(thread);
    // SAFETY: the tracepoint's fixed fields.
    let (number, result) = unsafe { (ctx.read_at::<u32>(8), ctx.read_at::<u64>(16)) };
    let (Ok(number), Ok(result)) = (number, result) else {
        return;
    };
    if result >= ERRORS {
        return;
    }
    let call = match number {
        system_call::MMAP => mapping_call::MMAP,
        system_call::MPROTECT => mapping_call::MPROTECT,
        system_call::MUNMAP => mapping_call::MUNMAP,
        system_call::BRK => mapping_call::BRK,
        system_call::MREMAP => mapping_call::MREMAP,
        system_call::MADVISE => mapping_call::MADVISE,
        _ => return,
    };
    let maps_memory = matches!(call, mapping_call::MMAP | mapping_call::MREMAP | mapping_call::BRK);
    let in_allocator = in_flight::inside(thread);
    let stack = if maps_memory && !in_allocator { unwind::capture_syscall() } else { StackId::ABSENT };
    // In the ring buffer at once: the walk needs the BPF stack.
    let Some(mut entry) = maps::EVENTS.reserve::<MappingRecord>(0) else {
        counters::add(Counter::LostEvent, 1);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved bytes; every field is written before they are submitted.
    unsafe {
        *record = MappingRecord::ZERO;
        (*record).header = emit::header(kind::MAPPING);
        (*record).call = call;
        (*record).address = a0;
        (*record).length_bytes = a1;
        (*record).stack = stack;
        (*record).in_allocator = in_allocator as u64;
        match call {
            mapping_call::MMAP => {
                (*record).address = result;
                (*record).protection = a2 as u32;
                (*record).flags = a3;
                (*record).argument = a4;
            }
            mapping_call::MREMAP => {
                (*record).address = result;
                (*record).length_bytes = a2;
                (*record).flags = a3;
                (*record).argument = a0;
                (*record).argument2 = a1;
            }
            mapping_call::BRK => {
                (*record).address = result;
                (*record).length_bytes = 0;
            }
            mapping_call::MPROTECT => (*record).protection = a2 as u32,
            mapping_call::MADVISE => (*record).argument = a2,
            _ => {}
        }
    }
    entry.submit(0);
}
