//! Modules: the ELF files that a process has mapped, each with all its mappings and its load bias.
//!
//! Takes mappings; gives one [`Module`] for each time that a file was loaded (`dlmopen` can load
//! one file twice). Files that cannot be read, or are not x86-64 ELF, are passed over: for the
//! tracer their code has no names and no probe points.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use tracer_common::arch::PAGE_BYTES;

use super::Pid;
use super::elf::{Elf, ElfError, Segment};
use super::mapping::{Device, Mapping};
use super::root;

/// An ELF file as it lies in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Path as `/proc/PID/maps` prints it, in the target's own mount namespace.
    pub path: String,
    /// Path by which the tracer and the kernel can open this very file while it is mapped.
    pub file: PathBuf,
    pub inode: u64,
    /// Major and minor number, as in maps.
    pub device: Device,
    pub build_id: Option<Vec<u8>>,
    /// Mappings of the file that belong to this load, sorted.
    pub mappings: Vec<Mapping>,
    /// Runtime address − ELF virtual address, modulo 2^64.
    pub load_bias: u64,
}

impl Module {
    /// Opens and reads the module's file.
    ///
    /// # Errors
    /// It is no longer mapped, or not readable as x86-64 ELF.
    pub fn elf(&self) -> Result<Elf, ElfError> {
        Elf::read(File::open(&self.file)?)
    }

    /// The last part of the path, without ` (deleted)`.
    pub fn name(&self) -> &str {
        file_name(&self.path)
    }

    /// Was the file removed or replaced (an upgrade, say) since it was mapped?
    pub fn is_deleted(&self) -> bool {
        self.path.ends_with(" (deleted)")
    }

    /// Is `address` (of the process) in one of its mappings?
    pub fn contains(&self, address: u64) -> bool {
        self.mappings.iter().any(|mapping| (mapping.start..mapping.end).contains(&address))
    }

    /// The runtime address of ELF virtual address `vaddr`.
    pub fn address(&self, vaddr: u64) -> u64 {
        vaddr.wrapping_add(self.load_bias)
    }
}

/// The last part of a path as maps print it, without ` (deleted)`.
pub fn file_name(path: &str) -> &str {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path)
}

/// The modules with code among the mappings of process `pid`, by lowest address.
pub fn modules(pid: Pid, mappings: &[Mapping]) -> Vec<Module> {
    let mut files: BTreeMap<(Device, u64), Vec<&Mapping>> = BTreeMap::new();
    for mapping in mappings.iter().filter(|mapping| mapping.is_file()) {
        files.entry((mapping.device, mapping.inode)).or_default().push(mapping);
    }
    let mut modules: Vec<Module> = files.values().flat_map(|mappings| of_one_file(pid, mappings)).collect();
    modules.sort_by_key(|module| module.mappings.first().map(|mapping| mapping.start));
    modules
}

fn of_one_file(pid: Pid, mappings: &[&Mapping]) -> Vec<Module> {
    let Some(code) = mappings.iter().find(|mapping| mapping.executable) else {
        return Vec::new();
    };
    match read(pid, code) {
        Ok((elf, file)) => split(mappings, &elf, &file),
        Err(error) => {
            tracing::debug!(path = code.path, %error, "passed over: not a module");
            Vec::new()
        }
    }
}

fn read(pid: Pid, mapping: &Mapping) -> Result<(Elf, PathBuf), ElfError> {
    let (file, path) = root::mapped_file(pid, mapping)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
    }
    Ok((Elf::read(file)?, path))
}

/// Modules of the file: one for each load bias that the executable mappings show.
fn split(mappings: &[&Mapping], elf: &Elf, file: &std::path::Path) -> Vec<Module> {
    let mut loads: BTreeMap<u64, Vec<&Mapping>> = BTreeMap::new();
    for mapping in mappings.iter().filter(|mapping| mapping.executable) {
        let code = elf.segments.iter().filter(|segment| segment.is_code());
        if let Some(bias) = code.filter_map(|segment| bias(mapping, segment)).next() {
            loads.entry(bias).or_default();
        }
    }
    let segments: Vec<&Segment> =
        elf.segments.iter().filter(|segment| segment.kind == Segment::LOAD).collect();
    for mapping in mappings {
        // A page at the seam of two segments belongs to both: then one of them fits a load.
        let mut fitting = segments.iter().filter_map(|segment| bias(mapping, segment));
        if let Some(members) =
            fitting.find(|bias| loads.contains_key(bias)).and_then(|bias| loads.get_mut(&bias))
        {
            members.push(mapping);
        }
    }
    let build_id = elf.build_id();
    let module = |(load_bias, members): (u64, Vec<&Mapping>)| {
        let code = members.iter().find(|mapping| mapping.executable)?;
        Some(Module {
            path: code.path.clone(),
            file: file.to_owned(),
            inode: code.inode,
            device: code.device,
            build_id: build_id.clone(),
            mappings: members.iter().map(|mapping| (*mapping).clone()).collect(),
            load_bias,
        })
    };
    loads.into_iter().filter_map(module).collect()
}

/// The load bias that `mapping` shows if it is a part of `segment`.
fn bias(mapping: &Mapping, segment: &Segment) -> Option<u64> {
    let first_page = segment.offset & !(PAGE_BYTES - 1);
    let end = segment.offset.checked_add(segment.file_size)?.checked_next_multiple_of(PAGE_BYTES)?;
    let inside = (first_page..end).contains(&mapping.offset);
    inside.then(|| {
        mapping.start.wrapping_sub(mapping.offset).wrapping_add(segment.offset).wrapping_sub(segment.vaddr)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::elf::SymbolTable;
    use crate::process::mapping;

    /// A function's runtime address must be its symbol's address plus the bias.
    #[test]
    fn its_own_bias() {
        let pid = Pid::own();
        let modules = modules(pid, &mapping::read(pid).unwrap());
        let here = its_own_bias as fn() as usize as u64;
        let own = modules.iter().find(|module| module.contains(here)).expect("the test's own module");
        let elf = own.elf().unwrap();
        let symbols = elf.symbols(SymbolTable::Full).unwrap();
        assert!(symbols.iter().any(|symbol| own.address(symbol.vaddr) == here), "no symbol at {here:#x}");
        let libc = modules.iter().find(|module| module.name() == "libc.so.6").expect("libc is mapped");
        assert!(libc.mappings.len() >= 4, "{:?}", libc.mappings);
        assert!(libc.build_id.as_ref().is_some_and(|id| id.len() == 20));
        assert!(modules.windows(2).all(|pair| pair[0].mappings[0].start < pair[1].mappings[0].start));
    }

    fn line(start: u64, offset: u64, executable: bool) -> Mapping {
        let text = format!(
            "{start:x}-{:x} r-{}p {offset:x} 00:01 7 /lib/x.so",
            start + 0x1000,
            if executable { 'x' } else { '-' }
        );
        mapping::parse(&text).remove(0)
    }

    #[test]
    fn the_bias_counts_a_vaddr_unlike_the_offset() {
        let segment = Segment {
            kind: 1,
            flags: 5,
            offset: 0x1234,
            vaddr: 0x3234,
            file_size: 0x100,
            memory_size: 0x100,
        };
        assert_eq!(bias(&line(0x7000_3000, 0x1000, true), &segment), Some(0x7000_0000));
        assert_eq!(bias(&line(0x7000_3000, 0x2000, true), &segment), None);
    }

    #[test]
    fn nothing_is_made_of_files_that_are_not_elf() {
        let mut mapping = line(0x7000_0000, 0, true);
        mapping.path = "/etc/passwd".into();
        assert!(modules(Pid::own(), &[mapping]).is_empty());
    }
}
