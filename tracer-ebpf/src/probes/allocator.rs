//! The malloc family: entries note what is asked for, returns book what was given.

use aya_ebpf::{
    helpers::bpf_probe_read_user,
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use tracer_common::{
    counter::Counter,
    table::{Allocation, BEING_WRITTEN},
};

use crate::{
    config, counters, live,
    pending::{self, Call, function},
    sampling, unwind,
};

macro_rules! entry {
    ($name:ident, |$ctx:ident| ($function:expr, $size:expr, $argument:expr)) => {
        #[uprobe]
        pub fn $name($ctx: ProbeContext) -> u32 {
            if let Some(thread) = config::target_thread()
                && !sampling::is_off()
            {
                enter(&$ctx, thread, $function, $size, $argument);
            }
            0
        }
    };
}

entry!(malloc_enter, |ctx| (function::ALLOCATE, argument(&ctx, 0), 0));
entry!(calloc_enter, |ctx| (function::ALLOCATE, argument(&ctx, 0).wrapping_mul(argument(&ctx, 1)), 0));
entry!(memalign_enter, |ctx| (function::ALLOCATE, argument(&ctx, 1), 0));
entry!(realloc_enter, |ctx| (function::REALLOCATE, argument(&ctx, 1), argument(&ctx, 0)));
entry!(reallocarray_enter, |ctx| (
    function::REALLOCATE,
    argument(&ctx, 1).wrapping_mul(argument(&ctx, 2)),
    argument(&ctx, 0)
));
entry!(posix_memalign_enter, |ctx| (function::POSIX_MEMALIGN, argument(&ctx, 2), argument(&ctx, 0)));

#[uretprobe]
pub fn allocate_return(ctx: RetProbeContext) -> u32 {
    if let Some(thread) = config::target_thread() {
        leave(&ctx, thread);
    }
    0
}

#[uprobe]
pub fn free_enter(ctx: ProbeContext) -> u32 {
    let address = argument(&ctx, 0);
    if address == 0 {
        return 0;
    }
    if let Some(thread) = config::target_thread()
        && !sampling::is_off()
    {
        match live::take(address) {
            Some(allocation) => live::book_free(address, &allocation),
            // It was left out, or is older than the session: nobody can tell.
            None if sampling::interval() != 0 => {}
            None if pending::inside(thread) => {}
            None => counters::add(Counter::UnmatchedFrees, 1),
        }
    }
    0
}

#[inline(always)]
fn argument(ctx: &ProbeContext, index: usize) -> u64 {
    ctx.arg::<u64>(index).unwrap_or(0)
}

#[inline(always)]
fn enter(ctx: &ProbeContext, thread: u64, function: u64, size_bytes: u64, argument: u64) {
    let reallocates = function == function::REALLOCATE && argument != 0;
    if size_bytes < config::get().min_size_bytes && !reallocates {
        return;
    }
    // SAFETY: the context of a uprobe is the thread's registers.
    let sp = unsafe { (*ctx.regs).rsp };
    let call = Call { thread, sp, size_bytes, argument, function, old: Allocation::ZERO, stack: 0 };
    let Some(call) = pending::enter(&call) else {
        return;
    };
    // The old block leaves the table before anyone else can be given its address.
    if reallocates && let Some(old) = live::take(argument) {
        // SAFETY: a valid map value, which only this thread uses.
        unsafe { (*call).old = old };
    }
}

#[inline(always)]
fn leave(ctx: &RetProbeContext, thread: u64) {
    // SAFETY: the context of a return probe is the thread's registers.
    let (result, pc, sp, fp) = unsafe {
        let regs = &*ctx.regs;
        (regs.rax, regs.rip, regs.rsp, regs.rbp)
    };
    let Some(call) = pending::leave(thread, sp) else {
        return;
    };
    // SAFETY: a valid map value, which only this thread uses.
    let call = unsafe { &*call };
    let address = match call.function {
        function::POSIX_MEMALIGN if result != 0 => return,
        // SAFETY: a user address; the helper checks it.
        function::POSIX_MEMALIGN => match unsafe { bpf_probe_read_user(call.argument as *const u64) } {
            Ok(address) => address,
            Err(_) => {
                counters::add(Counter::LostPointerRead, 1);
                return;
            }
        },
        function::REALLOCATE => {
            reallocated(call, result);
            result
        }
        _ => result,
    };
    if address <= BEING_WRITTEN || call.size_bytes < config::get().min_size_bytes {
        return;
    }
    // Not sooner: as long as a call is under way, what it maps and calls itself is its own business.
    let Some(weighed) = sampling::draw(call.size_bytes) else {
        return;
    };
    let stack = unwind::capture(pc, sp, fp, weighed.0, unwind::RETURNED) as u32;
    live::insert(address, weighed, stack, thread as u32);
}

/// What a returned realloc means for the old block.
#[inline(always)]
pub(super) fn reallocated(call: &Call, result: u64) {
    if call.argument == 0 {
        return;
    }
    let known = call.old.stack != 0;
    // glibc's realloc(p, 0) frees p and returns null; any other null means that p is untouched.
    let freed = result != 0 || call.size_bytes == 0;
    if freed && known {
        live::book_free(call.argument, &call.old);
    } else if freed {
        counters::add(Counter::UnmatchedFrees, 1);
    } else if known {
        live::restore(call.argument, &call.old);
    }
}
