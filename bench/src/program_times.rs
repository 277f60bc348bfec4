//! Run times of BPF programs, by the kernel's own statistics.
//!
//! They cost some ten ns a run themselves, so they are on only while this lives, and never while pairs are timed.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};

use crate::tracer_record;

/// The kernel's statistics, on until this is dropped.
pub(crate) struct ProgramTimes {
    _on: OwnedFd,
}

impl ProgramTimes {
    pub(crate) fn enable() -> Result<Self> {
        Ok(Self { _on: enable_stats(Stats::RunTime).context("the kernel keeps no BPF statistics")? })
    }

    /// Runs of the program `name` of process `pid` so far: (count, ns).
    pub(crate) fn of(&self, pid: u32, name: &str) -> Result<(u64, u64)> {
        let ids = tracer_record::program_ids(pid)?;
        // A program may go while the list is read.
        let program = loaded_programs()
            .flatten()
            .find(|program| ids.contains(&program.id()) && program.name_as_str() == Some(name))
            .with_context(|| format!("pid {pid} has no BPF program {name}"))?;
        Ok((program.run_count(), program.run_time().as_nanos() as u64))
    }
}
