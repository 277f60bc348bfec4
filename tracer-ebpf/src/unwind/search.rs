//! Searches that a walk makes in the maps and in the JVM's code cache.
//!
//! Each is a `bpf_loop` inside the walk's own: as plain loops the newest verifiers explore every round of them anew. And
//! each is in a global function, which the verifier goes through once for each program, whatever led to it.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_loop, bpf_probe_read_user};
use tracer_common::{
    unwind::{MAX_MODULES, Module, Row, Stop},
    walk::{self, Bisect, Hop, MAX_BISECT_STEPS, MAX_RESTORES, MAX_SEGMENT_HOPS, SlowPathFrame},
};

use crate::maps;

/// The module among `count` from `first` on whose code is at `pc`, unless it ends before.
#[inline(always)]
pub(super) fn module(first: u32, count: u32, pc: u64) -> Option<&'static Module> {
    maps::MODULES.get(search_module(first, count, pc))
}

/// The row among `count` from `first` on that holds at `pc`, which is relative to the module.
#[inline(always)]
pub(super) fn row(first: u32, count: u32, pc: u32) -> Option<Row> {
    maps::ROWS.get(search_row(first, count, pc)).copied()
}

/// No index of a map.
const NONE: u32 = u32::MAX;

/// The index of [`module`], or [`NONE`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn search_module(first: u32, count: u32, pc: u64) -> u32 {
    let mut search = Search { bisect: Bisect::new(first, count), value: pc };
    search.run(module_step);
    search.bisect.found().unwrap_or(NONE)
}

/// The index of [`row`], or [`NONE`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn search_row(first: u32, count: u32, pc: u32) -> u32 {
    let mut search = Search { bisect: Bisect::new(first, count), value: pc as u64 };
    search.run(row_step);
    search.bisect.found().unwrap_or(NONE)
}

/// The first segment of the code blob that holds segment `index`: see [`walk::CodeSource::block_index`].
#[inline(always)]
pub(super) fn block_index(segment_map: u64, index: u64) -> Result<u64, Stop> {
    let mut hops = Hops { segment_map, index, outcome: Stop::Search as u64 };
    // SAFETY: the callback has the helper's form, and `hops` outlives the call.
    unsafe {
        bpf_loop(MAX_SEGMENT_HOPS, hop_step as *mut c_void, (&raw mut hops).cast(), 0);
    }
    // SAFETY: written by the callbacks.
    match stop(unsafe { core::ptr::read_volatile(&raw const hops.outcome) }) {
        None => Ok(hops.index),
        Some(stop) => Err(stop),
    }
}

/// The reason why a search ended with this outcome; 0: it found.
#[inline(always)]
pub(super) fn stop(outcome: u64) -> Option<Stop> {
    match outcome {
        0 => None,
        outcome if outcome == Stop::NoBlob as u64 => Some(Stop::NoBlob),
        outcome if outcome == Stop::ReadFault as u64 => Some(Stop::ReadFault),
        _ => Some(Stop::Search),
    }
}

/// Bytes of the frame of a slow path: see [`walk::WalkSource::slow_path_bytes`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn slow_path_bytes(pc: u64) -> u64 {
    let mut frame = SlowPathFrame::after(pc);
    // SAFETY: the callback has the helper's form, and `frame` outlives the call.
    unsafe {
        bpf_loop(MAX_RESTORES, slow_path_step as *mut c_void, (&raw mut frame).cast(), 0);
        // Written by the callbacks.
        core::ptr::read_volatile(&raw const frame).bytes()
    }
}

/// A binary search in a map.
struct Search {
    bisect: Bisect,
    value: u64,
}

type SearchStep = unsafe extern "C" fn(u32, *mut Search) -> i64;

impl Search {
    #[inline(always)]
    fn run(&mut self, step: SearchStep) {
        // SAFETY: the callback has the helper's form, and `self` outlives the call.
        unsafe {
            bpf_loop(MAX_BISECT_STEPS, step as *mut c_void, (&raw mut *self).cast(), 0);
        }
    }
}

unsafe extern "C" fn module_step(_: u32, search: *mut Search) -> i64 {
    // SAFETY: `bpf_loop` passes on what `run` gave it.
    let search = unsafe { &mut *search };
    let Some(middle) = search.bisect.middle() else {
        return 1;
    };
    let Some(module) = maps::MODULES.get(middle) else {
        return 1;
    };
    let module: &Module = module;
    search.bisect.narrow(middle, module.start <= search.value);
    0
}

unsafe extern "C" fn row_step(_: u32, search: *mut Search) -> i64 {
    // SAFETY: as above.
    let search = unsafe { &mut *search };
    let Some(middle) = search.bisect.middle() else {
        return 1;
    };
    let Some(row) = maps::ROWS.get(middle) else {
        return 1;
    };
    search.bisect.narrow(middle, row.pc as u64 <= search.value);
    0
}

/// The way through a segment map.
struct Hops {
    segment_map: u64,
    index: u64,
    /// 0: found; else a [`Stop`].
    outcome: u64,
}

unsafe extern "C" fn hop_step(_: u32, hops: *mut Hops) -> i64 {
    // SAFETY: `bpf_loop` passes on what `block_index` gave it.
    let hops = unsafe { &mut *hops };
    let address = hops.segment_map.wrapping_add(hops.index);
    // SAFETY: a user address; the helper checks it.
    let Ok(tag) = (unsafe { bpf_probe_read_user(address as *const u8) }) else {
        hops.outcome = Stop::ReadFault as u64;
        return 1;
    };
    match walk::segment_hop(hops.index, tag) {
        Hop::Found => {
            hops.outcome = 0;
            1
        }
        Hop::Free => {
            hops.outcome = Stop::NoBlob as u64;
            1
        }
        Hop::Next(next) => {
            hops.index = next;
            0
        }
    }
}

unsafe extern "C" fn slow_path_step(_: u32, frame: *mut SlowPathFrame) -> i64 {
    // SAFETY: `bpf_loop` passes on what `slow_path_bytes` gave it.
    let frame = unsafe { &mut *frame };
    // SAFETY: a user address; the helper checks it.
    match unsafe { bpf_probe_read_user(frame.pc as *const u64) } {
        Ok(word) => frame.take(word),
        Err(_) => return 1,
    }
    !frame.wants() as i64
}

const _: () = assert!(MAX_MODULES * 2 <= 1 << MAX_BISECT_STEPS);
