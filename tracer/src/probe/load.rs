//! Loading the BPF programs: sizes, configuration, verification.

use std::{panic, thread};

use aya::{Ebpf, EbpfError, EbpfLoader, programs::ProgramError};
use tracer_common::{
    config::{Config, MEMO_WAYS},
    table::{NO_STACK, OVERFLOW_STACK, STACK_PLACES, StackEntry},
};

use super::ProbeError;

/// The compiled BPF programs; empty in a build without them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));

/// Sizes of the maps, in elements or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Allocations that can be live at once, beside those of `LIVE`, which is always as large.
    pub live_count: u32,
    /// Distinct stacks; a power of two.
    pub stack_count: u32,
    /// Unwind rows, 8 bytes each.
    pub row_count: u32,
    /// A power of two.
    pub ring_bytes: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { live_count: 1 << 21, stack_count: 1 << 17, row_count: 1 << 20, ring_bytes: 16 << 20 }
    }
}

/// Whether this binary was built with its BPF programs.
pub fn has_programs() -> bool {
    !OBJECT.is_empty()
}

/// Loads every program of this build into the kernel. Attaches nothing.
///
/// # Errors
/// The build has no programs, or the kernel refuses one; the error names it and why.
pub fn load(config: &Config, sizes: Sizes) -> Result<Ebpf, ProbeError> {
    if !has_programs() {
        return Err(ProbeError::NoPrograms);
    }
    load_object(OBJECT, config, sizes)
}

/// Like [`load`], with the programs of another build's object.
///
/// # Errors
/// It is not such an object, or the kernel refuses a program.
pub fn load_object(object: &[u8], config: &Config, sizes: Sizes) -> Result<Ebpf, ProbeError> {
    let mut ebpf = open(object, config, sizes)?;
    load_programs(&mut ebpf, &|_| true)?;
    Ok(ebpf)
}

/// Like [`load`], but only the programs whose names are `wanted`; others can follow by [`load_more`].
///
/// # Errors
/// As for [`load`].
pub fn load_some(config: &Config, sizes: Sizes, wanted: &Wanted) -> Result<Ebpf, ProbeError> {
    if !has_programs() {
        return Err(ProbeError::NoPrograms);
    }
    let mut ebpf = open(OBJECT, config, sizes)?;
    load_programs(&mut ebpf, wanted)?;
    Ok(ebpf)
}

/// Loads programs that [`load_some`] left out.
///
/// # Errors
/// The kernel refuses one, or it is loaded.
pub fn load_more(ebpf: &mut Ebpf, wanted: &Wanted) -> Result<(), ProbeError> {
    load_programs(ebpf, wanted)
}

/// Is the program of this name to be loaded?
pub type Wanted = dyn Fn(&str) -> bool;

/// Makes the maps, and reads the programs.
fn open(object: &[u8], config: &Config, sizes: Sizes) -> Result<Ebpf, ProbeError> {
    let config = Config { stack_count: sizes.stack_count, ..*config };
    let slots = config.cpu_count * config.slots_per_cpu;
    let mut ebpf = EbpfLoader::new()
        .override_global("CONFIG", &config, true)
        .map_max_entries("LIVE_REST", sizes.live_count)
        .map_max_entries("STACKS", sizes.stack_count)
        .map_max_entries("STACK_INDEX", sizes.stack_count * STACK_PLACES)
        .map_max_entries("ROWS", sizes.row_count)
        .map_max_entries("EVENTS", sizes.ring_bytes)
        .map_max_entries("SCRATCH", slots.max(1))
        .map_max_entries("MEMO", (config.memo_sets * MEMO_WAYS).max(1))
        .load(object)
        .map_err(load_error)?;
    insert_reserved_stacks(&mut ebpf)?;
    Ok(ebpf)
}

/// Loads the programs side by side: the verifier takes tens of milliseconds for each that walks stacks.
fn load_programs(ebpf: &mut Ebpf, wanted: &Wanted) -> Result<(), ProbeError> {
    thread::scope(|scope| {
        let loads: Vec<_> = ebpf
            .programs_mut()
            .filter(|(name, _)| wanted(name))
            .map(|(name, program)| (name.to_owned(), scope.spawn(move || load_program(program))))
            .collect();
        loads.into_iter().try_for_each(|(name, load)| {
            let loaded = load.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
            loaded.map_err(|source| ProbeError::Program { name, source: Box::new(source) })
        })
    })
}

fn load_program(program: &mut aya::programs::Program) -> Result<(), ProgramError> {
    use aya::programs::{TracePoint, UProbe};
    if let Ok(probe) = <&mut UProbe>::try_from(&mut *program) {
        return probe.load();
    }
    <&mut TracePoint>::try_from(program)?.load()
}

/// The stacks on which is booked what has no stack of its own must exist before the table is full.
fn insert_reserved_stacks(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    let map = ebpf.map_mut("STACKS").ok_or(ProbeError::MissingMap("STACKS"))?;
    let mut stacks = aya::maps::Array::<_, StackEntry>::try_from(map)?;
    for stack in [OVERFLOW_STACK, NO_STACK] {
        stacks.set(stack as u32, StackEntry { id: stack, sent: 1, ..StackEntry::ZERO }, 0)?;
    }
    Ok(())
}

fn load_error(source: EbpfError) -> ProbeError {
    ProbeError::Load(Box::new(source))
}

/// For each program its name and the instructions that the verifier went through.
///
/// # Errors
/// The kernel does not tell.
pub fn verified_instructions(ebpf: &Ebpf) -> Result<Vec<(String, u32)>, ProbeError> {
    ebpf.programs()
        .map(|(name, program)| {
            let info = program.info()?;
            Ok((name.to_owned(), info.verified_instruction_count().unwrap_or(0)))
        })
        .collect::<Result<Vec<_>, ProgramError>>()
        .map_err(|source| ProbeError::Program { name: "(info)".to_owned(), source: Box::new(source) })
}
