//! Names for the entries of a procedure linkage table, which no symbol covers: `malloc@plt`.

use std::ops::Range;

use tracer_common::arch::PLT_ENTRY_BYTES;

use crate::arch::PLT_RESOLVER_ENTRIES;
use crate::process::elf::{Elf, Section, SymbolTable};

/// Bytes of one `Elf64_Rela`.
const RELOCATION_BYTES: usize = 24;
/// Entries of one table.
const MAX_ENTRIES: usize = 1 << 16;

/// The linkage tables of one file.
#[derive(Debug, Default)]
pub(super) struct Plt {
    /// Addresses of each table, and how many entries come before those that the relocations name.
    tables: Vec<(Range<u64>, usize)>,
    /// The functions that the entries jump to, in their order.
    functions: Vec<String>,
}

impl Plt {
    /// Reads them; what cannot be read has no names.
    pub(super) fn read(elf: &Elf) -> Self {
        let Ok(sections) = elf.sections() else { return Self::default() };
        let table = |name: &str, reserved| {
            let section = sections.iter().find(|section| section.name == name)?;
            let end = section.vaddr.checked_add(section.size)?;
            Some((section.vaddr..end, reserved))
        };
        // `.plt.got` has an order of its own.
        let tables =
            [table(".plt", PLT_RESOLVER_ENTRIES), table(".plt.sec", 0), table(".plt.got", usize::MAX)];
        let functions = functions(elf, &sections).unwrap_or_default();
        Self { tables: tables.into_iter().flatten().collect(), functions }
    }

    /// The name of the entry at ELF virtual address `vaddr`. `None`: it is in no linkage table.
    pub(super) fn name(&self, vaddr: u64) -> Option<String> {
        let (range, reserved) = self.tables.iter().find(|(range, _)| range.contains(&vaddr))?;
        let entry = usize::try_from((vaddr - range.start) / PLT_ENTRY_BYTES).ok()?;
        let function = entry.checked_sub(*reserved).and_then(|index| self.functions.get(index));
        Some(match function {
            Some(function) if !function.is_empty() => format!("{function}@plt"),
            _ => "[plt]".to_owned(),
        })
    }
}

/// The symbols' names of `.rela.plt`'s relocations.
fn functions(elf: &Elf, sections: &[Section]) -> Option<Vec<String>> {
    let relocations = sections.iter().find(|section| section.name == ".rela.plt")?;
    let relocations = elf.section_bytes(relocations).ok()?;
    let symbols = elf.symbols(SymbolTable::Dynamic).ok()?;
    let name = |relocation: &[u8]| {
        // The symbol's index is the high half of r_info.
        let index = relocation.get(12..16)?.try_into().ok().map(u32::from_le_bytes)?;
        let symbol = symbols.get(usize::try_from(index).ok()?)?;
        Some(super::name::clean(&String::from_utf8_lossy(symbol.name)))
    };
    let entries = relocations.chunks_exact(RELOCATION_BYTES).take(MAX_ENTRIES);
    Some(entries.map(|relocation| name(relocation).unwrap_or_default()).collect())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::Command;

    use super::*;

    #[test]
    fn entries_are_named_after_what_they_call() {
        let folder = tempfile::tempdir().unwrap();
        let (source, program) = (folder.path().join("p.c"), folder.path().join("p"));
        std::fs::write(
            &source,
            "int puts(const char*); int abs2(int); int main(void) { return puts(\"x\"); }",
        )
        .unwrap();
        let compiled =
            Command::new("cc").args(["-O0", "-Wl,-z,lazy", "-o"]).arg(&program).arg(&source).status();
        assert!(compiled.unwrap().success());
        let elf = Elf::read(File::open(&program).unwrap()).unwrap();
        let sections = elf.sections().unwrap();
        let plt = Plt::read(&elf);
        let start = sections.iter().find(|section| section.name == ".plt").unwrap().vaddr;
        assert_eq!(plt.name(start + 3).as_deref(), Some("[plt]"));
        assert_eq!(plt.name(start + 22).as_deref(), Some("puts@plt"));
        assert_eq!(plt.name(start - 1), None);
    }
}
