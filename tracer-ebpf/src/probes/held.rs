//! What is held behind a few rare calls, for a recording that leaves malloc alone: zlib's streams, by their
//! init and end, and the memory that the JDK's Unsafe asks for.
//!
//! The stack is walked at the call's entry: so the function itself is in it, which says what is held. What an
//! inner call does (`deflateInit_` calls `deflateInit2_`) is the outer one's business.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_attach_cookie, bpf_probe_read_user},
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use tracer_common::{
    counter::Counter,
    sampling::Weighed,
    table::{Allocation, held, key},
    zlib,
};

use super::allocator::reallocated;
use crate::{
    config, counters, live,
    pending::{self, Call},
    stacks, unwind,
};

#[uprobe]
pub fn held_enter(ctx: ProbeContext) -> u32 {
    if let Some(thread) = config::target_thread()
        && let Some(call) = begin(&ctx, thread)
    {
        // SAFETY: the context of a uprobe is the thread's registers.
        let (pc, sp, fp) = unsafe { ((*ctx.regs).rip, (*ctx.regs).rsp, (*ctx.regs).rbp) };
        let stack = unwind::capture(pc, sp, fp, Weighed::NONE.0, unwind::EXACT);
        // SAFETY: a valid map value, which only this thread uses.
        unsafe { (*call).stack = stack };
    }
    0
}

/// The first five arguments, each read by itself: merged into one read at a chosen offset, the verifier would
/// refuse it.
#[inline(always)]
fn arguments(ctx: &ProbeContext) -> [u64; 5] {
    // SAFETY: the context of a uprobe is the thread's registers.
    unsafe {
        let regs = &*ctx.regs;
        [
            core::ptr::read_volatile(&raw const regs.rdi),
            core::ptr::read_volatile(&raw const regs.rsi),
            core::ptr::read_volatile(&raw const regs.rdx),
            core::ptr::read_volatile(&raw const regs.rcx),
            core::ptr::read_volatile(&raw const regs.r8),
        ]
    }
}

/// Notes the call. Apart: what it needs of the BPF stack would lie below the walk.
#[inline(never)]
fn begin(ctx: &ProbeContext, thread: u64) -> Option<*mut Call> {
    // SAFETY: the helper takes the program's own context, which is the thread's registers.
    let (function, sp) = unsafe { (bpf_get_attach_cookie(ctx.as_ptr()), (*ctx.regs).rsp) };
    let [first, second, third, fourth, fifth] = arguments(ctx);
    let (size_bytes, what) = match function {
        held::INFLATE_INIT => (zlib::INFLATE_BYTES, first | key::INFLATE),
        held::DEFLATE_INIT => (default_deflate_bytes(), first | key::DEFLATE),
        held::DEFLATE_INIT2 => {
            let bytes = zlib::deflate_bytes(fourth as i32, fifth as u32);
            (bytes, first | key::DEFLATE)
        }
        held::DEFLATE_COPY => {
            let bytes = live::size_bytes(second | key::DEFLATE).unwrap_or(default_deflate_bytes());
            (bytes, first | key::DEFLATE)
        }
        held::INFLATER_INIT => (zlib::INFLATE_BYTES, key::INFLATE),
        held::DEFLATER_INIT => (default_deflate_bytes(), key::DEFLATE),
        held::ALLOCATE_MEMORY => (third, 0),
        held::REALLOCATE_MEMORY => (fourth, old_block(third)),
        _ => return None,
    };
    let call = Call { thread, sp, size_bytes, argument: what, function, old: Allocation::ZERO, stack: 0 };
    let call = pending::enter(&call)?;
    // The old block leaves the table before anyone else can be given its address.
    if function == held::REALLOCATE_MEMORY
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
pub fn held_return(ctx: RetProbeContext) -> u32 {
    if let Some(thread) = config::target_thread() {
        // SAFETY: the context of a return probe is the thread's registers.
        let (result, sp) = unsafe { ((*ctx.regs).rax, (*ctx.regs).rsp) };
        if let Some(call) = pending::leave(thread, sp) {
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
        held::INFLATE_INIT..=held::DEFLATE_COPY if result as u32 != 0 => return,
        held::INFLATE_INIT..=held::DEFLATE_COPY => call.argument,
        held::REALLOCATE_MEMORY => {
            reallocated(call, result);
            old_block(result)
        }
        held::ALLOCATE_MEMORY => old_block(result),
        _ if result == 0 => return,
        _ => result | call.argument,
    };
    if what == 0 || call.size_bytes < config::get().min_size_bytes {
        return;
    }
    let stack = call.stack as u32;
    let weighed = Weighed::once(call.size_bytes);
    stacks::book_allocation(stack, weighed);
    live::insert(what, weighed, stack, call.thread as u32);
}

/// The end of what is held.
#[uprobe]
pub fn held_leave(ctx: ProbeContext) -> u32 {
    if let Some(thread) = config::target_thread() {
        // SAFETY: the helper takes the program's own context.
        let function = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
        let [first, _, third, ..] = arguments(&ctx);
        let address = match function {
            held::INFLATE_END | held::DEFLATE_END => first,
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
    let inflates = matches!(function, held::INFLATE_END | held::INFLATER_END);
    let what = address
        | match function {
            _ if inflates => key::INFLATE,
            held::DEFLATE_END | held::DEFLATER_END => key::DEFLATE,
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
        }
        None if pending::inside(thread) => {}
        None => counters::add(Counter::UnmatchedFrees, 1),
    }
}
