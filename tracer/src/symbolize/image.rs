//! A private copy of what names need of an ELF file: its headers, symbols and debug information,
//! without its code and data.
//!
//! The library that reads symbols maps the files that it is given, and a mapped file that its owner
//! truncates ends the process that reads it. The copy cannot be changed, outlives the target, and
//! takes a few megabytes of memory where the file has tens: what is left out are holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::process::elf::{Elf, ElfError, Section};

/// Bytes that are copied of one file: without debug information if all of it is more. Debug information that
/// is compressed, or partly in another file, is left out too: it would have to be trusted with how
/// much memory it takes and with which files are opened.
const MAX_IMAGE_BYTES: u64 = 256 << 20;
/// ELF header and program headers: what linkers put first.
const HEADER_BYTES: u64 = 64;
const SECTION_HEADER_BYTES: usize = 64;

/// Section types (System V ABI).
const PROGBITS: u32 = 1;
const NOBITS: u32 = 8;
/// Bit 11 of a section's flags.
const SHF_COMPRESSED_BYTE_1: u8 = 0x08;
const DEBUG_LINK: &str = ".gnu_debuglink";
const MAX_DEBUG_LINK_BYTES: u64 = 4096;

/// Copies what names need of `elf` to a file in memory.
///
/// # Errors
/// It cannot be read, or no memory file can be made.
pub(super) fn copy(elf: &Elf) -> Result<File, ElfError> {
    let image = File::from(
        rustix::fs::memfd_create("symbols", rustix::fs::MemfdFlags::CLOEXEC).map_err(io::Error::from)?,
    );
    let header = elf.bytes(0, HEADER_BYTES)?;
    image.write_all_at(&header, 0)?;
    let number = |at: usize, bytes: usize| {
        let field = header.get(at..at + bytes).unwrap_or_default();
        field.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    // e_phoff, e_phentsize · e_phnum; e_shoff.
    let (segments, segment_bytes) = (number(32, 8), number(54, 2) * number(56, 2));
    image.write_all_at(&elf.bytes(segments, segment_bytes)?, segments)?;

    let sections = elf.sections()?;
    let section_table = number(40, 8);
    let table_bytes = sections.len() * SECTION_HEADER_BYTES;
    let mut table = elf.bytes(section_table, table_bytes as u64)?;
    let symbols: Vec<&Section> = sections.iter().filter(|section| is_symbols(section, elf)).collect();
    let debug: Vec<&Section> = sections.iter().filter(|section| is_debug(section)).collect();
    let size = |sections: &[&Section]| sections.iter().fold(0_u64, |sum, s| sum.saturating_add(s.size));
    if size(&symbols) > MAX_IMAGE_BYTES {
        return Err(ElfError::Malformed("the size of its symbol tables"));
    }
    let compressed = |section: &Section| {
        let is = |entry: &[u8]| entry.get(9).is_some_and(|flags| flags & SHF_COMPRESSED_BYTE_1 != 0);
        let at = sections.iter().position(|other| std::ptr::eq(other, section));
        section.name.starts_with(".zdebug_")
            || at.and_then(|at| table.chunks_exact(SECTION_HEADER_BYTES).nth(at)).is_some_and(is)
    };
    let outside = |section: &Section| matches!(section.name.as_str(), ".gnu_debugaltlink" | ".debug_sup");
    let with_debug = size(&symbols).saturating_add(size(&debug)) <= MAX_IMAGE_BYTES
        && !debug.iter().any(|section| compressed(section) || outside(section));
    let copied = if with_debug { [symbols, debug].concat() } else { symbols };
    for section in &copied {
        image.write_all_at(&elf.section_bytes(section)?, section.offset)?;
    }
    // A section that was left out must not be found: it would be read as zeros.
    for (section, entry) in sections.iter().zip(table.chunks_exact_mut(SECTION_HEADER_BYTES)) {
        if is_debug(section) && !copied.iter().any(|copied| std::ptr::eq(*copied, section))
            || section.name == DEBUG_LINK && !is_symbols(section, elf)
        {
            // sh_name: the empty one; sh_type behind it.
            if let Some(name_and_type) = entry.first_chunk_mut::<8>() {
                *name_and_type = (u64::from(NOBITS) << 32).to_le_bytes();
            }
        }
    }
    image.write_all_at(&table, section_table)?;
    Ok(image)
}

/// Symbols, strings, notes, and the link to a file with debug information if it is a mere name: a
/// path could lead anywhere on the host.
fn is_symbols(section: &Section, elf: &Elf) -> bool {
    if section.name == DEBUG_LINK {
        return section.size <= MAX_DEBUG_LINK_BYTES
            && elf.section_bytes(section).is_ok_and(|bytes| is_name(&bytes));
    }
    !matches!(section.kind, PROGBITS | NOBITS)
}

/// Does `.gnu_debuglink` (a name, a zero, a checksum) hold a file name without a folder?
fn is_name(link: &[u8]) -> bool {
    let name = link.split(|byte| *byte == 0).next().unwrap_or_default();
    name.len() < link.len() && !name.is_empty() && !name.contains(&b'/')
}

/// Debug information in the file.
fn is_debug(section: &Section) -> bool {
    let name = section.name.as_str();
    section.kind != NOBITS
        && (name.starts_with(".debug_") || name.starts_with(".zdebug_") || name == ".gnu_debugaltlink")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::process::elf::SymbolTable;

    #[test]
    fn the_copy_has_the_symbols_and_little_else() {
        let path = std::env::current_exe().unwrap();
        let original = Elf::read(File::open(&path).unwrap()).unwrap();
        let file = copy(&original).unwrap();
        // Blocks of 512 bytes that are there, against what it seems to have.
        let (taken, length) = (file.metadata().unwrap().blocks() * 512, file.metadata().unwrap().len());
        assert!(taken < length, "{taken} {length}: the code is left out");
        let image = Elf::read(file).unwrap();
        let count = |elf: &Elf| elf.symbols(SymbolTable::Full).unwrap().iter().count();
        assert!(count(&original) > 1000);
        assert_eq!(count(&original), count(&image));
        assert_eq!(original.build_id(), image.build_id());
    }

    #[test]
    fn debug_links_that_are_paths_are_not_followed() {
        assert!(is_name(b"libc.so.6.debug\0/\x2f/x"), "the checksum may hold any byte");
        assert!(!is_name(b"../../etc/passwd\0\0\0\0"));
        assert!(!is_name(b"no end") && !is_name(b"\0\0\0\0\0") && !is_name(b""));
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut");
        let whole = std::fs::read("/bin/true").or_else(|_| std::fs::read("/usr/bin/true")).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let elf = Elf::read(File::open(&path).unwrap()).unwrap();
        assert!(copy(&elf).is_err());
    }
}
