//! Mapping system calls: their arguments at entry, one record at a successful return.
//!
//! A thread is in one system call at a time, so one slot each is enough. All `sys_enter` tracepoints
//! have their arguments from offset 16, `sys_exit` the result there.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_NO_PREALLOC},
    macros::{map, tracepoint},
    maps::HashMap,
    programs::TracePointContext,
};
use tracer_common::{
    counter::Counter,
    record::{MappingRecord, kind, mapping_call},
};

use crate::{config, counters, emit, pending, unwind};

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

macro_rules! exit {
    ($name:ident, $call:expr) => {
        #[tracepoint]
        pub fn $name(ctx: TracePointContext) -> u32 {
            if let Some(thread) = config::target_thread() {
                leave(&ctx, thread, $call);
            }
            0
        }
    };
}

exit!(sys_exit_mmap, mapping_call::MMAP);
exit!(sys_exit_munmap, mapping_call::MUNMAP);
exit!(sys_exit_mremap, mapping_call::MREMAP);
exit!(sys_exit_brk, mapping_call::BRK);
exit!(sys_exit_mprotect, mapping_call::MPROTECT);
exit!(sys_exit_madvise, mapping_call::MADVISE);

#[inline(always)]
fn leave(ctx: &TracePointContext, thread: u64, call: u32) {
    let Some(arguments) = SYSCALLS.get_ptr(thread) else {
        return;
    };
    // SAFETY: a valid map value, which only this thread uses.
    let [a0, a1, a2, a3, a4, _] = unsafe { (*arguments).words };
    let _ = SYSCALLS.remove(thread);
    // SAFETY: the tracepoint's fixed field.
    let Ok(result) = (unsafe { ctx.read_at::<u64>(16) }) else {
        return;
    };
    if result >= ERRORS {
        return;
    }
    let mut record = MappingRecord { call, address: a0, length_bytes: a1, ..MappingRecord::ZERO };
    let maps_memory = match call {
        mapping_call::MMAP => {
            record.address = result;
            record.protection = a2 as u32;
            record.flags = a3;
            record.argument = a4;
            true
        }
        mapping_call::MREMAP => {
            record.address = result;
            record.length_bytes = a2;
            record.flags = a3;
            record.argument = a0;
            record.argument2 = a1;
            true
        }
        mapping_call::BRK => {
            record.address = result;
            record.length_bytes = 0;
            true
        }
        mapping_call::MPROTECT => {
            record.protection = a2 as u32;
            false
        }
        mapping_call::MADVISE => {
            record.argument = a2;
            false
        }
        _ => false,
    };
    let in_allocator = pending::inside(thread);
    if maps_memory && !in_allocator {
        record.stack = unwind::capture_syscall();
    }
    record.in_allocator = in_allocator as u64;
    record.header = emit::header(kind::MAPPING);
    emit::send(&record);
}
