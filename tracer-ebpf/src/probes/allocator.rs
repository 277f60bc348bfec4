//! The malloc family: entries note what is asked for, returns book what was given.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_attach_cookie, bpf_probe_read_user},
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use tracer_common::{
    counter::Counter,
    site::ProbeSite,
    stack::StackIndex,
    table::{Allocation, BEING_WRITTEN},
};

use crate::{
    config, counters,
    in_flight::{self, Call, function},
    live,
    regs::{self, Position},
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

entry!(malloc_enter, |ctx| (function::ALLOCATE, regs::argument(&ctx, 0), 0));
entry!(calloc_enter, |ctx| (
    function::ALLOCATE,
    regs::argument(&ctx, 0).wrapping_mul(regs::argument(&ctx, 1)),
    0
));
entry!(memalign_enter, |ctx| (function::ALLOCATE, regs::argument(&ctx, 1), 0));
entry!(realloc_enter, |ctx| (function::REALLOCATE, regs::argument(&ctx, 1), regs::argument(&ctx, 0)));
entry!(reallocarray_enter, |ctx| (
    function::REALLOCATE,
    regs::argument(&ctx, 1).wrapping_mul(regs::argument(&ctx, 2)),
    regs::argument(&ctx, 0)
));
entry!(posix_memalign_enter, |ctx| (
    function::POSIX_MEMALIGN,
    regs::argument(&ctx, 2),
    regs::argument(&ctx, 0)
));

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
        let inside = Inside::of(&ctx);
        let sp = inside.cfa.wrapping_sub(8);
        // SAFETY: a user address; the helper checks it.
        let return_address = unsafe { bpf_probe_read_user(sp as *const u64) };
        if let (Some(size_bytes), Ok(argument)) = (inside.size_bytes, return_address)
            && size_bytes >= config::get().min_size_bytes
        {
            let function = function::INSIDE;
            in_flight::enter(&Call {
                thread,
                sp,
                size_bytes,
                argument,
                function,
                old: Allocation::ZERO,
                stack: StackIndex(0),
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

/// The values found at a site inside a function.
struct Inside {
    size_bytes: Option<u64>,
    address: Option<u64>,
    /// The stack pointer after the function's return.
    cfa: u64,
    site: ProbeSite,
}

impl Inside {
    #[inline(always)]
    fn of(ctx: &ProbeContext) -> Self {
        // SAFETY: the helper takes the program's context.
        let site = ProbeSite::of_cookie(unsafe { bpf_get_attach_cookie(ctx.as_ptr()) });
        // Both are loaded, whichever is needed: see `regs`.
        let (sp, fp) = (regs::sp(ctx), regs::fp(ctx));
        let base = if site.frame_by_fp { fp } else { sp };
        Self {
            size_bytes: regs::by_word(ctx, site.size_register),
            address: regs::by_word(ctx, site.address_register),
            cfa: base.wrapping_add(site.cfa_words as u64 * 8),
            site,
        }
    }
}

#[inline(always)]
fn know(ctx: &ProbeContext, thread: u64) {
    let inside = Inside::of(ctx);
    let slot = inside.cfa.wrapping_sub(8);
    let size_bytes = match inside.size_bytes {
        Some(size_bytes) if in_flight::is_outermost(thread, slot) => size_bytes,
        Some(_) => return,
        None => match in_flight::leave_inside(thread, slot) {
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
    // The caller's registers, as they are after the return. The frame pointer is mostly saved just below the return address.
    let below = inside.cfa.wrapping_sub(size_of::<[u64; 3]>() as u64);
    // SAFETY: a user address; the helper checks it.
    let [third, second, pc] = unsafe { bpf_probe_read_user(below as *const [u64; 3]) }.unwrap_or([0; 3]);
    let fp = match inside.site.fp_words {
        0 => regs::fp(ctx),
        -2 => second,
        -3 => third,
        words => {
            let saved = inside.cfa.wrapping_add_signed(words as i64 * 8);
            // SAFETY: as above.
            unsafe { bpf_probe_read_user(saved as *const u64) }.unwrap_or(0)
        }
    };
    let stack = unwind::capture(pc, inside.cfa, fp, weighed, unwind::RETURNED);
    live::insert(address, weighed, stack, thread as u32);
}

#[uprobe]
pub fn free_enter(ctx: ProbeContext) -> u32 {
    let address = regs::argument(&ctx, 0);
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
            None if in_flight::inside(thread) => {}
            None => counters::add(Counter::UnmatchedFrees, 1),
        }
    }
    0
}

#[inline(always)]
fn enter(ctx: &ProbeContext, thread: u64, function: u64, size_bytes: u64, argument: u64) {
    let reallocates = function == function::REALLOCATE && argument != 0;
    if size_bytes < config::get().min_size_bytes && !reallocates {
        return;
    }
    let sp = regs::sp(ctx);
    let call =
        Call { thread, sp, size_bytes, argument, function, old: Allocation::ZERO, stack: StackIndex(0) };
    let Some(call) = in_flight::enter(&call) else {
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
    let (result, Position { pc, sp, fp }) = (regs::result(ctx), regs::position(ctx));
    let Some(call) = in_flight::leave(thread, sp) else {
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
    let stack = unwind::capture(pc, sp, fp, weighed, unwind::RETURNED);
    live::insert(address, weighed, stack, thread as u32);
}

/// Books the old block of a realloc that returned.
#[inline(always)]
pub(super) fn reallocated(call: &Call, result: u64) {
    if call.argument == 0 {
        return;
    }
    let known = call.old.stack.0 != 0;
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
