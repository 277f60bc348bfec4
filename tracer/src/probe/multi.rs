//! Programs of uprobes that are attached to all their places in a file by one link (`BPF_TRACE_UPROBE_MULTI`, Linux
//! 6.6): when it goes, the kernel waits once for all of them. Otherwise each place is a perf event of its own.
//!
//! Which of the two a program is for must be said when it is loaded, which aya cannot. So aya makes the maps, and
//! this reads the same object once more, relocates it to those maps, and loads and attaches the programs itself.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya::{
    Ebpf, EbpfError,
    maps::{Map, MapFd},
    programs::ProgramError,
};
use aya_obj::{Object, ProgramSection, VerifierLog, relocation::EbpfRelocationError};

pub use super::bpf::Site;

use super::{ProbeError, bpf, load::Facts};
use crate::process::Pid;

/// The object's programs of uprobes, by name.
pub struct Programs {
    /// Their types, without which the verifier would not take a function as global.
    types: OwnedFd,
    programs: BTreeMap<String, Program>,
}

/// One program.
pub struct Program {
    /// `None` once loaded.
    code: Option<Code>,
    descriptor: Option<OwnedFd>,
    /// Does the program run when a function returns?
    at_return: bool,
}

/// The code of a program that is to be loaded.
struct Code {
    program: aya_obj::Program,
    function: aya_obj::Function,
}

impl Programs {
    /// Reads the programs of `object`, whose maps are those of `ebpf`. `None` if the kernel has no such links.
    ///
    /// # Errors
    /// The object is damaged.
    pub fn read(object: &[u8], ebpf: &Ebpf) -> Result<Option<Programs>, ProbeError> {
        if !bpf::has_links_for_processes() {
            return Ok(None);
        }
        let load_error = |source| ProbeError::Load(Box::new(source));
        let mut object = Object::parse(object).map_err(|error| load_error(error.into()))?;
        let Some(types) = types(&mut object).map_err(load_error)? else { return Ok(None) };
        relocate(&mut object, ebpf).map_err(|error| load_error(error.into()))?;
        let mut programs = BTreeMap::new();
        for (name, program) in std::mem::take(&mut object.programs) {
            let at_return = match program.section {
                ProgramSection::UProbe { .. } => false,
                ProgramSection::URetProbe { .. } => true,
                _ => continue,
            };
            let Some(function) = object.functions.remove(&program.function_key()) else { continue };
            let code = Some(Code { program, function });
            programs.insert(name, Program { code, descriptor: None, at_return });
        }
        Ok(Some(Programs { types, programs }))
    }

    /// Is the program of this name one of them?
    pub fn has(&self, name: &str) -> bool {
        self.programs.contains_key(name)
    }

    /// The program of this name.
    pub fn program(&self, name: &str) -> Option<&Program> {
        self.programs.get(name)
    }

    /// Programs with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Program)> {
        self.programs.iter().map(|(name, program)| (name.as_str(), program))
    }

    /// Programs to be loaded, and the types that they need.
    pub fn to_load(&mut self) -> (BorrowedFd<'_>, impl Iterator<Item = (&str, &mut Program)>) {
        (self.types.as_fd(), self.programs.iter_mut().map(|(name, program)| (name.as_str(), program)))
    }
}

impl Program {
    /// Loads it.
    ///
    /// # Errors
    /// The verifier refuses it, and says why; or it is loaded.
    pub fn load(&mut self, name: &str, types: BorrowedFd<'_>) -> Result<(), ProgramError> {
        let Code { program, function } = self.code.take().ok_or(ProgramError::AlreadyLoaded)?;
        let loaded = bpf::load(name, &program.license, &function, types);
        let descriptor = loaded.map_err(|(io_error, log)| ProgramError::LoadError {
            io_error,
            verifier_log: VerifierLog::new(log),
        })?;
        self.descriptor = Some(descriptor);
        Ok(())
    }

    /// Attaches it to sites in `file`, for every thread of process `pid`, until the result is dropped.
    ///
    /// # Errors
    /// The kernel refuses one of the sites; then none is attached.
    pub fn attach(&self, pid: Pid, file: &Path, sites: &[Site]) -> Result<OwnedFd, ProgramError> {
        let program = self.descriptor.as_ref().ok_or(ProgramError::NotLoaded)?;
        let link = || {
            // 0 would be all processes.
            let pid = i32::try_from(pid.0).ok().filter(|pid| *pid > 0).ok_or(io::ErrorKind::InvalidInput)?;
            let path = CString::new(file.as_os_str().as_bytes())?;
            bpf::link(program.as_fd(), &path, sites, self.at_return, pid)
        };
        link().map_err(|error| failed("bpf_link_create", error))
    }

    /// The kernel's information about it; `None` if it is not loaded.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn facts(&self) -> Result<Option<Facts>, ProgramError> {
        let Some(program) = &self.descriptor else { return Ok(None) };
        let info = bpf::info(program.as_fd()).map_err(|error| failed("bpf_obj_get_info_by_fd", error))?;
        Ok(Some(Facts {
            verified_instructions: info.verified_insns,
            run_count: info.run_cnt,
            run_time_ns: info.run_time_ns,
        }))
    }
}

fn failed(call: &'static str, io_error: io::Error) -> ProgramError {
    ProgramError::SyscallError(aya::sys::SyscallError { call, io_error })
}

/// Loads the object's types. `None`: it has none, or the kernel knows none.
fn types(object: &mut Object) -> Result<Option<OwnedFd>, EbpfError> {
    let Some(features) = aya::features().btf() else { return Ok(None) };
    let Some(types) = object.fixup_and_sanitize_btf(features)? else { return Ok(None) };
    let loaded = bpf::load_types(&types.to_bytes());
    let descriptor = loaded.map_err(|io_error| {
        let verifier_log = VerifierLog::new(String::new());
        EbpfError::BtfError(aya_obj::btf::BtfError::LoadError { io_error, verifier_log })
    })?;
    Ok(Some(descriptor))
}

/// Puts the maps' descriptors into the code, and the functions that a program calls behind it.
fn relocate(object: &mut Object, ebpf: &Ebpf) -> Result<(), EbpfRelocationError> {
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let maps = std::mem::take(&mut object.maps);
    let descriptors = maps.iter().filter_map(|(name, map)| Some((name, descriptor(ebpf.map(name)?)?, map)));
    object.relocate_maps(
        descriptors.map(|(name, descriptor, map)| (name.as_str(), descriptor.as_fd().as_raw_fd(), map)),
        &sections,
    )?;
    object.relocate_calls(&sections)
}

/// The descriptor of a map, of the kinds that the object has.
fn descriptor(map: &Map) -> Option<&MapFd> {
    match map {
        Map::Array(data) | Map::PerCpuArray(data) | Map::HashMap(data) | Map::RingBuf(data) => {
            Some(data.fd())
        }
        _ => None,
    }
}
