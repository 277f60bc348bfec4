//! The system calls that change mappings, by the way of seeing them that costs others least: the returns of the kernel's
//! own functions for them (fexit), or, on a kernel that cannot trace those, its tracepoints of system calls.

use std::os::fd::{AsFd, OwnedFd};

use aya::{
    Ebpf,
    programs::{FExit, ProgramError},
};
use serde::Serialize;
use tracer_common::arch::SYSTEM_CALL_FUNCTION;

use super::{
    ProbeError,
    attach::{self, program},
    multi, tracefs,
};

/// The way in which mapping calls are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// At the returns of the kernel's functions: no other call costs anything.
    Functions,
    /// By tracepoints of system calls, with which every system call of every process takes longer.
    Tracepoints,
}

/// Programs at the returns of functions, and the calls.
const FUNCTIONS: [(&str, &str); 6] = [
    ("mmap_return", "mmap"),
    ("munmap_return", "munmap"),
    ("mremap_return", "mremap"),
    ("brk_return", "brk"),
    ("mprotect_return", "mprotect"),
    ("madvise_return", "madvise"),
];

/// Tracepoints: program, category, name.
const TRACEPOINTS: [(&str, &str, &str); 12] = [
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
];

impl Way {
    /// The way that this kernel seems to have: whether it has the other is known when it lets one attach.
    pub fn of_kernel() -> Self {
        // There is such a list where functions can be traced at all (CONFIG_DYNAMIC_FTRACE).
        if tracefs::has("available_filter_functions") { Self::Functions } else { Self::Tracepoints }
    }

    /// Does this way not use the program?
    pub fn leaves_out(self, program: &str) -> bool {
        match self {
            Self::Functions => is_of_tracepoints(program),
            Self::Tracepoints => is_of_functions(program),
        }
    }

    /// Attaches its programs, which are loaded, until the links are closed.
    ///
    /// # Errors
    /// The kernel refuses one; the error names it, and none is attached.
    pub(super) fn attach(self, ebpf: &mut Ebpf) -> Result<Vec<OwnedFd>, ProbeError> {
        match self {
            Self::Tracepoints => {
                TRACEPOINTS.into_iter().map(|tracepoint| attach::tracepoint(ebpf, tracepoint)).collect()
            }
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
    is_of_functions(program) || is_of_tracepoints(program)
}

fn is_of_functions(program: &str) -> bool {
    FUNCTIONS.iter().any(|(name, _)| *name == program)
}

fn is_of_tracepoints(program: &str) -> bool {
    TRACEPOINTS.iter().any(|(name, ..)| *name == program)
}

fn at_return(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd, ProbeError> {
    let mut attach = || {
        let program: &mut FExit = program(ebpf, name)?;
        multi::link_to_function(program.fd()?.as_fd())
            .map_err(|io_error| aya::sys::SyscallError { call: "bpf_raw_tracepoint_open", io_error }.into())
    };
    attach().map_err(|source: ProgramError| ProbeError::Attach {
        probe: format!("the return of {}", function(name)),
        source: Box::new(source),
    })
}
