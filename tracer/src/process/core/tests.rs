//! Cores that lie about their length are read as far as they go.

use std::io::Write;
use std::os::unix::fs::FileExt;

use super::*;

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

/// More segments than the file's header can count: the first section header has their number, wherever it says.
#[test]
fn nothing_is_read_of_a_core_when_the_budget_is_spent() {
    let file = core(&[(PT_LOAD, 0, 2 << 20, 1 << 30, 1 << 30)], 1 << 30);
    let open = || Core::open(file.path()).expect("a core");
    let moment = std::time::Instant::now();
    let (spent, left) =
        (ReadBudget::until(moment, 0), ReadBudget::until(moment + std::time::Duration::from_secs(1800), 0));
    for (budget, is_over) in [(spent, true), (left, false)] {
        let core = open().within(&budget);
        let read = core.read(2 << 20, &mut [0; 8]);
        let pages = core.pages(2 << 20, &mut [PageState::Absent; 2]);
        let skip = core.skip_absent(2 << 20, 3 << 20).map(drop);
        for result in [read, pages, skip] {
            let kind = result.err().map(|error| error.kind());
            assert_eq!(kind, is_over.then_some(io::ErrorKind::TimedOut));
        }
        assert_eq!(budget.cut_short().is_some(), is_over);
    }
}

#[test]
fn a_core_of_very_many_mappings_is_read() {
    let pages =
        |count: u64| (0..count).map(|page| (PT_LOAD, 0, (page + 1) << 13, 4096, 4096)).collect::<Vec<_>>();
    let with_number = |headers: &[(u32, u64, u64, u64, u64)], number: u32| {
        const AT: u64 = 32 << 20;
        let file = core(headers, AT);
        file.as_file().write_all_at(&AT.to_le_bytes(), 40).expect("e_shoff");
        file.as_file().write_all_at(&0xffff_u16.to_le_bytes(), 56).expect("e_phnum");
        let mut section = [0; 64];
        section[44..48].copy_from_slice(&number.to_le_bytes());
        file.as_file().write_all_at(&section, AT).expect("the section header");
        file
    };
    let headers = pages(200_000);
    let file = with_number(&headers, 200_000);
    let core = Core::open(file.path()).expect("a core");
    assert_eq!(core.mappings().len(), 200_000);
    // A number that cannot be, and a section header that is not there.
    let file = with_number(&headers, u32::MAX);
    assert!(matches!(Core::open(file.path()), Err(CoreError::NoCore)));
    file.as_file().write_all_at(&(1_u64 << 40).to_le_bytes(), 40).expect("e_shoff");
    assert!(matches!(Core::open(file.path()), Err(CoreError::NoCore)));
}

#[test]
fn notes_take_no_more_than_there_is() {
    let notes = vec![(PT_NOTE, 1 << 24, 0, 512 << 20, 0); 60_000];
    let file = core(&notes, 1 << 40);
    let begin = std::time::Instant::now();
    assert!(Core::open(file.path()).expect("a core").tids().is_empty());
    assert!(begin.elapsed().as_secs() < 10);
    let notes = vec![(PT_NOTE, 1 << 24, 0, 1 << 20, 0); 60_000];
    Core::open(core(&notes, 1 << 40).path()).expect("a core");
}

/// A note of this kind.
fn note(kind: u32, description: &[u8]) -> Vec<u8> {
    let mut note = [0, description.len() as u32, kind].map(u32::to_le_bytes).concat();
    note.extend(description);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

/// A core of `notes`, with these loads beside them.
fn core_of_notes(notes: &[u8], loads: &[(u32, u64, u64, u64, u64)]) -> Core {
    const AT: u64 = 8 << 20;
    let headers: Vec<_> =
        [(PT_NOTE, AT, 0, notes.len() as u64, 0)].into_iter().chain(loads.iter().copied()).collect();
    let file = core(&headers, AT + notes.len() as u64);
    file.as_file().write_all_at(notes, AT).expect("written");
    Core::open(file.path()).expect("a core")
}

#[test]
fn notes_of_threads_are_kept_up_to_a_bound() {
    const GENERAL_BYTES: usize = 336;
    // Ten million threads of nothing; and threads with more registers than any processor has.
    let empty = core_of_notes(&note(1, &[]).repeat(1 << 20), &[]);
    assert!(empty.threads().is_empty());
    let threads = [note(1, &[0; GENERAL_BYTES]), note(0x202, &vec![7; 64 << 10])].concat().repeat(1_500);
    let full = core_of_notes(&threads, &[]);
    assert_eq!(full.tids().len(), full.threads().len());
    assert!(full.threads().len() >= 1_000, "{}", full.threads().len());
    let words: usize = full.threads().iter().map(|thread| thread.general.len() + thread.vector.len()).sum();
    assert!(words * 8 <= 64 << 20, "{words} words are kept");
}

#[test]
fn one_long_name_is_not_kept_for_each_mapping() {
    let count = 30_000;
    let loads: Vec<_> = (0..count).map(|at| (PT_LOAD, 0, (1 << 20) + at * 0x2000, 0, 0x1000)).collect();
    let mut files = [1_u64, 4096, 0, 1 << 47, 0].map(u64::to_le_bytes).concat();
    let path = "/x".repeat(2_000);
    files.extend(path.as_bytes());
    files.push(0);
    let named = core_of_notes(&note(0x4649_4c45, &files), &loads);
    let mappings = named.mappings();
    assert_eq!(mappings.len(), count as usize);
    assert_eq!(mappings.first().map(|mapping| mapping.path.as_str()), Some(path.as_str()));
    let bytes: usize = mappings.iter().map(|mapping| mapping.path.len()).sum();
    assert!(bytes <= 16 << 20, "{bytes} bytes of names");
    // A name that no file can have is none.
    let mut files = [1_u64, 4096, 0, 1 << 47, 0].map(u64::to_le_bytes).concat();
    files.extend(b"/x".repeat(100_000));
    files.push(0);
    let unnamed = core_of_notes(&note(0x4649_4c45, &files), &loads[..1]);
    assert_eq!(unnamed.mappings()[0].path, "");
}
