//! Metaspace and class space: the nodes of their lists of virtual memory.
//!
//! From JDK 16 a context holds a list, before that the list stands alone; a list begins with (a name
//! and) its first node, and a node with the next node, followed by the range that it reserved.
//! Source: HotSpot, `memory/metaspace/{metaspaceContext,virtualSpaceList,virtualSpaceNode}.hpp`.

use std::ops::Range;

use super::evidence::Evidence;
use super::{JvmRange, RangeKind, RangeSource};
use crate::hotspot::read::pointer;
use crate::hotspot::symbols;

/// Nodes of one list: 64 MiB each, or less.
const MAX_NODES: usize = 1 << 14;
/// Bytes of a context, list or node in which the fields lie.
const CONTEXT_BYTES: u64 = 3 * 8;
const LIST_BYTES: u64 = 3 * 8;
const NODE_BYTES: u64 = 8 * 8;

impl RangeSource<'_> {
    pub(super) fn metaspace(&self, evidence: &Evidence<'_>, ranges: &mut Vec<JvmRange>) {
        let kinds = [
            (RangeKind::ClassSpace, symbols::CLASS_SPACE, symbols::CLASS_SPACE_LIST),
            (RangeKind::Metaspace, symbols::METASPACE, symbols::METASPACE_LIST),
        ];
        for (kind, context, list) in kinds {
            let mut lists: Vec<u64> = Vec::new();
            let variable = |symbol| self.symbols.address(symbol).and_then(|at| self.reader.pointer(at).ok());
            lists.extend(variable(list));
            let context = variable(context).map(|context| evidence.words(context, CONTEXT_BYTES));
            lists.extend(context.unwrap_or_default());
            let nodes = lists.into_iter().flat_map(|list| evidence.words(list, LIST_BYTES));
            let mut found: Vec<Range<u64>> = Vec::new();
            for node in nodes {
                follow(evidence, node, &mut found);
            }
            found.sort_by_key(|range| (range.start, range.end));
            found.dedup();
            if found.is_empty() && kind == RangeKind::ClassSpace {
                found.extend(self.class_space(evidence));
            }
            ranges.extend(found.into_iter().map(|range| JvmRange { range, kind, name: None }));
        }
    }

    /// Class space as a libjvm without private symbols has it, if nothing lies before it.
    fn class_space(&self, evidence: &Evidence<'_>) -> Option<Range<u64>> {
        let start = self.reader.u64(self.layout.klass_base?).ok()?;
        let end = start.checked_add(self.class_space_bytes?)?;
        evidence.holds(start, end).then_some(start..end)
    }
}

/// Adds the ranges of the nodes from `node` on.
fn follow(evidence: &Evidence<'_>, mut node: u64, found: &mut Vec<Range<u64>>) {
    for _ in 0..MAX_NODES {
        if pointer(node).is_err() {
            return;
        }
        let words = evidence.words(node, NODE_BYTES);
        let Some((next, fields)) = words.split_first() else { return };
        let ranges = fields.windows(2).filter_map(|pair| evidence.of_length(*pair.first()?, *pair.get(1)?));
        // It reserves whole chunks; what else looks like a range in there is a part of it.
        let Some(range) = ranges.max_by_key(|range| range.end - range.start) else { return };
        if found.contains(&range) {
            return;
        }
        found.push(range);
        node = *next;
    }
}
