//! Addresses of libjvm's variables: the entry into everything that the JVM says of itself.
//!
//! Takes the ELF file of a `libjvm.so` and where it is loaded; gives runtime addresses by name.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use crate::target::elf::{Elf, ElfError, SymbolTable};

/// Exported by every HotSpot: the tables of types, fields and constants.
const EXPORTED_PREFIX: &str = "gHotSpotVM";
/// In `.symtab`, which a stripped libjvm lacks: what more can be said of such a JVM is optional.
const PRIVATE: [&str; 2] = [RETURN_BARRIER, RUNTIME_VENDOR_VERSION];
/// `StubRoutines::_cont_returnBarrier`.
pub(super) const RETURN_BARRIER: &str = "_ZN12StubRoutines19_cont_returnBarrierE";
/// `JDK_Version::_runtime_vendor_version`.
pub(super) const RUNTIME_VENDOR_VERSION: &str = "_ZN11JDK_Version23_runtime_vendor_versionE";

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
    /// The file cannot be read, or is no ELF file of this machine.
    pub fn read(file: &Path, load_bias: u64) -> Result<Self, ElfError> {
        let elf = Elf::read(File::open(file)?)?;
        let mut addresses = BTreeMap::new();
        for table in [SymbolTable::Dynamic, SymbolTable::Full] {
            for symbol in elf.symbols(table)?.iter().filter(|symbol| symbol.vaddr != 0) {
                let Ok(name) = std::str::from_utf8(symbol.name) else { continue };
                if name.starts_with(EXPORTED_PREFIX) || PRIVATE.contains(&name) {
                    addresses.entry(name.to_owned()).or_insert(load_bias.wrapping_add(symbol.vaddr));
                }
            }
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
