//! The system calls that change mappings, seen where that costs others least: at the returns of the kernel's own
//! functions for them (fexit), or, on a kernel that does not let programs trace those, at tracepoints.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::OnceLock,
};

use aya::{
    Ebpf,
    programs::{FExit, ProgramError, TracePoint},
    sys::SyscallError,
};
use serde::Serialize;
use tracer_common::arch::SYSTEM_CALL_FUNCTION;

use super::{ProbeError, attach::program, bpf, btf::Btf, perf_event, tracefs};

/// The place at which mapping calls are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SeenAt {
    /// The returns of the kernel's functions for them: no other call costs anything.
    Functions,
    /// The tracepoints of these calls' returns, with which every system call of every process takes longer.
    Tracepoints,
}

/// Programs at the returns of functions, and their calls.
const FUNCTIONS: [(&str, &str); 6] = [
    ("mmap_return", "mmap"),
    ("munmap_return", "munmap"),
    ("mremap_return", "mremap"),
    ("brk_return", "brk"),
    ("mprotect_return", "mprotect"),
    ("madvise_return", "madvise"),
];

/// Variable by which an unoptimised build does without the kernel's functions: to measure on a kernel that has them what
/// one pays that has not.
const WITHOUT_FUNCTIONS: &str = "TRACER_TEST_WITHOUT_FUNCTIONS";

/// The program at the tracepoints of the calls' returns (`syscalls:sys_exit_...`), which are perf events.
///
/// One raw tracepoint, of all calls' returns, would be one link, and need no tracefs; but its program runs at each
/// return, and makes each call of every process twice as much longer as the kernel's own look at which call it is.
const RETURNED: &str = "sys_exit_mapping";

impl SeenAt {
    /// The place that this kernel has: whether it takes a program for one of the functions. It may still refuse to
    /// attach one. Asked once.
    pub fn of_kernel() -> Self {
        static SEEN_AT: OnceLock<SeenAt> = OnceLock::new();
        *SEEN_AT.get_or_init(|| match try_functions() {
            Ok(()) if cfg!(debug_assertions) && std::env::var_os(WITHOUT_FUNCTIONS).is_some() => {
                Self::Tracepoints
            }
            Ok(()) => Self::Functions,
            Err(error) => {
                tracing::debug!(%error, "the kernel's functions are not traced");
                Self::Tracepoints
            }
        })
    }

    /// Does a recording that sees them here leave the program out?
    pub fn leaves_out(self, program: &str) -> bool {
        match self {
            Self::Functions => program == RETURNED,
            Self::Tracepoints => is_of_functions(program),
        }
    }

    /// Can a kernel that has this place load the program? One that traces functions has the tracepoints, too.
    pub fn can_load(self, program: &str) -> bool {
        self == Self::Functions || !is_of_functions(program)
    }

    /// Attaches its programs, which are loaded, until the links are closed.
    ///
    /// # Errors
    /// The kernel refuses one; the error names it, and none is attached.
    pub(super) fn attach(self, ebpf: &mut Ebpf) -> Result<Vec<OwnedFd>, ProbeError> {
        match self {
            Self::Tracepoints => FUNCTIONS.into_iter().map(|(_, call)| at_tracepoint(ebpf, call)).collect(),
            Self::Functions => FUNCTIONS.into_iter().map(|(name, _)| at_return(ebpf, name)).collect(),
        }
    }
}

/// The kernel's function that the program of this name is for.
pub(super) fn function(program: &str) -> String {
    let call = FUNCTIONS.iter().find(|(name, _)| *name == program).map_or("mmap", |(_, call)| call);
    format!("{SYSTEM_CALL_FUNCTION}{call}")
}

/// Is this a program of mapping calls?
pub fn is_one(program: &str) -> bool {
    program == RETURNED || is_of_functions(program)
}

fn is_of_functions(program: &str) -> bool {
    FUNCTIONS.iter().any(|(name, _)| *name == program)
}

fn try_functions() -> io::Result<()> {
    let types = Btf::of_kernel().map_err(io::Error::other)?;
    let id = types.function(&function("munmap_return")).ok_or(io::ErrorKind::NotFound)?;
    bpf::try_function_return(id)
}

fn at_return(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd, ProbeError> {
    let mut attach = || {
        let program: &mut FExit = program(ebpf, name)?;
        bpf::link_to_kernel(program.fd()?.as_fd(), None)
            .map_err(|io_error| SyscallError { call: "bpf_raw_tracepoint_open", io_error }.into())
    };
    attach().map_err(|source: ProgramError| ProbeError::Attach {
        probe: format!("the return of {}", function(name)),
        source: Box::new(source),
    })
}

fn at_tracepoint(ebpf: &mut Ebpf, call: &str) -> Result<OwnedFd, ProbeError> {
    let point = format!("sys_exit_{call}");
    let mut attach = || {
        let program: &mut TracePoint = program(ebpf, RETURNED)?;
        let program = program.fd()?.as_fd();
        let link = || {
            let event = perf_event::tracepoint(tracefs::tracepoint_id("syscalls", &point)?)?;
            bpf::link_to_event(program, event.as_fd(), 0)
        };
        link().map_err(|io_error| SyscallError { call: "perf_event_open of a tracepoint", io_error }.into())
    };
    attach().map_err(|source: ProgramError| ProbeError::Attach {
        probe: format!("the tracepoint syscalls:{point}"),
        source: Box::new(source),
    })
}

/// Makes the event of one of the tracepoints, with which all system calls are slower while it lives.
///
/// # Errors
/// There is no tracefs, or it is not permitted.
pub(super) fn tracepoint_event() -> io::Result<OwnedFd> {
    tracefs::ensure()?;
    perf_event::tracepoint(tracefs::tracepoint_id("syscalls", "sys_exit_mremap")?)
}
