//! The plan of a process's probes, and the process's own requirements; attaches nothing.
//!
//! Takes a target and the kernel's features; gives the places of the allocator's probes, the USDT
//! sites, and the process's own requirements.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use object::ReadCache;

use super::kernel::{Features, Requirement, Status};
use super::placement::{Code, InsideSite, Needs, Placement, PlacementError};
use super::points;
use crate::process::allocator::{self, Allocator, AllocatorFunction, Found, Function, Reach, Skipped};
use crate::process::elf::{Elf, ElfError, SymbolTable};
use crate::process::lifecycle::{self, LifecycleSymbol};
use crate::process::memory::{LiveMemory, ProcessMemory};
use crate::process::read_budget::ReadBudget;
use crate::process::{Module, Target, module, usdt};
use crate::unwind::table;

/// An allocator function, and where its probe goes.
#[derive(Debug)]
pub struct PlannedFunction {
    pub function: AllocatorFunction,
    pub placement: Result<Placement, PlacementError>,
    /// Places inside it that stand for its entry and its return, and cost less; empty: there are none.
    pub inside: Vec<InsideSite>,
}

impl PlannedFunction {
    /// Would a recording without it be wrong? The others are called rarely, or not at all.
    pub fn is_essential(&self) -> bool {
        matches!(
            self.function.function,
            Function::Malloc | Function::Calloc | Function::Realloc | Function::Free
        )
    }
}

/// The plan of a process's probes, and what the process does not have for them.
#[derive(Debug)]
pub struct ProbePlan {
    pub functions: Vec<PlannedFunction>,
    /// Functions of `--probes light`.
    pub lifecycle: Vec<PlannedFunction>,
    pub allocators: Vec<Allocator>,
    /// Definitions that are not probed, with the reason.
    pub skipped: Vec<Skipped>,
    /// Sites of each of HotSpot's probes that are used; 0 where the build lacks it.
    pub usdt_sites: BTreeMap<&'static str, usize>,
    pub requirements: Vec<Requirement>,
}

impl ProbePlan {
    /// Surveys `target`.
    pub fn of(target: &Target, features: &Features) -> Self {
        let budget = ReadBudget::for_bytes(0);
        let memory = LiveMemory::open(target.pid).ok().map(|memory| memory.within(&budget));
        let mut found = allocator::find(target, memory.as_ref().map(|memory| memory as &dyn ProcessMemory));
        let functions = place_allocators(target, &mut found);
        let lifecycle = lifecycle_functions(target);
        let usdt_sites = usdt_sites(target);
        let mut requirements = jvm_requirements(target, &usdt_sites);
        requirements.push(allocator_requirement(target, &found.allocators, &functions));
        requirements.extend(unseen_requirement(&found.allocators));
        requirements.extend(placement_requirement(&functions));
        requirements.push(memory_requirement(target));
        requirements.extend(seccomp_requirement(target, features));
        Self {
            functions,
            lifecycle,
            allocators: found.allocators,
            skipped: found.skipped,
            usdt_sites,
            requirements,
        }
    }
}

/// Can this process read the target's memory? Asked by opening it, as a recording does.
pub fn memory_requirement(target: &Target) -> Requirement {
    let (id, title) = ("memory", "the process's memory can be read");
    match LiveMemory::open(target.pid) {
        Ok(_) => Requirement::met(id, title, "readable"),
        Err(error) => Requirement::lacking(
            id,
            title,
            Status::Missing,
            format!("{}: {error}", target.pid.path("mem").display()),
            "run as root; of capabilities, a process of another user needs CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE",
        ),
    }
}

/// Functions of a library that are watched instead of malloc, and the symbols that it does not have for that.
#[derive(Debug)]
pub struct LifecycleLibrary {
    pub functions: Vec<PlannedFunction>,
    pub lacks: Option<&'static str>,
}

/// Places the probes of what is held in the library `elf`, which the target knows as `path` and this process can
/// open as `file`. `index`: among the target's modules.
///
/// # Errors
/// The library cannot be read.
pub fn place_lifecycle(
    elf: &Elf,
    path: &str,
    file: &Path,
    index: usize,
) -> Result<LifecycleLibrary, ElfError> {
    let name = module::file_name(path);
    let holding = lifecycle::read(name, elf)?;
    let mut code: Option<Code> = None;
    let mut placement = |function: &LifecycleSymbol| {
        if code.as_ref().is_none_or(|code| !code.contains(function.vaddr)) {
            code = Some(Code::containing(elf, function.vaddr)?);
        }
        let code = code.as_ref().ok_or(PlacementError::OutsideCode(function.vaddr))?;
        code.place(function.vaddr, function.size, Needs::of(function.function))
    };
    let planned = |held: LifecycleSymbol| PlannedFunction {
        placement: placement(&held),
        inside: Vec::new(),
        function: AllocatorFunction {
            function: held.function,
            names: vec![held.name.to_owned()],
            module: index,
            path: path.to_owned(),
            file: file.to_owned(),
            vaddr: held.vaddr,
            file_offset: elf.code_offset(held.vaddr).unwrap_or_default(),
            size: held.size,
            private: false,
        },
    };
    let functions = holding.functions.into_iter().map(planned).collect();
    Ok(LifecycleLibrary { functions, lacks: holding.lacks })
}

/// The functions of `--probes light` in the target's modules.
fn lifecycle_functions(target: &Target) -> Vec<PlannedFunction> {
    let modules =
        target.modules.iter().enumerate().filter(|(_, module)| lifecycle::may_define(module.name()));
    let placed = modules.filter_map(|(index, module)| {
        let placed = module.elf().and_then(|elf| place_lifecycle(&elf, &module.path, &module.file, index));
        Some(placed.ok()?.functions)
    });
    placed.flatten().collect()
}

/// Takes the allocators' functions from `found` and places their probes. An allocator that only its own module can call
/// is not watched in part: where one of its essential functions cannot be placed, it is unseen.
pub fn place_allocators(target: &Target, found: &mut Found) -> Vec<PlannedFunction> {
    let mut planned = place(target, std::mem::take(&mut found.functions));
    for allocator in found.allocators.iter_mut().filter(|allocator| allocator.reach == Reach::Module) {
        let is_its = |planned: &PlannedFunction| {
            planned.function.module == allocator.module && planned.function.private
        };
        let mut essential =
            planned.iter().filter(|planned| is_its(planned)).filter(|planned| planned.is_essential());
        if let Some(error) = essential.find_map(|planned| planned.placement.as_ref().err()) {
            tracing::debug!(path = allocator.path, %error, "an allocator that is not watched");
            allocator.reach = Reach::Unseen;
            planned.retain(|planned| !is_its(planned));
        }
    }
    planned
}

fn unseen_requirement(allocators: &[Allocator]) -> Option<Requirement> {
    let found: Vec<String> = allocators.iter().filter_map(Allocator::unseen).collect();
    (!found.is_empty()).then(|| {
        Requirement::lacking(
            "hidden-allocators",
            "allocators inside libraries",
            Status::Warning,
            found.join("; "),
            "install the library's debug symbols, or use a build of it that is not stripped",
        )
    })
}

/// Places the probes of each function; a module's code is read once.
pub fn place(target: &Target, functions: Vec<AllocatorFunction>) -> Vec<PlannedFunction> {
    let mut code: Option<(usize, Code)> = None;
    let mut place = |function: &AllocatorFunction| {
        let module =
            target.modules.get(function.module).ok_or(PlacementError::OutsideCode(function.vaddr))?;
        let cached =
            code.as_ref().filter(|(index, code)| *index == function.module && code.contains(function.vaddr));
        if cached.is_none() {
            code = Some((function.module, Code::containing(&module.elf()?, function.vaddr)?));
        }
        let (_, code) = code.as_ref().ok_or(PlacementError::OutsideCode(function.vaddr))?;
        // Those of an allocator's own interface (`mallocx`) take more.
        let has_name_in_c = function.names.iter().any(|name| name.ends_with(function.function.name()));
        if function.private
            && has_name_in_c
            && code.takes_more_than(function.function, function.vaddr, function.size)
        {
            return Err(PlacementError::OtherSignature(function.vaddr));
        }
        let placement = code.place(function.vaddr, function.size, Needs::of(function.function))?;
        // The arguments of the others are more than the size, or they are called rarely.
        let inside =
            if function.function == Function::Malloc { inside(module, code, function) } else { Vec::new() };
        Ok((placement, inside))
    };
    let planned = |function: AllocatorFunction| match place(&function) {
        Ok((placement, inside)) => PlannedFunction { function, placement: Ok(placement), inside },
        Err(error) => PlannedFunction { function, placement: Err(error), inside: Vec::new() },
    };
    functions.into_iter().map(planned).collect()
}

/// Places inside a function. Without unwind rows nothing is known of its inside.
fn inside(module: &Module, code: &Code, function: &AllocatorFunction) -> Vec<InsideSite> {
    let table = File::open(&module.file).ok().and_then(|file| table::compile(&ReadCache::new(file)).ok());
    table.map(|table| code.places_inside(&table, function.vaddr, function.size)).unwrap_or_default()
}

/// Would a recording end the process? It would, by its own seccomp filter on some kernels.
pub fn seccomp_requirement(target: &Target, features: &Features) -> Option<Requirement> {
    const FILTER: u32 = 2;
    let (id, title) = ("seccomp", "a system call filter that lets return probes pass");
    (target.seccomp == FILTER && features.return_probe_meets_seccomp()).then(|| {
        let found = format!(
            "the process has a seccomp filter; on Linux {} it could be killed by it",
            features.release
        );
        let help =
            "update the kernel to 6.14 or later (or 6.12.14, 6.13.3), or run the program without the filter";
        Requirement::lacking(id, title, Status::Missing, found, help)
    })
}

fn usdt_sites(target: &Target) -> BTreeMap<&'static str, usize> {
    let Some(jvm) = &target.jvm else { return BTreeMap::new() };
    let probes = jvm.libjvm.elf().and_then(|elf| usdt::read(&elf)).unwrap_or_default();
    let sites = |name: &str| {
        probes
            .iter()
            .filter(|probe| probe.provider == "hotspot" && probe.name == name && probe.semaphore == 0)
            .count()
    };
    points::USDT.iter().map(|(name, _)| (*name, sites(name))).collect()
}

fn jvm_requirements(target: &Target, usdt_sites: &BTreeMap<&'static str, usize>) -> Vec<Requirement> {
    let Some(jvm) = &target.jvm else {
        return vec![Requirement::lacking(
            "jvm",
            "a HotSpot JVM",
            Status::Warning,
            "no libjvm is mapped: native memory is recorded, without anything Java",
            "for a JVM that has just started, try again; `tracer list` shows the JVMs of this host",
        )];
    };
    let parts = [jvm.vendor.as_deref(), jvm.version.as_deref()].into_iter().flatten().collect::<Vec<_>>();
    let version = if parts.is_empty() {
        "version unknown: no release file beside it".to_owned()
    } else {
        parts.join(" ")
    };
    let mut requirements = vec![Requirement::met("jvm", "a HotSpot JVM", version)];
    let symbols = |table| jvm.libjvm.elf().and_then(|elf| elf.symbols(table)).unwrap_or_default();
    let describes = symbols(SymbolTable::Dynamic)
        .iter()
        .any(|symbol| symbol.name == b"gHotSpotVMStructs" && symbol.section != 0);
    let (id, title) = ("vmstructs", "the JVM's description of its structures");
    requirements.push(if describes {
        Requirement::met(id, title, "gHotSpotVMStructs is exported")
    } else {
        let found = "libjvm exports no gHotSpotVMStructs: Java frames stay without names";
        Requirement::lacking(
            id,
            title,
            Status::Warning,
            found,
            "use a HotSpot build: OpenJDK, Temurin, Corretto, Zulu, ...",
        )
    });
    let (id, title) = ("symbols", "symbols of libjvm");
    requirements.push(if symbols(SymbolTable::Full).iter().next().is_some() {
        Requirement::met(id, title, "in libjvm itself")
    } else {
        let found = "libjvm is stripped: its subsystems may not be told apart";
        Requirement::lacking(
            id,
            title,
            Status::Warning,
            found,
            "install the runtime's debug symbols (openjdk-*-dbg)",
        )
    });
    let absent: Vec<&str> =
        usdt_sites.iter().filter(|(_, sites)| **sites == 0).map(|(name, _)| *name).collect();
    let (id, title) = ("usdt", "the JVM's own probes (USDT)");
    requirements.push(if absent.is_empty() {
        Requirement::met(id, title, "garbage collections, compiled methods, Java threads, unloaded classes")
    } else {
        let found = format!("this build lacks {}", absent.join(", "));
        let help =
            "nothing need be done; without them, collections and short-lived compiled methods are not seen";
        Requirement::lacking(id, title, Status::Warning, found, help)
    });
    requirements
}

fn allocator_requirement(
    target: &Target,
    allocators: &[Allocator],
    functions: &[PlannedFunction],
) -> Requirement {
    let (id, title) = ("allocator", "an allocator with symbols");
    if functions.is_empty() {
        let found = match target.executable() {
            Some(executable) if target.modules.len() == 1 => {
                format!("{} is statically linked, and names no malloc", executable.name())
            }
            _ => "no module defines malloc".to_owned(),
        };
        return Requirement::lacking(
            id,
            title,
            Status::Missing,
            found,
            "keep the symbols of the program: do not strip it",
        );
    }
    let name = |allocator: &Allocator| match target.modules.get(allocator.module) {
        Some(module) => format!("{} ({})", allocator.kind, module.name()),
        None => allocator.kind.to_owned(),
    };
    let is_used = |allocator: &&Allocator| allocator.in_use && allocator.reach != Reach::Unseen;
    let used = allocators.iter().filter(is_used).map(name).collect::<Vec<_>>();
    Requirement::met(id, title, format!("{}, {} functions", used.join(" and "), functions.len()))
}

fn placement_requirement(functions: &[PlannedFunction]) -> Option<Requirement> {
    if functions.is_empty() {
        return None;
    }
    let (id, title) = ("placement", "places for its probes");
    let names = |functions: Vec<&PlannedFunction>| {
        functions.iter().map(|planned| planned.function.function.name()).collect::<Vec<_>>().join(", ")
    };
    let unplaced: Vec<_> = functions.iter().filter(|planned| planned.placement.is_err()).collect();
    if !unplaced.is_empty() {
        let status = if unplaced.iter().any(|planned| planned.is_essential()) {
            Status::Missing
        } else {
            Status::Warning
        };
        let found = format!("{} cannot be probed (`-v` tells why)", names(unplaced));
        return Some(Requirement::lacking(id, title, status, found, "use another build of the allocator"));
    }
    let is_stepped =
        |planned: &&PlannedFunction| planned.placement.as_ref().is_ok_and(|placement| !placement.emulated);
    let hot =
        |planned: &&PlannedFunction| matches!(planned.function.function, Function::Malloc | Function::Free);
    let stepped: Vec<_> = functions.iter().filter(is_stepped).filter(hot).collect();
    if !stepped.is_empty() {
        let found = format!("{} must be single-stepped: each call costs several times more", names(stepped));
        return Some(Requirement::lacking(
            id,
            title,
            Status::Warning,
            found,
            "keep the recording short: `-d 10s`",
        ));
    }
    let emulated = functions.iter().filter(|planned| !is_stepped(planned)).count();
    Some(Requirement::met(
        id,
        title,
        format!("{emulated} of {} on instructions that the kernel emulates", functions.len()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    #[test]
    fn a_process_without_a_jvm_can_be_traced() {
        let target = process::inspect(process::Pid::own()).unwrap();
        let plan = ProbePlan::of(&target, &Features::read());
        let status = |id: &str| {
            plan.requirements.iter().find(|requirement| requirement.id == id).map(|found| found.status)
        };
        assert_eq!(status("jvm"), Some(Status::Warning));
        assert_eq!(status("allocator"), Some(Status::Met));
        assert_eq!(status("placement"), Some(Status::Met), "{:?}", plan.requirements);
        assert!(plan.usdt_sites.is_empty());
    }

    #[test]
    fn a_filter_matters_on_some_kernels_alone() {
        let mut target = process::inspect(process::Pid::own()).unwrap();
        let mut features = Features::read();
        let missing = |target: &Target, features: &Features| seccomp_requirement(target, features).is_some();
        for (seccomp, release, expected) in
            [(2, "6.11.4", true), (0, "6.11.4", false), (2, "6.14.0", false), (2, "6.1.0", false)]
        {
            target.seccomp = seccomp;
            features.release = release.into();
            assert_eq!(missing(&target, &features), expected, "{seccomp} {release}");
        }
    }
}
