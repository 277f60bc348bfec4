//! Names for native code: an address of the target becomes a function of a file.
//!
//! Files are opened when they are first seen mapped, and stay open: names can be had after the
//! target has unmapped them or has ended. Symbols are read when they are first needed.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use blazesym::symbolize::source::{self, Source};
use blazesym::symbolize::{CodeInfo, Input, Symbolized};

use super::frame::{Frame, FrameKind, Tier, UnknownReason};
use super::name::clean;
use super::plt::Plt;
use super::{image, perf_map::PerfMap};
use crate::process::elf::Elf;
use crate::process::mapping::{self, Device, Mapping};
use crate::process::module::modules;
use crate::process::{Module, Pid, root};

/// Files that are kept, whether or not they are still mapped.
const MAX_FILES: usize = 4096;
/// Addresses whose names are kept.
const MAX_CACHED: usize = 1 << 20;
/// Distance behind its start up to which a symbol without a size is believed: beyond, it is another function.
const MAX_UNSIZED_BYTES: usize = 4096;
/// Bytes of code of a program's entry point, at most, where no symbol tells.
const ENTRY_BYTES: u64 = 48;

/// Names for the native code of one process.
pub(super) struct Native {
    pid: Pid,
    files: Vec<ModuleFile>,
    /// Ranges by start: what was last known to be mapped there.
    ranges: BTreeMap<u64, Range>,
    symbolizer: blazesym::symbolize::Symbolizer,
    /// Names by file and ELF virtual address.
    names: HashMap<(usize, u64), Rc<[Frame]>>,
    /// Executable mappings, as last read for an address that is in no known file.
    others: Vec<Mapping>,
    perf_map: PerfMap,
}

/// A mapping of a file.
#[derive(Clone, Copy, Debug)]
struct Range {
    end: u64,
    file: usize,
    load_bias: u64,
}

/// A file that was mapped once.
struct ModuleFile {
    path: String,
    device: Device,
    inode: u64,
    build_id: Option<String>,
    elf: Option<Elf>,
    symbols: Option<Result<Symbols, UnknownReason>>,
}

/// Tables in which a file's names are found.
struct Symbols {
    image: File,
    plt: Plt,
    /// ELF virtual address of the program's entry point; 0: it has none.
    entry: u64,
    /// Reading it made the library for symbols panic: not asked again.
    poisoned: Cell<bool>,
}

impl Native {
    pub(super) fn new(pid: Pid) -> Self {
        Self {
            pid,
            files: Vec::new(),
            ranges: BTreeMap::new(),
            symbolizer: blazesym::symbolize::Symbolizer::builder().enable_auto_reload(false).build(),
            names: HashMap::new(),
            others: Vec::new(),
            perf_map: PerfMap::new(pid),
        }
    }

    /// Follows the process to `modules`: those that are mapped now. Where nothing new is mapped, what
    /// was there before is remembered.
    pub(super) fn set_modules(&mut self, modules: &[Module]) {
        for module in modules {
            let Some(file) = self.file(module) else { continue };
            for mapping in &module.mappings {
                self.forget(mapping.start, mapping.end);
                let range = Range { end: mapping.end, file, load_bias: module.load_bias };
                self.ranges.insert(mapping.start, range);
            }
        }
        self.others.clear();
    }

    /// The frames at `pc`, innermost first: several where the debug information tells of inlined
    /// functions. `exact`: `pc` is the instruction itself, not a return address.
    pub(super) fn frames(&mut self, pc: u64, exact: bool) -> Rc<[Frame]> {
        let address = if exact { pc } else { pc.wrapping_sub(1) };
        let known = self.range(address).or_else(|| {
            self.look_again(address);
            self.range(address)
        });
        match known {
            Some(range) => self.in_file(range.file, address.wrapping_sub(range.load_bias)),
            None => Rc::from([self.outside_files(address)]),
        }
    }

    /// The file that has the code at `address`.
    pub(super) fn module_of(&mut self, address: u64) -> Option<String> {
        let known = self.range(address).or_else(|| {
            self.look_again(address);
            self.range(address)
        });
        known.and_then(|range| self.files.get(range.file)).map(|file| file.path.clone())
    }

    /// Reads the mappings again for an address that is in none of those known: a library may have
    /// been mapped that nobody has told of yet.
    fn look_again(&mut self, address: u64) {
        if find(&self.others, address).is_some() {
            return;
        }
        let mappings = mapping::read(self.pid).unwrap_or_default();
        if find(&mappings, address).is_some_and(Mapping::is_file) {
            self.set_modules(&modules(self.pid, &mappings));
        }
        self.others = mappings.into_iter().filter(|mapping| mapping.executable).collect();
    }

    fn range(&self, address: u64) -> Option<Range> {
        let (_, range) = self.ranges.range(..=address).next_back()?;
        (address < range.end).then_some(*range)
    }

    /// Drops what is known of `[start, end)`.
    fn forget(&mut self, start: u64, end: u64) {
        let before = self.ranges.range(..start).next_back().map(|(start, range)| (*start, *range));
        if let Some((before_start, range)) = before
            && range.end > start
        {
            self.ranges.insert(before_start, Range { end: start, ..range });
            if range.end > end {
                self.ranges.insert(end, range);
            }
        }
        let inside: Vec<(u64, Range)> =
            self.ranges.range(start..end).map(|(start, range)| (*start, *range)).collect();
        for (inside_start, range) in inside {
            self.ranges.remove(&inside_start);
            if range.end > end {
                self.ranges.insert(end, range);
            }
        }
    }

    /// The index of a module's file, opened if it is new.
    fn file(&mut self, module: &Module) -> Option<usize> {
        let build_id = module.build_id.as_deref().map(hexadecimal);
        let known = self.files.iter().position(|file| {
            (file.device, file.inode, &file.path) == (module.device, module.inode, &module.path)
                && file.build_id == build_id
        });
        if known.is_some() {
            return known;
        }
        if self.files.len() >= MAX_FILES {
            return None;
        }
        // The first mapping that has not gone in the meantime.
        let open = |mapping: &Mapping| root::mapped_file(self.pid, mapping).ok();
        let opened = module.mappings.iter().find_map(open);
        let elf = opened.and_then(|(file, _)| Elf::read(file).ok());
        self.files.push(ModuleFile {
            path: clean(&module.path),
            device: module.device,
            inode: module.inode,
            build_id,
            elf,
            symbols: None,
        });
        Some(self.files.len() - 1)
    }

    /// The frames at an ELF virtual address of a file.
    fn in_file(&mut self, file: usize, vaddr: u64) -> Rc<[Frame]> {
        if let Some(frames) = self.names.get(&(file, vaddr)) {
            return Rc::clone(frames);
        }
        let Some(module) = self.files.get_mut(file) else {
            return Rc::from([Frame::unknown(FrameKind::Native, UnknownReason::NoMapping)]);
        };
        let offset = module.elf.as_ref().and_then(|elf| elf.code_offset(vaddr));
        let template = |frame: Frame| Frame {
            module: Some(module.path.clone()),
            build_id: module.build_id.clone(),
            offset,
            ..frame
        };
        let symbols = module.symbols.get_or_insert_with(|| Symbols::read(module.elf.as_ref()));
        let names = match symbols {
            Ok(symbols) => symbols.frames(&self.symbolizer, vaddr),
            Err(reason) => Err(*reason),
        };
        let frames: Rc<[Frame]> = match names {
            Ok(frames) => frames.into_iter().map(template).collect(),
            Err(reason) => Rc::from([template(Frame::unknown(FrameKind::Native, reason))]),
        };
        if self.names.len() >= MAX_CACHED {
            self.names.clear();
        }
        self.names.insert((file, vaddr), Rc::clone(&frames));
        frames
    }

    /// The frame at an address that is in no known file.
    fn outside_files(&mut self, address: u64) -> Frame {
        let Some(mapping) = find(&self.others, address).cloned() else {
            return Frame::unknown(FrameKind::Native, UnknownReason::NoMapping);
        };
        if mapping.is_file() {
            let frame = Frame::unknown(FrameKind::Native, UnknownReason::UnreadableFile);
            return Frame { module: Some(clean(&mapping.path)), ..frame };
        }
        // `[vdso]`, `[uprobes]`, or nothing at all: then it may be a compiler's.
        if mapping.path.is_empty()
            && let Some(name) = self.perf_map.name(address)
        {
            let frame = Frame::named(name, FrameKind::Native);
            return Frame { module: Some(self.perf_map.module()), ..frame };
        }
        let module = (!mapping.path.is_empty()).then(|| clean(&mapping.path));
        Frame { module, ..Frame::unknown(FrameKind::Native, UnknownReason::NoFile) }
    }
}

fn find(mappings: &[Mapping], address: u64) -> Option<&Mapping> {
    mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&address))
}

impl Symbols {
    fn read(elf: Option<&Elf>) -> Result<Self, UnknownReason> {
        let elf = elf.ok_or(UnknownReason::UnreadableFile)?;
        let image = image::copy(elf).map_err(|_| UnknownReason::UnreadableFile)?;
        // e_entry.
        let entry = elf.bytes(24, 8).ok().and_then(|bytes| bytes.try_into().ok());
        let entry = entry.map_or(0, u64::from_le_bytes);
        Ok(Self { image, plt: Plt::read(elf), entry, poisoned: Cell::new(false) })
    }

    /// The functions at `vaddr`, innermost first.
    fn frames(
        &self,
        symbolizer: &blazesym::symbolize::Symbolizer,
        vaddr: u64,
    ) -> Result<Vec<Frame>, UnknownReason> {
        let frames = self.by_symbols(symbolizer, vaddr);
        // In a stripped program: the linker's name for what it made the entry point.
        if frames == Err(UnknownReason::NoSymbol)
            && self.entry != 0
            && (self.entry..self.entry.saturating_add(ENTRY_BYTES)).contains(&vaddr)
        {
            return Ok(vec![Frame::named("_start", FrameKind::Native)]);
        }
        frames
    }

    fn by_symbols(
        &self,
        symbolizer: &blazesym::symbolize::Symbolizer,
        vaddr: u64,
    ) -> Result<Vec<Frame>, UnknownReason> {
        if let Some(name) = self.plt.name(vaddr) {
            return Ok(vec![Frame::named(name, FrameKind::Native)]);
        }
        if self.poisoned.get() {
            return Err(UnknownReason::UnreadableFile);
        }
        let path = format!("/proc/self/fd/{}", self.image.as_raw_fd());
        let elf = Source::Elf(source::Elf::new(path));
        // The file is foreign, and the library large: what it trips over must cost this file its
        // names and nothing else.
        let symbolize = || symbolizer.symbolize_single(&elf, Input::VirtOffset(vaddr));
        let symbolized = match panic::catch_unwind(AssertUnwindSafe(symbolize)) {
            Ok(Ok(symbolized)) => symbolized,
            Ok(Err(error)) => {
                tracing::debug!(%error, "no symbols");
                return Err(UnknownReason::UnreadableFile);
            }
            Err(_) => {
                self.poisoned.set(true);
                return Err(UnknownReason::UnreadableFile);
            }
        };
        let Symbolized::Sym(symbol) = symbolized else { return Err(UnknownReason::NoSymbol) };
        // Debug information gives no size for a function in parts, but says which addresses are its.
        if symbol.size.is_none() && symbol.code_info.is_none() && symbol.offset > MAX_UNSIZED_BYTES {
            return Err(UnknownReason::NoSymbol);
        }
        let mut frames: Vec<Frame> = symbol
            .inlined
            .iter()
            .rev()
            .map(|inlined| Frame {
                tier: Some(Tier::Inlined),
                ..named(&inlined.name, inlined.code_info.as_ref())
            })
            .collect();
        frames.push(named(&symbol.name, symbol.code_info.as_deref()));
        Ok(frames)
    }
}

fn named(name: &str, place: Option<&CodeInfo<'_>>) -> Frame {
    Frame {
        file: place.map(|place| clean(&place.to_path().to_string_lossy())),
        line: place.and_then(|place| place.line).filter(|line| *line > 0),
        ..Frame::named(clean(name), FrameKind::Native)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
