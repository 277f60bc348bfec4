//! A core file: the memory of a process that has ended.
//!
//! Gives its mappings, memory and threads as a live process would. Memory that a core leaves out (the text of
//! libraries) is read from the files that it names, if they are still those that were mapped: the first page, which the
//! kernel dumps of every ELF file, must be the same. Source: core(5); Linux, `fs/binfmt_elf.c` (`NT_FILE`,
//! `NT_PRSTATUS`, `NT_PRPSINFO`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use object::Endianness;
use object::elf::{ET_CORE, FileHeader64, PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use rustix::fs::SeekFrom;

use tracer_common::arch::{ADDRESS_END, PAGE_BYTES};

use super::InnerTid;
use super::Pid;
use super::hold::ThreadRegisters;
use super::mapping::Mapping;
use super::memory::ProcessMemory;
use super::pagemap::{PageState, Residency};
use super::read_budget::ReadBudget;
use crate::arch::register_sets;

/// Notes that tell of the process (`linux/elfcore.h`, `linux/elf.h`), beside those of register sets.
const NT_PRPSINFO: u32 = 3;
const NT_FILE: u32 = 0x4649_4c45;
/// Bytes of headers and of all notes: a thread takes about 3 KiB of them.
const MAX_HEADER_BYTES: u64 = 64 << 20;
const MAX_NOTE_BYTES: u64 = 128 << 20;
/// Files that a core names.
const MAX_FILES: u64 = 1 << 16;
/// `pid` in `elf_prstatus`; `pid`, the name and the arguments in `elf_prpsinfo` (of 64-bit processes).
const STATUS_PID: usize = 32;
const INFO_PID: usize = 24;
const INFO_NAME: std::ops::Range<usize> = 40..56;
const INFO_ARGUMENTS: std::ops::Range<usize> = 56..136;

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
    /// Where its bytes are in the core, and how many are.
    offset: u64,
    file_bytes: u64,
    flags: u32,
}

/// A file that was mapped.
#[derive(Clone, Debug)]
struct Named {
    end: u64,
    offset: u64,
    path: String,
}

/// A core file.
#[derive(Debug)]
pub struct Core {
    file: File,
    /// Sorted by start.
    loads: Vec<Load>,
    /// By start.
    named: BTreeMap<u64, Named>,
    /// Named files that are still the same.
    same: BTreeMap<String, File>,
    pub pid: Pid,
    pub comm: String,
    /// As far as a core has them: 80 characters.
    pub arguments: String,
    /// Ids of the threads.
    pub tids: Vec<InnerTid>,
    threads: Vec<ThreadRegisters>,
    budget: ReadBudget,
}

impl Core {
    /// Opens the core file at `path`.
    ///
    /// # Errors
    /// See [`CoreError`].
    pub fn open(path: &Path) -> Result<Self, CoreError> {
        let file = open_regular(path)?;
        let mut head = Vec::new();
        (&file).take(MAX_HEADER_BYTES).read_to_end(&mut head)?;
        let header = FileHeader64::<Endianness>::parse(head.as_slice()).map_err(|_| CoreError::NoCore)?;
        let endian = header.endian().map_err(|_| CoreError::NoCore)?;
        if header.e_type.get(endian) != ET_CORE
            || header.e_machine.get(endian) != tracer_common::arch::ELF_MACHINE
        {
            return Err(CoreError::NoCore);
        }
        let segments = header.program_headers(endian, head.as_slice()).map_err(|_| CoreError::NoCore)?;
        // Each byte of the file is of one mapping at most, and notes take some of it: a file that claims more is lied
        // about, and is read as far as it goes.
        let length = file.metadata()?.len();
        let (mut unclaimed, mut notes_left) = (length, MAX_NOTE_BYTES);
        let mut core = Self {
            file,
            loads: Vec::new(),
            named: BTreeMap::new(),
            same: BTreeMap::new(),
            pid: Pid(0),
            comm: String::new(),
            arguments: String::new(),
            tids: Vec::new(),
            threads: Vec::new(),
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
                    let mut notes = vec![0; usize::try_from(bytes).unwrap_or(0)];
                    core.file.read_exact_at(&mut notes, offset)?;
                    core.notes(&notes);
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

    fn notes(&mut self, notes: &[u8]) {
        let mut rest = notes;
        let half = |bytes: &[u8], at: usize| -> Option<u32> {
            Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
        };
        // Name and description each fill a multiple of four.
        while let (Some(name), Some(length), Some(kind)) = (half(rest, 0), half(rest, 4), half(rest, 8)) {
            let start = 12 + (name as usize).next_multiple_of(4);
            let Some(note) = rest.get(start..).and_then(|rest| rest.get(..length as usize)) else { return };
            match kind {
                register_sets::GENERAL => {
                    self.tids.extend(half(note, STATUS_PID).map(InnerTid));
                    let registers =
                        note.get(register_sets::IN_CORE_STATUS).unwrap_or_default().as_chunks::<8>().0;
                    let registers = registers.iter().map(|word| u64::from_le_bytes(*word)).collect();
                    self.threads.push(ThreadRegisters::new(registers, &[]));
                }
                // Those of the thread whose status came before.
                register_sets::VECTOR => {
                    if let Some(thread) = self.threads.last_mut() {
                        let vector = note.as_chunks::<8>().0.iter();
                        thread.vector = vector.map(|word| u64::from_le_bytes(*word)).collect();
                    }
                }
                NT_PRPSINFO => {
                    self.pid = Pid(half(note, INFO_PID).unwrap_or(0));
                    self.comm = text(note.get(INFO_NAME));
                    self.arguments = text(note.get(INFO_ARGUMENTS)).trim_end().to_owned();
                }
                NT_FILE => self.files(note),
                _ => {}
            }
            rest = rest.get(start + (length as usize).next_multiple_of(4)..).unwrap_or_default();
        }
    }

    fn files(&mut self, note: &[u8]) {
        let word = |index: u64| -> Option<u64> {
            let at = usize::try_from(index.checked_mul(8)?).ok()?;
            Some(u64::from_le_bytes(note.get(at..at.checked_add(8)?)?.try_into().ok()?))
        };
        let (Some(count), Some(unit)) = (word(0), word(1)) else { return };
        let count = count.min(MAX_FILES);
        let names = usize::try_from(16 + 24 * count).ok().and_then(|at| note.get(at..)).unwrap_or_default();
        let names = names.split(|byte| *byte == 0);
        for (index, path) in (0..count).zip(names) {
            let (Some(start), Some(end), Some(offset)) =
                (word(2 + 3 * index), word(3 + 3 * index), word(4 + 3 * index))
            else {
                return;
            };
            let path = String::from_utf8_lossy(path).into_owned();
            self.named.insert(start, Named { end, offset: offset.saturating_mul(unit), path });
        }
    }

    /// Opens the named files that are still those that were mapped.
    fn find_same(&mut self) {
        const FIRST_BYTES: usize = 1024;
        let first_parts = self.named.iter().filter(|(_, named)| named.offset == 0);
        let parts: Vec<(u64, String)> =
            first_parts.map(|(start, named)| (*start, named.path.clone())).collect();
        for (start, path) in parts {
            let (mut dumped, mut found) = ([0; FIRST_BYTES], [0; FIRST_BYTES]);
            if self.same.contains_key(&path) || !self.dumped(start, &mut dumped) {
                continue;
            }
            if let Ok(file) = open_regular(Path::new(&path))
                && file.read_exact_at(&mut found, 0).is_ok()
                && dumped == found
            {
                self.same.insert(path, file);
            }
        }
    }

    /// Registers of the threads.
    pub fn threads(&self) -> &[ThreadRegisters] {
        &self.threads
    }

    /// The file at `path` is there and the one that was mapped.
    pub fn has_file(&self, path: &str) -> bool {
        self.same.contains_key(path)
    }

    /// The mappings, as far as a core tells them.
    pub fn mappings(&self) -> Vec<Mapping> {
        let mapping = |load: &Load| {
            let named = self.named(load.start);
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
                path: named.map_or_else(String::new, |(_, named)| named.path.clone()),
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

    fn named(&self, address: u64) -> Option<(u64, &Named)> {
        let (start, named) = self.named.range(..=address).next_back()?;
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

fn text(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// A FIFO that lies there must not stop the tracer.
fn open_regular(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_no_core_is_refused() {
        let own = std::env::current_exe().expect("this program");
        assert!(matches!(Core::open(&own), Err(CoreError::NoCore)));
        assert!(matches!(Core::open(Path::new("/no/such/file")), Err(CoreError::Io(_))));
        assert!(Core::open(Path::new("/tmp")).is_err());
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"\x7fELF\x02\x01\x01").expect("written");
        assert!(matches!(Core::open(file.path()), Err(CoreError::NoCore)));
    }

    /// A core file with these program headers (type, offset, address, bytes in the file and in memory), sparse up to
    /// `length`.
    fn core(headers: &[(u32, u64, u64, u64, u64)], length: u64) -> tempfile::NamedTempFile {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(16, 0);
        bytes.extend([4_u16, 62].map(u16::to_le_bytes).as_flattened());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend([0, 64, 0].map(u64::to_le_bytes).as_flattened());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend([64, 56, headers.len() as u16, 0, 0, 0].map(u16::to_le_bytes).as_flattened());
        for &(kind, offset, address, file_bytes, bytes_in_memory) in headers {
            bytes.extend([kind, PF_R | PF_W].map(u32::to_le_bytes).as_flattened());
            let words = [offset, address, address, file_bytes, bytes_in_memory, 1];
            bytes.extend(words.map(u64::to_le_bytes).as_flattened());
        }
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&bytes).expect("written");
        file.as_file().set_len(length).expect("sparse");
        file
    }

    #[test]
    fn segments_that_cannot_be_are_left_out() {
        let loads = [
            (PT_LOAD, 0, 1 << 20, 4096, 1 << 62),
            (PT_LOAD, 0, 0xffff_ffff_ffff_e000, 0x1fff, 0x1fff),
            (PT_LOAD, 0, u64::MAX, 1, 1),
            (PT_LOAD, 0, 0, 0, 0),
            // More than the file has; then nothing is left of it.
            (PT_LOAD, 4096, 2 << 20, 1 << 40, 1 << 40),
            (PT_LOAD, 4096, 1 << 45, 4096, 1 << 46),
        ];
        let file = core(&loads, 8192);
        let core = Core::open(file.path()).expect("a core");
        let ranges: Vec<_> = core.mappings().iter().map(|mapping| (mapping.start, mapping.end)).collect();
        assert_eq!(ranges, [(2 << 20, (2 << 20) + (1 << 40)), (1 << 45, (1 << 45) + (1 << 46))]);
        let mut bytes = [0; 4096];
        assert!(core.read(2 << 20, &mut bytes).is_ok());
        assert!(core.read((2 << 20) + 4096, &mut bytes).is_err());
        // 2^46 bytes that are not in the file take no time.
        let mut resident = 0;
        let mut count = |start, end| {
            crate::process::pagemap::each_resident(&core, start, end, |_| resident += 1).expect("seen");
            resident
        };
        assert!(count(0, u64::MAX) <= 2, "one page is in the file, twice, or a hole of it");
    }

    #[test]
    fn notes_take_no_more_than_there_is() {
        let notes = vec![(PT_NOTE, 1 << 24, 0, 512 << 20, 0); 60_000];
        let file = core(&notes, 1 << 40);
        let begin = std::time::Instant::now();
        assert!(Core::open(file.path()).expect("a core").tids.is_empty());
        assert!(begin.elapsed().as_secs() < 10);
        let notes = vec![(PT_NOTE, 1 << 24, 0, 1 << 20, 0); 60_000];
        Core::open(core(&notes, 1 << 40).path()).expect("a core");
    }
}
