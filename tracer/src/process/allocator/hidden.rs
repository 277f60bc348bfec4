//! Allocators inside modules that export none of their functions: linked in statically, and hidden by a version script
//! or by their visibility.
//!
//! Nothing is bound to such functions from outside: the module alone calls them. They are found by the module's full
//! symbol table, its own or that of its separate debug file. A private function that is called `malloc` may be
//! anything, so it counts only in a module which defines all four of the family, imports none of them, and maps memory
//! itself; names with an allocator's own prefix count where the module has that allocator's messages. A module that has
//! the messages and no such symbols has an allocator that cannot be seen, which is said.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::{Function, SkipReason, Skipped, scan};
use crate::process::Pid;
use crate::process::debug_file;
use crate::process::elf::{Elf, Segment, Symbol, SymbolTable, Symbols};
use crate::process::module::Module;

/// Allocators by their messages, and the prefixes that their builds give the functions of the family.
const KNOWN: [(&str, &[&str]); 3] = [
    // `_rjem_`: as Rust's tikv-jemallocator builds it.
    ("jemalloc", &["je_", "_rjem_"]),
    ("mimalloc", &[MIMALLOC_PREFIX]),
    ("tcmalloc", &[]),
];
/// mimalloc's functions have names of their own, and more of them than the family.
const MIMALLOC_PREFIX: &str = "mi_";
/// The beginning of their messages. Written so that this program does not contain it itself.
static MESSAGES: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("(?-u)<(jemalloc)[>]: |(mimalloc)[:] |(tcmalloc)[:] ").ok());
/// Messages that an allocator has at least: one may be a mere mention.
const MIN_MESSAGES: usize = 2;
/// Functions without which a recording of an allocator would be wrong.
const ESSENTIAL: [Function; 4] = [Function::Malloc, Function::Calloc, Function::Realloc, Function::Free];
/// Functions by which a module gets memory from the kernel.
const MAPPING: [&[u8]; 5] = [b"mmap", b"mmap64", b"sbrk", b"__sbrk", b"syscall"];
/// Bytes of a module that are searched for messages.
const MAX_SEARCHED_BYTES: u64 = 64 << 20;
const PIECE_BYTES: u64 = 1 << 20;

/// An allocator of a module's own.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    pub(super) kind: &'static str,
    /// Its functions; none: they cannot be found.
    pub(super) functions: Vec<Private>,
}

/// A function of such an allocator.
#[derive(Debug)]
pub(super) struct Private {
    pub(super) function: Function,
    pub(super) name: String,
    pub(super) vaddr: u64,
    pub(super) file_offset: u64,
    pub(super) size: u64,
}

/// Finds the allocator that `module` hides. `dynamic`: its exported symbols and imports; `pid`: the process in whose
/// root a debug file is looked for.
pub(super) fn find(
    pid: Pid,
    module: &Module,
    elf: &Elf,
    dynamic: &Symbols,
    skipped: &mut Vec<Skipped>,
) -> Option<Hidden> {
    let named = |wanted: &[&[u8]], defined: bool| {
        dynamic.iter().any(|symbol| (symbol.section != 0) == defined && wanted.contains(&symbol.name))
    };
    if named(&[b"malloc"], true) || !named(&MAPPING, false) {
        return None;
    }
    let known = known(elf);
    let serves_itself = !named(&[b"malloc", b"calloc", b"realloc", b"free"], false);
    if known.is_none() && !serves_itself {
        return None;
    }
    let prefixes = known.map_or(&[][..], |(_, prefixes)| prefixes);
    let prefixes = serves_itself.then_some("").into_iter().chain(prefixes.iter().copied());
    let own = elf.symbols(SymbolTable::Full).ok().filter(|symbols| !symbols.is_empty());
    let symbols = own.or_else(|| debug_file::symbols(pid, module, elf)).unwrap_or_default();
    let kind = known.map_or("other", |(kind, _)| kind);
    let mut incomplete = Vec::new();
    for prefix in prefixes {
        let functions = family(elf, &symbols, prefix);
        let has = |function: &Function| functions.iter().any(|found| found.function == *function);
        if ESSENTIAL.iter().all(has) {
            return Some(Hidden { kind, functions });
        }
        incomplete.extend(functions.into_iter().map(|function| function.name));
    }
    if known.is_some() {
        return Some(Hidden { kind, functions: Vec::new() });
    }
    skipped.extend(incomplete.into_iter().map(|name| Skipped {
        name,
        path: module.path.clone(),
        reason: SkipReason::Private,
    }));
    None
}

/// Has the module an allocator that it does not export, as far as its own file tells?
pub(super) fn is_in(pid: Pid, module: &Module) -> bool {
    let found = || {
        let elf = module.elf().ok().filter(|_| scan::kind(module) != "dynamic linker")?;
        let dynamic = elf.symbols(SymbolTable::Dynamic).ok()?;
        find(pid, module, &elf, &dynamic, &mut Vec::new())
    };
    found().is_some()
}

/// The functions of the family whose names have `prefix`.
fn family(elf: &Elf, symbols: &Symbols, prefix: &str) -> Vec<Private> {
    let private = |symbol: Symbol<'_>| {
        let name = symbol.name.strip_prefix(prefix.as_bytes())?;
        let function = Function::of_symbol(name)
            .or_else(|| Function::of_allocator_symbol(name))
            .or_else(|| Function::of_mimalloc_name(name).filter(|_| prefix == MIMALLOC_PREFIX))?;
        let is_code = symbol.kind == Symbol::FUNCTION && symbol.section != 0 && symbol.size > 0;
        Some(Private {
            function,
            name: String::from_utf8_lossy(symbol.name).into_owned(),
            vaddr: symbol.vaddr,
            file_offset: elf.code_offset(symbol.vaddr).filter(|_| is_code)?,
            size: symbol.size,
        })
    };
    symbols.iter().filter_map(private).collect()
}

/// The allocator whose messages the module contains.
fn known(elf: &Elf) -> Option<(&'static str, &'static [&'static str])> {
    let constant = |segment: &&Segment| segment.kind == Segment::LOAD && !segment.is_writable();
    // Linkers put constants apart from code, older ones into one segment.
    let apart = elf.segments.iter().filter(constant).any(|segment| !segment.is_code());
    let searched = elf.segments.iter().filter(constant).filter(|segment| !apart || !segment.is_code());
    let mut left = MAX_SEARCHED_BYTES;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for segment in searched {
        let (mut offset, end) = (segment.offset, segment.offset.saturating_add(segment.file_size.min(left)));
        left = left.saturating_sub(segment.file_size);
        while offset < end {
            let Ok(bytes) = elf.bytes(offset, PIECE_BYTES.min(end - offset)) else { break };
            let messages = MESSAGES.as_ref().map(|messages| messages.captures_iter(&bytes));
            for message in messages.into_iter().flatten() {
                let name = message.iter().skip(1).flatten().next();
                let name =
                    name.and_then(|name| KNOWN.iter().find(|(kind, _)| kind.as_bytes() == name.as_bytes()));
                let Some((kind, prefixes)) = name else { continue };
                let count = counts.entry(*kind).or_insert(0);
                *count += 1;
                if *count >= MIN_MESSAGES {
                    return Some((kind, prefixes));
                }
            }
            offset = offset.saturating_add(PIECE_BYTES);
        }
    }
    None
}
