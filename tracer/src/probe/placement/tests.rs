use std::collections::BTreeSet;

use super::*;
use crate::target::{allocator, process};

const BASE: u64 = 0x1000;

/// Places on a function of exactly these bytes.
fn place(bytes: &[u8], function: Function) -> Result<Placement, PlacementError> {
    Code::new(bytes.to_vec(), BASE, 0x400).place(BASE, bytes.len() as u64, Needs::of(function))
}

fn offset(bytes: &[u8], function: Function) -> (u64, bool) {
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
    assert_eq!((malloc.offset_from_entry, malloc.emulated, malloc.instruction_text.as_str()), (0, true, "push r12"));
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
    let place = |bytes: &[u8]| Code::new(bytes.to_vec(), BASE, 0).place(BASE, 6, Needs::of(Function::Free)).unwrap();
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
    assert_eq!(offset(&[0x48, 0x85, 0xff, 0x74, 0x00, 0x48, 0x01, 0xc8, 0xff, 0xe0], Function::Free), (0, false));
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
    // Of a function without a size only the entry is sure.
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

/// Whatever the bytes: a place is the start of an instruction in a linear decoding from the entry.
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
    let target = process::inspect(std::process::id()).unwrap();
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
        assert_eq!(placement.file_offset - function.file_offset, placement.offset_from_entry);
        assert!(placement.offset_from_entry < 32);
        names.extend(function.names.clone());
    }
    assert!(names.len() >= 10, "{names:?}");
}
