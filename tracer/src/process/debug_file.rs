//! Separate debug files: the symbols of a stripped module, where the distribution keeps them.
//!
//! A file is taken only if it belongs to just this build of the module: by its build id, or by the checksum in
//! `.gnu_debuglink`. It is looked for in the target's own root, and by build id also on this host.

use std::fs::File;
use std::io::Read;

use super::elf::{Elf, SymbolTable, Symbols};
use super::module::Module;
use super::{Pid, root};

const FOLDER: &str = "/usr/lib/debug";
/// Larger files are not summed up for a checksum.
const MAX_FILE_BYTES: u64 = 256 << 20;
const MAX_LINK_BYTES: u64 = 4096;

/// The full symbol table of the debug file of `module`, whose own file is `elf`, if there is one.
pub(super) fn symbols(pid: Pid, module: &Module, elf: &Elf) -> Option<Symbols> {
    let build_id = module.build_id.as_deref().filter(|id| id.len() > 1);
    let by_id = build_id.and_then(|id| {
        let path = path_of(id)?;
        let files = [root::open(pid, &path), File::open(&path)].into_iter().flatten();
        files.filter_map(|file| table(file, Some(id))).next()
    });
    by_id.or_else(|| {
        let (name, checksum) = link(elf)?;
        let path = module.path.strip_suffix(" (deleted)").unwrap_or(&module.path);
        let (folder, _) = path.rsplit_once('/')?;
        let places = [
            format!("{folder}/{name}"),
            format!("{folder}/.debug/{name}"),
            format!("{FOLDER}{folder}/{name}"),
        ];
        let files = places.iter().filter_map(|place| root::open(pid, place).ok());
        let same = |file: &File| build_id.is_some() || checksum_of(file) == Some(checksum);
        files.filter(same).filter_map(|file| table(file, build_id)).next()
    })
}

/// The path of the debug file of a build.
fn path_of(build_id: &[u8]) -> Option<String> {
    let text: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let (first, rest) = text.split_at_checked(2)?;
    Some(format!("{FOLDER}/.build-id/{first}/{rest}.debug"))
}

/// The symbols in `file`, if it has some and is of the build.
fn table(file: File, build_id: Option<&[u8]>) -> Option<Symbols> {
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let elf = Elf::read(file).ok()?;
    let is_same = build_id.is_none_or(|id| elf.build_id().as_deref() == Some(id));
    let symbols = elf.symbols(SymbolTable::Full).ok().filter(|_| is_same)?;
    Some(symbols).filter(|symbols| !symbols.is_empty())
}

/// The name and checksum of a `.gnu_debuglink`; none if it is not a mere name: a path could lead anywhere.
fn link(elf: &Elf) -> Option<(String, u32)> {
    let sections = elf.sections().ok()?;
    let section = sections.iter().find(|section| section.name == ".gnu_debuglink")?;
    let bytes = elf.section_bytes(section).ok().filter(|_| section.size <= MAX_LINK_BYTES)?;
    let length = bytes.iter().position(|byte| *byte == 0)?;
    let checksum = bytes.get((length + 1).next_multiple_of(4)..)?.first_chunk()?;
    let name = std::str::from_utf8(bytes.get(..length)?).ok()?;
    let is_name = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    is_name.then(|| (name.to_owned(), u32::from_le_bytes(*checksum)))
}

/// The checksum of a file as `.gnu_debuglink` has it.
fn checksum_of(file: &File) -> Option<u32> {
    if file.metadata().ok()?.len() > MAX_FILE_BYTES {
        return None;
    }
    let mut sum = flate2::Crc::new();
    let mut piece = vec![0; 1 << 16];
    let mut file = file;
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(sum.sum()),
            length => sum.update(piece.get(..length)?),
        }
    }
}
