//! Sets of registers, as ptrace and core files have them.
//! Source: `sys/user.h`, `linux/elf.h`, `linux/elfcore.h`.

use std::ops::Range;

/// The set of general registers, in the order of `struct user_regs_struct` (`NT_PRSTATUS`).
pub const GENERAL: u32 = 1;
/// The set of vector registers: the XSAVE area (`NT_X86_XSTATE`).
pub const VECTOR: u32 = 0x202;
/// Words of [`GENERAL`].
pub const GENERAL_WORDS: usize = 27;
/// Bytes of the largest [`VECTOR`] (with AMX).
pub const MAX_VECTOR_BYTES: usize = 16 << 10;
/// `pr_reg` in `struct elf_prstatus`, which a core file has of each thread: [`GENERAL`].
pub const IN_CORE_STATUS: Range<usize> = 112..112 + GENERAL_WORDS * 8;

/// The word of [`GENERAL`] that is the stack pointer.
const STACK_POINTER: usize = 19;

/// The stack pointer among general registers. `None` if there are too few.
pub fn stack_pointer(general: &[u64]) -> Option<u64> {
    general.get(STACK_POINTER).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_those_of_the_system_headers() {
        assert_eq!(8 * STACK_POINTER, std::mem::offset_of!(libc::user_regs_struct, rsp));
        assert_eq!(8 * GENERAL_WORDS, size_of::<libc::user_regs_struct>());
        assert_eq!(GENERAL, libc::NT_PRSTATUS.cast_unsigned());
        assert_eq!(stack_pointer(&[0; STACK_POINTER]), None);
    }
}
