//! Attaching loaded programs.

use std::{num::NonZeroU32, path::PathBuf};

use aya::{
    Ebpf,
    programs::{
        ProgramError, TracePoint, UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeLinkId, UProbeScope},
    },
};

use super::ProbeError;

/// A place in a file at which a program is to run when the target gets there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UprobePoint {
    /// Name of the BPF program.
    pub program: &'static str,
    /// A path that this process can open.
    pub file: PathBuf,
    pub file_offset: u64,
    pub cookie: Option<u64>,
}

/// Attaches one uprobe, scoped to process `pid`, until `ebpf` is dropped.
///
/// # Errors
/// The kernel refuses; the error says which probe.
pub fn uprobe(ebpf: &mut Ebpf, pid: u32, point: &UprobePoint) -> Result<UProbeLinkId, ProbeError> {
    let error = |source| ProbeError::Attach {
        probe: format!("{} at {}+{:#x}", point.program, point.file.display(), point.file_offset),
        source: Box::new(source),
    };
    let scope = UProbeScope::OneProcess(NonZeroU32::new(pid).ok_or_else(|| error(ProgramError::NotLoaded))?);
    let program: &mut UProbe = program(ebpf, point.program).map_err(error)?;
    let location = UProbeAttachLocation::AbsoluteOffset(point.file_offset);
    program.attach(UProbeAttachPoint { location, cookie: point.cookie }, &point.file, scope).map_err(error)
}

/// Takes an attached probe out of `ebpf`: dropped, it is detached.
///
/// # Errors
/// It was taken before.
pub fn take_uprobe(
    ebpf: &mut Ebpf,
    name: &'static str,
    link: UProbeLinkId,
) -> Result<UProbeLink, ProbeError> {
    let error = |source| ProbeError::Attach { probe: name.to_owned(), source: Box::new(source) };
    let program: &mut UProbe = program(ebpf, name).map_err(error)?;
    program.take_link(link).map_err(error)
}

/// Tracepoints: program, category, name.
pub const TRACEPOINTS: [(&str, &str, &str); 15] = [
    ("sys_enter_mapping", "syscalls", "sys_enter_mmap"),
    ("sys_enter_mapping", "syscalls", "sys_enter_munmap"),
    ("sys_enter_mapping", "syscalls", "sys_enter_mremap"),
    ("sys_enter_mapping", "syscalls", "sys_enter_brk"),
    ("sys_enter_mapping", "syscalls", "sys_enter_mprotect"),
    ("sys_enter_mapping", "syscalls", "sys_enter_madvise"),
    ("sys_exit_mapping", "syscalls", "sys_exit_mmap"),
    ("sys_exit_mapping", "syscalls", "sys_exit_munmap"),
    ("sys_exit_mapping", "syscalls", "sys_exit_mremap"),
    ("sys_exit_mapping", "syscalls", "sys_exit_brk"),
    ("sys_exit_mapping", "syscalls", "sys_exit_mprotect"),
    ("sys_exit_mapping", "syscalls", "sys_exit_madvise"),
    ("task_newtask", "task", "task_newtask"),
    ("sched_process_exit", "sched", "sched_process_exit"),
    ("sched_process_exec", "sched", "sched_process_exec"),
];

/// Attaches every tracepoint, until `ebpf` is dropped.
///
/// # Errors
/// tracefs is not mounted, or the kernel has not the tracepoint; the error names it.
pub fn tracepoints(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    TRACEPOINTS.into_iter().try_for_each(|tracepoint| self::tracepoint(ebpf, tracepoint))
}

/// Attaches one tracepoint (program, category, name), until `ebpf` is dropped.
///
/// # Errors
/// As for [`tracepoints`].
pub fn tracepoint(ebpf: &mut Ebpf, (name, category, point): (&str, &str, &str)) -> Result<(), ProbeError> {
    let error = |source| ProbeError::Attach {
        probe: format!("the tracepoint {category}:{point}"),
        source: Box::new(source),
    };
    let program: &mut TracePoint = program(ebpf, name).map_err(error)?;
    program.attach(category, point).map_err(error)?;
    Ok(())
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()
}
