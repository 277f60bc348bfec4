//! Loading the BPF programs: sizes, configuration, verification.

use std::{panic, sync::OnceLock, thread};

use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{FExit, Program, ProgramError, ProgramInfo, RawTracePoint, TracePoint, UProbe},
};
use tracer_common::{
    config::{Config, MEMO_WAYS},
    stack::{StackId, StackIndex},
    table::{STACK_PLACES, StackEntry},
};

use rustix::time::{ClockId, clock_getres};

use super::kernel::{Requirement, Status};
use super::mapping_calls::{self, SeenAt};
use super::{ProbeError, multi};

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

/// The programs of one object, and their maps.
pub struct Programs {
    ebpf: Ebpf,
    /// Programs of uprobes, where the kernel can attach one to many places at once; `ebpf`'s are not loaded then.
    multi: Option<multi::Programs>,
}

/// The kernel's information about a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Instructions that the verifier went through.
    pub verified_instructions: u32,
    /// Runs of the program since it was loaded, as far as they were counted.
    pub run_count: u64,
    pub run_time_ns: u64,
}

/// Whether this binary was built with its BPF programs.
pub fn has_programs() -> bool {
    !OBJECT.is_empty()
}

/// The requirement that this binary has its programs.
pub fn embedded_programs() -> Requirement {
    let (id, title) = ("programs", "a build with its BPF programs");
    match has_programs() {
        true => Requirement::met(id, title, "built in"),
        false => {
            let help = "build it by `cargo xtask build --release`, which builds both sides";
            Requirement::lacking(id, title, Status::Missing, "none in this build", help)
        }
    }
}

/// Loads every program of this build that the kernel can have. Attaches nothing.
///
/// # Errors
/// The build has no programs, or the kernel refuses one; the error names it and why.
pub fn load(config: &Config, sizes: Sizes) -> Result<Programs, ProbeError> {
    load_some(config, sizes, &|name| SeenAt::of_kernel().can_load(name))
}

/// A [`load`] of the programs of another build's object.
///
/// # Errors
/// It is not such an object, or the kernel refuses a program.
pub fn load_object(object: &[u8], config: &Config, sizes: Sizes) -> Result<Programs, ProbeError> {
    let mut programs = Programs::open(object, config, sizes)?;
    programs.load(&|name| SeenAt::of_kernel().can_load(name))?;
    Ok(programs)
}

/// A [`load`] of only the programs whose names are `wanted`; others can follow by [`Programs::load`].
///
/// # Errors
/// As for [`load`].
pub fn load_some(config: &Config, sizes: Sizes, wanted: &Wanted) -> Result<Programs, ProbeError> {
    if !has_programs() {
        return Err(ProbeError::NoPrograms);
    }
    let mut programs = Programs::open(OBJECT, config, sizes)?;
    programs.load(wanted)?;
    Ok(programs)
}

/// Is the program of this name to be loaded?
pub type Wanted = dyn Fn(&str) -> bool;

impl Programs {
    /// Makes the maps, and reads the programs.
    fn open(object: &[u8], config: &Config, sizes: Sizes) -> Result<Self, ProbeError> {
        let mut ebpf = make_maps(object, config, sizes)?;
        insert_reserved_stacks(&mut ebpf)?;
        Ok(Self { multi: multi::Programs::read(object, &ebpf)?, ebpf })
    }

    /// Loads programs that are not loaded, side by side: the verifier takes tens of milliseconds for each that walks
    /// stacks.
    ///
    /// # Errors
    /// The kernel refuses one, or it is loaded.
    pub fn load(&mut self, wanted: &Wanted) -> Result<(), ProbeError> {
        let Self { ebpf, multi } = self;
        let kernel_types = OnceLock::new();
        thread::scope(|scope| {
            let thread = || thread::Builder::new().name("load".to_owned());
            let no_thread = |source| ProbeError::Io { what: "a thread to load programs".to_owned(), source };
            let mut loads = Vec::new();
            for (name, program) in ebpf.programs_mut().filter(|(name, _)| wanted(name)) {
                if multi.as_ref().is_none_or(|multi| !multi.has(name)) {
                    let (name, types) = (name.to_owned(), &kernel_types);
                    let load = {
                        let name = name.clone();
                        move || load_program(&name, program, types)
                    };
                    loads.push((name, thread().spawn_scoped(scope, load).map_err(no_thread)?));
                }
            }
            if let Some(multi) = multi {
                let (types, programs) = multi.to_load();
                for (name, program) in programs.filter(|(name, _)| wanted(name)) {
                    let load =
                        thread().spawn_scoped(scope, move || program.load(name, types)).map_err(no_thread)?;
                    loads.push((name.to_owned(), load));
                }
            }
            loads.into_iter().try_for_each(|(name, load)| {
                let loaded = load.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
                loaded.map_err(|source| ProbeError::Program { name, source: Box::new(source) })
            })
        })
    }

    /// The maps, and the programs that are attached one by one.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Programs that are attached to many places at once; none on a kernel that cannot.
    pub fn multi(&self) -> Option<&multi::Programs> {
        self.multi.as_ref()
    }

    /// The kernel's information about each program that is loaded.
    ///
    /// # Errors
    /// It does not tell.
    pub fn facts(&self) -> Result<Vec<(String, Facts)>, ProbeError> {
        let single = self.ebpf.programs().filter(|(_, program)| program.fd().is_ok());
        let single = single.map(|(name, program)| Ok((name.to_owned(), program.info()?.into())));
        let multi = self.multi.iter().flat_map(multi::Programs::iter).filter_map(|(name, program)| {
            program.facts().map(|facts| Some((name.to_owned(), facts?))).transpose()
        });
        let all: Result<_, ProgramError> = single.chain(multi).collect();
        all.map_err(|source| ProbeError::Program { name: "(info)".to_owned(), source: Box::new(source) })
    }
}

impl From<ProgramInfo> for Facts {
    fn from(info: ProgramInfo) -> Self {
        Self {
            verified_instructions: info.verified_instruction_count().unwrap_or(0),
            run_count: info.run_count(),
            run_time_ns: u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

fn make_maps(object: &[u8], config: &Config, sizes: Sizes) -> Result<Ebpf, ProbeError> {
    let config = Config { stack_count: sizes.stack_count, tick_ns: tick_ns(), ..*config };
    let slots = config.cpu_count * config.slots_per_cpu;
    EbpfLoader::new()
        .override_global("CONFIG", &config, true)
        .map_max_entries("LIVE_OVERFLOW", sizes.live_count)
        .map_max_entries("STACKS", sizes.stack_count)
        .map_max_entries("STACK_INDEX", sizes.stack_count * STACK_PLACES)
        .map_max_entries("ROWS", sizes.row_count)
        .map_max_entries("EVENTS", sizes.ring_bytes)
        .map_max_entries("SCRATCH", slots.max(1))
        .map_max_entries("MEMO", (config.memo_sets * MEMO_WAYS).max(1))
        .load(object)
        .map_err(|source| ProbeError::Load(Box::new(source)))
}

/// The time between two clock ticks of the kernel, which its coarse clocks tell.
fn tick_ns() -> u32 {
    u32::try_from(clock_getres(ClockId::MonotonicCoarse).tv_nsec).unwrap_or(0)
}

/// `kernel_types`: filled when they are first needed, as it takes time to read them.
fn load_program(
    name: &str,
    program: &mut Program,
    kernel_types: &OnceLock<Option<Btf>>,
) -> Result<(), ProgramError> {
    match program {
        Program::UProbe(probe) => UProbe::load(probe),
        Program::FExit(at_return) => {
            let types = kernel_types.get_or_init(|| Btf::from_sys_fs().ok());
            let types = types.as_ref().ok_or(ProgramError::UnexpectedProgramType)?;
            FExit::load(at_return, &mapping_calls::function(name), types)
        }
        Program::TracePoint(tracepoint) => TracePoint::load(tracepoint),
        other => <&mut RawTracePoint>::try_from(other)?.load(),
    }
}

/// The stacks on which is booked what has no stack of its own must exist before the table is full.
fn insert_reserved_stacks(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    let map = ebpf.map_mut("STACKS").ok_or(ProbeError::MissingMap("STACKS"))?;
    let mut stacks = aya::maps::Array::<_, StackEntry>::try_from(map)?;
    let reserved = [(StackIndex::OVERFLOW, StackId::OVERFLOW), (StackIndex::NOT_WALKED, StackId::NOT_WALKED)];
    for (index, id) in reserved {
        stacks.set(index.0, StackEntry { id, sent: 1, ..StackEntry::ZERO }, 0)?;
    }
    Ok(())
}
