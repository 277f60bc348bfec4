//! Instructions of a function that run, given what is known of its arguments.
//!
//! Some functions return or not by an argument: glibc's `__libc_message` does if it was not told to abort. A call of it
//! that does not come back looks like one that does, and what is behind it belongs to another way through the caller.

use iced_x86::{Code as Opcode, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::effect::{Effect, bit};
use super::graph::{Graph, Node};

/// The value of each general register, by its number, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State([Option<u64>; 16]);

impl State {
    pub(super) const UNKNOWN: Self = Self([None; 16]);

    fn get(&self, register: Register) -> Option<u64> {
        let full = register.full_register();
        let value = self.0.get(full.number()).copied().flatten().filter(|_| full.is_gpr64())?;
        match register.size() {
            8 => Some(value),
            4 => Some(value & u64::from(u32::MAX)),
            _ => None,
        }
    }

    /// The values that both know.
    fn meet(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|number| {
            let (left, right) = (self.0.get(number)?, other.0.get(number)?);
            if left == right { *left } else { None }
        }))
    }

    fn after(mut self, infos: &mut InstructionInfoFactory, instruction: &Instruction) -> Self {
        let written = Effect::of(infos, instruction).written;
        let result = self.result(instruction);
        for (number, value) in self.0.iter_mut().enumerate() {
            if written & 1 << number != 0 {
                *value = None;
            }
        }
        let to = instruction.op0_register();
        if let Some(value) = self.0.get_mut(to.full_register().number()).filter(|_| bit(to) != 0) {
            *value = result.or(*value);
        }
        self
    }

    /// The value that the instruction leaves in its first operand, a register, if that is known.
    fn result(&self, instruction: &Instruction) -> Option<u64> {
        let (to, from) = (instruction.op0_register(), instruction.op1_register());
        if !matches!(to.size(), 4 | 8) || instruction.op0_kind() != OpKind::Register {
            return None;
        }
        let immediate = || instruction.try_immediate(1).ok();
        match instruction.mnemonic() {
            Mnemonic::Mov if instruction.op1_kind() == OpKind::Register => self.get(from),
            Mnemonic::Mov => immediate(),
            Mnemonic::Xor if to == from => Some(0),
            Mnemonic::And if instruction.op1_kind() != OpKind::Register => Some(self.get(to)? & immediate()?),
            _ => None,
        }
        .map(|value| if to.size() == 4 { value & u64::from(u32::MAX) } else { value })
    }
}

/// The state before each instruction that can run.
#[derive(Clone, Debug)]
pub(super) struct Constants(Vec<Option<State>>);

impl Constants {
    /// The states of the function that is called in this state.
    pub(super) fn of(graph: &Graph, called: State) -> Self {
        let mut infos = InstructionInfoFactory::new();
        let mut states: Vec<Option<State>> = vec![None; graph.nodes.len()];
        let mut open = vec![(0, called)];
        while let Some((index, arriving)) = open.pop() {
            let (Some(known), Some(node)) = (states.get_mut(index), graph.nodes.get(index)) else { continue };
            let met = known.map_or(arriving, |known| known.meet(&arriving));
            if *known == Some(met) {
                continue;
            }
            *known = Some(met);
            let after = met.after(&mut infos, &node.instruction);
            let (next, taken) = match decided(graph, node, &met) {
                Some(true) => (None, node.taken),
                Some(false) => (node.next, None),
                None => (node.next, node.taken),
            };
            open.extend([next, taken].into_iter().flatten().map(|to| (to, after)));
        }
        Self(states)
    }

    pub(super) fn at(&self, index: usize) -> Option<State> {
        self.0.get(index).copied().flatten()
    }

    /// Can the function return?
    pub(super) fn returns(&self, graph: &Graph) -> bool {
        graph.nodes.iter().zip(&self.0).any(|(node, state)| node.returns() && state.is_some())
    }
}

/// Is the branch taken, if that is known? It is of a branch by whether a register is zero.
fn decided(graph: &Graph, branch: &Node, state: &State) -> Option<bool> {
    let on_zero = match branch.instruction.mnemonic() {
        Mnemonic::Je => true,
        Mnemonic::Jne => false,
        _ => return None,
    };
    let [previous] = branch.previous.as_slice() else { return None };
    let test = graph.nodes.get(*previous)?.instruction;
    let is_test = matches!(test.code(), Opcode::Test_rm64_r64 | Opcode::Test_rm32_r32);
    let value =
        state.get(test.op0_register()).filter(|_| is_test && test.op0_register() == test.op1_register())?;
    Some((value == 0) == on_zero)
}
