//! Symbols of the malloc family in a target's modules: definitions and imports.

use std::collections::{BTreeMap, BTreeSet};

use super::hidden::{self, Hidden};
use super::{Function, SkipReason, Skipped};
use crate::process::Pid;
use crate::process::elf::{Elf, ElfError, Section, Symbol, SymbolTable, Symbols, u64_at};
use crate::process::module::Module;
use crate::process::target::Target;

/// A definition: its address, and its names.
pub(super) struct Definition {
    pub(super) function: Function,
    pub(super) names: BTreeSet<String>,
    pub(super) module: usize,
    pub(super) vaddr: u64,
    pub(super) file_offset: u64,
    pub(super) size: u64,
    /// Only the module itself can call it.
    pub(super) private: bool,
}

/// The symbols of the family in a target's modules.
#[derive(Default)]
pub(super) struct Scan {
    /// Index of the executable's module.
    pub(super) executable: Option<usize>,
    /// Definitions by runtime address.
    pub(super) definitions: BTreeMap<u64, Definition>,
    /// Entries of global offset tables for functions of the family: by their runtime address, the
    /// name.
    pub(super) imports: BTreeMap<u64, String>,
    /// Allocators that modules do not export: by the module's index, the kind, and whether there are definitions.
    pub(super) hidden: BTreeMap<usize, (&'static str, bool)>,
    pub(super) skipped: Vec<Skipped>,
}

impl Scan {
    pub(super) fn of(target: &Target) -> Self {
        let executable = target.executable().map(|module| module.path.as_str());
        let executable = target.modules.iter().position(|module| Some(module.path.as_str()) == executable);
        let mut scan = Self { executable, ..Self::default() };
        for (index, module) in target.modules.iter().enumerate() {
            if let Err(error) = scan.module(target.pid, index, module) {
                tracing::debug!(path = module.path, %error, "no symbols");
            }
        }
        scan
    }

    /// The modules whose malloc is called.
    pub(super) fn modules_in_use(&self, target: &Target, bound: &BTreeSet<u64>) -> BTreeSet<usize> {
        let mallocs = || self.definitions.iter().filter(|(_, of)| !of.private && of.names.contains("malloc"));
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
    fn module(&mut self, pid: Pid, index: usize, module: &Module) -> Result<(), ElfError> {
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
                    private: false,
                });
            definition.function = definition.function.min(function);
            definition.size = definition.size.max(symbol.size);
            definition.names.insert(name);
        }
        // The dynamic linker's own malloc is for the time before there is another.
        if !is_allocator && kind(module) != "dynamic linker" {
            let hidden = hidden::find(pid, module, &elf, &dynamic, &mut self.skipped);
            hidden.into_iter().for_each(|hidden| self.hidden(index, module, hidden));
        }
        Ok(())
    }

    fn hidden(&mut self, index: usize, module: &Module, hidden: Hidden) {
        self.hidden.insert(index, (hidden.kind, !hidden.functions.is_empty()));
        for found in hidden.functions {
            let definition =
                self.definitions.entry(module.address(found.vaddr)).or_insert_with(|| Definition {
                    function: found.function,
                    names: BTreeSet::new(),
                    module: index,
                    vaddr: found.vaddr,
                    file_offset: found.file_offset,
                    size: found.size,
                    private: true,
                });
            definition.function = definition.function.min(found.function);
            definition.size = definition.size.max(found.size);
            definition.names.insert(found.name);
        }
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

/// Rank of a module to which nothing is bound: lower is likelier to come first in link order.
pub(super) fn link_rank(module: &Module) -> u8 {
    match kind(module) {
        // It had a minimal malloc of its own until glibc 2.31, for the time before libc is there.
        "dynamic linker" => 3,
        "glibc" | "musl" => 2,
        _ if module.name().contains(".so") => 1,
        _ => 0,
    }
}

pub(super) fn kind(module: &Module) -> &'static str {
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
