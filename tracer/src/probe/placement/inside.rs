//! Places inside a function that gives memory, in place of its entry and its return.
//!
//! A return probe costs a second trap. But most ways through a malloc pass an instruction that the kernel emulates,
//! and at which both values are in registers: the size that was asked for, and the address that is going to be
//! returned. One probe there tells all. On ways without such an instruction the size is noted at one place, and the
//! address taken at another, as with entry and return.
//!
//! Places are chosen only if it is certain, for every way through the function, that it passes them as it should;
//! otherwise there are none, and the function is probed at entry and return.

use std::collections::BTreeSet;

use iced_x86::Register;
use tracer_common::site::{self, ProbeSite};
use tracer_common::unwind::{Row, rule};

use super::effect::{REGISTERS, ZERO};
use super::graph::{self, Graph, Node};
use super::values::Values;
use super::{CALL, Code, Placement, is_emulated, is_refused};
use crate::unwind::table::Table;

/// The role of a probe at such a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Size and address are known.
    Whole,
    /// The size is known.
    Size,
    /// The address is known, on a way on which the size was noted.
    Address,
}

/// A place inside a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsideSite {
    pub placement: Placement,
    pub role: Role,
    /// Site of the values.
    pub values: ProbeSite,
}

/// An instruction at which a probe can be, and what is known there.
struct Candidate {
    row: Row,
    size: u32,
    address: u32,
}

impl Code {
    /// The places inside the function at `entry` of `size` bytes, whose only argument is the size of the memory that it
    /// returns. Empty if it must be probed at entry and return. `table`: the unwind rows of its file.
    pub fn places_inside(&self, table: &Table, entry: u64, size: u64) -> Vec<InsideSite> {
        self.choose_inside(table, entry, size).unwrap_or_default()
    }

    fn choose_inside(&self, table: &Table, entry: u64, size: u64) -> Option<Vec<InsideSite>> {
        let graph = Graph::of(self, table, entry)?;
        let values = Values::of(&graph, Register::RDI);
        let chooser = Chooser::new(self, table, &graph, &values, entry..entry.checked_add(size)?);
        let (whole, sizes, addresses) = chooser.choose()?;
        let roles = [(whole, Role::Whole), (sizes, Role::Size), (addresses, Role::Address)];
        let chosen = roles.iter().flat_map(|(nodes, role)| nodes.iter().map(|node| (*node, *role)));
        let mut places: Vec<InsideSite> = chosen
            .map(|(index, role)| {
                let candidate = chooser.candidates.get(index)?.as_ref()?;
                let instruction = &graph.nodes.get(index)?.instruction;
                Some(InsideSite {
                    placement: self.placement(instruction, entry, true),
                    role,
                    values: candidate.place(role),
                })
            })
            .collect::<Option<_>>()?;
        places.sort_by_key(|place| place.placement.vaddr);
        self.only_from_within(&graph, &places).then_some(places)
    }

    /// Does nothing else in the segment branch to one of the places?
    fn only_from_within(&self, graph: &Graph, places: &[InsideSite]) -> bool {
        let own: BTreeSet<u64> = graph.nodes.iter().map(|node| node.instruction.next_ip()).collect();
        let targets: BTreeSet<u64> = places.iter().map(|place| place.placement.vaddr).collect();
        !self.far_branches().any(|(end, target)| targets.contains(&target) && !own.contains(&end))
    }
}

impl Candidate {
    fn place(&self, role: Role) -> ProbeSite {
        let lowest = |set: u32| site::register(set.trailing_zeros() as usize);
        ProbeSite {
            size_register: if role == Role::Address { site::NO_REGISTER } else { lowest(self.size) },
            address_register: if role == Role::Size { site::NO_REGISTER } else { lowest(self.address) },
            frame_by_fp: self.row.rule == rule::FP,
            cfa_words: self.row.cfa_words,
            fp_words: self.row.fp_words,
        }
    }
}

/// Nodes of each role.
type Chosen = (BTreeSet<usize>, BTreeSet<usize>, BTreeSet<usize>);

struct Chooser<'a> {
    graph: &'a Graph,
    values: &'a Values,
    candidates: Vec<Option<Candidate>>,
}

impl<'a> Chooser<'a> {
    fn new(
        code: &Code,
        table: &Table,
        graph: &'a Graph,
        values: &'a Values,
        function: std::ops::Range<u64>,
    ) -> Self {
        let candidate = |(index, node): (usize, &Node)| {
            let encoding = code.encoding(&node.instruction)?;
            let emulated = is_emulated(encoding) && encoding.first() != Some(&CALL);
            let row = graph::row(table, node.instruction.ip())?;
            let is_whole_row = matches!(row.rule, rule::SP | rule::FP);
            if !emulated || is_refused(&node.instruction, encoding) || !is_whole_row {
                return None;
            }
            // An instruction that other functions reach as well knows nothing of this one's argument.
            let is_own = function.contains(&node.instruction.ip());
            let size = values.argument.get(index).filter(|_| is_own).map_or(0, |set| set & REGISTERS);
            let address = values.result.get(index).map_or(0, |set| set & REGISTERS);
            Some(Candidate { row, size, address })
        };
        let candidates = graph.nodes.iter().enumerate().map(candidate).collect();
        Self { graph, values, candidates }
    }

    fn choose(&self) -> Option<Chosen> {
        let returns: BTreeSet<usize> = self.all(|_, node| node.returns());
        let ending = self.reaching(&returns, &BTreeSet::new());
        let has = |index: usize, what: fn(&Candidate) -> u32| {
            let candidate = self.candidates.get(index).and_then(Option::as_ref);
            candidate.is_some_and(|candidate| what(candidate) != 0) && ending.contains(&index)
        };
        let knows_all = self.all(|index, _| has(index, |of| of.size) && has(index, |of| of.address));
        let whole = self.one_on_a_way(&knows_all, &returns);
        let behind_whole: BTreeSet<usize> = whole.iter().flat_map(|index| self.from(*index)).collect();
        let knows_size = self.all(|index, _| {
            has(index, |of| of.size) && !behind_whole.contains(&index) && !whole.contains(&index)
        });
        let mut sizes = self.last_before(&returns, &knows_size, &whole)?;
        // Memory that the function maps in a call is its own business, which is known by the size's having been noted.
        let calls = self.all(|index, node| node.calls() && ending.contains(&index));
        let noted_before = |call: usize, sizes: &BTreeSet<usize>| {
            !self.reaching(&BTreeSet::from([call]), sizes).contains(&0)
        };
        for call in &calls {
            if !noted_before(*call, &sizes) {
                let before =
                    self.last_before(&BTreeSet::from([*call]), &knows_size, &whole).unwrap_or_default();
                // But not if every call of the function paid for it.
                sizes.extend(before.into_iter().filter(|index| !self.is_on_every_way(*index, &whole)));
            }
        }
        // One that is behind another notes nothing new.
        let noted: Vec<usize> = calls.into_iter().filter(|call| noted_before(*call, &sizes)).collect();
        for index in sizes.clone() {
            let others: BTreeSet<usize> = sizes.iter().copied().filter(|other| *other != index).collect();
            let is_enough = self.last_before(&returns, &others, &whole).is_some()
                && noted.iter().all(|call| noted_before(*call, &others));
            if is_enough {
                sizes = others;
            }
        }

        let towards_whole = self.reaching(&whole, &BTreeSet::new());
        let knows_address = self.all(|index, _| {
            has(index, |of| of.address) && !towards_whole.contains(&index) && !sizes.contains(&index)
        });
        let addresses = self.first_behind(&sizes, &knows_address, &whole, &returns)?;
        let noted_again = addresses.iter().any(|index| !self.from(*index).is_disjoint(&sizes));
        (!whole.is_empty() && !noted_again).then_some((whole, sizes, addresses))
    }

    /// Places among `candidates` of which as many ways as possible from the entry to `returns` pass one, and none
    /// passes two.
    fn one_on_a_way(&self, candidates: &BTreeSet<usize>, returns: &BTreeSet<usize>) -> BTreeSet<usize> {
        let is_last = |index: &usize| self.from(*index).is_disjoint(candidates);
        let mut chosen: BTreeSet<usize> = candidates.iter().copied().filter(is_last).collect();
        // One from which a way leads past them stands for all that can follow it.
        loop {
            let open = self.reaching(returns, &chosen);
            let behind_chosen: BTreeSet<usize> = chosen.iter().flat_map(|index| self.from(*index)).collect();
            let leads_past = |index: &usize| {
                !chosen.contains(index)
                    && !behind_chosen.contains(index)
                    && self.following(*index).any(|next| open.contains(&next))
            };
            let mut earlier: Vec<usize> = candidates.iter().copied().filter(leads_past).collect();
            earlier.sort_by_key(|index| self.from(*index).intersection(candidates).count());
            let Some(first) = earlier.first().copied() else { return chosen };
            let behind = self.from(first);
            if behind.contains(&first) {
                return chosen;
            }
            chosen.retain(|index| !behind.contains(index));
            chosen.insert(first);
        }
    }

    fn all(&self, is: impl Fn(usize, &Node) -> bool) -> BTreeSet<usize> {
        let nodes = self.graph.nodes.iter().enumerate();
        nodes.filter(|(index, node)| is(*index, node)).map(|(index, _)| index).collect()
    }

    fn following(&self, index: usize) -> impl Iterator<Item = usize> + use<'_> {
        self.graph.nodes.get(index).into_iter().flat_map(Node::following)
    }

    /// The instructions that can come after `index`.
    fn from(&self, index: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open: Vec<usize> = self.following(index).collect();
        while let Some(next) = open.pop() {
            if found.insert(next) {
                open.extend(self.following(next));
            }
        }
        found
    }

    /// The instructions that can lead to one of `to`, themselves included, without passing `avoided`.
    fn reaching(&self, to: &BTreeSet<usize>, avoided: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open: Vec<usize> = to.iter().copied().collect();
        while let Some(index) = open.pop() {
            if !avoided.contains(&index) && found.insert(index) {
                open.extend(self.graph.nodes.get(index).into_iter().flat_map(|node| &node.previous));
            }
        }
        found
    }

    /// Does the function surely return zero from here?
    fn gives_zero(&self, index: usize) -> bool {
        self.values.result.get(index).is_some_and(|set| set & ZERO != 0)
    }

    /// The last of `candidates` on each way from the entry to `targets` that does not pass `avoided`, and that may
    /// give memory. `None` if a way has none.
    fn last_before(
        &self,
        targets: &BTreeSet<usize>,
        candidates: &BTreeSet<usize>,
        avoided: &BTreeSet<usize>,
    ) -> Option<BTreeSet<usize>> {
        let mut last = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<usize> = targets.iter().copied().collect();
        while let Some(index) = open.pop() {
            if avoided.contains(&index) || self.gives_zero(index) || !seen.insert(index) {
                continue;
            }
            if candidates.contains(&index) {
                last.insert(index);
                continue;
            }
            if index == 0 {
                return None;
            }
            open.extend(self.graph.nodes.get(index).into_iter().flat_map(|node| &node.previous));
        }
        Some(last)
    }

    /// The first of `candidates` on each way from `starts` to a return that does not pass `avoided`. `None` if a way
    /// has none.
    fn first_behind(
        &self,
        starts: &BTreeSet<usize>,
        candidates: &BTreeSet<usize>,
        avoided: &BTreeSet<usize>,
        returns: &BTreeSet<usize>,
    ) -> Option<BTreeSet<usize>> {
        let mut first = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<usize> = starts.iter().flat_map(|start| self.following(*start)).collect();
        while let Some(index) = open.pop() {
            if avoided.contains(&index) || !seen.insert(index) {
                continue;
            }
            if candidates.contains(&index) {
                first.insert(index);
                continue;
            }
            if returns.contains(&index) {
                return None;
            }
            open.extend(self.following(index));
        }
        Some(first)
    }

    /// Does every way from the entry to `targets` pass `index`?
    fn is_on_every_way(&self, index: usize, targets: &BTreeSet<usize>) -> bool {
        !self.reaching(targets, &BTreeSet::from([index])).contains(&0)
    }
}
