//! Allocators: which modules define the malloc family, and which of them the process really uses.
//!
//! Every module that exports `malloc` could be called, but the dynamic linker binds a name to the
//! first definition in link order. Mappings do not tell that order; the bound entries of the global
//! offset tables do: the address there *is* what the process calls. So a preloaded jemalloc is in
//! use and glibc's own malloc, which no table names any more, is not. Where nothing is bound yet, or
//! memory cannot be read, the executable comes first, then other libraries, then the C library.
//!
//! A module may have an allocator that it exports to nobody (`hidden.rs`): then it alone uses it, beside the process's.
//!
//! Gives one entry for each address, however many names it has: a call must be counted once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use self::jumps::Jumps;
use self::scan::{Definition, Scan, kind};
use super::Pid;
use super::elf::Elf;
use super::memory::ProcessMemory;
use super::module::{Module, file_name};
use super::target::Target;

mod function;
mod hidden;
mod jumps;
mod scan;

pub use self::function::Function;

/// A function to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocatorFunction {
    pub function: Function,
    /// Every name of this address, sorted.
    pub names: Vec<String>,
    /// Index into the target's modules.
    pub module: usize,
    /// The module's path, as in maps.
    pub path: String,
    /// Path by which the module can be opened.
    pub file: PathBuf,
    /// ELF virtual address.
    pub vaddr: u64,
    pub file_offset: u64,
    /// Bytes, 0 if unknown.
    pub size: u64,
    /// Only the module itself can call it: a symbol that is not exported.
    pub private: bool,
}

/// A module that defines `malloc` or some of its family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocator {
    /// Index into the target's modules.
    pub module: usize,
    pub path: String,
    /// `glibc`, `jemalloc`, ...
    pub kind: &'static str,
    /// The process calls the malloc of this module.
    pub in_use: bool,
    pub reach: Reach,
}

impl Allocator {
    /// Name of its module's file, and in brackets its kind if that is known.
    pub fn named(&self) -> String {
        let name = file_name(&self.path);
        if self.kind == "other" { name.to_owned() } else { format!("{name} ({})", self.kind) }
    }

    /// A sentence about it if its memory is not seen.
    pub fn unseen(&self) -> Option<String> {
        let named = self.named();
        let text = format!(
            "{named} has an allocator of its own, whose functions are not found: the memory that it gives is in no total"
        );
        (self.reach == Reach::Unseen).then_some(text)
    }
}

/// Those who can call an allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every module: its functions are exported.
    Process,
    /// Its own module alone; its functions were found by symbols.
    Module,
    /// Its own module alone, and its functions cannot be found: the memory that it gives is not seen.
    Unseen,
}

impl Reach {
    /// Name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Reach::Process => "process",
            Reach::Module => "module",
            Reach::Unseen => "unseen",
        }
    }
}

/// Reason why a definition is not probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// The address is that of a function which chooses the real one.
    Ifunc,
    /// The address lies in no executable part of the file.
    NoCode,
    /// The definition of another module comes first, and nothing is bound to this one.
    Interposed,
    /// The function only jumps to a function that is probed.
    Forwards,
    /// Only the module itself can call the function, which is not known to be an allocator's.
    Private,
}

/// A definition that is not probed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    pub name: String,
    pub path: String,
    pub reason: SkipReason,
}

/// The allocators that were found in a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The functions to probe, by module and function; each address once.
    pub functions: Vec<AllocatorFunction>,
    pub allocators: Vec<Allocator>,
    pub skipped: Vec<Skipped>,
}

impl Found {
    /// Allocators that are their own module's alone.
    pub fn own(&self) -> impl Iterator<Item = &Allocator> {
        self.allocators.iter().filter(|allocator| allocator.reach != Reach::Process)
    }

    /// The allocator that every module can call.
    pub fn of_process(&self) -> Option<&Allocator> {
        self.allocators.iter().find(|allocator| allocator.in_use && allocator.reach == Reach::Process)
    }
}

/// The indices of those of `modules` of process `pid` that have an allocator which they do not export.
pub fn of_modules_alone(pid: Pid, modules: &[Module]) -> Vec<usize> {
    (0..).zip(modules).filter(|(_, module)| hidden::is_in(pid, module)).map(|(index, _)| index).collect()
}

/// Finds the allocators of `target`. `memory` is the target's own; without it the dynamic linker's
/// choice is guessed from the kind of module.
pub fn find(target: &Target, memory: Option<&dyn ProcessMemory>) -> Found {
    let scan = Scan::of(target);
    let bound: BTreeSet<u64> = match memory {
        // Unreadable: not bound, as far as can be told.
        Some(memory) => scan.imports.keys().filter_map(|slot| memory.read_u64(*slot).ok()).collect(),
        None => BTreeSet::new(),
    };
    let in_use = scan.modules_in_use(target, &bound);
    let is_used =
        |address: &u64, of: &Definition| of.private || in_use.contains(&of.module) || bound.contains(address);
    let used: BTreeMap<u64, &Definition> = scan
        .definitions
        .iter()
        .filter(|(address, of)| is_used(address, of))
        .map(|(address, of)| (*address, of))
        .collect();

    let mut found = Found { skipped: scan.skipped.clone(), ..Found::default() };
    let exported = scan.definitions.values().filter(|definition| !definition.private);
    let modules: BTreeSet<usize> = exported.map(|definition| definition.module).collect();
    for index in modules {
        let Some(module) = target.modules.get(index) else { continue };
        let kind = if scan.executable == Some(index) { "statically linked" } else { kind(module) };
        let (path, in_use) = (module.path.clone(), in_use.contains(&index));
        found.allocators.push(Allocator { module: index, path, kind, in_use, reach: Reach::Process });
    }
    for (&index, &(kind, is_found)) in &scan.hidden {
        let Some(module) = target.modules.get(index) else { continue };
        let reach = if is_found { Reach::Module } else { Reach::Unseen };
        let path = module.path.clone();
        found.allocators.push(Allocator { module: index, path, kind, in_use: true, reach });
    }
    let mut elf: Option<(usize, Elf)> = None;
    for (address, definition) in &scan.definitions {
        let Some(module) = target.modules.get(definition.module) else { continue };
        if elf.as_ref().is_none_or(|(index, _)| *index != definition.module) {
            elf = module.elf().ok().map(|elf| (definition.module, elf));
        }
        let jumps = || elf.as_ref().map(|(_, elf)| Jumps { module, elf, memory, imports: &scan.imports });
        let reason = if !used.contains_key(address) {
            Some(SkipReason::Interposed)
        } else {
            jumps().is_some_and(|jumps| jumps.forward(definition, &used)).then_some(SkipReason::Forwards)
        };
        if let Some(reason) = reason {
            let skipped = |name: &String| Skipped { name: name.clone(), path: module.path.clone(), reason };
            found.skipped.extend(definition.names.iter().map(skipped));
            continue;
        }
        found.functions.push(AllocatorFunction {
            function: definition.function,
            names: definition.names.iter().cloned().collect(),
            module: definition.module,
            path: module.path.clone(),
            file: module.file.clone(),
            vaddr: definition.vaddr,
            file_offset: definition.file_offset,
            size: definition.size,
            private: definition.private,
        });
    }
    found.functions.sort_by_key(|function| (function.module, function.function, function.vaddr));
    found.skipped.sort();
    found.skipped.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::scan::link_rank;
    use super::*;
    use crate::process::memory::LiveMemory;
    use crate::process::target;

    #[test]
    fn its_own_glibc() {
        let target = target::inspect(Pid::own()).unwrap();
        let memory = LiveMemory::open(target.pid).unwrap();
        for memory in [Some(&memory as &dyn ProcessMemory), None] {
            let found = find(&target, memory);
            let used: Vec<_> = found.allocators.iter().filter(|allocator| allocator.in_use).collect();
            assert_eq!(used.len(), 1, "{:?}", found.allocators);
            assert_eq!(used[0].kind, "glibc");
            let names: BTreeSet<&str> =
                found.functions.iter().flat_map(|function| &function.names).map(String::as_str).collect();
            for name in [
                "malloc",
                "calloc",
                "realloc",
                "reallocarray",
                "free",
                "posix_memalign",
                "aligned_alloc",
                "memalign",
                "valloc",
                "pvalloc",
            ] {
                assert!(names.contains(name), "{name} is missing of {names:?}");
            }
            let addresses: BTreeSet<_> =
                found.functions.iter().map(|function| (function.module, function.vaddr)).collect();
            assert_eq!(addresses.len(), found.functions.len(), "an address twice");
            assert!(
                found.functions.iter().all(|function| function.size > 0 && function.path.contains("libc"))
            );
        }
    }

    #[test]
    fn what_shares_an_address_takes_the_first() {
        assert!(Function::AlignedAlloc < Function::Memalign);
        assert!(Function::Malloc < Function::Valloc);
        assert!(Function::Free < Function::FreeSized);
    }

    #[test]
    fn names_of_cxx_operators() {
        assert_eq!(
            Function::of_allocator_symbol(b"_ZnwmSt11align_val_tRKSt9nothrow_t"),
            Some(Function::Malloc)
        );
        assert_eq!(Function::of_allocator_symbol(b"_ZdaPvm"), Some(Function::Free));
        assert_eq!(Function::of_symbol(b"malloc_usable_size"), None);
    }

    #[test]
    fn the_c_library_comes_last_but_for_the_linker() {
        let own = target::inspect(Pid::own()).unwrap().modules.remove(0);
        let rank = |path: &str| link_rank(&Module { path: path.into(), ..own.clone() });
        assert!(rank("/bin/java") < rank("/usr/lib/libjemalloc.so.2"));
        assert!(rank("/usr/lib/libjemalloc.so.2") < rank("/usr/lib/libc.so.6"));
        assert!(rank("/lib/libc-2.31.so") < rank("/lib/ld-2.31.so"));
        assert_eq!(kind(&Module { path: "/usr/lib/x86_64-linux-musl/libc.so".into(), ..own }), "musl");
    }

    /// A preloaded jemalloc is the allocator: glibc's functions are not probed, and of its operators only those that do
    /// more than jump to another.
    #[test]
    fn a_preloaded_allocator() {
        const JEMALLOC: &str = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2";
        if !std::path::Path::new(JEMALLOC).exists() {
            return println!("skipped: no {JEMALLOC}");
        }
        let mut child =
            std::process::Command::new("sleep").arg("60").env("LD_PRELOAD", JEMALLOC).spawn().unwrap();
        // It sleeps once its libraries are bound.
        while std::fs::read_to_string(format!("/proc/{}/syscall", child.id()))
            .is_ok_and(|text| !text.starts_with("230 "))
        {
            std::thread::yield_now();
        }
        let target = target::inspect(Pid(child.id()));
        let memory = LiveMemory::open(Pid(child.id()));
        let found = target.map(|target| find(&target, Some(&memory.unwrap())));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = found.unwrap();
        let used: Vec<_> = found
            .allocators
            .iter()
            .filter(|allocator| allocator.in_use)
            .map(|allocator| allocator.kind)
            .collect();
        assert_eq!(used, ["jemalloc"]);
        assert!(
            found.functions.iter().all(|function| function.path.contains("jemalloc")),
            "{:?}",
            found.functions
        );
        let reason = |name: &str, part: &str| {
            let skipped =
                found.skipped.iter().find(|skipped| skipped.name == name && skipped.path.contains(part));
            skipped.map(|skipped| skipped.reason)
        };
        assert_eq!(reason("malloc", "libc.so.6"), Some(SkipReason::Interposed));
        assert_eq!(reason("_ZdlPv", "jemalloc"), Some(SkipReason::Forwards), "{:?}", found.skipped);
        assert_eq!(reason("_Znam", "jemalloc"), Some(SkipReason::Forwards));
        // It calls sdallocx; without an alignment it calls a function that is not exported.
        assert_eq!(reason("_ZdlPvmSt11align_val_t", "jemalloc"), Some(SkipReason::Forwards));
        assert_eq!(reason("_ZdlPvm", "jemalloc"), None);
        assert_eq!(reason("free", "jemalloc"), None);
    }
}
