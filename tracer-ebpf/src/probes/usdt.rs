//! HotSpot's own probe points (USDT). Where their arguments lie differs from build to build; user
//! space reads it from the notes and hands it over by the attach cookie.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_attach_cookie, bpf_probe_read_user},
    macros::uprobe,
    programs::ProbeContext,
};
use tracer_common::{
    counter::Counter,
    record::{Header, JavaThreadRecord, NmethodRecord, kind},
    table::{USDT_ARGUMENTS, UsdtSpec, usdt_location},
};

use crate::{config, counters, emit, maps, regs};

/// `gc__begin(full)`.
#[uprobe]
pub fn gc_begin(ctx: ProbeContext) -> u32 {
    if config::target_thread().is_some() {
        let full = spec(&ctx).is_some_and(|spec| value(&ctx, spec, 0) as u8 != 0);
        emit::send(&Header { detail: u32::from(full), ..emit::header(kind::GC_BEGIN) });
    }
    0
}

#[uprobe]
pub fn gc_end(_ctx: ProbeContext) -> u32 {
    if config::target_thread().is_some() {
        if let Some(control) = maps::CONTROL.get_ptr_mut(0) {
            // Collections of one JVM do not end at the same time.
            // SAFETY: a valid map value.
            unsafe { (*control).epoch = (*control).epoch.wrapping_add(1) };
        }
        emit::send(&emit::header(kind::GC_END));
    }
    0
}

/// `class__unloaded`, before the class's memory is given back.
#[uprobe]
pub fn class_unloaded(_ctx: ProbeContext) -> u32 {
    if config::target_thread().is_some()
        && let Some(control) = maps::CONTROL.get_ptr_mut(0)
    {
        // SAFETY: a valid map value; whoever writes it during one collection writes the same.
        unsafe { (*control).class_epoch = (*control).epoch.wrapping_add(1) };
        // After what it guards.
        maps::raise_code_epoch();
    }
    0
}

/// `compiled__method__load(class, length, method, length, signature, length, code, size)`.
#[uprobe]
pub fn nmethod_load(ctx: ProbeContext) -> u32 {
    if config::target_thread().is_some() {
        send_nmethod(&ctx, kind::NMETHOD_LOAD);
    }
    0
}

/// `compiled__method__unload(class, length, method, length, signature, length)`.
#[uprobe]
pub fn nmethod_unload(ctx: ProbeContext) -> u32 {
    if config::target_thread().is_some() {
        maps::raise_code_epoch();
        send_nmethod(&ctx, kind::NMETHOD_UNLOAD);
    }
    0
}

/// `thread__start(name, length, java id, os tid, daemon)`.
#[uprobe]
pub fn java_thread_start(ctx: ProbeContext) -> u32 {
    if config::target_thread().is_some() {
        send_thread(&ctx, kind::JAVA_THREAD_START);
    }
    0
}

/// `thread__stop`, with the arguments of `thread__start`.
#[uprobe]
pub fn java_thread_stop(ctx: ProbeContext) -> u32 {
    if config::target_thread().is_some() {
        send_thread(&ctx, kind::JAVA_THREAD_STOP);
    }
    0
}

#[inline(always)]
fn send_nmethod(ctx: &ProbeContext, kind: u32) {
    let Some(spec) = spec(ctx) else {
        return;
    };
    let Some(mut entry) = maps::EVENTS.reserve::<NmethodRecord>(0) else {
        counters::add(Counter::LostEvent, 1);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved bytes; every field is written before they are submitted, what is not read
    // from the target as zeros.
    unsafe {
        *record = NmethodRecord::ZERO;
        (*record).header = emit::header(kind);
        (*record).class_length = text(ctx, spec, 0, &mut (*record).class);
        (*record).method_length = text(ctx, spec, 2, &mut (*record).method);
        (*record).signature_length = text(ctx, spec, 4, &mut (*record).signature);
        if kind == kind::NMETHOD_LOAD {
            (*record).code = value(ctx, spec, 6);
            (*record).size_bytes = value(ctx, spec, 7);
        }
    }
    entry.submit(0);
}

#[inline(always)]
fn send_thread(ctx: &ProbeContext, kind: u32) {
    let Some(spec) = spec(ctx) else {
        return;
    };
    let Some(mut entry) = maps::EVENTS.reserve::<JavaThreadRecord>(0) else {
        counters::add(Counter::LostEvent, 1);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: as in `send_nmethod`.
    unsafe {
        *record = JavaThreadRecord::ZERO;
        (*record).header = emit::header(kind);
        (*record).name_length = text(ctx, spec, 0, &mut (*record).name);
        (*record).java_id = value(ctx, spec, 2);
        (*record).os_tid = value(ctx, spec, 3) as u32;
        (*record).daemon = value(ctx, spec, 4) as u8 as u32;
    }
    entry.submit(0);
}

#[inline(always)]
fn spec(ctx: &ProbeContext) -> Option<&'static UsdtSpec> {
    // SAFETY: the helper takes the program's own context.
    let cookie = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    maps::USDT_SPECS.get(cookie as u32)
}

/// The text of arguments `index` (address) and `index + 1` (length): copied to `buffer`, its length
/// returned (0: it could not be read).
#[inline(always)]
fn text<const N: usize>(ctx: &ProbeContext, spec: &UsdtSpec, index: usize, buffer: &mut [u8; N]) -> u32 {
    let (address, length) = (value(ctx, spec, index), value(ctx, spec, index + 1) as u32 as usize);
    let length = if length > N { N } else { length };
    if length == 0 {
        return 0;
    }
    // SAFETY: `length` is at most the buffer's; the helper checks the user address.
    let status = unsafe {
        aya_ebpf::helpers::generated::bpf_probe_read_user(
            buffer.as_mut_ptr().cast(),
            length as u32,
            address as *const core::ffi::c_void,
        )
    };
    if status == 0 { length as u32 } else { 0 }
}

#[inline(always)]
fn value(ctx: &ProbeContext, spec: &UsdtSpec, index: usize) -> u64 {
    if index >= USDT_ARGUMENTS {
        return 0;
    }
    let argument = &spec.arguments[index];
    let raw = match argument.location {
        usdt_location::CONSTANT => argument.value as u64,
        usdt_location::REGISTER => regs::by_dwarf(ctx, argument.register),
        usdt_location::MEMORY => {
            let address = regs::by_dwarf(ctx, argument.register).wrapping_add(argument.value as u64);
            // SAFETY: a user address; the helper checks it.
            unsafe { bpf_probe_read_user(address as *const u64) }.unwrap_or(0)
        }
        _ => 0,
    };
    match argument.size_bytes {
        1 => raw as u8 as u64,
        2 => raw as u16 as u64,
        4 => raw as u32 as u64,
        _ => raw,
    }
}
