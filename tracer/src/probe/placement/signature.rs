//! Arguments that a function takes, as far as its code tells: a private function that is called `malloc` may be
//! anything.

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind,
    Register,
};
use std::collections::BTreeSet;

use super::Code;
use crate::process::allocator::Function;

/// Instructions that are looked at.
const MAX_INSTRUCTIONS: usize = 4096;

/// The argument register behind those that a function of this meaning has.
fn next_argument(function: Function) -> Option<Register> {
    match function {
        Function::Malloc | Function::Free => Some(Register::RSI),
        Function::Calloc | Function::Realloc => Some(Register::RDX),
        _ => None,
    }
}

impl Code {
    /// Does the function at `entry` of `size` bytes surely take more arguments than `function` has: does it read the
    /// next argument's register before anything wrote to it?
    pub fn takes_more_than(&self, function: Function, entry: u64, size: u64) -> bool {
        let Some(register) = next_argument(function) else { return false };
        let mut infos = InstructionInfoFactory::new();
        let (mut open, mut seen) = (vec![entry], BTreeSet::new());
        while let Some(address) = open.pop() {
            let inside = address.checked_sub(entry).is_some_and(|offset| offset < size);
            if !inside || seen.len() >= MAX_INSTRUCTIONS || !seen.insert(address) {
                continue;
            }
            let Some(bytes) = self.from(address) else { continue };
            let mut instruction = Instruction::default();
            Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode_out(&mut instruction);
            if instruction.is_invalid() {
                continue;
            }
            let accesses = infos.info(&instruction).used_registers().iter();
            let accesses = accesses.filter(|used| used.register().full_register() == register);
            let accesses: Vec<OpAccess> = accesses.map(|used| used.access()).collect();
            let reads = |access: &OpAccess| {
                matches!(
                    access,
                    OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite | OpAccess::ReadCondWrite
                )
            };
            // A push may only make room.
            if instruction.mnemonic() != Mnemonic::Push && accesses.iter().any(reads) {
                return true;
            }
            if accesses.iter().any(|access| matches!(access, OpAccess::Write | OpAccess::CondWrite)) {
                continue;
            }
            let target =
                (instruction.op0_kind() == OpKind::NearBranch64).then(|| instruction.near_branch_target());
            match instruction.flow_control() {
                FlowControl::Next => open.push(instruction.next_ip()),
                FlowControl::ConditionalBranch => {
                    open.push(instruction.next_ip());
                    open.extend(target);
                }
                FlowControl::UnconditionalBranch => open.extend(target),
                // A called function may change the register.
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes_more(function: Function, code: &[u8]) -> bool {
        Code::new(code.to_vec(), 0x1000, 0).takes_more_than(function, 0x1000, code.len() as u64)
    }

    #[test]
    fn a_second_argument_is_seen_where_it_is_read() {
        // mov rax, rsi; ret
        assert!(takes_more(Function::Malloc, &[0x48, 0x89, 0xf0, 0xc3]));
        assert!(!takes_more(Function::Realloc, &[0x48, 0x89, 0xf0, 0xc3]));
        // mov rax, rdx; ret
        assert!(takes_more(Function::Calloc, &[0x48, 0x89, 0xd0, 0xc3]));
        // test rdi, rdi; jne over; ret; over: add rsi, rdi; ret
        assert!(takes_more(Function::Free, &[0x48, 0x85, 0xff, 0x75, 0x01, 0xc3, 0x48, 0x01, 0xfe, 0xc3]));
        // xor esi, esi; mov rax, rsi; ret
        assert!(!takes_more(Function::Malloc, &[0x31, 0xf6, 0x48, 0x89, 0xf0, 0xc3]));
        // push rsi; call next; mov rax, rsi
        assert!(!takes_more(Function::Malloc, &[0x56, 0xe8, 0, 0, 0, 0, 0x48, 0x89, 0xf0, 0xc3]));
        // Behind its end.
        assert!(!Code::new(vec![0x90, 0x48, 0x89, 0xf0, 0xc3], 0, 0).takes_more_than(Function::Free, 0, 1));
        assert!(!takes_more(Function::Malloc, &[0xff, 0xff]) && !takes_more(Function::Malloc, &[]));
    }
}
