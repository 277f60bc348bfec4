//! The unwind rows of everything executable in a process, and where each mapping's rows are.
//!
//! Takes mappings, a way to open their files, and the process's memory (for the vDSO, which is in
//! no file); gives the flat row array and the sorted module array that the BPF programs search.
//! Incremental: rows are only ever appended, so that what the kernel has already stays true; a
//! file mapped again, or found under another name with the same build id, uses the rows it has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use object::{Object, ReadCache};
use tracer_common::unwind::{MAX_MODULES, Module, Row};

use super::table::{self, Omitted, Table};
use crate::process::mapping::{Device, Mapping};
use crate::process::memory::ProcessMemory;

/// Tables that are kept, whether or not their files are still mapped.
const MAX_TABLES: usize = 16_384;
/// Problems that are kept to be reported; all are counted.
const MAX_PROBLEMS: usize = 256;
/// The largest vDSO that is read. It has a few pages.
const MAX_VDSO_BYTES: u64 = 1 << 20;
const VDSO: &str = "[vdso]";

/// The outcome of a [`ModuleTables::update`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Indices of the rows that were appended.
    pub new_rows: Range<usize>,
    /// Whether [`ModuleTables::modules`] is another than before.
    pub modules_changed: bool,
}

/// A module whose frames cannot be walked, or only in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path as in maps.
    pub path: String,
    pub reason: String,
}

/// Modules and rows that did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overflow {
    /// Modules without rows because the row array is full.
    pub rows_full_modules: u64,
    /// Executable mappings left out, in the last update, because the module array is full.
    pub left_out_mappings: u64,
}

/// The tables of one process.
#[derive(Debug)]
pub struct ModuleTables {
    row_capacity: usize,
    rows: Vec<Row>,
    modules: Vec<Module>,
    tables: Vec<Placed>,
    /// Tables by what is in the file, for ever.
    by_identity: HashMap<Identity, usize>,
    /// Tables by device and inode, as long as the file stays mapped: until then the inode is not reused.
    by_inode: HashMap<Inode, usize>,
    vdso: Option<(u64, usize)>,
    problems: Vec<Problem>,
    problem_count: u64,
    overflow: Overflow,
    /// Code in no file is not known yet.
    awaits_jvm: bool,
}

type Inode = (Device, u64);

/// The identity of a file for the unwinder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Identity {
    BuildId { id: Vec<u8>, size_bytes: u64 },
    File { device: u64, inode: u64, size_bytes: u64, modified_s: i64, modified_ns: i64 },
}

/// A table whose rows are in the flat array.
#[derive(Debug)]
struct Placed {
    first_row: u32,
    row_count: u32,
    /// Table without its rows.
    table: Table,
}

impl ModuleTables {
    /// Tables of at most `row_capacity` rows in all (what the BPF map holds).
    pub fn new(row_capacity: usize) -> Self {
        // Module 0 of `tables` is that of code without a table: no rows, any address.
        let empty =
            Table { rows: Vec::new(), first_vaddr: 0, segments: Vec::new(), omitted: Omitted::default() };
        Self {
            row_capacity: row_capacity.min(u32::MAX as usize),
            rows: Vec::new(),
            modules: Vec::new(),
            tables: vec![Placed { first_row: 0, row_count: 0, table: empty }],
            by_identity: HashMap::new(),
            by_inode: HashMap::new(),
            vdso: None,
            problems: Vec::new(),
            problem_count: 0,
            overflow: Overflow::default(),
            awaits_jvm: false,
        }
    }

    /// Says whether a JVM starts that is not understood yet. As long as it does, code in no file, which
    /// may be its code cache, counts as code of which more will be known.
    pub fn set_awaits_jvm(&mut self, awaits_jvm: bool) {
        self.awaits_jvm = awaits_jvm;
    }

    /// Changes how many rows there can be. Rows that are there already stay.
    pub fn set_row_capacity(&mut self, row_capacity: usize) {
        self.row_capacity = row_capacity.min(u32::MAX as usize);
    }

    /// All rows; a module's are `rows[first_row .. first_row + row_count]`.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Every executable mapping (up to [`MAX_MODULES`]), sorted by start.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The first of the problems met so far, and how many there were.
    pub fn problems(&self) -> (&[Problem], u64) {
        (&self.problems, self.problem_count)
    }

    pub fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// Follows the process to `mappings` (all of them). `open` opens the file behind one.
    ///
    /// Files that cannot be opened (any more) are tried again at the next update; files without a
    /// usable table are not.
    pub fn update(
        &mut self,
        mappings: &[Mapping],
        mut open: impl FnMut(&Mapping) -> io::Result<File>,
        memory: &impl ProcessMemory,
    ) -> Update {
        let first_new_row = self.rows.len();
        let mut still_mapped = HashMap::new();
        let mut modules = Vec::new();
        let mut without_file = Vec::new();
        for mapping in mappings.iter().filter(|mapping| mapping.executable) {
            let index = if mapping.is_file() {
                let inode = (mapping.device, mapping.inode);
                let known = still_mapped.get(&inode).or_else(|| self.by_inode.get(&inode)).copied();
                let index = match known {
                    Some(index) => index,
                    None => match open(mapping).and_then(|file| self.load(&file, mapping)) {
                        Ok(index) => index,
                        Err(error) => {
                            self.problem(mapping, format!("cannot be opened: {error}"));
                            modules.push(self.module(mapping, 0));
                            continue;
                        }
                    },
                };
                still_mapped.insert(inode, index);
                index
            } else if mapping.path == VDSO {
                self.vdso(mapping, memory)
            } else {
                // Code of a JIT compiler, say: known, so that it is not taken for a library that
                // appeared since, but after everything else.
                if !self.awaits_jvm {
                    without_file.push(self.module(mapping, 0));
                }
                continue;
            };
            modules.push(self.module(mapping, index));
        }
        self.by_inode = still_mapped;

        self.overflow.left_out_mappings =
            (modules.len() + without_file.len()).saturating_sub(MAX_MODULES) as u64;
        modules.truncate(MAX_MODULES);
        without_file.truncate(MAX_MODULES - modules.len());
        modules.append(&mut without_file);
        modules.sort_by_key(|module| module.start);
        let modules_changed = modules != self.modules;
        self.modules = modules;
        Update { new_rows: first_new_row..self.rows.len(), modules_changed }
    }

    /// Compiles the table of a file that may be mapped later, so that it is there at once then.
    /// Files that have none are passed over.
    pub fn expect(&mut self, file: &File, path: &str) {
        let mapping = Mapping { path: path.to_owned(), ..Mapping::default() };
        let known = (self.problems.len(), self.problem_count);
        let _ = self.load(file, &mapping);
        // Nobody misses what is not mapped.
        self.problems.truncate(known.0);
        self.problem_count = known.1;
    }

    /// The module of `mapping`, whose table is at `index`.
    fn module(&self, mapping: &Mapping, index: usize) -> Module {
        let placed = self.tables.get(index);
        let bias = placed.and_then(|placed| placed.table.bias(mapping.start, mapping.offset));
        Module {
            start: mapping.start,
            end: mapping.end,
            bias: bias.unwrap_or(mapping.start),
            first_row: placed.map_or(0, |placed| placed.first_row),
            row_count: placed.filter(|_| bias.is_some()).map_or(0, |placed| placed.row_count),
            reserved: 0,
        }
    }

    /// The table of an opened file.
    fn load(&mut self, file: &File, mapping: &Mapping) -> io::Result<usize> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            self.problem(mapping, "not a regular file".to_owned());
            return Ok(0);
        }
        let cache = ReadCache::new(file);
        let identity = match build_id(&cache) {
            Some(id) => Identity::BuildId { id, size_bytes: metadata.len() },
            None => Identity::File {
                device: metadata.dev(),
                inode: metadata.ino(),
                size_bytes: metadata.len(),
                modified_s: metadata.mtime(),
                modified_ns: metadata.mtime_nsec(),
            },
        };
        if let Some(index) = self.by_identity.get(&identity) {
            return Ok(*index);
        }
        let index = match table::compile(&cache) {
            Ok(table) => self.place(table, mapping),
            Err(error) => {
                self.problem(mapping, error.to_string());
                0
            }
        };
        if self.by_identity.len() < MAX_TABLES
            && let Entry::Vacant(vacant) = self.by_identity.entry(identity)
        {
            vacant.insert(index);
        }
        Ok(index)
    }

    /// Appends a table's rows, if they fit.
    fn place(&mut self, mut table: Table, mapping: &Mapping) -> usize {
        let Omitted { broken_entries, misplaced_entries, limit_reached } = table.omitted;
        if limit_reached {
            self.problem(mapping, "call-frame information too large: read in part".to_owned());
        } else if broken_entries + misplaced_entries > 0 {
            let count = broken_entries + misplaced_entries;
            self.problem(mapping, format!("{count} entries of call-frame information are broken"));
        }
        let rows = std::mem::take(&mut table.rows);
        if self.rows.len() + rows.len() > self.row_capacity || self.tables.len() >= MAX_TABLES {
            self.overflow.rows_full_modules += 1;
            self.problem(mapping, "no room left for its unwind rows".to_owned());
            return 0;
        }
        let placed = Placed { first_row: self.rows.len() as u32, row_count: rows.len() as u32, table };
        self.rows.extend_from_slice(&rows);
        self.tables.push(placed);
        self.tables.len() - 1
    }

    /// The table of the vDSO, an ELF image that is only in memory.
    fn vdso(&mut self, mapping: &Mapping, memory: &impl ProcessMemory) -> usize {
        if let Some((start, index)) = self.vdso
            && start == mapping.start
        {
            return index;
        }
        let size_bytes = (mapping.end - mapping.start).min(MAX_VDSO_BYTES) as usize;
        let mut bytes = vec![0; size_bytes];
        let table = match memory.read(mapping.start, &mut bytes) {
            Ok(()) => table::compile(&*bytes).map_err(|error| error.to_string()),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        let index = match table {
            Ok(table) => self.place(table, mapping),
            Err(reason) => {
                self.problem(mapping, reason);
                0
            }
        };
        self.vdso = Some((mapping.start, index));
        index
    }

    fn problem(&mut self, mapping: &Mapping, reason: String) {
        self.problem_count += 1;
        let problem = Problem { path: mapping.path.clone(), reason };
        if self.problems.len() < MAX_PROBLEMS && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

fn build_id(cache: &ReadCache<&File>) -> Option<Vec<u8>> {
    let file = object::File::parse(cache).ok()?;
    file.build_id().ok().flatten().filter(|id| !id.is_empty()).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests;
