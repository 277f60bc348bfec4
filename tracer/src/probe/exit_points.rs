//! Exit points of a program: `_exit`, to which `exit` and the return from `main` lead, and `abort`, by which a JVM ends
//! that has no more memory, or crashes. A program that a signal ends goes without.

use super::{
    attach::UprobePoint,
    placement::{Code, Needs},
};
use crate::process::{
    Module, Target,
    elf::{ElfError, SymbolTable},
};

const NAMES: [&[u8]; 3] = [b"_exit", b"_Exit", b"abort"];

/// The places, in whatever exports these functions, or in a program that is linked statically. Empty: there are none.
pub fn points(target: &Target) -> Vec<UprobePoint> {
    let exported = target.modules.iter().filter_map(|module| points_in(module, SymbolTable::Dynamic).ok());
    let points: Vec<_> = exported.flatten().collect();
    match target.executable() {
        Some(executable) if points.is_empty() => points_in(executable, SymbolTable::Full).unwrap_or_default(),
        _ => points,
    }
}

fn points_in(module: &Module, table: SymbolTable) -> Result<Vec<UprobePoint>, ElfError> {
    let elf = module.elf()?;
    let symbols = elf.symbols(table)?;
    let defined = symbols.iter().filter(|symbol| symbol.section != 0 && NAMES.contains(&symbol.name));
    let mut functions: Vec<(u64, u64)> = defined.map(|symbol| (symbol.vaddr, symbol.size)).collect();
    // _exit and _Exit are mostly one function.
    functions.sort_unstable();
    functions.dedup_by_key(|(vaddr, _)| *vaddr);
    let needs = Needs { arguments: &[], return_probe: false };
    let places = functions
        .into_iter()
        .filter_map(|(vaddr, size)| Code::containing(&elf, vaddr).ok()?.place(vaddr, size, needs).ok());
    let point = |file_offset| UprobePoint {
        program: "exiting",
        file: module.file.clone(),
        file_offset,
        cookie: None,
    };
    Ok(places.map(|place| point(place.file_offset)).collect())
}
