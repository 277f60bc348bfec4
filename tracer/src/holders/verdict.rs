//! Holder of each block: the best that can be said of all objects that have its address.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::blocks::{Block, Blocks};
use super::discover::{self, FieldId, Hit};
use super::tables::Tables;
use crate::hotspot::heap::{ClassId, MarkedHeap, Quality, Reach, Step, Walked};
use crate::process::pagemap::ResidentMemory;

/// Paths that are worked out for one look: what is held is grouped by its path, so all of them, up to here.
const MAX_PATHS: usize = 1 << 20;
/// Classes of the JDK whose objects are views of memory that others own: that nobody has such an object says nothing.
const VIEWS: [&str; 3] =
    ["java.nio.Direct", "jdk.internal.foreign.NativeMemorySegmentImpl", "sun.nio.ch.Util"];

/// State of a block: how it is held, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HolderState {
    /// A static field, a thread's object, a class loader or JNI leads to it.
    Held,
    /// A word on a thread's stack or in its registers leads to it.
    Stack,
    /// Soft references alone lead to it.
    Soft,
    /// A cleaner or finalizer alone leads to it: garbage, which a collection frees.
    Collectable,
    /// Unreachable, and nothing will free it.
    Lost,
    /// No holder was seen, in looks without stopping.
    Unseen,
    /// No Java object has its address.
    None,
}
/// Classes of numbers that are objects. One with a block's address is mostly the key of a table of all blocks, which
/// frees none: it says something only of a block that no other object has.
const NUMBERS: [&str; 2] = ["java.lang.Long", "java.util.concurrent.atomic.AtomicLong"];
/// Tables with primitive keys or values have such numbers there.
const LONG_ARRAY: &str = "long[]";

impl HolderState {
    /// Name as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Stack => "stack",
            Self::Soft => "soft",
            Self::Collectable => "collectable",
            Self::Lost => "lost",
            Self::Unseen => "unseen",
            Self::None => "none",
        }
    }

    /// The state that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        let all =
            [Self::Held, Self::Stack, Self::Soft, Self::Collectable, Self::Lost, Self::Unseen, Self::None];
        all.into_iter().find(|state| state.as_str() == text)
    }

    fn of(reach: Option<Reach>) -> Self {
        match reach {
            Some(Reach::Held) => Self::Held,
            Some(Reach::Stack) => Self::Stack,
            Some(Reach::Soft) => Self::Soft,
            Some(Reach::Collectable) => Self::Collectable,
            None => Self::Lost,
        }
    }
}

/// The field that has a block's address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Owner {
    /// The object's class, with dots.
    pub class: String,
    /// Name of the field; empty if it is an element of an array.
    pub field: String,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.field.as_str() {
            "" => formatter.write_str(&self.class),
            field => write!(formatter, "{}.{field}", self.class),
        }
    }
}

/// Verdict on a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) block: Block,
    pub(super) owner: Owner,
    pub(super) state: HolderState,
    /// Path from the root to the owner; empty if nothing leads to it.
    pub(super) path: Arc<[Step]>,
}

/// Findings of one look.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdicts {
    /// Verdicts on the blocks that an object has the address of, sorted by address.
    pub(super) verdicts: Vec<Verdict>,
    pub(super) quality: Quality,
    pub(super) walked: Walked,
}

impl Verdicts {
    /// Is what was looked at of one moment, and whole but for what holds nothing?
    pub(super) fn is_consistent(&self) -> bool {
        self.quality.is_consistent() && self.walked.unproved == 0
    }
}

/// The best of an object's hits on a block.
#[derive(Clone, Copy)]
struct Best {
    state: HolderState,
    /// Is the object but a number?
    is_number: bool,
    /// Index in the order of marking: the smaller, the shorter the path.
    index: Option<usize>,
    hit: Hit,
}

impl Best {
    /// An owner comes before a number with the same address; but where the number is reachable and the owner is lost,
    /// the block may yet be freed by whoever has the number.
    fn rank(&self) -> (bool, bool, HolderState, usize) {
        let is_reached = self.state <= HolderState::Collectable;
        (!is_reached, self.is_number, self.state, self.index.unwrap_or(usize::MAX))
    }
}

/// Judges every block that a Java object has the address of. An unreachable block is lost only if it was there `before`
/// the look, too, and if its field is not known to keep addresses of what was freed; else it may be another's, and has
/// no state.
///
/// `memory` is that of the process, for arrays that were not copied.
pub(super) fn verdicts(
    look: &mut MarkedHeap<'_, '_>,
    memory: Option<&ResidentMemory<'_>>,
    blocks: &Blocks,
    before: &Blocks,
) -> Verdicts {
    let found = discover::find(look, blocks);
    let tables = Tables::ask(look, memory, blocks);
    // Memory that a cleaner itself has is held as long as the object whose end it waits for.
    let waiting: HashMap<u64, u64> = found
        .hits
        .iter()
        .filter(|hit| !hit.field.is_static())
        .filter_map(|hit| Some((hit.object.address, look.waits_for(hit.object.address, hit.object.class)?)))
        .collect();
    let indices = look.indices(&waiting.values().copied().collect::<HashSet<u64>>());
    let mut best: HashMap<usize, Best> = HashMap::new();
    let mut dead: HashMap<(FieldId, usize), u64> = HashMap::new();
    let mut classes: HashMap<ClassId, (bool, bool)> = HashMap::new();
    let arrays = tables.owners.iter().map(|(block, object)| {
        let field = FieldId { class: object.class, offset: 0 };
        Hit { block: *block, field, object: *object, distance: 0 }
    });
    for hit in found.hits.into_iter().chain(arrays) {
        let class = hit.object.class;
        let (is_view, is_number) = *classes.entry(class).or_insert_with(|| {
            let name = look.class_name(class);
            let is_view = VIEWS.iter().any(|view| name.starts_with(view)) && !name.contains('$');
            (is_view, NUMBERS.contains(&&*name) || *name == *LONG_ARRAY)
        });
        let index = match waiting.get(&hit.object.address) {
            Some(referent) => indices.get(referent).copied(),
            None => hit.object.index,
        };
        let state = match (index, waiting.contains_key(&hit.object.address)) {
            (None, true) => HolderState::Collectable,
            (None, false) if is_view || is_number => HolderState::None,
            (index, _) => HolderState::of(index.map(|index| look.reach(index))),
        };
        if state == HolderState::Lost {
            *dead.entry((hit.field, hit.block)).or_default() += 1;
        }
        let other = Best { state, is_number, index, hit };
        best.entry(hit.block)
            .and_modify(|best| {
                if other.rank() < best.rank() {
                    *best = other
                }
            })
            .or_insert(other);
    }
    let mut owners: HashMap<FieldId, Owner> = HashMap::new();
    let mut order: Vec<(usize, Best)> =
        best.into_iter().filter(|(_, best)| best.state != HolderState::None).collect();
    order.sort_unstable_by_key(|(block, _)| *block);
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(order.len());
    let mut paths: HashMap<Rc<[Step]>, Arc<[Step]>> = HashMap::new();
    for (block, best) in order {
        let is_shared =
            dead.get(&(best.hit.field, block)).is_some_and(|count| *count > 1) || tables.may_have(block);
        let Some(block) = blocks.get(block) else { continue };
        let field = best.hit.field;
        let is_doubtful = best.state == HolderState::Lost
            && (is_shared || found.stale.contains(&field) || !before.has(block));
        let state = if is_doubtful { HolderState::None } else { best.state };
        let owner = owners.entry(field).or_insert_with(|| Owner {
            class: look.class_name(field.class).to_string(),
            field: look.field(field.class, field.offset).map(|name| name.to_string()).unwrap_or_default(),
        });
        let has_path = verdicts.len() < MAX_PATHS && best.state < HolderState::Collectable;
        let path = match best.index.filter(|_| has_path) {
            Some(_) if field.is_static() => Rc::from([look.static_step(field.class, field.offset)]),
            Some(index) => look.path(index),
            None => Rc::default(),
        };
        let path = paths.entry(path.clone()).or_insert_with(|| path.iter().cloned().collect()).clone();
        verdicts.push(Verdict { block, owner: owner.clone(), state, path });
    }
    Verdicts { verdicts, quality: look.quality(), walked: found.walked }
}
