use std::collections::BTreeSet;

use super::*;
use crate::process::{self, allocator};

const BASE: u64 = 0x1000;

/// Places on a function of exactly these bytes.
fn place(bytes: &[u8], function: Function) -> Result<Placement, PlacementError> {
    Code::new(bytes.to_vec(), BASE, 0x400).place(BASE, bytes.len() as u64, Needs::of(function))
}

fn offset(bytes: &[u8], function: Function) -> (i64, bool) {
    let placement = place(bytes, function).unwrap();
    (placement.offset_from_entry, placement.emulated)
}

/// glibc 2.36 (Debian 12): push r12; push rbp; push rbx; mov rbx, rdi; sub rsp, 0x10; ret
const MALLOC: [u8; 12] = [0x41, 0x54, 0x55, 0x53, 0x48, 0x89, 0xfb, 0x48, 0x83, 0xec, 0x10, 0xc3];
/// The same: test rdi, rdi; je +0; push rbp; lea rsi, [rdi-16]; ret
const FREE: [u8; 15] = [0x48, 0x85, 0xff, 0x0f, 0x84, 0, 0, 0, 0, 0x55, 0x48, 0x8d, 0x77, 0xf0, 0xc3];
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

fn with(prefix: &[u8], rest: &[u8]) -> Vec<u8> {
    [prefix, rest].concat()
}

#[test]
fn glibc_s_malloc_and_free() {
    let malloc = place(&MALLOC, Function::Malloc).unwrap();
    assert_eq!(
        (malloc.offset_from_entry, malloc.emulated, malloc.instruction_text.as_str()),
        (0, true, "push r12")
    );
    let free = place(&FREE, Function::Free).unwrap();
    assert_eq!((free.vaddr, free.file_offset, free.emulated), (BASE + 3, 0x403, true));
    assert!(free.instruction_text.starts_with("je "), "{}", free.instruction_text);
}

#[test]
fn endbr64_is_stepped_over() {
    assert_eq!(offset(&with(&ENDBR64, &MALLOC), Function::Malloc), (4, true));
    assert_eq!(offset(&with(&ENDBR64, &FREE), Function::Free), (7, true));
}

#[test]
fn an_argument_written_before_ends_the_search() {
    // xor edi, edi (which clears all of rdi); push rbx
    assert_eq!(offset(&[0x31, 0xff, 0x53, 0xc3], Function::Malloc), (0, false));
    // xor esi, esi; push rbx: only malloc does not need rsi.
    assert_eq!(offset(&[0x31, 0xf6, 0x53, 0xc3], Function::Malloc), (2, true));
    assert_eq!(offset(&[0x31, 0xf6, 0x53, 0xc3], Function::Calloc), (0, false));
    // mul rdx writes rdx (reallocarray of glibc 2.36 begins so).
    let reallocarray = [0x48, 0x89, 0xf0, 0x48, 0xf7, 0xe2, 0x70, 0x01, 0xc3, 0xc3];
    assert_eq!(offset(&reallocarray, Function::Reallocarray), (0, false));
    // mov dil, 1 writes a part of rdi.
    assert_eq!(offset(&[0x40, 0xb7, 0x01, 0x53, 0xc3], Function::Free), (0, false));
}

#[test]
fn a_moved_stack_pointer_ends_it_for_return_probes() {
    // sub rsp, 8; jmp +0
    let bytes = [0x48, 0x83, 0xec, 0x08, 0xeb, 0x00, 0xc3];
    assert_eq!(offset(&bytes, Function::Malloc), (0, false));
    assert_eq!(offset(&bytes, Function::Free), (4, true));
    // pop rax writes rsp unsaid.
    assert_eq!(offset(&[0x58, 0x53, 0xc3], Function::Malloc), (0, false));
}

#[test]
fn a_branch_back_to_the_place_ends_it() {
    // test rdi, rdi; push rbx; jne -3 (to the push)
    assert_eq!(offset(&[0x48, 0x85, 0xff, 0x53, 0x75, 0xfd, 0xc3], Function::Free), (0, false));
    // ... and to an instruction between: nop word [rax]; test; push; jne to the test
    let between = [0x66, 0x0f, 0x1f, 0x00, 0x48, 0x85, 0xff, 0x53, 0x75, 0xfa, 0xc3];
    assert_eq!(offset(&between, Function::Free), (0, false));
    // A branch to the entry itself calls the function again, wherever the probe is.
    assert_eq!(offset(&[0x48, 0x85, 0xff, 0x53, 0x75, 0xfa, 0xc3], Function::Free), (3, true));
}

#[test]
fn a_branch_from_a_part_moved_away_ends_it() {
    // test rdi, rdi; je +0; ret, and behind the function: jmp to the je.
    let function = [0x48, 0x85, 0xff, 0x74, 0x00, 0xc3];
    let mut bytes = with(&function, &[0x90; 300]);
    bytes.extend([0xe9, 0, 0, 0, 0]);
    let end = bytes.len();
    let displacement = (3_i64 - end as i64) as i32;
    bytes[end - 4..end].copy_from_slice(&displacement.to_le_bytes());
    let place =
        |bytes: &[u8]| Code::new(bytes.to_vec(), BASE, 0).place(BASE, 6, Needs::of(Function::Free)).unwrap();
    assert_eq!(place(&bytes).offset_from_entry, 0);
    bytes[end - 5] = 0x90;
    assert_eq!(place(&bytes).offset_from_entry, 3);
}

#[test]
fn a_jump_through_a_table_ends_it() {
    // test; je +0; jmp [rax*8]
    let bytes = [0x48, 0x85, 0xff, 0x74, 0x00, 0xff, 0x24, 0xc5, 0, 0, 0, 0];
    assert_eq!(offset(&bytes, Function::Free), (0, false));
    // test; je +0; add rax, rcx; jmp rax
    assert_eq!(
        offset(&[0x48, 0x85, 0xff, 0x74, 0x00, 0x48, 0x01, 0xc8, 0xff, 0xe0], Function::Free),
        (0, false)
    );
    // A tail call through a pointer has no table.
    assert_eq!(offset(&[0x48, 0x85, 0xff, 0x74, 0x00, 0xff, 0x25, 0, 0, 0, 0], Function::Free), (3, true));
}

#[test]
fn what_leaves_the_function_ends_it() {
    // ret; push rbx
    assert_eq!(offset(&[0xc3, 0x53], Function::Free), (0, false));
    // A call behind the entry is not stepped over, nor taken; as the entry it is taken.
    assert_eq!(offset(&[0x48, 0x85, 0xff, 0xe8, 0, 0, 0, 0, 0x53, 0xc3], Function::Free), (0, false));
    assert_eq!(offset(&[0xe8, 0, 0, 0, 0, 0xc3], Function::Free), (0, true));
}

#[test]
fn what_the_kernel_does_not_emulate_everywhere_is_not_chosen() {
    // xchg ax, ax (66 90) and a long nop are stepped over, push of r8 is taken.
    assert_eq!(offset(&[0x66, 0x90, 0x0f, 0x1f, 0x00, 0x41, 0x50, 0xc3], Function::Malloc), (5, true));
    // pause (f3 90) is no nop; xchg r8, rax (41 90) neither.
    assert_eq!(offset(&[0xf3, 0x90, 0xc3], Function::Malloc), (0, false));
    assert_eq!(offset(&[0x49, 0x90, 0xc3], Function::Malloc), (0, false));
    // push with a superfluous REX.W is stepped.
    assert_eq!(offset(&[0x48, 0x53, 0xc3], Function::Malloc), (0, false));
}

#[test]
fn nothing_undecoded_is_given() {
    assert!(matches!(place(&[0x06, 0x53], Function::Malloc), Err(PlacementError::NotDecoded(BASE))));
    // Cut within its first instruction.
    assert!(matches!(place(&[0x48, 0x83], Function::Malloc), Err(PlacementError::NotDecoded(BASE))));
    // An invalid byte later in the function: its branches are not known.
    assert_eq!(offset(&[0x48, 0x85, 0xff, 0x53, 0x06, 0xc3], Function::Free), (0, false));
    let code = Code::new(MALLOC.to_vec(), BASE, 0);
    for entry in [0, BASE - 1, BASE + MALLOC.len() as u64, u64::MAX] {
        let result = code.place(entry, 1, Needs::of(Function::Malloc));
        assert!(matches!(result, Err(PlacementError::OutsideCode(_))), "{entry:#x}");
    }
    // Only the entry of a function without a size is sure.
    let free = Code::new(FREE.to_vec(), BASE, 0).place(BASE, 0, Needs::of(Function::Free)).unwrap();
    assert_eq!((free.offset_from_entry, free.emulated), (0, false));
}

#[test]
fn what_the_kernel_refuses_is_an_error() {
    // lock inc dword [rdi]; cs nop; syscall; hlt; int3
    for bytes in [&[0xf0, 0xff, 0x07, 0xc3][..], &[0x2e, 0x90, 0xc3], &[0x0f, 0x05, 0xc3], &[0xf4], &[0xcc]] {
        assert!(matches!(place(bytes, Function::Free), Err(PlacementError::Refused { .. })), "{bytes:x?}");
    }
}

/// Random bytes: a place is the start of an instruction in a linear decoding from the entry, whatever they are.
#[test]
fn random_bytes() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let mut bytes = [0_u8; 48];
        for byte in &mut bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        if let Ok(placement) = place(&bytes, Function::Realloc) {
            let mut decoder = Decoder::with_ip(64, &bytes, BASE, DecoderOptions::NONE);
            assert!(decoder.iter().any(|instruction| instruction.ip() == placement.vaddr), "{bytes:x?}");
        }
    }
}

/// Every allocator function of this machine's C library.
#[test]
fn this_machine_s_libc() {
    let target = process::inspect(process::Pid::own()).unwrap();
    let found = allocator::find(&target, None);
    let mut names = BTreeSet::new();
    for function in &found.functions {
        let elf = target.modules[function.module].elf().unwrap();
        let code = Code::containing(&elf, function.vaddr).unwrap();
        let placement = code.place(function.vaddr, function.size, Needs::of(function.function)).unwrap();
        println!(
            "{:32} +{:<3} {:30} {}",
            function.names.join(", "),
            placement.offset_from_entry,
            placement.instruction_text,
            if placement.emulated { "emulated" } else { "stepped" }
        );
        assert_eq!((placement.file_offset - function.file_offset).cast_signed(), placement.offset_from_entry);
        assert!(placement.offset_from_entry < 32);
        names.extend(function.names.clone());
    }
    assert!(names.len() >= 10, "{names:?}");
}

/// Every way of a malloc that the kernel's emulation allows it for is one of size and address.
mod inside {
    use super::*;
    use crate::unwind::table::{Omitted, Segment, Table};
    use tracer_common::site::{NO_REGISTER, register};
    use tracer_common::unwind::{Row, rule};

    fn row(pc: u32, cfa_words: u16) -> Row {
        Row { pc, cfa_words, rule: rule::SP, fp_words: 0 }
    }

    fn inside(bytes: &[u8], rows: &[Row]) -> Vec<InsideSite> {
        let length = bytes.len() as u64;
        let table = Table {
            rows: rows.to_vec(),
            first_vaddr: BASE,
            segments: vec![Segment { vaddr: BASE, file_offset: 0x400, file_size_bytes: length }],
            omitted: Omitted::default(),
        };
        Code::new(bytes.to_vec(), BASE, 0x400).places_inside(&table, BASE, length)
    }

    fn places(bytes: &[u8], rows: &[Row]) -> Vec<(u64, Role)> {
        inside(bytes, rows).iter().map(|place| (place.placement.vaddr - BASE, place.role)).collect()
    }

    /// mov rax, [rdx]; test al, 15; jne +1; ret; hlt
    const FAST: [u8; 9] = [0x48, 0x8b, 0x02, 0xa8, 0x0f, 0x75, 0x01, 0xc3, 0xf4];

    #[test]
    fn where_both_are_known() {
        let found = inside(&FAST, &[row(0, 1)]);
        let [place] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((place.placement.vaddr, place.placement.file_offset), (BASE + 5, 0x405));
        assert_eq!(place.role, Role::Whole);
        let values = place.values;
        assert_eq!((values.size_register, values.address_register), (register(7), register(0)));
        assert_eq!((values.cfa_words, values.fp_words, values.frame_by_fp), (1, 0, false));
    }

    #[test]
    fn not_where_a_value_may_be_another() {
        // xor edi, edi before: the size is gone.
        assert_eq!(places(&with(&[0x31, 0xff], &FAST), &[row(0, 1)]), []);
        // inc rax behind the branch: what is there is not what is returned.
        let changed = [0x48, 0x8b, 0x02, 0xa8, 0x0f, 0x75, 0x04, 0x48, 0xff, 0xc0, 0xc3, 0xf4];
        assert_eq!(places(&changed, &[row(0, 1)]), []);
        // jne to a way that returns rcx instead: mov rax, rcx; ret
        let other = [0x48, 0x8b, 0x02, 0xa8, 0x0f, 0x75, 0x01, 0xc3, 0x48, 0x89, 0xc8, 0xc3];
        assert_eq!(places(&other, &[row(0, 1)]), []);
        // Nor without a rule for the caller's frame.
        assert_eq!(places(&FAST, &[]), []);
    }

    #[test]
    fn a_way_without_such_a_place_notes_the_size() {
        // test rsi, rsi; je slow; FAST without its hlt; slow: push rbx; call f; test rax, rax; je null; pop rbx; ret;
        // null: xor eax, eax; pop rbx; ret; f: xor eax, eax; ret
        let bytes = [
            &[0x48, 0x85, 0xf6, 0x74, 0x08][..],
            &[0x48, 0x8b, 0x02, 0xa8, 0x0f, 0x75, 0x12, 0xc3],
            &[0x53, 0xe8, 0x0c, 0, 0, 0, 0x48, 0x85, 0xc0, 0x74, 0x02, 0x5b, 0xc3],
            &[0x31, 0xc0, 0x5b, 0xc3],
            &[0xf4],
            &[0x31, 0xc0, 0xc3],
        ]
        .concat();
        let rows = [row(0, 1), row(14, 2), row(25, 1), row(26, 2), row(29, 1)];
        let found = inside(&bytes, &rows);
        let roles: Vec<_> = found.iter().map(|place| (place.placement.vaddr - BASE, place.role)).collect();
        assert_eq!(roles, [(10, Role::Whole), (13, Role::Size), (22, Role::Address)]);
        assert_eq!(
            (found[1].values.address_register, found[2].values.size_register),
            (NO_REGISTER, NO_REGISTER)
        );
        assert_eq!((found[1].values.cfa_words, found[2].values.cfa_words), (1, 2));
    }

    #[test]
    fn none_where_a_way_has_no_place() {
        // test rsi, rsi; je +8; FAST ...; slow: mov rax, [rsi]; inc rax; ret: nothing behind the load is emulated.
        let bytes = [
            &[0x48, 0x85, 0xf6, 0x74, 0x08][..],
            &[0x48, 0x8b, 0x02, 0xa8, 0x0f, 0x75, 0x07, 0xc3],
            &[0x48, 0x8b, 0x06, 0x48, 0xff, 0xc0, 0xc3],
            &[0xf4],
        ]
        .concat();
        assert_eq!(places(&bytes, &[row(0, 1)]), []);
    }

    #[test]
    fn none_where_another_function_jumps_in() {
        let mut bytes = with(&FAST, &[0x90; 8]);
        bytes.extend([0xe9, 0, 0, 0, 0]);
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&(5 - end as i32).to_le_bytes());
        let table = [row(0, 1)];
        let of = |bytes: &[u8]| {
            let table = Table {
                rows: table.to_vec(),
                first_vaddr: BASE,
                segments: Vec::new(),
                omitted: Omitted::default(),
            };
            Code::new(bytes.to_vec(), BASE, 0).places_inside(&table, BASE, FAST.len() as u64).len()
        };
        assert_eq!(of(&bytes), 0);
        bytes[end - 5] = 0x90;
        assert_eq!(of(&bytes), 1);
    }

    #[test]
    fn none_where_a_jump_leads_anywhere() {
        // jmp rax
        assert_eq!(places(&[0x48, 0x85, 0xff, 0x75, 0x02, 0xff, 0xe0, 0xc3], &[row(0, 1)]), []);
    }

    /// glibc since 2.32 looks at what its thread's cache gives, which is such a place.
    #[test]
    fn this_machine_s_malloc() {
        let target = process::inspect(process::Pid::own()).unwrap();
        let found = allocator::find(&target, None);
        let placed = crate::probe::plan::place(&target, found.functions);
        let malloc = placed.iter().find(|placed| placed.function.function == Function::Malloc).unwrap();
        for place in &malloc.inside {
            println!("{:#x} {:?} {}", place.placement.vaddr, place.role, place.placement.instruction_text);
        }
        assert!(malloc.inside.iter().any(|place| place.role == Role::Whole));
        assert!(placed.iter().all(|placed| placed.inside.is_empty() || std::ptr::eq(placed, malloc)));
    }

    /// glibc versions below the folder TRACER_GLIBCS, as distributions pack them.
    #[test]
    fn malloc_of_other_glibcs() {
        use crate::process::elf::{Elf, SymbolTable};

        let Some(folder) = std::env::var_os("TRACER_GLIBCS") else { return };
        let mut folders = vec![std::path::PathBuf::from(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
                let is_libc = name.starts_with("libc.so") || name.starts_with("libc-2.");
                if !is_libc || !entry.file_type().unwrap().is_file() {
                    continue;
                }
                let elf = Elf::read(std::fs::File::open(entry.path()).unwrap()).unwrap();
                let data = object::ReadCache::new(std::fs::File::open(entry.path()).unwrap());
                let table = crate::unwind::table::compile(&data).unwrap();
                let symbols = elf.symbols(SymbolTable::Dynamic).unwrap();
                let malloc =
                    symbols.iter().find(|symbol| symbol.name == b"malloc" && symbol.section != 0).unwrap();
                let code = Code::containing(&elf, malloc.vaddr).unwrap();
                let places = code.places_inside(&table, malloc.vaddr, malloc.size);
                println!("{}: {} places", entry.path().display(), places.len());
                // Before 2.32, nothing behind the cache's look-up is emulated.
                assert_eq!(places.is_empty(), name.starts_with("libc-2.31"), "{}", entry.path().display());
            }
        }
    }
}
