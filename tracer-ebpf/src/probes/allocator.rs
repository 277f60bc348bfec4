//! The malloc family: entries note what is asked for, returns book what was given.

use core::ptr::read_volatile;

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_attach_cookie, bpf_probe_read_kernel, bpf_probe_read_user},
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use tracer_common::{
    counter::Counter,
    place::{self, NO_REGISTER, Place},
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

/// Inside malloc, where its size is in a register: noted for [`malloc_known`].
#[uprobe]
pub fn malloc_size(ctx: ProbeContext) -> u32 {
    if let Some(thread) = config::target_thread()
        && !sampling::is_off()
    {
        let place = Inside::of(&ctx);
        let sp = place.cfa.wrapping_sub(8);
        // SAFETY: a user address; the helper checks it.
        let return_address = unsafe { bpf_probe_read_user(sp as *const u64) };
        if let (Some(size_bytes), Ok(argument)) = (place.size_bytes, return_address)
            && size_bytes >= config::get().min_size_bytes
        {
            let function = function::INSIDE;
            pending::enter(&Call {
                thread,
                sp,
                size_bytes,
                argument,
                function,
                old: Allocation::ZERO,
                stack: 0,
            });
        }
    }
    0
}

/// Inside malloc, where the address that it is going to return is in a register: and its size too, or it was noted.
#[uprobe]
pub fn malloc_known(ctx: ProbeContext) -> u32 {
    if let Some(thread) = config::target_thread()
        && !sampling::is_off()
    {
        know(&ctx, thread);
    }
    0
}

/// What is found at a place inside a function.
struct Inside {
    size_bytes: Option<u64>,
    address: Option<u64>,
    /// The stack pointer after the function's return.
    cfa: u64,
    place: Place,
}

impl Inside {
    #[inline(always)]
    fn of(ctx: &ProbeContext) -> Self {
        // SAFETY: the helper takes the program's context.
        let place = Place::of_cookie(unsafe { bpf_get_attach_cookie(ctx.as_ptr()) });
        let (sp, fp) = frame(ctx);
        let base = if place.frame_by_rbp { fp } else { sp };
        Self {
            size_bytes: register(ctx, place.size_register),
            address: register(ctx, place.address_register),
            cfa: base.wrapping_add(place.cfa_words as u64 * 8),
            place,
        }
    }
}

/// The stack and frame pointers. Both are loaded, whatever is needed: chosen between, the context's address would be a
/// number to the verifier.
#[inline(always)]
fn frame(ctx: &ProbeContext) -> (u64, u64) {
    // SAFETY: the context of a uprobe is the thread's registers.
    unsafe { (read_volatile(&raw const (*ctx.regs).rsp), read_volatile(&raw const (*ctx.regs).rbp)) }
}

/// By a helper: which register it is, is not known to the verifier. Those that it mostly is need none.
#[inline(always)]
fn register(ctx: &ProbeContext, word: u8) -> Option<u64> {
    // SAFETY: as above.
    let (rax, rbx) =
        unsafe { (read_volatile(&raw const (*ctx.regs).rax), read_volatile(&raw const (*ctx.regs).rbx)) };
    match word {
        NO_REGISTER => None,
        place::RAX => Some(rax),
        place::RBX => Some(rbx),
        // SAFETY: a kernel address; the helper checks it.
        _ => unsafe { bpf_probe_read_kernel((ctx.regs as *const u64).wrapping_add(word as usize)) }.ok(),
    }
}

#[inline(always)]
fn know(ctx: &ProbeContext, thread: u64) {
    let inside = Inside::of(ctx);
    let slot = inside.cfa.wrapping_sub(8);
    let size_bytes = match inside.size_bytes {
        Some(size_bytes) if pending::is_outermost(thread, slot) => size_bytes,
        Some(_) => return,
        None => match pending::leave_inside(thread, slot) {
            Some(size_bytes) => size_bytes,
            None => return,
        },
    };
    let address = inside.address.unwrap_or(0);
    if address <= BEING_WRITTEN || size_bytes < config::get().min_size_bytes {
        return;
    }
    let Some(weighed) = sampling::draw(size_bytes) else {
        return;
    };
    // The caller's registers, as they are after the return. rbp is mostly saved just below the return address.
    let below = inside.cfa.wrapping_sub(size_of::<[u64; 3]>() as u64);
    // SAFETY: a user address; the helper checks it.
    let [third, second, pc] = unsafe { bpf_probe_read_user(below as *const [u64; 3]) }.unwrap_or([0; 3]);
    let fp = match inside.place.rbp_words {
        0 => frame(ctx).1,
        -2 => second,
        -3 => third,
        words => {
            let saved = inside.cfa.wrapping_add_signed(words as i64 * 8);
            // SAFETY: as above.
            unsafe { bpf_probe_read_user(saved as *const u64) }.unwrap_or(0)
        }
    };
    let stack = unwind::capture(pc, inside.cfa, fp, weighed.0, unwind::RETURNED) as u32;
    live::insert(address, weighed, stack, thread as u32);
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
