//! Addresses of libjvm's variables: the entry into everything that the JVM says of itself.
//!
//! Takes the ELF file of a `libjvm.so` and where it is loaded; gives runtime addresses by name.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use crate::process::elf::{Elf, ElfError, SymbolTable};

/// Exported by every HotSpot: the tables of types, fields and constants.
const EXPORTED_PREFIX: &str = "gHotSpotVM";
/// Symbols in `.symtab`, which a stripped libjvm lacks: what more can be said of such a JVM is optional.
const PRIVATE: [&str; 21] = [
    RETURN_BARRIER,
    RUNTIME_VENDOR_VERSION,
    METASPACE,
    CLASS_SPACE,
    METASPACE_LIST,
    CLASS_SPACE_LIST,
    PARALLEL_MARK_BITMAP,
    PARALLEL_SUMMARY,
    POLLING_PAGE,
    OS_POLLING_PAGE,
    Z_MARK_STACKS,
    G1_FROM_CARD_CACHE,
    C1_QUEUE,
    C2_QUEUE,
    STRING_TABLE_OBJECT,
    PERF_MEMORY,
    TRACKING_LEVEL,
    TRACKED_MALLOC,
    TRACKED_MAPPINGS,
    TRACKED_NAMES,
    TRACKED_TYPE_NAMES,
];
/// `StubRoutines::_cont_returnBarrier`.
pub(super) const RETURN_BARRIER: &str = "_ZN12StubRoutines19_cont_returnBarrierE";
/// `JDK_Version::_runtime_vendor_version`.
pub(super) const RUNTIME_VENDOR_VERSION: &str = "_ZN11JDK_Version23_runtime_vendor_versionE";

/// `metaspace::MetaspaceContext::_nonclass_space_context` and `_class_space_context` (16+).
pub(super) const METASPACE: &str = "_ZN9metaspace16MetaspaceContext23_nonclass_space_contextE";
pub(super) const CLASS_SPACE: &str = "_ZN9metaspace16MetaspaceContext20_class_space_contextE";
/// `Metaspace::_space_list` and `_class_space_list` (to 15).
pub(super) const METASPACE_LIST: &str = "_ZN9Metaspace11_space_listE";
pub(super) const CLASS_SPACE_LIST: &str = "_ZN9Metaspace17_class_space_listE";
/// `PSParallelCompact::_mark_bitmap` and `_summary_data`, which are no pointers but the objects.
pub(super) const PARALLEL_MARK_BITMAP: &str = "_ZN17PSParallelCompact12_mark_bitmapE";
pub(super) const PARALLEL_SUMMARY: &str = "_ZN17PSParallelCompact13_summary_dataE";
/// `SafepointMechanism::_polling_page` and `os::_polling_page`.
pub(super) const POLLING_PAGE: &str = "_ZN18SafepointMechanism13_polling_pageE";
pub(super) const OS_POLLING_PAGE: &str = "_ZN2os13_polling_pageE";
/// `G1FromCardCache::_cache` (to 17).
pub(super) const G1_FROM_CARD_CACHE: &str = "_ZN15G1FromCardCache6_cacheE";
/// `ZMarkStackSpaceStart` (to 23).
pub(super) const Z_MARK_STACKS: &str = "ZMarkStackSpaceStart";
/// `CompileBroker::_c1_compile_queue` and `_c2_compile_queue`.
const C1_QUEUE: &str = "_ZN13CompileBroker17_c1_compile_queueE";
const C2_QUEUE: &str = "_ZN13CompileBroker17_c2_compile_queueE";
pub(super) const COMPILE_QUEUES: [&str; 2] = [C1_QUEUE, C2_QUEUE];

/// `PerfMemory::_start`.
pub(super) const PERF_MEMORY: &str = "_ZN10PerfMemory6_startE";
/// Native Memory Tracking: `MemTracker::_tracking_level`, `MallocMemorySummary::_snapshot`,
/// `VirtualMemorySummary::_snapshot`, and the names of its categories: `NMTUtil::_strings` (18+),
/// `NMTUtil::_memory_type_names` (to 17).
pub(super) const TRACKING_LEVEL: &str = "_ZN10MemTracker15_tracking_levelE";
pub(super) const TRACKED_MALLOC: &str = "_ZN19MallocMemorySummary9_snapshotE";
pub(super) const TRACKED_MAPPINGS: &str = "_ZN20VirtualMemorySummary9_snapshotE";
pub(super) const TRACKED_NAMES: &str = "_ZN7NMTUtil8_stringsE";
pub(super) const TRACKED_TYPE_NAMES: &str = "_ZN7NMTUtil18_memory_type_namesE";
/// `StringTable::_the_table` (to 12).
pub(super) const STRING_TABLE_OBJECT: &str = "_ZN11StringTable10_the_tableE";
/// Variables whose names several source files have: each is the one nearest to a variable of its file
/// whose name is its own. The linker keeps a file's variables together.
pub(super) const SYMBOL_TABLE: &str = "SymbolTable::_local_table";
pub(super) const SYMBOL_COUNT: &str = "SymbolTable::_items_count";
pub(super) const STRING_TABLE: &str = "StringTable::_local_table";
pub(super) const STRING_COUNT: &str = "StringTable::_items_count";
const LOCAL_TABLE: &str = "_ZL12_local_table";
const ITEMS_COUNT: &str = "_ZL12_items_count";
const OF_SYMBOLS: &str = "_ZN11SymbolTable16_needs_rehashingE";
const OF_STRINGS: &str = "_ZN11StringTable16_needs_rehashingE";
/// Symbols whose names are used twice: the name here, the JVM's own name, and the variable that it is near to.
const NAMESAKES: [(&str, &str, &str); 4] = [
    (SYMBOL_TABLE, LOCAL_TABLE, OF_SYMBOLS),
    (SYMBOL_COUNT, ITEMS_COUNT, OF_SYMBOLS),
    (STRING_TABLE, LOCAL_TABLE, OF_STRINGS),
    (STRING_COUNT, ITEMS_COUNT, OF_STRINGS),
];
/// Further away it is another file's.
const NEAR_BYTES: u64 = 4096;

/// Runtime addresses of the variables of one loaded libjvm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    addresses: BTreeMap<String, u64>,
    /// Bytes of a variable, as its symbol says. Saved images do not have them.
    sizes: BTreeMap<String, u64>,
}

impl Symbols {
    /// Reads the symbol tables of `file`, which is loaded with `load_bias` (runtime address − ELF
    /// virtual address).
    ///
    /// # Errors
    /// The file cannot be read, or is no ELF file of this machine.
    pub fn read(file: &Path, load_bias: u64) -> Result<Self, ElfError> {
        Self::of(File::open(file)?, load_bias)
    }

    /// The same, of a file that is open.
    ///
    /// # Errors
    /// As [`Symbols::read`].
    pub fn of(file: File, load_bias: u64) -> Result<Self, ElfError> {
        let elf = Elf::read(file)?;
        let mut addresses = BTreeMap::new();
        let mut sizes = BTreeMap::new();
        let mut local: Vec<(&str, u64)> = Vec::new();
        for table in [SymbolTable::Dynamic, SymbolTable::Full] {
            for symbol in elf.symbols(table)?.iter().filter(|symbol| symbol.vaddr != 0) {
                let Ok(name) = std::str::from_utf8(symbol.name) else { continue };
                if name.starts_with(EXPORTED_PREFIX) || PRIVATE.contains(&name) {
                    addresses.entry(name.to_owned()).or_insert(load_bias.wrapping_add(symbol.vaddr));
                    sizes.entry(name.to_owned()).or_insert(symbol.size);
                }
                let known = [LOCAL_TABLE, ITEMS_COUNT, OF_SYMBOLS, OF_STRINGS].into_iter();
                local.extend(known.filter(|known| *known == name).map(|known| (known, symbol.vaddr)));
            }
        }
        for (ours, name, neighbour) in NAMESAKES {
            let Some((_, neighbour)) = local.iter().find(|(known, _)| *known == neighbour) else { continue };
            let namesakes = local.iter().filter(|(known, _)| *known == name).map(|(_, vaddr)| *vaddr);
            let nearest = namesakes.min_by_key(|vaddr| vaddr.abs_diff(*neighbour));
            if let Some(vaddr) = nearest.filter(|vaddr| vaddr.abs_diff(*neighbour) < NEAR_BYTES) {
                addresses.insert(ours.to_owned(), load_bias.wrapping_add(vaddr));
            }
        }
        Ok(Self { addresses, sizes })
    }

    /// The same symbols, read with a load bias of 0, where the library is loaded.
    #[must_use]
    pub fn loaded_at(&self, load_bias: u64) -> Self {
        let moved = |(name, address): (&str, u64)| (name.to_owned(), load_bias.wrapping_add(address));
        Self { addresses: self.iter().map(moved).collect(), sizes: self.sizes.clone() }
    }

    /// The runtime address of the variable `name`.
    pub fn address(&self, name: &str) -> Option<u64> {
        self.addresses.get(name).copied()
    }

    /// The bytes of the variable `name`.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.sizes.get(name).copied()
    }

    /// Variables by name, address and size.
    #[cfg(test)]
    pub(super) fn sized<'a>(all: impl Iterator<Item = (&'a str, u64, u64)>) -> Self {
        let mut this = Self::default();
        for (name, address, bytes) in all {
            this.addresses.insert(name.to_owned(), address);
            this.sizes.insert(name.to_owned(), bytes);
        }
        this
    }

    /// Every variable: its name and runtime address.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.addresses.iter().map(|(name, address)| (name.as_str(), *address))
    }
}

impl FromIterator<(String, u64)> for Symbols {
    fn from_iter<I: IntoIterator<Item = (String, u64)>>(pairs: I) -> Self {
        Self { addresses: pairs.into_iter().collect(), sizes: BTreeMap::new() }
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
