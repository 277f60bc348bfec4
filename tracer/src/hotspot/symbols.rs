//! Addresses of libjvm's variables: the entry into everything that the JVM says of itself.
//!
//! Takes the ELF file of a `libjvm.so` and where it is loaded; gives runtime addresses by name.
//! The file is read, not mapped: it belongs to the target, which could cut it short under us.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader, Sym};
use object::{LittleEndian, ReadCache};

/// Exported by every HotSpot: the tables of types, fields and constants.
const EXPORTED_PREFIX: &str = "gHotSpotVM";
/// In `.symtab`, which a stripped libjvm lacks: what more can be said of such a JVM is optional.
const PRIVATE: [&str; 4] = [RETURN_BARRIER, RUNTIME_VERSION, RUNTIME_VENDOR_VERSION, RUNTIME_NAME];
/// `StubRoutines::_cont_returnBarrier`.
pub(super) const RETURN_BARRIER: &str = "_ZN12StubRoutines19_cont_returnBarrierE";
/// `JDK_Version::_runtime_version`.
pub(super) const RUNTIME_VERSION: &str = "_ZN11JDK_Version16_runtime_versionE";
/// `JDK_Version::_runtime_vendor_version`.
pub(super) const RUNTIME_VENDOR_VERSION: &str = "_ZN11JDK_Version23_runtime_vendor_versionE";
/// `JDK_Version::_runtime_name`.
pub(super) const RUNTIME_NAME: &str = "_ZN11JDK_Version13_runtime_nameE";

/// No name that is wanted is longer.
const MAX_NAME: usize = 128;
/// No libjvm is larger; a file that says so is not one.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Runtime addresses of the variables of one loaded libjvm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    addresses: BTreeMap<String, u64>,
}

impl Symbols {
    /// Reads the symbol tables of `file`, which is loaded with `load_bias` (runtime address − ELF
    /// virtual address).
    ///
    /// # Errors
    /// The file cannot be read, or is no 64-bit little-endian ELF file.
    pub fn read(file: &Path, load_bias: u64) -> io::Result<Self> {
        let file = File::open(file)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a shared library"));
        }
        let cache = ReadCache::new(file);
        let mut addresses = BTreeMap::new();
        for table in [elf::SHT_DYNSYM, elf::SHT_SYMTAB] {
            read_table(&cache, table, load_bias, &mut addresses)?;
        }
        Ok(Self { addresses })
    }

    /// The runtime address of the variable `name`.
    pub fn address(&self, name: &str) -> Option<u64> {
        self.addresses.get(name).copied()
    }

    /// Every variable: its name and runtime address.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.addresses.iter().map(|(name, address)| (name.as_str(), *address))
    }
}

/// Adds what is wanted of one of the file's symbol tables. Sections are read whole: a table has
/// tens of thousands of names.
fn read_table(
    file: &ReadCache<File>,
    section_type: u32,
    load_bias: u64,
    addresses: &mut BTreeMap<String, u64>,
) -> io::Result<()> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let header = FileHeader64::<LittleEndian>::parse(file).map_err(invalid)?;
    let endian = header.endian().map_err(invalid)?;
    let sections = header.sections(endian, file).map_err(invalid)?;
    let symbols = sections.symbols(endian, file, section_type).map_err(invalid)?;
    if symbols.is_empty() {
        return Ok(());
    }
    let strings = sections.section(symbols.string_section()).map_err(invalid)?;
    let strings = strings.data(endian, file).map_err(invalid)?;
    for symbol in symbols.iter() {
        let name = strings.get(symbol.st_name(endian) as usize..).unwrap_or_default();
        let name = name.get(..MAX_NAME).unwrap_or(name).split(|byte| *byte == 0).next().unwrap_or_default();
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let value = symbol.st_value(endian);
        if value != 0 && (name.starts_with(EXPORTED_PREFIX) || PRIVATE.contains(&name)) {
            addresses.entry(name.to_owned()).or_insert(load_bias.wrapping_add(value));
        }
    }
    Ok(())
}

impl FromIterator<(String, u64)> for Symbols {
    fn from_iter<I: IntoIterator<Item = (String, u64)>>(pairs: I) -> Self {
        Self { addresses: pairs.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_no_elf_file_is_refused() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"\x7fELF\x02\x01\x01 and then nothing of the kind").expect("written");
        assert!(Symbols::read(file.path(), 0).is_err());
        assert!(Symbols::read(Path::new("/proc/self/task"), 0).is_err());
    }

    #[test]
    fn a_library_without_a_jvm_has_none() {
        let own = std::env::current_exe().expect("this program");
        assert_eq!(Symbols::read(&own, 0x1000).expect("an ELF file"), Symbols::default());
    }
}
