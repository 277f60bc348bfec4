//! Notes of a core file: the process, its threads with their registers, and the files that it had mapped.
//!
//! Takes the file and where its note segments are; what they claim is bounded, and what makes no sense is left out.
//! Notes are read one by one, and only those that are understood.
//! Source: core(5); Linux, `fs/binfmt_elf.c`.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::{InnerTid, Pid, ThreadRegisters};
use crate::arch::register_sets;

/// Notes that tell of the process (`linux/elfcore.h`, `linux/elf.h`), beside those of register sets.
const NT_PRPSINFO: u32 = 3;
const NT_FILE: u32 = 0x4649_4c45;
/// Files that a core names, and bytes of the note that names them.
const MAX_FILES: u64 = 1 << 16;
const MAX_FILES_BYTES: usize = 16 << 20;
/// Bytes of a name: those of any path.
const MAX_PATH: usize = 4096;
/// Notes that are looked at: a thread has eight at most.
const MAX_NOTES: usize = 1 << 19;
/// Bytes that are kept of all notes, some more than 4 KiB for each of 10,000 threads.
const MAX_KEPT_BYTES: usize = 64 << 20;
/// `pid` in `elf_prstatus`; `pid`, the name and the arguments in `elf_prpsinfo` (of 64-bit processes).
const STATUS_PID: usize = 32;
const INFO_PID: usize = 24;
const INFO_NAME: std::ops::Range<usize> = 40..56;
const INFO_ARGUMENTS: std::ops::Range<usize> = 56..136;

/// A file that was mapped.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    pub(super) end: u64,
    pub(super) offset: u64,
    pub(super) path: String,
}

/// All notes of a core.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) pid: Pid,
    pub(super) comm: String,
    pub(super) arguments: String,
    pub(super) tids: Vec<InnerTid>,
    pub(super) threads: Vec<ThreadRegisters>,
    /// Mapped files by the start of their mapping.
    pub(super) files: BTreeMap<u64, NamedFile>,
    /// Notes and bytes that may still be read and kept.
    notes_left: usize,
    bytes_left: usize,
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            pid: Pid::default(),
            comm: String::new(),
            arguments: String::new(),
            tids: Vec::new(),
            threads: Vec::new(),
            files: BTreeMap::new(),
            notes_left: MAX_NOTES,
            bytes_left: MAX_KEPT_BYTES,
        }
    }
}

impl Notes {
    /// Adds the notes of one segment of `file`.
    pub(super) fn add(&mut self, file: &File, segment: Range<u64>) {
        let mut at = segment.start;
        let mut note = Vec::new();
        while let Some(left) = self.notes_left.checked_sub(1) {
            self.notes_left = left;
            let mut header = [0; 12];
            if segment.end.saturating_sub(at) < 12 || file.read_exact_at(&mut header, at).is_err() {
                return;
            }
            let [name, length, kind] = [0, 4, 8].map(|at| half(&header, at).unwrap_or(0));
            // Name and description each fill a multiple of four.
            let start = at + 12 + u64::from(name).next_multiple_of(4);
            let end = start + u64::from(length);
            if end > segment.end {
                return;
            }
            let limit = match kind {
                register_sets::VECTOR => register_sets::MAX_VECTOR_BYTES,
                NT_FILE => MAX_FILES_BYTES,
                register_sets::GENERAL | NT_PRPSINFO => MAX_PATH,
                _ => 0,
            };
            note.resize(limit.min(length as usize), 0);
            if !note.is_empty() {
                if file.read_exact_at(&mut note, start).is_err() {
                    return;
                }
                self.take(kind, &note);
            }
            at = start + u64::from(length).next_multiple_of(4);
        }
    }

    /// Counts bytes that are kept. Returns false if there is no more room.
    fn keeps(&mut self, bytes: usize) -> bool {
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.unwrap_or(self.bytes_left);
        left.is_some()
    }

    fn take(&mut self, kind: u32, note: &[u8]) {
        match kind {
            register_sets::GENERAL => {
                let registers =
                    note.get(register_sets::IN_CORE_STATUS).unwrap_or_default().as_chunks::<8>().0;
                if self.keeps(size_of::<ThreadRegisters>() + size_of_val(registers)) {
                    self.tids.extend(half(note, STATUS_PID).map(InnerTid));
                    let registers = registers.iter().map(|word| u64::from_le_bytes(*word)).collect();
                    self.threads.push(ThreadRegisters::new(registers, &[]));
                }
            }
            // Those of the thread whose status came before.
            register_sets::VECTOR if self.keeps(note.len()) => {
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
            NT_FILE => self.add_files(note),
            _ => {}
        }
    }

    fn add_files(&mut self, note: &[u8]) {
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
            if self.files.len() as u64 >= MAX_FILES
                || path.len() > MAX_PATH
                || !self.keeps(size_of::<NamedFile>() + path.len())
            {
                continue;
            }
            let path = String::from_utf8_lossy(path).into_owned();
            self.files.insert(start, NamedFile { end, offset: offset.saturating_mul(unit), path });
        }
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn text(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}
