//! x86-64, with the System V ABI on Linux.

mod slow_path;

pub use self::slow_path::{MAX_RESTORES, SlowPathFrame};

/// The processor's name, as reports and errors have it.
pub const NAME: &str = "x86-64";

/// `e_machine` of its ELF files (`EM_X86_64`).
pub const ELF_MACHINE: u16 = 62;

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;

/// The first page is never mapped, so a pointer is not below this.
pub const ADDRESS_FIRST: u64 = PAGE_BYTES;

/// User addresses end here: four-level page tables. HotSpot and glibc do not ask for more.
pub const ADDRESS_END: u64 = 1 << 47;

/// A general register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Names of the register in assembly: 64, 32, 16 and 8 bits from bit 0.
    pub names: [&'static str; 4],
    /// Number of the register in DWARF, and so in unwind rows and in the arguments of USDT probes.
    pub dwarf: u8,
    /// Number of the register in instructions.
    pub encoding: u8,
    /// Index of its word in the kernel's `pt_regs`.
    pub saved_word: u8,
}

const fn register(names: [&'static str; 4], dwarf: u8, encoding: u8, saved_word: u8) -> Register {
    Register { names, dwarf, encoding, saved_word }
}

/// The general registers.
pub const REGISTERS: [Register; 16] = [
    register(["rax", "eax", "ax", "al"], 0, 0, 10),
    register(["rdx", "edx", "dx", "dl"], 1, 2, 12),
    register(["rcx", "ecx", "cx", "cl"], 2, 1, 11),
    register(["rbx", "ebx", "bx", "bl"], 3, 3, 5),
    register(["rsi", "esi", "si", "sil"], 4, 6, 13),
    register(["rdi", "edi", "di", "dil"], 5, 7, 14),
    register(["rbp", "ebp", "bp", "bpl"], 6, 5, 4),
    register(["rsp", "esp", "sp", "spl"], 7, 4, 19),
    register(["r8", "r8d", "r8w", "r8b"], 8, 8, 9),
    register(["r9", "r9d", "r9w", "r9b"], 9, 9, 8),
    register(["r10", "r10d", "r10w", "r10b"], 10, 10, 7),
    register(["r11", "r11d", "r11w", "r11b"], 11, 11, 6),
    register(["r12", "r12d", "r12w", "r12b"], 12, 12, 3),
    register(["r13", "r13d", "r13w", "r13b"], 13, 13, 2),
    register(["r14", "r14d", "r14w", "r14b"], 14, 14, 1),
    register(["r15", "r15d", "r15w", "r15b"], 15, 15, 0),
];

/// Words of `pt_regs`.
pub const SAVED_WORDS: u8 = 21;

/// The word of `pt_regs` for each DWARF number.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which refuses an index that is out of bounds"
)]
pub const SAVED_WORD_BY_DWARF: [u8; 16] = {
    let mut words = [0; 16];
    let mut i = 0;
    while i < REGISTERS.len() {
        words[REGISTERS[i].dwarf as usize] = REGISTERS[i].saved_word;
        i += 1;
    }
    words
};

/// The word of `pt_regs` for each number in instructions.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which refuses an index that is out of bounds"
)]
pub const SAVED_WORD_BY_ENCODING: [u8; 16] = {
    let mut words = [0; 16];
    let mut i = 0;
    while i < REGISTERS.len() {
        words[REGISTERS[i].encoding as usize] = REGISTERS[i].saved_word;
        i += 1;
    }
    words
};

/// The words of `pt_regs` in which the values of an allocator are found most often: the result's register, and the
/// first one that a callee preserves.
pub const RESULT_WORD: u8 = SAVED_WORD_BY_DWARF[0];
pub const PRESERVED_WORD: u8 = SAVED_WORD_BY_DWARF[3];

/// The DWARF number of the general register of this name, whatever part of it is named. The high bytes (`ah`, ...)
/// are not offered: they do not begin at bit 0.
pub fn dwarf_number(name: &str) -> Option<u8> {
    REGISTERS.iter().find(|register| register.names.contains(&name)).map(|register| register.dwarf)
}

/// Bytes of a return address on the stack, just below the CFA.
pub const RETURN_ADDRESS_BYTES: u64 = 8;

/// Offset of the interrupted frame pointer from sp in a signal trampoline, bytes; stack pointer and pc follow: they are
/// registers 10, 15 and 16 of `ucontext.uc_mcontext.gregs`.
pub const SIGNAL_FP: u64 = 40 + 8 * 10;
pub const SIGNAL_SP: u64 = 40 + 8 * 15;
pub const SIGNAL_PC: u64 = 40 + 8 * 16;

/// The CFA at `pc` in an entry of a procedure linkage table: one word more once the entry has pushed its number,
/// which it has from its byte `pushed_from` on.
#[inline(always)]
pub fn plt_cfa(pc: u64, sp: u64, pushed_from: u64) -> u64 {
    let pushed = ((pc & (PLT_ENTRY_BYTES - 1) >= pushed_from) as u64) << 3;
    sp.wrapping_add(RETURN_ADDRESS_BYTES).wrapping_add(pushed)
}

/// Bytes of an entry of a procedure linkage table.
pub const PLT_ENTRY_BYTES: u64 = 16;

/// Slots of an interpreter frame, bytes below fp (HotSpot, `frame_x86.hpp`: words −1, −3; the same since 8).
pub const INTERPRETER_SENDER_SP_BELOW_FP: u64 = 8;
pub const INTERPRETER_METHOD_BELOW_FP: u64 = 24;
/// The bytecode pointer: since JDK 9, and in JDK 8.
pub const INTERPRETER_BCP_BELOW_FP: u64 = 64;
pub const INTERPRETER_BCP_BELOW_FP_8: u64 = 56;

/// The word that the stub which a method calls on entry (HotSpot's nmethod entry barrier, since 14) pushes before it
/// makes its frame link: the return address is above it.
pub const ENTRY_BARRIER_COOKIE: u64 = u64::MAX;

/// Numbers of the mapping system calls (`asm/unistd_64.h`).
pub mod system_call {
    pub const MMAP: u32 = 9;
    pub const MPROTECT: u32 = 10;
    pub const MUNMAP: u32 = 11;
    pub const BRK: u32 = 12;
    pub const MREMAP: u32 = 25;
    pub const MADVISE: u32 = 28;
}

/// The start of the names of the kernel's functions for system calls (`arch/x86/include/asm/syscall_wrapper.h`).
pub const SYSTEM_CALL_FUNCTION: &str = "__x64_sys_";

/// The bit of a page fault's error code that says write (`X86_PF_WRITE`).
pub const FAULT_WRITES: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_has_numbers_of_its_own() {
        let all = |number: fn(&Register) -> u8| {
            REGISTERS.iter().map(number).collect::<std::collections::BTreeSet<u8>>()
        };
        assert_eq!(all(|register| register.dwarf), (0..16).collect());
        assert_eq!(all(|register| register.encoding), (0..16).collect());
        let words = all(|register| register.saved_word);
        assert_eq!(words.len(), 16);
        assert!(words.iter().all(|word| *word < SAVED_WORDS));
    }

    #[test]
    fn numbers_are_those_of_the_abi() {
        let of = |name: &str| *REGISTERS.iter().find(|register| register.names[0] == name).unwrap();
        assert_eq!((of("rdx").dwarf, of("rcx").dwarf, of("rsp").dwarf), (1, 2, 7));
        assert_eq!((of("rdx").encoding, of("rcx").encoding, of("rsp").encoding), (2, 1, 4));
        assert_eq!(SAVED_WORD_BY_ENCODING[2], SAVED_WORD_BY_DWARF[1]);
        assert_eq!((RESULT_WORD, PRESERVED_WORD), (of("rax").saved_word, of("rbx").saved_word));
        for (name, number) in
            [("esi", Some(4)), ("r12b", Some(12)), ("r16", None), ("ah", None), ("xmm0", None)]
        {
            assert_eq!(dwarf_number(name), number, "{name}");
        }
    }

    #[test]
    fn a_linkage_table_pushes_in_the_middle_of_an_entry() {
        assert_eq!(plt_cfa(0x1000, 0x100, 11), 0x108);
        assert_eq!(plt_cfa(0x100a, 0x100, 11), 0x108);
        assert_eq!(plt_cfa(0x100b, 0x100, 11), 0x110);
    }
}
