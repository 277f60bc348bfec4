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
    /// All that it does is to jump to a function that is probed.
    Forwards,
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
    /// What to probe, by module and function; each address once.
    pub functions: Vec<AllocatorFunction>,
    pub allocators: Vec<Allocator>,
    pub skipped: Vec<Skipped>,
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
    let is_used = |address: &u64, of: &Definition| in_use.contains(&of.module) || bound.contains(address);
    let used: BTreeMap<u64, &Definition> = scan
        .definitions
        .iter()
        .filter(|(address, of)| is_used(address, of))
        .map(|(address, of)| (*address, of))
        .collect();

    let mut found = Found { skipped: scan.skipped.clone(), ..Found::default() };
    let modules: BTreeSet<usize> = scan.definitions.values().map(|definition| definition.module).collect();
    for index in modules {
        let Some(module) = target.modules.get(index) else { continue };
        let kind = if scan.executable == Some(index) { "statically linked" } else { kind(module) };
        let in_use = in_use.contains(&index);
        found.allocators.push(Allocator { module: index, path: module.path.clone(), kind, in_use });
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
            jumps()
                .is_some_and(|jumps| jumps.forward(definition.vaddr, &used))
                .then_some(SkipReason::Forwards)
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
        });
    }
    found.functions.sort_by_key(|function| (function.module, function.function, function.vaddr));
    found.skipped.sort();
    found.skipped.dedup();
    found
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

/// What the symbol tables of a target's modules say.
#[derive(Default)]
struct Scan {
    /// Index of the executable's module.
    executable: Option<usize>,
    /// By runtime address.
    definitions: BTreeMap<u64, Definition>,
    /// Entries of global offset tables for functions of the family: by their runtime address, the
    /// name.
    imports: BTreeMap<u64, String>,
    skipped: Vec<Skipped>,
}

impl Scan {
    fn of(target: &Target) -> Self {
        let executable = target.executable().map(|module| module.path.as_str());
        let executable = target.modules.iter().position(|module| Some(module.path.as_str()) == executable);
        let mut scan = Self { executable, ..Self::default() };
        for (index, module) in target.modules.iter().enumerate() {
            if let Err(error) = scan.module(index, module) {
                tracing::debug!(path = module.path, %error, "no symbols");
            }
        }
        scan
    }

    /// The modules whose malloc is called.
    fn modules_in_use(&self, target: &Target, bound: &BTreeSet<u64>) -> BTreeSet<usize> {
        let mallocs =
            || self.definitions.iter().filter(|(_, definition)| definition.names.contains("malloc"));
        let called =
            mallocs().filter(|(address, of)| self.executable == Some(of.module) || bound.contains(address));
        let in_use: BTreeSet<usize> = called.map(|(_, definition)| definition.module).collect();
        if !in_use.is_empty() {
            return in_use;
        }
        let rank = |module: &usize| target.modules.get(*module).map_or(u8::MAX, link_rank);
        mallocs().map(|(_, definition)| definition.module).min_by_key(rank).into_iter().collect()
    }

    /// Collects the definitions and imports of one module.
    fn module(&mut self, index: usize, module: &Module) -> Result<(), ElfError> {
        let elf = module.elf()?;
        let dynamic = elf.symbols(SymbolTable::Dynamic)?;
        self.imports(&elf, &dynamic, module)?;
        // The executable may hold an allocator without exporting it.
        let is_executable = self.executable == Some(index);
        let own = if is_executable {
            elf.symbols(SymbolTable::Full).unwrap_or_default()
        } else {
            Symbols::default()
        };
        let symbols = || dynamic.iter().chain(own.iter()).filter(|symbol| symbol.section != 0);
        let is_allocator = symbols().any(|symbol| symbol.name == b"malloc");
        for symbol in symbols() {
            let function = Function::of_symbol(symbol.name)
                .or_else(|| is_allocator.then(|| Function::of_allocator_symbol(symbol.name)).flatten());
            let Some(function) = function else { continue };
            let name = String::from_utf8_lossy(symbol.name).into_owned();
            let offset = elf.code_offset(symbol.vaddr);
            let (Symbol::FUNCTION, Some(file_offset)) = (symbol.kind, offset) else {
                let reason =
                    if symbol.kind == Symbol::IFUNC { SkipReason::Ifunc } else { SkipReason::NoCode };
                self.skipped.push(Skipped { name, path: module.path.clone(), reason });
                continue;
            };
            let definition =
                self.definitions.entry(module.address(symbol.vaddr)).or_insert_with(|| Definition {
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

    /// Collects a module's entries of the global offset table for the family.
    fn imports(&mut self, elf: &Elf, symbols: &Symbols, module: &Module) -> Result<(), ElfError> {
        const RELA: u32 = 4;
        const RELA_BYTES: usize = 24;
        const GLOB_DAT: u64 = 6;
        const JUMP_SLOT: u64 = 7;
        let tables = elf.sections()?;
        for table in tables.iter().filter(|section: &&Section| section.kind == RELA) {
            let bytes = elf.section_bytes(table)?;
            for entry in bytes.chunks_exact(RELA_BYTES) {
                let info = u64_at(entry, 8);
                if !matches!(info & 0xffff_ffff, GLOB_DAT | JUMP_SLOT) {
                    continue;
                }
                let symbol = usize::try_from(info >> 32).ok().and_then(|index| symbols.get(index));
                let of_family = |symbol: &Symbol<'_>| {
                    Function::of_symbol(symbol.name)
                        .or_else(|| Function::of_allocator_symbol(symbol.name))
                        .is_some()
                };
                if let Some(symbol) = symbol.filter(of_family) {
                    let name = String::from_utf8_lossy(symbol.name).into_owned();
                    self.imports.insert(module.address(u64_at(entry, 0)), name);
                }
            }
        }
        Ok(())
    }
}

/// Where a jump leads.
enum Jump {
    /// To a runtime address.
    Address(u64),
    /// To the function of this name, through the linkage table.
    Import(String),
}

/// Follows the jumps in a module's code.
struct Jumps<'a> {
    module: &'a Module,
    elf: &'a Elf,
    memory: Option<&'a dyn ProcessMemory>,
    imports: &'a BTreeMap<u64, String>,
}

impl Jumps<'_> {
    /// Is the function at `vaddr` nothing but a jump, perhaps through further ones, to one of those
    /// that are `used`? jemalloc's `operator delete` jumps to its `free` so, and `operator new[]` to
    /// `operator new`; were they probed as well, every such call would be seen twice.
    fn forward(&self, vaddr: u64, used: &BTreeMap<u64, &Definition>) -> bool {
        const MAX_JUMPS: usize = 6;
        let mut at = vaddr;
        for _ in 0..MAX_JUMPS {
            match self.follow(at) {
                Some(Jump::Address(address)) if used.contains_key(&address) => return true,
                Some(Jump::Address(address)) => at = address.wrapping_sub(self.module.load_bias),
                Some(Jump::Import(name)) => {
                    return used.values().any(|definition| definition.names.contains(&name));
                }
                None => return false,
            }
        }
        false
    }

    /// Where the code at `vaddr` jumps with its first instruction (behind `endbr64`).
    fn follow(&self, vaddr: u64) -> Option<Jump> {
        const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
        let bytes = self.elf.bytes(self.elf.code_offset(vaddr)?, 11).ok()?;
        let (code, start) = match bytes.strip_prefix(&ENDBR64) {
            Some(rest) => (rest, vaddr.wrapping_add(4)),
            None => (bytes.as_slice(), vaddr),
        };
        let from = |length: u64, displacement: i32| {
            self.module.address(start.wrapping_add(length).wrapping_add_signed(i64::from(displacement)))
        };
        let slot = match *code {
            [0xe9, a, b, c, d, ..] => return Some(Jump::Address(from(5, i32::from_le_bytes([a, b, c, d])))),
            [0xeb, displacement, ..] => {
                return Some(Jump::Address(from(2, i32::from(displacement.cast_signed()))));
            }
            // An entry of the linkage table: jmp [rip + displacement], with or without `bnd`.
            [0xff, 0x25, a, b, c, d, ..] => from(6, i32::from_le_bytes([a, b, c, d])),
            [0xf2, 0xff, 0x25, a, b, c, d, ..] => from(7, i32::from_le_bytes([a, b, c, d])),
            _ => return None,
        };
        // By name where it is one of the family: the slot may not be bound yet.
        match self.imports.get(&slot) {
            Some(name) => Some(Jump::Import(name.clone())),
            None => self.memory?.read_u64(slot).ok().map(Jump::Address),
        }
    }
}

/// Where nothing is bound: lower is likelier to come first in link order.
fn link_rank(module: &Module) -> u8 {
    match kind(module) {
        // It had a minimal malloc of its own until glibc 2.31, for the time before libc is there.
        "dynamic linker" => 3,
        "glibc" | "musl" => 2,
        _ if module.name().contains(".so") => 1,
        _ => 0,
    }
}

fn kind(module: &Module) -> &'static str {
    const KNOWN: [(&str, &str); 8] = [
        ("ld-musl", "musl"),
        ("ld-linux", "dynamic linker"),
        ("ld-2.", "dynamic linker"),
        ("libc.so", "glibc"),
        ("libc-2.", "glibc"),
        ("libjemalloc", "jemalloc"),
        ("libtcmalloc", "tcmalloc"),
        ("libmimalloc", "mimalloc"),
    ];
    let kind =
        KNOWN.iter().find(|(prefix, _)| module.name().starts_with(prefix)).map_or("other", |(_, kind)| kind);
    if kind == "glibc" && module.path.contains("musl") { "musl" } else { kind }
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
        let own = process::inspect(std::process::id()).unwrap().modules.remove(0);
        let rank = |path: &str| link_rank(&Module { path: path.into(), ..own.clone() });
        assert!(rank("/bin/java") < rank("/usr/lib/libjemalloc.so.2"));
        assert!(rank("/usr/lib/libjemalloc.so.2") < rank("/usr/lib/libc.so.6"));
        assert!(rank("/lib/libc-2.31.so") < rank("/lib/ld-2.31.so"));
        assert_eq!(kind(&Module { path: "/usr/lib/x86_64-linux-musl/libc.so".into(), ..own }), "musl");
    }

    /// With jemalloc preloaded it is the allocator, glibc's functions are not probed, and of its
    /// operators only those that do more than jump to another.
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
        let target = process::inspect(child.id());
        let memory = LiveMemory::open(child.id());
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
        assert_eq!(reason("free", "jemalloc"), None);
    }
}
