//! Allocators: which modules define the malloc family, and which of them the process really uses.
//!
//! Every module that exports `malloc` could be called, but the dynamic linker binds a name to the
//! first definition in link order. Mappings do not tell that order; the bound entries of the global
//! offset tables do: the address there *is* what the process calls. So a preloaded jemalloc is in
//! use and glibc's own malloc, which no table names any more, is not. Where nothing is bound yet, or
//! memory cannot be read, the executable comes first, then other libraries, then the C library.
//!
//! Gives one entry for each address, however many names it has: a call must be counted once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::elf::{Elf, ElfError, Section, Symbol, SymbolTable, Symbols, u64_at};
use super::memory::ProcessMemory;
use super::module::Module;
use super::process::Target;

/// What an allocator function does with its arguments. Where two names share one address, the
/// earlier here is taken (glibc: `aligned_alloc` and `memalign`, whose arguments are alike).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    /// `malloc(size)`, and what takes and returns the same: `operator new(size, ...)`.
    Malloc,
    /// `calloc(count, size)`.
    Calloc,
    /// `realloc(pointer, size)`.
    Realloc,
    /// `reallocarray(pointer, count, size)`.
    Reallocarray,
    /// `free(pointer)`, and what takes the pointer first: `operator delete(pointer, ...)`.
    Free,
    /// `posix_memalign(result, alignment, size)`.
    PosixMemalign,
    /// `aligned_alloc(alignment, size)`.
    AlignedAlloc,
    /// `memalign(alignment, size)`.
    Memalign,
    /// `valloc(size)`.
    Valloc,
    /// `pvalloc(size)`.
    Pvalloc,
    /// C23's `free_sized(pointer, size)`.
    FreeSized,
    /// C23's `free_aligned_sized(pointer, alignment, size)`.
    FreeAlignedSized,
}

impl Function {
    /// The C name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malloc => "malloc",
            Self::Calloc => "calloc",
            Self::Realloc => "realloc",
            Self::Reallocarray => "reallocarray",
            Self::Free => "free",
            Self::PosixMemalign => "posix_memalign",
            Self::AlignedAlloc => "aligned_alloc",
            Self::Memalign => "memalign",
            Self::Valloc => "valloc",
            Self::Pvalloc => "pvalloc",
            Self::FreeSized => "free_sized",
            Self::FreeAlignedSized => "free_aligned_sized",
        }
    }

    /// Does it give memory (so that its return matters)?
    pub fn allocates(self) -> bool {
        !matches!(self, Self::Free | Self::FreeSized | Self::FreeAlignedSized)
    }

    /// The function that a symbol of this name is.
    fn of_symbol(name: &[u8]) -> Option<Self> {
        const NAMED: [(&[u8], Function); 13] = [
            (b"malloc", Function::Malloc),
            (b"calloc", Function::Calloc),
            (b"realloc", Function::Realloc),
            (b"reallocarray", Function::Reallocarray),
            (b"free", Function::Free),
            // free's second name until glibc 2.26.
            (b"cfree", Function::Free),
            (b"posix_memalign", Function::PosixMemalign),
            (b"aligned_alloc", Function::AlignedAlloc),
            (b"memalign", Function::Memalign),
            (b"valloc", Function::Valloc),
            (b"pvalloc", Function::Pvalloc),
            (b"free_sized", Function::FreeSized),
            (b"free_aligned_sized", Function::FreeAlignedSized),
        ];
        NAMED.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
    }

    /// Entry points of an allocator library beside the C names. Such a library serves `new` without
    /// calling its own malloc (libstdc++'s operators call malloc and define none of it).
    fn of_allocator_symbol(name: &[u8]) -> Option<Self> {
        // operator new(size), new[](size), with alignment or nothrow behind the size; delete alike.
        if name.starts_with(b"_Znwm") || name.starts_with(b"_Znam") {
            return Some(Self::Malloc);
        }
        if name.starts_with(b"_ZdlPv") || name.starts_with(b"_ZdaPv") {
            return Some(Self::Free);
        }
        // jemalloc's own interface: mallocx(size, flags), rallocx(pointer, size, flags),
        // dallocx(pointer, flags), sdallocx(pointer, size, flags).
        match name {
            b"mallocx" => Some(Self::Malloc),
            b"rallocx" => Some(Self::Realloc),
            b"dallocx" | b"sdallocx" => Some(Self::Free),
            _ => None,
        }
    }
}

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
    /// By which the module can be opened.
    pub file: PathBuf,
    /// ELF virtual address.
    pub vaddr: u64,
    pub file_offset: u64,
    /// Bytes, 0 if unknown.
    pub size: u64,
}

/// A module that defines `malloc` or some of its family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocator {
    /// Index into the target's modules.
    pub module: usize,
    pub path: String,
    /// `glibc`, `jemalloc`, ...
    pub kind: &'static str,
    /// Its malloc is what the process calls.
    pub in_use: bool,
}

/// Why a definition is not probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// Its address is that of a function which chooses the real one.
    Ifunc,
    /// Its address lies in no executable part of the file.
    NoCode,
    /// Another module's definition comes first, and nothing is bound to this one.
    Interposed,
}

/// A definition that is not probed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    pub name: String,
    pub path: String,
    pub reason: SkipReason,
}

/// What was found in a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What to probe, by module and address; each address once.
    pub functions: Vec<AllocatorFunction>,
    pub allocators: Vec<Allocator>,
    pub skipped: Vec<Skipped>,
}

/// One definition: where, and its names.
struct Definition {
    function: Function,
    names: BTreeSet<String>,
    module: usize,
    vaddr: u64,
    file_offset: u64,
    size: u64,
}

/// Finds the allocators of `target`. `memory` is the target's own; without it the dynamic linker's
/// choice is guessed from the kind of module.
pub fn find(target: &Target, memory: Option<&dyn ProcessMemory>) -> Found {
    let executable = target.executable().map(|module| module.path.as_str());
    let mut found = Found::default();
    // By runtime address.
    let mut definitions: BTreeMap<u64, Definition> = BTreeMap::new();
    let mut bound: BTreeSet<u64> = BTreeSet::new();
    for (index, module) in target.modules.iter().enumerate() {
        let is_executable = executable == Some(module.path.as_str());
        let result = read_module(
            index,
            module,
            is_executable,
            memory,
            &mut definitions,
            &mut bound,
            &mut found.skipped,
        );
        if let Err(error) = result {
            tracing::debug!(path = module.path, %error, "no symbols");
        }
    }
    // The modules whose malloc is called.
    let defines_malloc = |definition: &Definition| definition.names.contains("malloc");
    let mut in_use: BTreeSet<usize> = BTreeSet::new();
    for (address, definition) in definitions.iter().filter(|(_, definition)| defines_malloc(definition)) {
        let own = executable
            .is_some_and(|path| target.modules.get(definition.module).is_some_and(|m| m.path == path));
        if own || bound.contains(address) {
            in_use.insert(definition.module);
        }
    }
    if in_use.is_empty() {
        let candidates = definitions.values().filter(|definition| defines_malloc(definition));
        let rank = |definition: &&Definition| {
            target.modules.get(definition.module).map_or(u8::MAX, |module| link_rank(module.name()))
        };
        in_use.extend(candidates.min_by_key(rank).map(|definition| definition.module));
    }
    let modules: BTreeSet<usize> = definitions.values().map(|definition| definition.module).collect();
    for module in modules {
        let Some(of) = target.modules.get(module) else { continue };
        let kind = if executable == Some(of.path.as_str()) { "statically linked" } else { kind(of.name()) };
        found.allocators.push(Allocator {
            module,
            path: of.path.clone(),
            kind,
            in_use: in_use.contains(&module),
        });
    }
    for (address, definition) in definitions {
        let Some(module) = target.modules.get(definition.module) else { continue };
        if in_use.contains(&definition.module) || bound.contains(&address) {
            found.functions.push(AllocatorFunction {
                function: definition.function,
                names: definition.names.into_iter().collect(),
                module: definition.module,
                path: module.path.clone(),
                file: module.file.clone(),
                vaddr: definition.vaddr,
                file_offset: definition.file_offset,
                size: definition.size,
            });
        } else {
            let skipped = |name| Skipped { name, path: module.path.clone(), reason: SkipReason::Interposed };
            found.skipped.extend(definition.names.into_iter().map(skipped));
        }
    }
    found.skipped.sort();
    found.skipped.dedup();
    found
}

/// Collects the definitions of one module, and what its bound entries for the family point to.
fn read_module(
    index: usize,
    module: &Module,
    is_executable: bool,
    memory: Option<&dyn ProcessMemory>,
    definitions: &mut BTreeMap<u64, Definition>,
    bound: &mut BTreeSet<u64>,
    skipped: &mut Vec<Skipped>,
) -> Result<(), ElfError> {
    let elf = module.elf()?;
    let dynamic = elf.symbols(SymbolTable::Dynamic)?;
    if let Some(memory) = memory {
        read_bound(&elf, &dynamic, module, memory, bound)?;
    }
    // The executable may hold an allocator without exporting it.
    let own =
        if is_executable { elf.symbols(SymbolTable::Full).unwrap_or_default() } else { Symbols::default() };
    let symbols = || dynamic.iter().chain(own.iter()).filter(|symbol| symbol.section != 0);
    let is_allocator = symbols().any(|symbol| symbol.name == b"malloc");
    for symbol in symbols() {
        let function = Function::of_symbol(symbol.name)
            .or_else(|| is_allocator.then(|| Function::of_allocator_symbol(symbol.name)).flatten());
        let Some(function) = function else { continue };
        let name = String::from_utf8_lossy(symbol.name).into_owned();
        let mut skip =
            |reason| skipped.push(Skipped { name: name.clone(), path: module.path.clone(), reason });
        if symbol.kind == Symbol::IFUNC {
            skip(SkipReason::Ifunc);
            continue;
        }
        if symbol.kind != Symbol::FUNCTION {
            continue;
        }
        let Some(file_offset) = elf.code_offset(symbol.vaddr) else {
            skip(SkipReason::NoCode);
            continue;
        };
        let definition = definitions.entry(module.address(symbol.vaddr)).or_insert_with(|| Definition {
            function,
            names: BTreeSet::new(),
            module: index,
            vaddr: symbol.vaddr,
            file_offset,
            size: symbol.size,
        });
        definition.function = definition.function.min(function);
        definition.size = definition.size.max(symbol.size);
        definition.names.insert(name);
    }
    Ok(())
}

/// The addresses to which this module's imports of the family are bound.
fn read_bound(
    elf: &Elf,
    symbols: &Symbols,
    module: &Module,
    memory: &dyn ProcessMemory,
    bound: &mut BTreeSet<u64>,
) -> Result<(), ElfError> {
    const RELA: u32 = 4;
    const RELA_BYTES: usize = 24;
    const GLOB_DAT: u32 = 6;
    const JUMP_SLOT: u32 = 7;
    let tables = elf.sections()?;
    for table in tables.iter().filter(|section: &&Section| section.kind == RELA) {
        let bytes = elf.section_bytes(table)?;
        for entry in bytes.chunks_exact(RELA_BYTES) {
            let info = u64_at(entry, 8);
            if !matches!((info & 0xffff_ffff) as u32, GLOB_DAT | JUMP_SLOT) {
                continue;
            }
            let symbol = usize::try_from(info >> 32).ok().and_then(|index| symbols.get(index));
            let of_family = |symbol: &Symbol<'_>| {
                Function::of_symbol(symbol.name)
                    .or_else(|| Function::of_allocator_symbol(symbol.name))
                    .is_some()
            };
            if symbol.as_ref().is_some_and(of_family) {
                // Unreadable: not bound, as far as can be told.
                bound.extend(memory.read_u64(module.address(u64_at(entry, 0))).ok());
            }
        }
    }
    Ok(())
}

/// Where nothing is bound: lower is likelier to come first in link order.
fn link_rank(name: &str) -> u8 {
    match kind(name) {
        // It had a minimal malloc of its own until glibc 2.31, for the time before libc is there.
        "dynamic linker" => 3,
        "glibc" | "musl" => 2,
        _ if name.contains(".so") => 1,
        _ => 0,
    }
}

fn kind(name: &str) -> &'static str {
    const KNOWN: [(&str, &str); 9] = [
        ("ld-musl", "musl"),
        ("libc.musl", "musl"),
        ("ld-linux", "dynamic linker"),
        ("ld-2.", "dynamic linker"),
        ("libc.so", "glibc"),
        ("libc-2.", "glibc"),
        ("libjemalloc", "jemalloc"),
        ("libtcmalloc", "tcmalloc"),
        ("libmimalloc", "mimalloc"),
    ];
    KNOWN.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or("other", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::memory::LiveMemory;
    use crate::target::process;

    #[test]
    fn its_own_glibc() {
        let target = process::inspect(std::process::id()).unwrap();
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
        assert!(link_rank("java") < link_rank("libjemalloc.so.2"));
        assert!(link_rank("libjemalloc.so.2") < link_rank("libc.so.6"));
        assert!(link_rank("libc-2.31.so") < link_rank("ld-2.31.so"));
    }
}
