//! `tracer`'s own probes without the rest of a recording, with the gate closed. The floor: at each function's entry and
//! return.
//!
//! The programs are attached as for a recording that is not switched on: each looks up whether it is, and returns.
//! That is an empty program to within some ten ns, so what is measured is what the traps cost.

use anyhow::{Context, Result};
use tracer::ingest::tables::Tables;
use tracer::probe::load::Sizes;
use tracer::probe::placement::Placement;
use tracer::probe::plan::{self, PlannedFunction};
use tracer::probe::probes::{ProbeSet, Probes};
use tracer::process::memory::LiveMemory;
use tracer::process::{self, Pid, allocator};
use tracer_common::config::Config;
use tracer_common::unwind::MAX_FRAMES;

/// Place of a probe in a function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The place that a recording chooses.
    Chosen,
    /// The first instruction that the kernel emulates, and the return.
    Function,
    /// The function's first instruction.
    Entry,
}

/// Attaches the allocator's probes to `pid`, switched off; they are there until the result is dropped.
pub(crate) fn attach(pid: u32, place: Place) -> Result<Probes> {
    load(pid, place, 1)
}

/// Attaches them switched on, with no room to walk a stack in: allocations are paired, and all are booked on one
/// stack.
pub(crate) fn attach_without_stacks(pid: u32) -> Result<(Probes, Tables)> {
    let mut probes = load(pid, Place::Chosen, 0)?;
    let mut tables = Tables::take(&mut probes)?;
    tables.set_enabled(true)?;
    Ok((probes, tables))
}

fn load(pid: u32, place: Place, slots_per_cpu: u32) -> Result<Probes> {
    let pid = Pid(pid);
    let target = process::inspect(pid)?;
    let memory = LiveMemory::open(pid).with_context(|| format!("cannot read the memory of pid {pid}"))?;
    let functions = allocator::find(&target, Some(&memory)).functions;
    let mut planned = plan::place(&target, functions);
    if place != Place::Chosen {
        planned.iter_mut().for_each(|function| function.inside.clear());
    }
    if place == Place::Entry {
        planned.iter_mut().for_each(at_entry);
    }
    let config =
        Config { tgid: pid.0, slots_per_cpu, cpu_count: 1, max_frames: MAX_FRAMES as u32, ..Config::ZERO };
    let mut probes = Probes::load(pid, &config, Sizes::default(), ProbeSet::Full)?;
    probes.attach_allocator(planned)?;
    Ok(probes)
}

fn at_entry(planned: &mut PlannedFunction) {
    let function = &planned.function;
    if let Ok(chosen) = &mut planned.placement
        && chosen.offset_from_entry > 0
    {
        planned.placement = Ok(Placement {
            vaddr: function.vaddr,
            file_offset: function.file_offset,
            instruction_text: String::new(),
            emulated: false,
            offset_from_entry: 0,
            stepped_at_entry: None,
        });
    }
}
