//! Registers in which a function's first argument is, and its result to be.

use iced_x86::{Code as Opcode, InstructionInfoFactory, Mnemonic, Register};

use super::effect::{Effect, REGISTERS, Set, ZERO, bit};
use super::graph::{Graph, Node};

/// The function does not return from here: whatever is said of its result is true.
const NEVER: Set = 1 << 17;
const ALL: Set = REGISTERS | ZERO | NEVER;

/// The known values before each instruction of the graph runs.
#[derive(Clone, Debug)]
pub(super) struct Values {
    /// Registers that surely have what `argument` had at the function's entry.
    pub(super) argument: Vec<Set>,
    /// Registers that surely have the function's result, if it returns.
    pub(super) result: Vec<Set>,
}

impl Values {
    pub(super) fn of(graph: &Graph, argument: Register) -> Self {
        let mut infos = InstructionInfoFactory::new();
        let effects: Vec<Effect> =
            graph.nodes.iter().map(|node| Effect::of(&mut infos, &node.instruction)).collect();
        Self { argument: arguments(graph, &effects, argument), result: results(graph, &effects) }
    }
}

fn at<T: Copy>(of: &[T], index: usize, otherwise: T) -> T {
    of.get(index).copied().unwrap_or(otherwise)
}

/// Arguments from the entry on: what all ways to an instruction agree on.
fn arguments(graph: &Graph, effects: &[Effect], argument: Register) -> Vec<Set> {
    let after = |set: Set, effect: &Effect| {
        let kept = set & !effect.written;
        match effect.copied {
            Some((from, to)) if set & from != 0 => kept | to,
            _ => kept,
        }
    };
    let mut sets = vec![REGISTERS; graph.nodes.len()];
    let before = |sets: &[Set], index: usize, node: &Node| {
        let from = |previous: &usize| {
            effects.get(*previous).map_or(0, |effect| after(at(sets, *previous, 0), effect))
        };
        let entry = if index == 0 { bit(argument) } else { REGISTERS };
        node.previous.iter().map(from).fold(entry, |all, set| all & set)
    };
    settle(&mut sets, graph, &before);
    sets
}

/// Results from the returns back: what all ways from an instruction agree on.
fn results(graph: &Graph, effects: &[Effect]) -> Vec<Set> {
    let before_instruction = |after: Set, effect: &Effect| {
        if after & NEVER != 0 {
            return ALL;
        }
        let kept = after & !effect.written;
        match effect.copied {
            Some((from, to)) if after & to != 0 => kept | from,
            _ if after & effect.cleared != 0 => kept | ZERO,
            _ => kept,
        }
    };
    let mut sets = vec![ALL; graph.nodes.len()];
    let before = |sets: &[Set], index: usize, node: &Node| {
        if node.returns() {
            return bit(Register::RAX);
        }
        if node.following().next().is_none() {
            return ALL;
        }
        let zero = zero_way(graph, node);
        let of_way = |way: Option<usize>, is_taken: bool| {
            let set = way.map_or(ALL, |to| at(sets, to, 0));
            match zero {
                // On this way the register is zero, and zero is what is returned.
                Some((register, on_taken)) if on_taken == is_taken && set & ZERO != 0 => set | register,
                _ => set,
            }
        };
        let after = of_way(node.next, false) & of_way(node.taken, true);
        effects.get(index).map_or(0, |effect| before_instruction(after, effect))
    };
    settle(&mut sets, graph, &before);
    sets
}

/// The register whose being zero decides a branch, and whether the branch is taken then.
fn zero_way(graph: &Graph, branch: &Node) -> Option<(Set, bool)> {
    let on_taken = match branch.instruction.mnemonic() {
        Mnemonic::Je => true,
        Mnemonic::Jne => false,
        _ => return None,
    };
    let [previous] = branch.previous.as_slice() else { return None };
    let test = graph.nodes.get(*previous)?.instruction;
    let (left, right) = (test.op0_register(), test.op1_register());
    (test.code() == Opcode::Test_rm64_r64 && left == right).then(|| (bit(left), on_taken))
}

/// Computes `sets` anew until nothing changes. Sets only ever become smaller, so it ends.
fn settle(sets: &mut [Set], graph: &Graph, before: &dyn Fn(&[Set], usize, &Node) -> Set) {
    loop {
        let mut changed = false;
        for (index, node) in graph.nodes.iter().enumerate() {
            let new = at(sets, index, 0) & before(sets, index, node);
            if let Some(set) = sets.get_mut(index)
                && *set != new
            {
                *set = new;
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}
