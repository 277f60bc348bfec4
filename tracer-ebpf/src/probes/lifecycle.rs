//! Lifecycle functions, for a recording that leaves malloc alone: a few rare calls behind which memory is held. They are
//! zlib's init and end of a stream, and those by which the JDK's Unsafe asks for memory.
//!
//! The stack is walked at the call's entry: so the function itself is in it, which says what is held. An
//! inner call (`deflateInit_` calls `deflateInit2_`) is part of the outer one.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_attach_cookie, bpf_probe_read_user},
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use tracer_common::{
    counter::Counter,
    sampling::WeightedSize,
    stack::StackIndex,
    table::{Allocation, key, lifecycle},
    zlib,
};

use super::allocator::reallocated;
use crate::{
    config, counters,
    in_flight::{self, Call},
    live,
    regs::{self, Position},
    stacks, unwind,
};

#[uprobe]
pub fn lifecycle_enter(ctx: ProbeContext) -> u32 {
    if let Some(thread) = config::target_thread()
        && let Some(call) = begin(&ctx, thread)
    {
        let Position { pc, sp, fp } = regs::position(&ctx);
        let stack = unwind::capture(pc, sp, fp, WeightedSize::NONE, unwind::EXACT);
        // SAFETY: a valid map value, which only this thread uses.
        unsafe { (*call).stack = stack };
    }
    0
}

/// Notes the call. Apart: what it needs of the BPF stack would lie below the walk.
#[inline(never)]
fn begin(ctx: &ProbeContext, thread: u64) -> Option<*mut Call> {
    // SAFETY: the helper takes the program's own context.
    let function = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let sp = regs::sp(ctx);
    let [first, second, third, fourth, fifth] = regs::arguments(ctx);
    let (size_bytes, what) = match function {
        lifecycle::INFLATE_INIT => (zlib::INFLATE_BYTES, first | key::INFLATE),
        lifecycle::DEFLATE_INIT => (default_deflate_bytes(), first | key::DEFLATE),
        lifecycle::DEFLATE_INIT2 => {
            let bytes = zlib::deflate_bytes(fourth as i32, fifth as u32);
            (bytes, first | key::DEFLATE)
        }
        lifecycle::DEFLATE_COPY => {
            let bytes = live::size_bytes(second | key::DEFLATE).unwrap_or(default_deflate_bytes());
            (bytes, first | key::DEFLATE)
        }
        lifecycle::INFLATER_INIT => (zlib::INFLATE_BYTES, key::INFLATE),
        lifecycle::DEFLATER_INIT => (default_deflate_bytes(), key::DEFLATE),
        lifecycle::ALLOCATE_MEMORY => (third, 0),
        lifecycle::REALLOCATE_MEMORY => (fourth, old_block(third)),
        _ => return None,
    };
    let call = Call {
        thread,
        sp,
        size_bytes,
        argument: what,
        function,
        old: Allocation::ZERO,
        stack: StackIndex(0),
    };
    let call = in_flight::enter(&call)?;
    // The old block leaves the table before anyone else can be given its address.
    if function == lifecycle::REALLOCATE_MEMORY
        && what != 0
        && let Some(old) = live::take(what)
    {
        // SAFETY: a valid map value, which only this thread uses.
        unsafe { (*call).old = old };
    }
    Some(call)
}

#[inline(always)]
fn default_deflate_bytes() -> u64 {
    zlib::deflate_bytes(zlib::DEFAULT_WINDOW_BITS as i32, zlib::DEFAULT_MEMORY_LEVEL)
}

/// The key of a block of the JDK's; 0 of none.
#[inline(always)]
fn old_block(address: u64) -> u64 {
    if address == 0 { 0 } else { address | key::JDK }
}

#[uretprobe]
pub fn lifecycle_return(ctx: RetProbeContext) -> u32 {
    if let Some(thread) = config::target_thread() {
        let (result, sp) = (regs::result(&ctx), regs::sp(&ctx));
        if let Some(call) = in_flight::leave(thread, sp) {
            // SAFETY: a valid map value, which only this thread uses.
            finish(unsafe { &*call }, result);
        }
    }
    0
}

#[inline(always)]
fn finish(call: &Call, result: u64) {
    let what = match call.function {
        // Z_OK, an int.
        lifecycle::INFLATE_INIT..=lifecycle::DEFLATE_COPY if result as u32 != 0 => return,
        lifecycle::INFLATE_INIT..=lifecycle::DEFLATE_COPY => call.argument,
        lifecycle::REALLOCATE_MEMORY => {
            reallocated(call, result);
            old_block(result)
        }
        lifecycle::ALLOCATE_MEMORY => old_block(result),
        _ if result == 0 => return,
        _ => result | call.argument,
    };
    if what == 0 || call.size_bytes < config::get().min_size_bytes {
        return;
    }
    let stack = call.stack;
    let weighed = WeightedSize::once(call.size_bytes);
    stacks::book_allocation(stack, weighed);
    live::insert(what, weighed, stack, call.thread as u32);
    if what & key::INFLATE != 0 {
        counters::add(Counter::InflateChanges, 1);
    }
}

/// The end of a stream or block.
#[uprobe]
pub fn lifecycle_end(ctx: ProbeContext) -> u32 {
    if let Some(thread) = config::target_thread() {
        // SAFETY: the helper takes the program's own context.
        let function = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
        let [first, _, third, ..] = regs::arguments(&ctx);
        let address = match function {
            lifecycle::INFLATE_END | lifecycle::DEFLATE_END => first,
            _ => third,
        };
        if address != 0 {
            end(thread, function, address);
        }
    }
    0
}

#[inline(always)]
fn end(thread: u64, function: u64, address: u64) {
    let inflates = matches!(function, lifecycle::INFLATE_END | lifecycle::INFLATER_END);
    let what = address
        | match function {
            _ if inflates => key::INFLATE,
            lifecycle::DEFLATE_END | lifecycle::DEFLATER_END => key::DEFLATE,
            _ => key::JDK,
        };
    match live::take(what) {
        Some(mut allocation) => {
            // SAFETY: a user address; the helper checks it.
            let read = |address: u64| unsafe { bpf_probe_read_user(address as *const u64) }.ok();
            let window_bytes = if inflates { zlib::window_bytes(address, read) } else { 0 };
            if window_bytes != 0 {
                live::grow(&mut allocation, window_bytes);
            }
            live::book_free(what, &allocation);
            if inflates {
                counters::add(Counter::InflateChanges, 1);
            }
        }
        None if in_flight::inside(thread) => {}
        None => counters::add(Counter::UnmatchedFrees, 1),
    }
}
