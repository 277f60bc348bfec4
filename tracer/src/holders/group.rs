//! Blocks held the same way, taken together.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::blocks::Blocks;
use super::closure::Closure;
use super::verdict::{HolderState, Owner, Verdict};
use crate::census::NamePattern;
use crate::hotspot::heap::{Step, StepKind};

/// Blocks of one owner field, held the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `None` if no Java object has the address.
    pub owner: Option<Owner>,
    pub state: HolderState,
    /// Path from the root to the owner.
    pub path: Arc<[Step]>,
    pub count: u64,
    /// Bytes with what the blocks lead to.
    pub bytes: u64,
    /// The bytes are those of the blocks alone; else they are about right.
    pub exact: bool,
}

/// Properties that the blocks of a group share.
type Key = (Owner, HolderState, Arc<[Step]>);

/// The group of each block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockGroups {
    blocks: Blocks,
    /// Indices of groups in the order of the blocks.
    groups: Vec<Option<u32>>,
}

/// Group of a block, by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockGroup {
    /// Index of its group.
    Of(usize),
    /// No Java object has its address.
    None,
    /// The block was not there any more after the look.
    Gone,
}

impl BlockGroups {
    /// The group of the block that begins at `address`, with room for `size_bytes`.
    pub fn at(&self, address: u64, size_bytes: u64) -> BlockGroup {
        let Some(index) = self.blocks.at(address) else { return BlockGroup::Gone };
        // Another one may have taken its place.
        if self.blocks.get(index).is_none_or(|block| block.bytes < size_bytes) {
            return BlockGroup::Gone;
        }
        match self.groups.get(index).copied().flatten() {
            Some(group) => BlockGroup::Of(group as usize),
            None => BlockGroup::None,
        }
    }
}

/// Groups, those with most bytes first, and that of each block. `before`: the blocks that were there before the look;
/// `taken`: of each block, the verdict to which it belongs.
pub(super) fn of(
    verdicts: &[Verdict],
    closures: &[Closure],
    blocks: Blocks,
    before: &Blocks,
    taken: &[Option<u32>],
) -> (Vec<Group>, BlockGroups) {
    let mut numbers: HashMap<Key, usize> = HashMap::new();
    let mut groups: Vec<(Group, Key, BTreeSet<String>)> = Vec::new();
    let mut of_verdict = Vec::with_capacity(verdicts.len());
    for (verdict, closure) in verdicts.iter().zip(closures) {
        if verdict.state == HolderState::None {
            of_verdict.push(usize::MAX);
            continue;
        }
        let (path, names) = with_patterns(&verdict.path);
        let key = (verdict.owner.clone(), verdict.state, path);
        let number = *numbers.entry(key.clone()).or_insert_with(|| {
            let group = Group {
                owner: Some(verdict.owner.clone()),
                state: verdict.state,
                path: verdict.path.clone(),
                count: 0,
                bytes: 0,
                exact: true,
            };
            groups.push((group, key, BTreeSet::new()));
            groups.len() - 1
        });
        of_verdict.push(number);
        let Some((group, _, all_names)) = groups.get_mut(number) else { continue };
        group.count += 1;
        group.bytes = group.bytes.saturating_add(closure.bytes);
        group.exact &= closure.exact;
        all_names.extend(names);
    }
    let mut groups: Vec<(usize, Group)> = groups
        .into_iter()
        .map(|(group, (_, _, path), names)| match names.len() {
            0 | 1 => group,
            // Several threads of one kind.
            _ => Group { path, ..group },
        })
        .enumerate()
        .collect();
    let mut none = Group {
        owner: None,
        state: HolderState::None,
        path: Arc::default(),
        count: 0,
        bytes: 0,
        exact: true,
    };
    for (block, _) in blocks.iter().zip(taken).filter(|(block, taken)| taken.is_none() && before.has(*block))
    {
        none.count += 1;
        none.bytes = none.bytes.saturating_add(block.bytes);
    }
    if none.count > 0 {
        groups.push((groups.len(), none));
    }
    groups.sort_by(|(_, a), (_, b)| {
        b.bytes.cmp(&a.bytes).then_with(|| (&a.owner, a.state, &a.path).cmp(&(&b.owner, b.state, &b.path)))
    });
    let places: HashMap<usize, u32> =
        (0..).zip(&groups).map(|(place, (number, _))| (*number, place)).collect();
    let group_of = |verdict: &u32| places.get(of_verdict.get(*verdict as usize)?).copied();
    let of_blocks = taken.iter().map(|verdict| verdict.as_ref().and_then(group_of)).collect();
    (groups.into_iter().map(|(_, group)| group).collect(), BlockGroups { blocks, groups: of_blocks })
}

/// The path with the pattern of each thread's name instead of the name, and those names.
fn with_patterns(path: &[Step]) -> (Arc<[Step]>, Vec<String>) {
    let mut names = Vec::new();
    let step = |step: &Step| match (step.kind, &step.name) {
        (StepKind::Thread | StepKind::Stack | StepKind::Jni, Some(name)) => {
            names.push(name.to_string());
            Step { name: Some(NamePattern::of(name).as_str().into()), ..step.clone() }
        }
        _ => step.clone(),
    };
    (path.iter().map(step).collect(), names)
}
