//! Symbol tables of an ELF file.

use super::{u16_at, u32_at, u64_at, until_zero};

/// Symbol table of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolTable {
    /// `.dynsym`: what other modules can bind to.
    Dynamic,
    /// `.symtab`: everything, where it was not stripped.
    Full,
}

/// A symbol, borrowing its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    pub name: &'a [u8],
    /// `STT_*`.
    pub kind: u8,
    /// Section index; 0: undefined here.
    pub section: u16,
    pub vaddr: u64,
    pub size: u64,
}

impl Symbol<'_> {
    /// `STT_FUNC`.
    pub const FUNCTION: u8 = 2;
    /// `STT_GNU_IFUNC`: its address is that of a function which chooses one.
    pub const IFUNC: u8 = 10;
}

/// The bytes of a symbol table and of its strings.
#[derive(Debug, Default)]
pub struct Symbols {
    pub(super) table: Vec<u8>,
    pub(super) strings: Vec<u8>,
}

const SYMBOL_BYTES: usize = 24;

impl Symbols {
    /// Symbols in the table's order; the first is the null symbol. Symbols whose name is outside the string table have
    /// an empty one.
    pub fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        self.table.chunks_exact(SYMBOL_BYTES).map(|entry| self.decode(entry))
    }

    /// Is there no symbol but the null symbol?
    pub fn is_empty(&self) -> bool {
        self.table.len() <= SYMBOL_BYTES
    }

    /// The symbol at `index`.
    pub fn get(&self, index: usize) -> Option<Symbol<'_>> {
        let start = index.checked_mul(SYMBOL_BYTES)?;
        self.table.get(start..start.checked_add(SYMBOL_BYTES)?).map(|entry| self.decode(entry))
    }

    fn decode(&self, entry: &[u8]) -> Symbol<'_> {
        let name = usize::try_from(u32_at(entry, 0)).ok().and_then(|start| self.strings.get(start..));
        Symbol {
            name: name.map(until_zero).unwrap_or_default(),
            kind: entry.get(4).map_or(0, |info| info & 0xf),
            section: u16_at(entry, 6),
            vaddr: u64_at(entry, 8),
            size: u64_at(entry, 16),
        }
    }
}
