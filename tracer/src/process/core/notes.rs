//! Notes of a core file: the process, its threads with their registers, and the files that it had mapped.
//!
//! Takes the bytes of note segments; what they claim is bounded, and what makes no sense is left out.
//! Source: core(5); Linux, `fs/binfmt_elf.c`.

use std::collections::BTreeMap;

use super::{InnerTid, Pid, ThreadRegisters};
use crate::arch::register_sets;

/// Notes that tell of the process (`linux/elfcore.h`, `linux/elf.h`), beside those of register sets.
const NT_PRPSINFO: u32 = 3;
const NT_FILE: u32 = 0x4649_4c45;
/// Files that a core names.
const MAX_FILES: u64 = 1 << 16;
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
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) pid: Pid,
    pub(super) comm: String,
    pub(super) arguments: String,
    pub(super) tids: Vec<InnerTid>,
    pub(super) threads: Vec<ThreadRegisters>,
    /// Mapped files by the start of their mapping.
    pub(super) files: BTreeMap<u64, NamedFile>,
}

impl Notes {
    /// Adds the notes of one segment.
    pub(super) fn add(&mut self, segment: &[u8]) {
        let mut rest = segment;
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
                NT_FILE => self.add_files(note),
                _ => {}
            }
            rest = rest.get(start + (length as usize).next_multiple_of(4)..).unwrap_or_default();
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
            let path = String::from_utf8_lossy(path).into_owned();
            self.files.insert(start, NamedFile { end, offset: offset.saturating_mul(unit), path });
        }
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}
