//! Compiles the call-frame information of one ELF file to unwind rows.
//!
//! Takes an ELF image; gives its rows, sorted by pc and as few as can be. The file is
//! foreign: time and memory are bounded by the limits below, what is broken is counted and left
//! out, and nothing panics.

use std::collections::HashMap;

use gimli::{
    BaseAddresses, CieOrFde, DebugFrame, EhFrame, EndianSlice, FrameDescriptionEntry, LittleEndian,
    UnwindContext, UnwindSection,
};
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ReadRef, elf};
use tracer_common::arch;
use tracer_common::arch::PAGE_BYTES;
use tracer_common::unwind::{Row, rule};

use super::row::{self, Slice, Storage};

mod roots;

/// Rows that one module can have (libjvm has 180,000 or so).
pub const MAX_ROWS: usize = 1 << 21;
/// Bytes of call-frame instructions evaluated for one module: an entry counts with the common
/// part that it begins with, which a hostile file can make large and share.
pub const MAX_WORK_BYTES: usize = 128 << 20;
/// The largest section that is read.
pub const MAX_SECTION_BYTES: u64 = 128 << 20;
/// Padding between two functions: no address in it is ever looked up, so that it needs no row of
/// its own.
const PADDING_BYTES: u64 = 16;
/// Reason why a file has no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("not an ELF file that can be read: {0}")]
    Elf(#[from] object::Error),
    #[error("not for {}", arch::NAME)]
    Machine,
    #[error("no executable segment")]
    NoCode,
    #[error("no call-frame information")]
    NoFrames,
}

/// An executable segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub vaddr: u64,
    pub file_offset: u64,
    pub file_size_bytes: u64,
}

/// The rows of one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Sorted by pc; a row holds to the next one's pc. Empty if the file has no call-frame
    /// information.
    pub rows: Vec<Row>,
    /// The ELF virtual address from which the rows' pcs count.
    pub first_vaddr: u64,
    /// The executable segments.
    pub segments: Vec<Segment>,
    /// Entries that were left out.
    pub omitted: Omitted,
}

/// Entries that a table does not have, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Omitted {
    /// Entries that could not be evaluated; their functions have [`rule::UNSUPPORTED`].
    pub broken_entries: u32,
    /// Entries outside the executable segments, or overlapping others.
    pub misplaced_entries: u32,
    /// Entries that were not looked at any more because a limit of this module was reached.
    pub limit_reached: bool,
}

impl Table {
    /// The value to subtract from a pc in a mapping of this file that begins at `start` with
    /// `file_offset`, before it is looked up in the rows (modulo 2^64): `Module::bias`.
    /// `None`: the mapping is of no executable segment.
    pub fn bias(&self, start: u64, file_offset: u64) -> Option<u64> {
        // The kernel maps whole pages, so that a mapping can begin before its segment.
        let segment = self.segments.iter().find(|segment| {
            let first_page = segment.file_offset & !(PAGE_BYTES - 1);
            let end = segment.file_offset.saturating_add(segment.file_size_bytes);
            (first_page..end).contains(&file_offset)
        })?;
        let vaddr = segment.vaddr.wrapping_add(file_offset).wrapping_sub(segment.file_offset);
        Some(start.wrapping_sub(vaddr).wrapping_add(self.first_vaddr))
    }

    /// The last row at or below `relative_pc`.
    pub fn row(&self, relative_pc: u32) -> Option<Row> {
        let after = self.rows.partition_point(|row| row.pc <= relative_pc);
        after.checked_sub(1).and_then(|index| self.rows.get(index)).copied()
    }
}

/// Compiles the call-frame information of `data`, an ELF file (`&[u8]` or an `object::ReadCache`,
/// which reads only what is needed of a file).
///
/// # Errors
/// If there is nothing to compile: [`TableError`].
pub fn compile<'data, R: ReadRef<'data>>(data: R) -> Result<Table, TableError> {
    let file = ElfFile64::<Endianness, R>::parse(data)?;
    if file.elf_header().e_machine.get(file.endian()) != arch::ELF_MACHINE || !file.is_little_endian() {
        return Err(TableError::Machine);
    }
    let segments = executable_segments(&file);
    let first_vaddr = segments.iter().map(|segment| segment.vaddr).min().ok_or(TableError::NoCode)?;

    let mut compiler = Compiler::new(first_vaddr, &segments);
    let mut found = false;
    if let Some((address, bytes)) = section(&file, ".eh_frame").or_else(|| eh_frame(&file)) {
        found = true;
        let bases = BaseAddresses::default()
            .set_eh_frame(address)
            .set_text(file.section_by_name(".text").map_or(0, |text| text.address()));
        compiler.entries(&EhFrame::new(bytes, LittleEndian), &bases);
    }
    if compiler.spans.is_empty()
        && let Some((_, bytes)) = section(&file, ".debug_frame")
    {
        found = true;
        let mut frames = DebugFrame::new(bytes, LittleEndian);
        frames.set_address_size(8);
        compiler.entries(&frames, &BaseAddresses::default());
    }
    if !found {
        return Err(TableError::NoFrames);
    }
    compiler.roots(&file);
    let (rows, omitted) = compiler.finish();
    Ok(Table { rows, first_vaddr, segments, omitted })
}

fn executable_segments<'data, R: ReadRef<'data>>(file: &ElfFile64<'data, Endianness, R>) -> Vec<Segment> {
    let endian = file.endian();
    file.elf_program_headers()
        .iter()
        .filter(|header| header.p_type(endian) == elf::PT_LOAD && header.p_flags(endian) & elf::PF_X != 0)
        .map(|header| Segment {
            vaddr: header.p_vaddr(endian),
            file_offset: header.p_offset(endian),
            file_size_bytes: header.p_filesz(endian),
        })
        .collect()
}

/// The address and contents of a section.
fn section<'data, R: ReadRef<'data>>(
    file: &ElfFile64<'data, Endianness, R>,
    name: &str,
) -> Option<(u64, &'data [u8])> {
    let section = file.section_by_name(name)?;
    let compressed = matches!(section.flags(), object::SectionFlags::Elf { sh_flags }
        if sh_flags & u64::from(elf::SHF_COMPRESSED) != 0);
    if compressed || section.size() > MAX_SECTION_BYTES {
        return None;
    }
    let data = section.data().ok().filter(|data| !data.is_empty())?;
    Some((section.address(), data))
}

/// `.eh_frame` of a file without section headers: where PT_GNU_EH_FRAME says, to its segment's end
/// (a zero entry ends it before).
fn eh_frame<'data, R: ReadRef<'data>>(file: &ElfFile64<'data, Endianness, R>) -> Option<(u64, &'data [u8])> {
    let endian = file.endian();
    let headers = file.elf_program_headers();
    let header = headers.iter().find(|header| header.p_type(endian) == elf::PT_GNU_EH_FRAME)?;
    let bytes = header.data(endian, file.data()).ok()?;
    let address = header.p_vaddr(endian);
    let bases = BaseAddresses::default().set_eh_frame_hdr(address);
    let parsed = gimli::EhFrameHdr::new(bytes, LittleEndian).parse(&bases, 8).ok()?;
    let start = parsed.eh_frame_ptr().direct().ok()?;
    headers.iter().filter(|header| header.p_type(endian) == elf::PT_LOAD).find_map(|header| {
        let offset = start.checked_sub(header.p_vaddr(endian))?;
        let length = header.p_filesz(endian).checked_sub(offset)?.min(MAX_SECTION_BYTES);
        let data = file.data().read_bytes_at(header.p_offset(endian).checked_add(offset)?, length);
        Some((start, data.ok()?))
    })
}

/// The rows of one entry: a function, or part of one.
struct Span {
    /// Relative to the table's first address; `end` is exclusive.
    start: u32,
    end: u32,
    /// Index of the first row: the rows are `Compiler::rows[first_row..first_row + row_count]`.
    first_row: usize,
    row_count: usize,
}

struct Compiler {
    first_vaddr: u64,
    /// Relative to `first_vaddr`: no entry is believed from here on.
    end: u64,
    rows: Vec<Row>,
    spans: Vec<Span>,
    omitted: Omitted,
    work_bytes: usize,
}

impl Compiler {
    fn new(first_vaddr: u64, segments: &[Segment]) -> Self {
        let end = segments
            .iter()
            .map(|segment| segment.vaddr.saturating_add(segment.file_size_bytes) - first_vaddr)
            .max()
            .unwrap_or(0)
            .min(u64::from(u32::MAX));
        let (rows, spans, omitted) = (Vec::new(), Vec::new(), Omitted::default());
        Self { first_vaddr, end, rows, spans, omitted, work_bytes: 0 }
    }

    /// Evaluates all entries of a section.
    fn entries<'a, S>(&mut self, section: &S, bases: &BaseAddresses)
    where
        S: UnwindSection<Slice<'a>>,
        S::Offset: std::hash::Hash,
    {
        let mut context = UnwindContext::<usize, Storage>::new_in();
        let mut common = HashMap::new();
        let mut entries = section.entries(bases);
        loop {
            let partial = match entries.next() {
                Ok(Some(CieOrFde::Fde(partial))) => partial,
                Ok(Some(CieOrFde::Cie(_))) => continue,
                Ok(None) => return,
                Err(_) => {
                    // Lengths chain the entries: the rest cannot be found.
                    self.omitted.broken_entries += 1;
                    return;
                }
            };
            let entry = partial.parse(|section, bases, offset| {
                if let Some(entry) = common.get(&offset) {
                    return Ok(gimli::CommonInformationEntry::clone(entry));
                }
                let entry = section.cie_from_offset(bases, offset)?;
                common.insert(offset, entry.clone());
                Ok(entry)
            });
            let Ok(entry) = entry else {
                self.omitted.broken_entries += 1;
                continue;
            };
            self.work_bytes += entry.entry_len() + entry.cie().entry_len();
            if self.work_bytes > MAX_WORK_BYTES || self.rows.len() >= MAX_ROWS {
                self.omitted.limit_reached = true;
                return;
            }
            self.entry(section, bases, &mut context, &entry);
        }
    }

    /// Evaluates one entry.
    fn entry<'a, S: UnwindSection<Slice<'a>>>(
        &mut self,
        section: &S,
        bases: &BaseAddresses,
        context: &mut UnwindContext<usize, Storage>,
        entry: &FrameDescriptionEntry<EndianSlice<'a, LittleEndian>>,
    ) {
        let start = entry.initial_address().wrapping_sub(self.first_vaddr);
        let Some(end) = start.checked_add(entry.len()).filter(|end| *end <= self.end) else {
            self.omitted.misplaced_entries += 1;
            return;
        };
        if start >= end {
            self.omitted.misplaced_entries += 1;
            return;
        }
        // Both fit: `self.end` does.
        let (start, end) = (start as u32, end as u32);
        let first_row = self.rows.len();
        let signal = entry.is_signal_trampoline();
        let mut covered = start;
        let evaluated = (|| {
            let mut table = entry.rows(section, bases, context)?;
            while let Some(row) = table.next_row()? {
                let row_end = row.end_address().wrapping_sub(self.first_vaddr);
                let row_end = u32::try_from(row_end).unwrap_or(u32::MAX).min(end);
                if row_end > covered {
                    self.rows.push(row::from_gimli(section, row, signal, covered));
                    covered = row_end;
                }
                if self.rows.len() >= MAX_ROWS {
                    break;
                }
            }
            Ok::<(), gimli::Error>(())
        })();
        if evaluated.is_err() {
            self.omitted.broken_entries += 1;
        }
        if covered < end {
            self.rows.push(plain(covered, rule::UNSUPPORTED));
        }
        let row_count = self.rows.len() - first_row;
        self.spans.push(Span { start, end, first_row, row_count });
    }

    /// Puts the rows in order and drops those that say nothing new.
    fn finish(mut self) -> (Vec<Row>, Omitted) {
        self.spans.sort_by_key(|span| span.start);
        let mut rows: Vec<Row> = Vec::with_capacity(self.rows.len() / 2);
        let mut end = 0_u32;
        for span in &self.spans {
            if !rows.is_empty() {
                if span.start < end {
                    self.omitted.misplaced_entries += 1;
                    if span.end <= end {
                        continue;
                    }
                } else if u64::from(span.start - end) >= PADDING_BYTES {
                    push(&mut rows, plain(end, rule::GAP));
                }
            }
            let own = self.rows.get(span.first_row..).and_then(|rows| rows.get(..span.row_count));
            let own = own.unwrap_or_default();
            // The first entry of an overlap is believed.
            let hidden = own.partition_point(|row| row.pc <= end).saturating_sub(1);
            for row in own.iter().skip(if span.start < end { hidden } else { 0 }) {
                push(&mut rows, Row { pc: row.pc.max(end), ..*row });
            }
            end = span.end;
        }
        if !rows.is_empty() {
            push(&mut rows, plain(end, rule::GAP));
        }
        rows.shrink_to_fit();
        (rows, self.omitted)
    }
}

fn plain(pc: u32, rule: u8) -> Row {
    Row { pc, cfa_words: 0, rule, fp_words: 0 }
}

/// Appends `row` unless the last one says the same.
fn push(rows: &mut Vec<Row>, row: Row) {
    if rows.last().is_none_or(|last| Row { pc: row.pc, ..*last } != row) {
        rows.push(row);
    }
}

#[cfg(test)]
mod tests;
