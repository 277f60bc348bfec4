//! Unwind rows and modules into their maps.

use std::{fs::File, io, os::fd::AsFd};

use aya::{Ebpf, maps::Array, maps::Map};
use memmap2::MmapOptions;
use tracer_common::{
    config::Jvm,
    table::{EPOCH_STEP, KEEPS_JAVA},
    unwind::{MAX_MODULES, Module, ModuleTable, Row},
};
use zerocopy::IntoBytes;

use super::ProbeError;

/// Writes what the unwinder reads: rows (append-only), modules, and the JVM's layout.
pub struct UnwindTables {
    rows: File,
    row_capacity: usize,
    modules: Array<aya::maps::MapData, Module>,
    table: Array<aya::maps::MapData, ModuleTable>,
    jvm: Array<aya::maps::MapData, Jvm>,
    epoch: Array<aya::maps::MapData, u64>,
    /// The value in `epoch`.
    raised: u64,
    /// The half of the modules' map that is in use.
    half: usize,
}

impl UnwindTables {
    /// Takes the maps out of `ebpf`.
    ///
    /// # Errors
    /// A map is missing, or there are no descriptors left.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        let rows = ebpf.take_map("ROWS").ok_or(ProbeError::MissingMap("ROWS"))?;
        let Map::Array(data) = rows else { return Err(ProbeError::MissingMap("ROWS")) };
        let row_capacity = data.info()?.max_entries() as usize;
        let rows = data.fd().as_fd().try_clone_to_owned().map(File::from).map_err(unmapped)?;
        let mut take = |name: &'static str| ebpf.take_map(name).ok_or(ProbeError::MissingMap(name));
        Ok(Self {
            rows,
            row_capacity,
            modules: take("MODULES")?.try_into()?,
            table: take("MODULE_TABLE")?.try_into()?,
            jvm: take("JVM")?.try_into()?,
            epoch: take("TABLE_EPOCH")?.try_into()?,
            raised: 0,
            half: 0,
        })
    }

    /// Number of rows there is room for.
    pub fn row_capacity(&self) -> usize {
        self.row_capacity
    }

    /// Writes `rows` from index `first` on. Rows that modules in use refer to must not change.
    ///
    /// # Errors
    /// Beyond the capacity, or the map cannot be mapped.
    pub fn write_rows(&mut self, first: usize, rows: &[Row]) -> Result<(), ProbeError> {
        let full = || ProbeError::Io {
            what: "the unwind rows are full".to_owned(),
            source: io::Error::from(io::ErrorKind::StorageFull),
        };
        let end = first.checked_add(rows.len()).filter(|end| *end <= self.row_capacity).ok_or_else(full)?;
        if rows.is_empty() {
            return Ok(());
        }
        // For a moment: what is mapped counts as memory of the recorder.
        let bytes = rows.as_bytes();
        let mapped = MmapOptions::new()
            .offset((first * size_of::<Row>()) as u64)
            .len((end - first) * size_of::<Row>())
            .map_raw(&self.rows)
            .map_err(unmapped)?;
        debug_assert_eq!(bytes.len(), mapped.len());
        // SAFETY: the mapping has just these bytes; the kernel's readers are given these indices only after this.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), mapped.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Replaces the modules, which must be sorted by start. If there are too many, the last are left out: the
    /// result is how many are in use.
    ///
    /// # Errors
    /// A map operation failed.
    pub fn set_modules(&mut self, modules: &[Module]) -> Result<usize, ProbeError> {
        let modules = modules.get(..MAX_MODULES).unwrap_or(modules);
        self.half = 1 - self.half;
        let first = self.half * MAX_MODULES;
        for (i, module) in modules.iter().enumerate() {
            self.modules.set((first + i) as u32, module, 0)?;
        }
        let table = ModuleTable { first: first as u32, count: modules.len() as u32 };
        self.raise()?;
        self.table.set(0, table, 0)?;
        self.raise()?;
        Ok(modules.len())
    }

    /// Tells the unwinder of the JVM.
    ///
    /// # Errors
    /// A map operation failed.
    pub fn set_jvm(&mut self, jvm: &Jvm) -> Result<(), ProbeError> {
        self.raise()?;
        self.jvm.set(0, jvm, 0)?;
        self.raise()
    }

    /// Lets stacks with Java frames be remembered: probes tell when the JVM frees code and classes.
    ///
    /// # Errors
    /// A map operation failed.
    pub fn keep_java(&mut self) -> Result<(), ProbeError> {
        self.raised |= KEEPS_JAVA;
        self.raise()
    }

    /// Voids what was remembered of stacks. Before what they were walked by changes, so that nothing old meets
    /// the new; and after it, so that nothing stays that was made of both.
    fn raise(&mut self) -> Result<(), ProbeError> {
        self.raised += EPOCH_STEP;
        Ok(self.epoch.set(0, self.raised, 0)?)
    }
}

fn unmapped(source: io::Error) -> ProbeError {
    ProbeError::Io { what: "cannot map the unwind rows".to_owned(), source }
}
