//! A function's instructions, and which of them can follow which.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind};
use tracer_common::unwind::{Row, rule};

use super::Code;
use super::constants::{Constants, State};
use crate::unwind::table::Table;

/// Larger functions are not looked through.
const MAX_INSTRUCTIONS: usize = 4096;
/// Instructions of a called function that are looked at to tell whether it returns.
const MAX_CALLEE_INSTRUCTIONS: usize = 256;

/// An instruction, and those that can be next.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) instruction: Instruction,
    /// The next instruction; of a branch, the one that follows if it is not taken.
    pub(super) next: Option<usize>,
    /// The target of a branch if it is taken.
    pub(super) taken: Option<usize>,
    pub(super) previous: Vec<usize>,
}

impl Node {
    pub(super) fn following(&self) -> impl Iterator<Item = usize> + use<> {
        [self.next, self.taken].into_iter().flatten()
    }

    pub(super) fn returns(&self) -> bool {
        self.instruction.flow_control() == FlowControl::Return
    }

    /// A call that comes back.
    pub(super) fn calls(&self) -> bool {
        matches!(self.instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall)
            && self.next.is_some()
    }
}

/// Every instruction that can be reached from a function's entry, which is the first. Another function to which the
/// function ends with a jump is a part of it.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
}

impl Graph {
    /// The graph of the function at `entry`; none if it cannot be known whole: a jump that goes by a table, say.
    pub(super) fn of(code: &Code, table: &Table, entry: u64) -> Option<Self> {
        let graph = Self::within(code, table, entry, MAX_INSTRUCTIONS, &BTreeSet::new())?;
        let known = Constants::of(&graph, State::UNKNOWN);
        let callee = |node: &Node| {
            (node.instruction.op0_kind() == OpKind::NearBranch64)
                .then(|| node.instruction.near_branch_target())
        };
        let calls = graph.nodes.iter().enumerate().filter(|(_, node)| node.calls());
        let last = calls.filter_map(|(index, node)| {
            let arguments = known.at(index)?;
            let callee = Self::within(code, table, callee(node)?, MAX_CALLEE_INSTRUCTIONS, &BTreeSet::new())?;
            (!Constants::of(&callee, arguments).returns(&callee)).then(|| node.instruction.ip())
        });
        let last: BTreeSet<u64> = last.collect();
        if last.is_empty() { Some(graph) } else { Self::within(code, table, entry, MAX_INSTRUCTIONS, &last) }
    }

    /// The graph of at most `limit` instructions. `last`: addresses of calls that do not come back.
    fn within(code: &Code, table: &Table, entry: u64, limit: usize, last: &BTreeSet<u64>) -> Option<Self> {
        let mut indices: BTreeMap<u64, usize> = BTreeMap::new();
        // The next instruction, and the target of a taken branch.
        let mut found: Vec<(Instruction, Option<u64>, Option<u64>)> = Vec::new();
        let mut open = vec![entry];
        while let Some(address) = open.pop() {
            if indices.contains_key(&address) {
                continue;
            }
            let instruction = decode(code, address).filter(|_| found.len() < limit)?;
            let (mut next, taken) = ways(code, table, &instruction)?;
            if last.contains(&address) {
                next = None;
            }
            indices.insert(address, found.len());
            found.push((instruction, next, taken));
            open.extend(taken);
            open.extend(next);
        }
        let index = |address: Option<u64>| address.and_then(|address| indices.get(&address)).copied();
        let mut nodes: Vec<Node> = found
            .iter()
            .map(|(instruction, next, taken)| Node {
                instruction: *instruction,
                next: index(*next),
                taken: index(*taken),
                previous: Vec::new(),
            })
            .collect();
        for from in 0..nodes.len() {
            let following: Vec<usize> = nodes.get(from).into_iter().flat_map(Node::following).collect();
            for to in following {
                if let Some(node) = nodes.get_mut(to) {
                    node.previous.push(from);
                }
            }
        }
        Some(Self { nodes })
    }
}

fn decode(code: &Code, address: u64) -> Option<Instruction> {
    let bytes = code.from(address).filter(|bytes| !bytes.is_empty())?;
    let mut instruction = Instruction::default();
    Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode_out(&mut instruction);
    (!instruction.is_invalid()).then_some(instruction)
}

/// The addresses that can follow the instruction: the one behind it, and the one it jumps to. `None` if they are not
/// known.
fn ways(code: &Code, table: &Table, instruction: &Instruction) -> Option<(Option<u64>, Option<u64>)> {
    let behind = Some(instruction.next_ip());
    let target = (instruction.op0_kind() == OpKind::NearBranch64).then(|| instruction.near_branch_target());
    Some(match instruction.flow_control() {
        FlowControl::Next if instruction.mnemonic() == Mnemonic::Hlt => (None, None),
        FlowControl::Next => (behind, None),
        FlowControl::ConditionalBranch => (behind, Some(target?)),
        FlowControl::UnconditionalBranch => (None, Some(target?)),
        FlowControl::Return | FlowControl::Interrupt | FlowControl::Exception => (None, None),
        FlowControl::Call | FlowControl::IndirectCall => {
            (behind.filter(|_| comes_back(code, table, instruction)), None)
        }
        FlowControl::IndirectBranch | FlowControl::XbeginXabortXend => return None,
    })
}

/// Does a call return, so that the code behind it can be reached from it? Not if it is another function: its frame is
/// another, while a call leaves the stack pointer as it was. Functions are apart by nops.
fn comes_back(code: &Code, table: &Table, call: &Instruction) -> bool {
    let frame = |address| row(table, address).map(|row| (row.rule, row.cfa_words, row.fp_words));
    let mut behind = call.next_ip();
    while let Some(instruction) = decode(code, behind)
        && instruction.mnemonic() == Mnemonic::Nop
    {
        behind = instruction.next_ip();
    }
    frame(call.ip()) == frame(behind)
}

/// Rule for the caller at `address`, if there is one.
pub(super) fn row(table: &Table, address: u64) -> Option<Row> {
    let relative = u32::try_from(address.checked_sub(table.first_vaddr)?).ok()?;
    table.row(relative).filter(|row| !matches!(row.rule, rule::GAP | rule::UNSUPPORTED))
}
