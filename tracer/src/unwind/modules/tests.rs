//! Tables of this very process's mappings, and of made-up ones.

use super::*;
use crate::process::Pid;
use crate::process::mapping;
use crate::process::memory::{ImageMemory, LiveMemory};
use crate::process::root;

fn own() -> (Pid, Vec<Mapping>, LiveMemory) {
    let pid = Pid::own();
    (pid, mapping::read(pid).unwrap(), LiveMemory::open(pid).unwrap())
}

fn open(pid: Pid) -> impl Fn(&Mapping) -> io::Result<File> {
    move |mapping| root::mapped_file(pid, mapping).map(|(file, _)| file)
}

/// A made-up executable mapping of `inode`.
fn executable(start: u64, inode: u64) -> Mapping {
    Mapping {
        start,
        end: start + 0x1000,
        readable: true,
        writable: false,
        executable: true,
        shared: false,
        offset: 0,
        device: mapping::Device::default(),
        inode,
        path: if inode == 0 { String::new() } else { format!("/lib/{inode}.so") },
    }
}

#[test]
fn every_executable_mapping_once_sorted_and_with_rows() {
    let (pid, mappings, memory) = own();
    let mut tables = ModuleTables::new(1 << 20);
    let update = tables.update(&mappings, open(pid), &memory);
    assert!(update.modules_changed);
    assert_eq!(update.new_rows, 0..tables.rows().len());
    let executable: Vec<_> = mappings.iter().filter(|mapping| mapping.executable).collect();
    assert_eq!(tables.modules().len(), executable.len());
    assert!(tables.modules().is_sorted_by_key(|module| module.start));
    for (module, mapping) in tables.modules().iter().zip(executable) {
        assert_eq!((module.start, module.end), (mapping.start, mapping.end));
        if mapping.is_file() || mapping.path == VDSO {
            assert!(module.row_count > 0, "{}", mapping.path);
            let rows = module.first_row as usize..(module.first_row + module.row_count) as usize;
            assert!(tables.rows()[rows].is_sorted_by(|a, b| a.pc < b.pc));
        }
    }
    // A function of this process is in its module, at a row of its own table.
    let pc = open_row as *const () as u64;
    assert_eq!(open_row(&tables, pc), Some(1), "at a function's first byte, CFA = rsp + 8");

    // Nothing new: nothing appended, nothing changed.
    let again = tables.update(&mappings, |_| panic!("all files are known"), &memory);
    assert_eq!(again, Update { new_rows: tables.rows().len()..tables.rows().len(), modules_changed: false });
}

#[inline(never)]
fn open_row(tables: &ModuleTables, pc: u64) -> Option<u16> {
    let module = tables.modules().iter().find(|module| (module.start..module.end).contains(&pc))?;
    let rows = &tables.rows()[module.first_row as usize..][..module.row_count as usize];
    let relative = u32::try_from(pc.wrapping_sub(module.bias)).ok()?;
    rows.get(rows.partition_point(|row| row.pc <= relative).checked_sub(1)?).map(|row| row.cfa_words)
}

#[test]
fn a_library_mapped_again_uses_the_rows_it_has() {
    let (pid, mappings, memory) = own();
    let mut tables = ModuleTables::new(1 << 20);
    tables.update(&mappings, open(pid), &memory);
    let (rows, modules) = (tables.rows().len(), tables.modules().to_vec());
    // Unmapped, and mapped again.
    let update = tables.update(&[], open(pid), &memory);
    assert_eq!((update.modules_changed, tables.modules().len()), (true, 0));
    let update = tables.update(&mappings, open(pid), &memory);
    assert_eq!((update.new_rows, tables.modules()), (rows..rows, &*modules));
}

#[test]
fn what_cannot_be_opened_is_tried_again_and_what_is_broken_is_not() {
    let memory = ImageMemory::default();
    let mut tables = ModuleTables::new(1 << 20);
    let mappings = [executable(0x1000, 7)];
    let gone = |_: &Mapping| Err(io::ErrorKind::NotFound.into());
    tables.update(&mappings, gone, &memory);
    assert_eq!((tables.modules()[0].row_count, tables.problems().1), (0, 1));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no.so");
    std::fs::write(&path, b"\x7fELF and nothing more").unwrap();
    let mut opened = 0;
    for _ in 0..2 {
        tables.update(
            &mappings,
            |_| {
                opened += 1;
                File::open(&path)
            },
            &memory,
        );
    }
    assert_eq!((opened, tables.modules().len(), tables.problems().1), (1, 1, 2));
}

#[test]
fn what_does_not_fit_is_counted() {
    let (pid, mappings, memory) = own();
    let mut tables = ModuleTables::new(10);
    tables.update(&mappings, open(pid), &memory);
    assert!(tables.rows().len() <= 10 && tables.overflow().rows_full_modules > 0);
    assert!(tables.modules().iter().all(|module| module.row_count <= 10));

    // Anonymous code gives way to files.
    let mut many: Vec<_> = (1..=MAX_MODULES as u64).map(|i| executable(i << 16, 0)).collect();
    many.push(executable(0x1000, 5));
    let mut tables = ModuleTables::new(10);
    tables.update(&many, |_| Err(io::ErrorKind::NotFound.into()), &memory);
    assert_eq!(tables.modules().len(), MAX_MODULES);
    assert_eq!(tables.modules()[0].start, 0x1000);
    assert_eq!(tables.overflow().left_out_mappings, 1);
}
