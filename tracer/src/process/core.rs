//! A core file: the memory of a process that has ended.
//!
//! Gives its mappings, memory and threads as a live process would. Memory that a core leaves out (the text of
//! libraries) is read from the files that it names, if they are still those that were mapped: the first page, which the
//! kernel dumps of every ELF file, must be the same. Source: core(5); Linux, `fs/binfmt_elf.c` (`NT_FILE`,
//! `NT_PRSTATUS`, `NT_PRPSINFO`).

mod notes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use object::Endianness;
use object::elf::{
    ET_CORE, FileHeader64, PF_R, PF_W, PF_X, PN_XNUM, PT_LOAD, PT_NOTE, ProgramHeader64, SectionHeader64,
};
use object::read::elf::{FileHeader, ProgramHeader};
use rustix::fs::SeekFrom;

use tracer_common::arch::{ADDRESS_END, PAGE_BYTES};

use self::notes::{NamedFile, Notes};
use super::InnerTid;
use super::Pid;
use super::hold::ThreadRegisters;
use super::mapping::Mapping;
use super::memory::ProcessMemory;
use super::pagemap::{PageState, Residency};
use super::read_budget::ReadBudget;
use super::root;

/// Segments of a core file. A process can have 65,530 mappings, unless `vm.max_map_count` was raised.
const MAX_SEGMENTS: u64 = 1 << 18;
/// Bytes of all notes: a thread takes about 3 KiB of them.
const MAX_NOTE_BYTES: u64 = 128 << 20;
/// Bytes of all names that the mappings have: each of one long name would have a copy.
const MAX_NAME_BYTES: usize = 16 << 20;
/// Files that are kept open.
const MAX_SAME: usize = 1024;

/// Reason why a file is no core that can be read.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("it is no core file of a 64-bit {} process", tracer_common::arch::NAME)]
    NoCore,
}

/// A part of the process's memory.
#[derive(Clone, Copy, Debug)]
struct Load {
    start: u64,
    end: u64,
    /// Position of its bytes in the core, and their number.
    offset: u64,
    file_bytes: u64,
    flags: u32,
}

/// The bytes of all program headers. Where there are more than the file's header can count, the first section header
/// has their number (`fs/binfmt_elf.c`, `fill_extnum_info`).
fn program_headers(
    file: &File,
    header: &FileHeader64<Endianness>,
    endian: Endianness,
) -> Result<Vec<u8>, CoreError> {
    const HEADER_BYTES: u64 = size_of::<ProgramHeader64<Endianness>>() as u64;
    let mut count = u64::from(header.e_phnum.get(endian));
    if count == u64::from(PN_XNUM) {
        let bytes =
            read_whole(file, header.e_shoff.get(endian), size_of::<SectionHeader64<Endianness>>() as u64)?;
        let section = object::pod::from_bytes::<SectionHeader64<Endianness>>(&bytes);
        let (section, _) = section.map_err(|()| CoreError::NoCore)?;
        count = u64::from(section.sh_info.get(endian));
    }
    if u64::from(header.e_phentsize.get(endian)) != HEADER_BYTES || count > MAX_SEGMENTS {
        return Err(CoreError::NoCore);
    }
    read_whole(file, header.e_phoff.get(endian), count * HEADER_BYTES)
}

/// `length` bytes at `offset`, which is bounded. A file that does not have them is no core.
fn read_whole(file: &File, offset: u64, length: u64) -> Result<Vec<u8>, CoreError> {
    if offset.checked_add(length).is_none_or(|end| file.metadata().map_or(true, |file| end > file.len())) {
        return Err(CoreError::NoCore);
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| CoreError::NoCore)?];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// A core file.
#[derive(Debug)]
pub struct Core {
    file: File,
    /// Sorted by start.
    loads: Vec<Load>,
    notes: Notes,
    /// Named files that are still the same.
    same: BTreeMap<String, File>,
    budget: ReadBudget,
}

impl Core {
    /// Opens the core file at `path`.
    ///
    /// # Errors
    /// See [`CoreError`].
    pub fn open(path: &Path) -> Result<Self, CoreError> {
        let file = open_regular(path)?;
        let head = read_whole(&file, 0, size_of::<FileHeader64<Endianness>>() as u64)?;
        let header = FileHeader64::<Endianness>::parse(head.as_slice()).map_err(|_| CoreError::NoCore)?;
        let endian = header.endian().map_err(|_| CoreError::NoCore)?;
        if header.e_type.get(endian) != ET_CORE
            || header.e_machine.get(endian) != tracer_common::arch::ELF_MACHINE
        {
            return Err(CoreError::NoCore);
        }
        let headers = program_headers(&file, header, endian)?;
        let (segments, _) = object::pod::slice_from_bytes::<ProgramHeader64<Endianness>>(
            &headers,
            headers.len() / size_of::<ProgramHeader64<Endianness>>(),
        )
        .map_err(|()| CoreError::NoCore)?;
        // Each byte of the file is of one mapping at most, and notes take some of it: a file that claims more is lied
        // about, and is read as far as it goes.
        let length = file.metadata()?.len();
        let (mut unclaimed, mut notes_left) = (length, MAX_NOTE_BYTES);
        let mut core = Self {
            file,
            loads: Vec::new(),
            notes: Notes::default(),
            same: BTreeMap::new(),
            budget: ReadBudget::default(),
        };
        for segment in segments {
            let (offset, bytes) = (segment.p_offset(endian), segment.p_filesz(endian));
            match segment.p_type(endian) {
                PT_LOAD => {
                    let start = segment.p_vaddr(endian);
                    let end = start.checked_add(segment.p_memsz(endian));
                    // The kernel dumps `[vsyscall]` too, which lies beyond.
                    let Some(end) = end.filter(|&end| start < end && end <= ADDRESS_END) else { continue };
                    let file_bytes = bytes.min(end - start).min(length.saturating_sub(offset)).min(unclaimed);
                    unclaimed -= file_bytes;
                    let flags = segment.p_flags(endian);
                    core.loads.push(Load { start, end, offset, file_bytes, flags });
                }
                PT_NOTE if bytes <= notes_left.min(length) => {
                    notes_left -= bytes;
                    core.notes.add(&core.file, offset..offset.saturating_add(bytes));
                }
                _ => {}
            }
        }
        core.loads.sort_by_key(|load| load.start);
        core.loads.dedup_by(|next, before| next.start < before.end);
        core.find_same();
        Ok(core)
    }

    /// Takes every read from `budget`; when that is spent, each fails.
    #[must_use]
    pub fn within(self, budget: &ReadBudget) -> Self {
        Self { budget: budget.clone(), ..self }
    }

    /// Bytes that the file really takes: its holes take nothing.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn stored_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.blocks().saturating_mul(512))
    }

    /// Opens the named files that are still those that were mapped.
    fn find_same(&mut self) {
        const FIRST_BYTES: usize = 1024;
        let first_parts = self.notes.files.iter().filter(|(_, named)| named.offset == 0);
        let parts: Vec<(u64, String)> =
            first_parts.map(|(start, named)| (*start, named.path.clone())).collect();
        for (start, path) in parts {
            let (mut dumped, mut found) = ([0; FIRST_BYTES], [0; FIRST_BYTES]);
            if self.same.contains_key(&path) || !self.dumped(start, &mut dumped) {
                continue;
            }
            if self.same.len() >= MAX_SAME {
                return;
            }
            if let Ok(file) = open_regular(Path::new(&path))
                && file.read_exact_at(&mut found, 0).is_ok()
                && dumped == found
            {
                self.same.insert(path, file);
            }
        }
    }

    /// The process's id.
    pub fn pid(&self) -> Pid {
        self.notes.pid
    }

    /// The process's name.
    pub fn comm(&self) -> &str {
        &self.notes.comm
    }

    /// Arguments of the process, as far as a core has them: 80 characters.
    pub fn arguments(&self) -> &str {
        &self.notes.arguments
    }

    /// Ids of the threads.
    pub fn tids(&self) -> &[InnerTid] {
        &self.notes.tids
    }

    /// Registers of the threads.
    pub fn threads(&self) -> &[ThreadRegisters] {
        &self.notes.threads
    }

    /// The file at `path` is there and the one that was mapped.
    pub fn has_file(&self, path: &str) -> bool {
        self.same.contains_key(path)
    }

    /// The mappings, as far as a core tells them.
    pub fn mappings(&self) -> Vec<Mapping> {
        let mut names_left = MAX_NAME_BYTES;
        let mapping = |load: &Load| {
            let named = self.named(load.start);
            let name = named.map_or("", |(_, named)| named.path.as_str());
            let left = names_left.checked_sub(name.len());
            names_left = left.unwrap_or(names_left);
            Mapping {
                start: load.start,
                end: load.end,
                readable: load.flags & PF_R != 0,
                writable: load.flags & PF_W != 0,
                executable: load.flags & PF_X != 0,
                shared: false,
                offset: named.map_or(0, |(start, named)| named.offset.saturating_add(load.start - start)),
                // A core has no numbers of files.
                inode: u64::from(named.is_some()),
                path: left.map_or_else(String::new, |_| name.to_owned()),
                ..Mapping::default()
            }
        };
        self.loads.iter().map(mapping).collect()
    }

    /// The first mapping of the file that HotSpot is in. `None` if it is not a JVM's core.
    pub fn libjvm(&self) -> Option<Mapping> {
        let is_libjvm = |mapping: &Mapping| mapping.path.ends_with("/libjvm.so") && mapping.offset == 0;
        self.mappings().into_iter().find(is_libjvm)
    }

    fn named(&self, address: u64) -> Option<(u64, &NamedFile)> {
        let (start, named) = self.notes.files.range(..=address).next_back()?;
        (address < named.end).then_some((*start, named))
    }

    fn load(&self, address: u64) -> Option<&Load> {
        let after = self.loads.partition_point(|load| load.start <= address);
        self.loads.get(after.checked_sub(1)?).filter(|load| address < load.end)
    }

    /// Fills `buffer` with what the core itself has from `address`.
    fn dumped(&self, address: u64, buffer: &mut [u8]) -> bool {
        let Some(load) = self.load(address) else { return false };
        let at = address - load.start;
        let fits = at.checked_add(buffer.len() as u64).is_some_and(|end| end <= load.file_bytes);
        fits && self.file.read_exact_at(buffer, load.offset.saturating_add(at)).is_ok()
    }

    /// Fills a part of `buffer` that is in one mapping; gives how many bytes.
    fn read_part(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let missing = || io::Error::new(io::ErrorKind::UnexpectedEof, "not in the core");
        let load = self.load(address).ok_or_else(missing)?;
        let at = address - load.start;
        let (until, in_core) = match at < load.file_bytes {
            true => (load.file_bytes, true),
            false => (load.end - load.start, false),
        };
        let length = buffer.len().min(usize::try_from(until - at).unwrap_or(usize::MAX));
        let part = buffer.get_mut(..length).ok_or_else(missing)?;
        if in_core {
            self.file.read_exact_at(part, load.offset.saturating_add(at))?;
        } else {
            // Memory that was written to is dumped: only pages that are as in the file are left out.
            let (start, named) = self.named(address).ok_or_else(missing)?;
            let file = self.same.get(&named.path).ok_or_else(missing)?;
            file.read_exact_at(part, named.offset.saturating_add(address - start))?;
        }
        Ok(length)
    }
}

impl ProcessMemory for Core {
    fn count_read(&self, bytes: usize) -> io::Result<()> {
        self.budget.read(bytes)
    }

    fn allow_marking(&self, bytes: u64) {
        self.budget.allow_marking(bytes);
    }

    fn allow_memory(&self, bytes: u64) {
        self.budget.allow_memory(bytes);
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.count_read(buffer.len())?;
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let next = address.checked_add(done as u64).ok_or(io::ErrorKind::InvalidInput)?;
            match self.read_part(next, rest)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => done += length,
            }
        }
        Ok(())
    }
}

/// A page that was not in memory is a hole in the file, as long as nobody copied the holes as zeros.
impl Residency for Core {
    fn skip_absent(&self, address: u64, end: u64) -> io::Result<u64> {
        let mut next = address;
        while next < end {
            let after = self.loads.partition_point(|load| load.end <= next);
            let Some(load) = self.loads.get(after) else { return Ok(end) };
            next = next.max(load.start);
            let in_file = load.start + load.file_bytes;
            if next >= in_file {
                next = load.end;
                continue;
            }
            let offset = load.offset.saturating_add(next - load.start);
            match self.run(offset)? {
                (.., PageState::Resident) => break,
                (_, data, _) => next = next.saturating_add(data.saturating_sub(offset)).min(load.end),
            }
        }
        Ok(next.min(end))
    }

    fn pages(&self, address: u64, states: &mut [PageState]) -> io::Result<()> {
        let mut page = address - address % PAGE_BYTES;
        // File offsets that are known to have data, or none.
        let mut run = (0, 0, PageState::Absent);
        for state in states {
            let offset = self.load(page).and_then(|load| {
                let at = page.checked_sub(load.start)?;
                (at < load.file_bytes).then(|| load.offset.saturating_add(at))
            });
            *state = match offset {
                None => PageState::Absent,
                Some(offset) => {
                    if !(run.0..run.1).contains(&offset) {
                        run = self.run(offset)?;
                    }
                    run.2
                }
            };
            page = page.saturating_add(PAGE_BYTES);
        }
        Ok(())
    }
}

impl Core {
    /// The range of the file around `offset` that is all data, or all hole.
    fn run(&self, offset: u64) -> io::Result<(u64, u64, PageState)> {
        self.budget.read(0)?;
        match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) if data > offset => Ok((offset, data, PageState::Absent)),
            Ok(_) => {
                let hole = rustix::fs::seek(&self.file, SeekFrom::Hole(offset))?;
                Ok((offset, hole.max(offset + 1), PageState::Resident))
            }
            // No data up to the end.
            Err(rustix::io::Errno::NXIO) => Ok((offset, u64::MAX, PageState::Absent)),
            // A file system that knows no holes.
            Err(_) => Ok((offset, u64::MAX, PageState::Resident)),
        }
    }
}

/// A FIFO that lies there must not stop the tracer, and a device must not act because it was opened.
fn open_regular(path: &Path) -> io::Result<File> {
    root::open_regular(&File::options().read(true).custom_flags(libc::O_PATH).open(path)?)
}
