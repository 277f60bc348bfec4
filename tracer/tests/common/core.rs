//! A core file of a process, written as the kernel writes it: what was touched, and the first page of
//! every file.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tracer::process::Pid;
use tracer::process::mapping;
use tracer::process::memory::{LiveMemory, ProcessMemory};
use tracer::process::pagemap::{PageMap, each_resident};
use tracer_common::arch::PAGE_BYTES;

/// A note: kind and description, named CORE.
fn note(kind: u32, description: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [5, description.len() as u32, kind] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(b"CORE\0\0\0\0");
    bytes.extend_from_slice(description);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Writes a core file of the process, which must be stopped.
pub(crate) fn write(pid: Pid, path: &Path) {
    let memory = LiveMemory::open(pid).expect("memory");
    let residency = PageMap::open(pid).expect("page map");
    let mut mappings = mapping::read(pid).expect("maps");
    mappings.retain(|mapping| mapping.readable && !["[vvar]", "[vsyscall]"].contains(&mapping.path.as_str()));

    let mut notes = Vec::new();
    let mut info = vec![0; 136];
    info[24..28].copy_from_slice(&pid.0.to_le_bytes());
    info[40..44].copy_from_slice(b"java");
    notes.extend(note(3, &info));
    for tid in pid.threads().expect("its threads") {
        let mut status = vec![0; 336];
        status[32..36].copy_from_slice(&tid.0.to_le_bytes());
        notes.extend(note(1, &status));
    }
    let files: Vec<_> = mappings.iter().filter(|mapping| mapping.is_file()).collect();
    let mut table: Vec<u8> = [files.len() as u64, 4096].into_iter().flat_map(u64::to_le_bytes).collect();
    for file in &files {
        table.extend([file.start, file.end, file.offset / 4096].into_iter().flat_map(u64::to_le_bytes));
    }
    files.iter().for_each(|file| table.extend(file.path.bytes().chain([0])));
    notes.extend(note(0x4649_4c45, &table));

    let headers_bytes = 64 + 56 * (mappings.len() as u64 + 1);
    let first = (headers_bytes + notes.len() as u64).next_multiple_of(PAGE_BYTES);
    // Type, machine, version, entry, program headers, section headers, flags, sizes and counts.
    let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    head.extend([4_u16, 62].into_iter().flat_map(u16::to_le_bytes));
    head.extend(1_u32.to_le_bytes());
    head.extend([0_u64, 64, 0].into_iter().flat_map(u64::to_le_bytes));
    head.extend(0_u32.to_le_bytes());
    head.extend([64_u16, 56, mappings.len() as u16 + 1, 0, 0, 0].into_iter().flat_map(u16::to_le_bytes));
    let mut segment = |kind: u32, flags: u32, words: [u64; 6]| {
        head.extend([kind, flags].into_iter().flat_map(u32::to_le_bytes));
        head.extend(words.into_iter().flat_map(u64::to_le_bytes));
    };
    segment(4, 0, [headers_bytes, 0, 0, notes.len() as u64, notes.len() as u64, 4]);
    let core = File::create(path).expect("the core file");
    let mut offset = first;
    for mapping in &mappings {
        let bytes = mapping.end - mapping.start;
        // Where memory is as in a file, the kernel dumps the first page.
        let dumped = match mapping.is_file() && !mapping.writable {
            true if mapping.offset == 0 => PAGE_BYTES,
            true => 0,
            false => bytes,
        };
        let flags = u32::from(mapping.executable) | u32::from(mapping.writable) << 1 | 4;
        segment(1, flags, [offset, mapping.start, 0, dumped, bytes, PAGE_BYTES]);
        let copy = |page: u64| {
            let mut page_bytes = [0; PAGE_BYTES as usize];
            if memory.read(page, &mut page_bytes).is_ok() {
                core.write_all_at(&page_bytes, offset + page - mapping.start).expect("written");
            }
        };
        match mapping.is_file() {
            true => (mapping.start..mapping.start + dumped).step_by(PAGE_BYTES as usize).for_each(copy),
            false => {
                each_resident(&residency, mapping.start, mapping.start + dumped, copy).expect("the page map");
            }
        }
        offset += dumped;
    }
    core.set_len(offset).expect("its length");
    head.extend(notes);
    (&core).write_all(&head).expect("written");
}
