//! Reading an ELF file that may hold anything: segments, sections, symbols, notes.
//!
//! Takes an open file of 64-bit little-endian code for this processor; gives owned, bounded pieces of it. The
//! file is read with `pread`, never mapped: a mapping of a file that its owner truncates would end
//! the tracer with SIGBUS. Every count and length is bounded before memory is taken for it.
//!
//! Field offsets are those of `Elf64_Ehdr`, `Elf64_Phdr`, `Elf64_Shdr`, `Elf64_Sym` (System V ABI,
//! chapter 4 and 5).

mod notes;
mod symbols;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use thiserror::Error;
use tracer_common::arch;

pub use notes::{Note, Notes};
pub use symbols::{Symbol, SymbolTable, Symbols};

/// The largest piece read at once, bytes. libjvm's symbol table is 2 MB, its text 13 MB.
const MAX_PIECE_BYTES: u64 = 256 << 20;
const MAX_SEGMENTS: usize = 256;
const MAX_SECTIONS: usize = 4096;
const MAX_NOTES_BYTES: u64 = 1 << 20;

/// Reason why an ELF file could not be read.
#[derive(Debug, Error)]
pub enum ElfError {
    #[error("not an ELF file")]
    NotElf,
    #[error("not a 64-bit {} ELF file", arch::NAME)]
    OtherMachine,
    #[error("{0} is not well-formed")]
    Malformed(&'static str),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A program header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `PT_*`.
    pub kind: u32,
    /// `PF_*`.
    pub flags: u32,
    pub offset: u64,
    pub vaddr: u64,
    pub file_size: u64,
    pub memory_size: u64,
}

impl Segment {
    /// `PT_LOAD`.
    pub const LOAD: u32 = 1;
    /// `PT_NOTE`.
    pub const NOTE: u32 = 4;

    /// A segment that is mapped with the right to execute it?
    pub fn is_code(&self) -> bool {
        self.kind == Self::LOAD && self.flags & 1 != 0
    }

    /// A segment that is mapped with the right to write to it?
    pub fn is_writable(&self) -> bool {
        self.kind == Self::LOAD && self.flags & 2 != 0
    }

    /// The file offset of `vaddr`, if the file has bytes for it.
    pub fn file_offset(&self, vaddr: u64) -> Option<u64> {
        let within = vaddr.checked_sub(self.vaddr)?;
        (within < self.file_size).then(|| self.offset.checked_add(within)).flatten()
    }
}

/// A section header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    /// `SHT_*`.
    pub kind: u32,
    pub vaddr: u64,
    pub offset: u64,
    pub size: u64,
    /// Index of the section with its strings or symbols.
    pub link: u32,
}

/// An ELF file, open.
#[derive(Debug)]
pub struct Elf {
    file: File,
    file_bytes: u64,
    /// `ET_EXEC` = 2, `ET_DYN` = 3.
    pub kind: u16,
    pub segments: Vec<Segment>,
    section_table: (u64, usize, usize),
}

impl Elf {
    /// Reads the header and the program headers.
    ///
    /// # Errors
    /// Unreadable, not ELF, of another machine, or not well-formed.
    pub fn read(file: File) -> Result<Self, ElfError> {
        let file_bytes = file.metadata()?.len();
        let mut header = [0; 64];
        file.read_exact_at(&mut header, 0).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ElfError::NotElf,
            _ => ElfError::Io(error),
        })?;
        if !header.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        // ELFCLASS64, ELFDATA2LSB.
        if header[4] != 2 || header[5] != 1 || u16_at(&header, 18) != arch::ELF_MACHINE {
            return Err(ElfError::OtherMachine);
        }
        let (segment_bytes, segment_count) =
            (usize::from(u16_at(&header, 54)), usize::from(u16_at(&header, 56)));
        let (section_bytes, section_count) = (u16_at(&header, 58), usize::from(u16_at(&header, 60)));
        if segment_count > MAX_SEGMENTS || (segment_count > 0 && segment_bytes != 56) {
            return Err(ElfError::Malformed("the program header table"));
        }
        // Without sections a file can still run; a table that cannot be read is treated as none.
        let section_count =
            if section_count > MAX_SECTIONS || section_bytes != 64 { 0 } else { section_count };
        let mut elf = Self {
            file,
            file_bytes,
            kind: u16_at(&header, 16),
            segments: Vec::new(),
            section_table: (u64_at(&header, 40), section_count, usize::from(u16_at(&header, 62))),
        };
        let table = elf.bytes(u64_at(&header, 32), (segment_count * 56) as u64)?;
        elf.segments = table
            .chunks_exact(56)
            .map(|entry| Segment {
                kind: u32_at(entry, 0),
                flags: u32_at(entry, 4),
                offset: u64_at(entry, 8),
                vaddr: u64_at(entry, 16),
                file_size: u64_at(entry, 32),
                memory_size: u64_at(entry, 40),
            })
            .collect();
        Ok(elf)
    }

    /// `size` bytes at `offset`.
    ///
    /// # Errors
    /// Outside the file, more than is ever read at once, or unreadable.
    pub fn bytes(&self, offset: u64, size: u64) -> Result<Vec<u8>, ElfError> {
        let inside = offset.checked_add(size).is_some_and(|end| end <= self.file_bytes);
        if !inside || size > MAX_PIECE_BYTES {
            return Err(ElfError::Malformed("a range of the file"));
        }
        let mut bytes =
            vec![0; usize::try_from(size).map_err(|_| ElfError::Malformed("a range of the file"))?];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// The section headers; none if the file has none.
    ///
    /// # Errors
    /// The table or its names cannot be read.
    pub fn sections(&self) -> Result<Vec<Section>, ElfError> {
        let (offset, count, names) = self.section_table;
        let table = self.bytes(offset, (count * 64) as u64)?;
        let names = match table.chunks_exact(64).nth(names) {
            Some(entry) => self.bytes(u64_at(entry, 24), u64_at(entry, 32))?,
            None => Vec::new(),
        };
        let name = |entry: &[u8]| {
            let start = usize::try_from(u32_at(entry, 0)).ok()?;
            Some(String::from_utf8_lossy(until_zero(names.get(start..)?)).into_owned())
        };
        let decode = |entry: &[u8]| Section {
            name: name(entry).unwrap_or_default(),
            kind: u32_at(entry, 4),
            vaddr: u64_at(entry, 16),
            offset: u64_at(entry, 24),
            size: u64_at(entry, 32),
            link: u32_at(entry, 40),
        };
        Ok(table.chunks_exact(64).map(decode).collect())
    }

    /// The contents of `section`.
    ///
    /// # Errors
    /// As [`Elf::bytes`].
    pub fn section_bytes(&self, section: &Section) -> Result<Vec<u8>, ElfError> {
        const NOBITS: u32 = 8;
        if section.kind == NOBITS { Ok(Vec::new()) } else { self.bytes(section.offset, section.size) }
    }

    /// A symbol table; empty if the file has none of that kind.
    ///
    /// # Errors
    /// The table or its strings cannot be read.
    pub fn symbols(&self, which: SymbolTable) -> Result<Symbols, ElfError> {
        // SHT_DYNSYM, SHT_SYMTAB.
        let kind = if which == SymbolTable::Dynamic { 11 } else { 2 };
        let sections = self.sections()?;
        let Some(table) = sections.iter().find(|section| section.kind == kind) else {
            return Ok(Symbols::default());
        };
        let strings = usize::try_from(table.link).ok().and_then(|link| sections.get(link));
        let strings = strings.ok_or(ElfError::Malformed("a symbol table's link to its strings"))?;
        Ok(Symbols { table: self.section_bytes(table)?, strings: self.section_bytes(strings)? })
    }

    /// The GNU build id, from the notes.
    pub fn build_id(&self) -> Option<Vec<u8>> {
        const NT_GNU_BUILD_ID: u32 = 3;
        self.segments.iter().filter(|segment| segment.kind == Segment::NOTE).find_map(|segment| {
            let bytes = self.bytes(segment.offset, segment.file_size.min(MAX_NOTES_BYTES)).ok()?;
            let mut notes = Notes::new(&bytes);
            notes
                .find(|note| note.kind == NT_GNU_BUILD_ID && note.name == b"GNU")
                .map(|note| note.contents.to_vec())
        })
    }

    /// The file offset of code at `vaddr`, if it lies in an executable segment.
    pub fn code_offset(&self, vaddr: u64) -> Option<u64> {
        self.segments
            .iter()
            .filter(|segment| segment.is_code())
            .find_map(|segment| segment.file_offset(vaddr))
    }
}

/// The bytes before the first zero, or all.
pub(crate) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Little-endian integers; 0 where `bytes` is too short.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    array_at(bytes, offset).map_or(0, u16::from_le_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    array_at(bytes, offset).map_or(0, u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    array_at(bytes, offset).map_or(0, u64::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn its_own_executable() {
        let elf = Elf::read(File::open("/proc/self/exe").unwrap()).unwrap();
        assert!(elf.segments.iter().any(Segment::is_code));
        let symbols = elf.symbols(SymbolTable::Full).unwrap();
        let main = symbols.iter().find(|symbol| symbol.name == b"main").expect("a test binary has main");
        assert_eq!(main.kind, Symbol::FUNCTION);
        assert!(elf.code_offset(main.vaddr).is_some());
        assert!(elf.build_id().is_none_or(|id| id.len() >= 16));
    }

    #[test]
    fn what_is_not_elf_is_told_apart() {
        assert!(matches!(Elf::read(file(b"")), Err(ElfError::NotElf)));
        assert!(matches!(Elf::read(file(&[0; 100])), Err(ElfError::NotElf)));
        let mut other = vec![0; 64];
        other[..6].copy_from_slice(b"\x7fELF\x01\x01");
        assert!(matches!(Elf::read(file(&other)), Err(ElfError::OtherMachine)));
    }

    /// Every prefix of a real file, and the file with each header byte set to 0xff, is refused or
    /// read, but never panics or takes memory without bound.
    #[test]
    fn damaged_files_are_refused() {
        let whole = std::fs::read("/bin/true").unwrap();
        let walk = |bytes: &[u8]| {
            if let Ok(elf) = Elf::read(file(bytes)) {
                let _ = elf.sections();
                let _ = elf.symbols(SymbolTable::Dynamic).map(|symbols| symbols.iter().count());
                let _ = elf.build_id();
            }
        };
        for end in (0..whole.len()).step_by(997) {
            walk(&whole[..end]);
        }
        for position in 16..800.min(whole.len()) {
            let mut damaged = whole.clone();
            damaged[position] = 0xff;
            walk(&damaged);
        }
    }

    #[test]
    fn notes_end_at_the_first_bad_one() {
        let mut bytes = vec![4, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0];
        bytes.extend(b"GNU\0ab");
        let notes: Vec<_> = Notes::new(&bytes).collect();
        assert_eq!(notes, [Note { kind: 3, name: b"GNU", contents: b"ab" }]);
        bytes.extend([0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(Notes::new(&bytes).count(), 1);
    }
}
