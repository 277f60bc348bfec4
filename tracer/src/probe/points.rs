//! Points of programs: allocator functions and USDT probes → [`UprobePoint`]s.

use std::path::Path;

use tracer_common::table::{UsdtSpec, lifecycle};

use super::attach::{TRACEPOINTS, Tracepoint, UprobePoint};
use super::mapping_calls;
use super::placement::{InsideSite, Role};
use crate::process::{
    allocator::{AllocatorFunction, Function},
    lifecycle::LifecycleFunction,
    usdt,
};

/// The programs for an allocator function, or one of another kind: at entry, and at return if it gives memory.
pub fn programs(function: Function) -> (&'static str, Option<&'static str>) {
    const RETURN: Option<&str> = Some("allocate_return");
    match function {
        Function::Malloc | Function::Valloc | Function::Pvalloc => ("malloc_enter", RETURN),
        Function::Calloc => ("calloc_enter", RETURN),
        Function::Realloc => ("realloc_enter", RETURN),
        Function::Reallocarray => ("reallocarray_enter", RETURN),
        Function::PosixMemalign => ("posix_memalign_enter", RETURN),
        Function::AlignedAlloc | Function::Memalign => ("memalign_enter", RETURN),
        Function::Free | Function::FreeSized | Function::FreeAlignedSized => ("free_enter", None),
        Function::Lifecycle(held) if held.begins() => ("lifecycle_enter", Some("lifecycle_return")),
        Function::Lifecycle(_) => ("lifecycle_end", None),
    }
}

/// Cookie by which a program knows at which function it runs; none if it need not.
fn cookie(function: Function) -> Option<u64> {
    let Function::Lifecycle(held) = function else { return None };
    Some(match held {
        LifecycleFunction::InflateInit => lifecycle::INFLATE_INIT,
        LifecycleFunction::DeflateInit => lifecycle::DEFLATE_INIT,
        LifecycleFunction::DeflateInit2 => lifecycle::DEFLATE_INIT2,
        LifecycleFunction::DeflateCopy => lifecycle::DEFLATE_COPY,
        LifecycleFunction::InflateEnd => lifecycle::INFLATE_END,
        LifecycleFunction::DeflateEnd => lifecycle::DEFLATE_END,
        LifecycleFunction::InflaterInit => lifecycle::INFLATER_INIT,
        LifecycleFunction::DeflaterInit => lifecycle::DEFLATER_INIT,
        LifecycleFunction::InflaterEnd => lifecycle::INFLATER_END,
        LifecycleFunction::DeflaterEnd => lifecycle::DEFLATER_END,
        LifecycleFunction::AllocateMemory => lifecycle::ALLOCATE_MEMORY,
        LifecycleFunction::ReallocateMemory => lifecycle::REALLOCATE_MEMORY,
        LifecycleFunction::FreeMemory => lifecycle::FREE_MEMORY,
    })
}

/// The probe points of such a function, to be set at `file_offset` of its file.
pub fn allocator_points(function: &AllocatorFunction, file_offset: u64) -> Vec<UprobePoint> {
    let (enter, leave) = programs(function.function);
    let cookie = cookie(function.function);
    let point = |program| UprobePoint { program, file: function.file.clone(), file_offset, cookie };
    // The return first: an entry whose return is not seen would wait for it.
    leave.into_iter().chain([enter]).map(point).collect()
}

/// The probe points inside such a function that stand for those.
pub fn inside_points(function: &AllocatorFunction, places: &[InsideSite]) -> Vec<UprobePoint> {
    let point = |place: &InsideSite| UprobePoint {
        program: match place.role {
            Role::Size => "malloc_size",
            Role::Whole | Role::Address => "malloc_known",
        },
        file: function.file.clone(),
        file_offset: place.placement.file_offset,
        cookie: Some(place.values.cookie()),
    };
    places.iter().map(point).collect()
}

/// The tracepoint of page faults.
pub const FAULTS: Tracepoint = Tracepoint { program: "page_fault_user", name: c"page_fault_user" };

/// Does this program belong to a recording without malloc: to [`LifecycleFunction`] functions, or page faults?
pub fn is_of_light(program: &str) -> bool {
    ["lifecycle_enter", "lifecycle_return", "lifecycle_end", FAULTS.program].contains(&program)
}

/// Entry of a program, as far as it costs the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A trap.
    Entry,
    /// The trap of a function's return.
    Return,
    /// A call in the kernel.
    Kernel,
}

/// Entry of `program`.
pub fn point_of(program: &str) -> Point {
    let is_tracepoint = || TRACEPOINTS.iter().chain([&FAULTS]).any(|one| one.program == program);
    match program {
        "allocate_return" | "lifecycle_return" => Point::Return,
        _ if mapping_calls::is_one(program) || is_tracepoint() => Point::Kernel,
        _ => Point::Entry,
    }
}

/// Does this program belong to allocator functions?
pub fn is_of_allocator(program: &str) -> bool {
    let enters =
        ["calloc_enter", "realloc_enter", "reallocarray_enter", "posix_memalign_enter", "memalign_enter"];
    let of_malloc = ["malloc_enter", "malloc_size", "malloc_known", "allocate_return", "free_enter"];
    of_malloc.contains(&program) || enters.contains(&program)
}

/// The USDT probes that are used: name and program.
pub const USDT: [(&str, &str); 7] = [
    ("gc__begin", "gc_begin"),
    ("gc__end", "gc_end"),
    ("compiled__method__load", "nmethod_load"),
    ("compiled__method__unload", "nmethod_unload"),
    ("thread__start", "java_thread_start"),
    ("thread__stop", "java_thread_stop"),
    ("class__unloaded", "class_unloaded"),
];

/// The sites of HotSpot's probes that are used in the libjvm that can be opened as `file`, whose probes are `probes`, each with its
/// arguments; the cookie is the index in the result. Sites behind a semaphore are left out: to enable
/// them the target's memory would have to be written.
pub fn usdt_points(file: &Path, probes: &[usdt::Probe]) -> Vec<(UprobePoint, UsdtSpec)> {
    let wanted = probes.iter().filter(|probe| probe.provider == "hotspot" && probe.semaphore == 0);
    let sites = wanted.filter_map(|probe| {
        let (_, program) = USDT.iter().find(|(name, _)| *name == probe.name)?;
        Some((*program, probe))
    });
    sites
        .enumerate()
        .map(|(cookie, (program, probe))| {
            let point = UprobePoint {
                program,
                file: file.to_owned(),
                file_offset: probe.file_offset,
                cookie: Some(cookie as u64),
            };
            (point, probe.arguments)
        })
        .collect()
}
