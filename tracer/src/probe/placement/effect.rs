//! The effect of one instruction on the general registers.

use iced_x86::{Code as Opcode, FlowControl, Instruction, InstructionInfoFactory, OpAccess, Register};

/// A set of values: a bit for each general register, by its number, and one for zero.
pub(super) type Set = u32;

/// Zero, whatever register it is in.
pub(super) const ZERO: Set = 1 << 16;
pub(super) const REGISTERS: Set = ZERO - 1;

/// Registers that a called function may change (System V ABI): rax, rcx, rdx, rsi, rdi, r8 to r11.
const CALLER_SAVED: Set = 0b0000_1111_1100_0111;

/// The bit of the whole register; none if it is no general one.
pub(super) fn bit(register: Register) -> Set {
    let full = register.full_register();
    if full.is_gpr64() { 1 << full.number() } else { 0 }
}

/// The effect of an instruction on values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effect {
    pub(super) written: Set,
    /// A whole register is copied: from, to.
    pub(super) copied: Option<(Set, Set)>,
    /// A register that is zero from here on.
    pub(super) cleared: Set,
}

impl Effect {
    pub(super) fn of(infos: &mut InstructionInfoFactory, instruction: &Instruction) -> Self {
        let mut effect = Self { written: 0, copied: None, cleared: 0 };
        for used in infos.info(instruction).used_registers() {
            let reads = matches!(
                used.access(),
                OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
            );
            if !reads {
                effect.written |= bit(used.register());
            }
        }
        let calls = matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        if calls || matches!(instruction.code(), Opcode::Syscall | Opcode::Sysenter) {
            effect.written |= CALLER_SAVED;
        }
        let (to, from) = (instruction.op0_register(), instruction.op1_register());
        match instruction.code() {
            Opcode::Mov_rm64_r64 | Opcode::Mov_r64_rm64 if to.is_gpr64() && from.is_gpr64() => {
                effect.copied = Some((bit(from), bit(to)));
            }
            // A write to the lower half clears the upper one.
            Opcode::Xor_rm32_r32 | Opcode::Xor_r32_rm32 | Opcode::Xor_rm64_r64 | Opcode::Xor_r64_rm64
                if to == from =>
            {
                effect.cleared = bit(to);
            }
            Opcode::Mov_r32_imm32 | Opcode::Mov_rm64_imm32 if instruction.immediate32() == 0 => {
                effect.cleared = bit(to);
            }
            _ => {}
        }
        effect
    }
}
