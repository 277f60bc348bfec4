//! Attaching loaded programs.

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

use aya::{
    Ebpf,
    programs::{ProbeKind, ProgramError, RawTracePoint, UProbe},
    sys::SyscallError,
};

use super::{
    ProbeError,
    bpf::{self, Site},
    load::Programs,
    perf_event::{self, Scope},
};
use crate::process::Pid;

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

/// Attached places of a program. When the link is closed, they are detached.
#[derive(Debug)]
pub struct LinkHandle {
    pub place_count: usize,
    pub link: OwnedFd,
}

/// Attaches to all `points`, for process `pid`: those of the first one's program first, and so on.
///
/// # Errors
/// The kernel refuses one; the error says which, and none is attached.
pub fn uprobes(
    programs: &mut Programs,
    pid: Pid,
    points: &[UprobePoint],
) -> Result<Vec<LinkHandle>, ProbeError> {
    let Some(multi) = programs.multi() else {
        return points.iter().map(|point| single(programs.ebpf(), pid, point)).collect();
    };
    let mut groups: Vec<(&UprobePoint, Vec<Site>)> = Vec::new();
    for point in points {
        // 0 is what a program is told where there is none.
        let place = Site { file_offset: point.file_offset, cookie: point.cookie.unwrap_or(0) };
        match groups
            .iter_mut()
            .find(|(first, _)| (first.program, &first.file) == (point.program, &point.file))
        {
            Some((_, places)) => places.push(place),
            None => groups.push((point, vec![place])),
        }
    }
    let link = |(first, places): (&UprobePoint, Vec<Site>)| {
        let program = multi.program(first.program).ok_or(ProgramError::NotLoaded);
        let link = program.and_then(|program| program.attach(pid, &first.file, &places));
        let link = link.map_err(|source| first.error(places.len() - 1, source))?;
        Ok(LinkHandle { place_count: places.len(), link })
    };
    groups.into_iter().map(link).collect()
}

/// Attaches to one point, by a perf event.
fn single(ebpf: &mut Ebpf, pid: Pid, point: &UprobePoint) -> Result<LinkHandle, ProbeError> {
    let mut attach = || {
        let program: &mut UProbe = program(ebpf, point.program)?;
        let at_return = matches!(program.kind(), ProbeKind::Return);
        let program = program.fd()?.as_fd();
        let link = || {
            let path = CString::new(point.file.as_os_str().as_bytes())?;
            let scope = Scope::Process(i32::try_from(pid.0).map_err(|_| io::ErrorKind::InvalidInput)?);
            let event = perf_event::uprobe(&path, point.file_offset, at_return, scope)?;
            bpf::link_to_event(program, event.as_fd(), point.cookie.unwrap_or(0))
        };
        link().map_err(|io_error| SyscallError { call: "perf_event_open of a uprobe", io_error }.into())
    };
    let link = attach().map_err(|source| point.error(0, source))?;
    Ok(LinkHandle { place_count: 1, link })
}

impl UprobePoint {
    fn error(&self, more: usize, source: ProgramError) -> ProbeError {
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let probe = format!("{} at {}+{:#x}{more}", self.program, self.file.display(), self.file_offset);
        ProbeError::Attach { probe, source: Box::new(source) }
    }
}

/// A tracepoint of the kernel, and the program that runs there.
///
/// Programs are attached to the tracepoints themselves (raw tracepoints), and not to their perf events: those copy the
/// arguments for each hit, and when one of their links is closed, the kernel waits until no CPU can be in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracepoint {
    pub program: &'static str,
    pub name: &'static CStr,
}

/// Tracepoints of tasks.
pub const TRACEPOINTS: [Tracepoint; 3] = [
    Tracepoint { program: "task_newtask", name: c"task_newtask" },
    Tracepoint { program: "sched_process_exit", name: c"sched_process_exit" },
    Tracepoint { program: "sched_process_exec", name: c"sched_process_exec" },
];

/// Attaches every one of [`TRACEPOINTS`], until the links are closed.
///
/// # Errors
/// The kernel has not the tracepoint; the error names it.
pub fn tracepoints(ebpf: &mut Ebpf) -> Result<Vec<OwnedFd>, ProbeError> {
    TRACEPOINTS.into_iter().map(|tracepoint| self::tracepoint(ebpf, tracepoint)).collect()
}

/// Attaches one tracepoint, until the link is closed.
///
/// # Errors
/// As for [`tracepoints`].
pub fn tracepoint(ebpf: &mut Ebpf, tracepoint: Tracepoint) -> Result<OwnedFd, ProbeError> {
    let Tracepoint { program: name, name: point } = tracepoint;
    let mut attach = || {
        let program: &mut RawTracePoint = program(ebpf, name)?;
        let link = bpf::link_to_kernel(program.fd()?.as_fd(), Some(point));
        link.map_err(|io_error| SyscallError { call: "bpf_raw_tracepoint_open", io_error }.into())
    };
    attach().map_err(|source: ProgramError| ProbeError::Attach {
        probe: format!("the tracepoint {}", point.to_string_lossy()),
        source: Box::new(source),
    })
}

/// The program of this name, of this kind.
pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()
}
