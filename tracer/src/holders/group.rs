//! Blocks held the same way, taken together.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::blocks::Blocks;
use super::closure::Closure;
use super::verdict::{Owner, State, Verdict};
use crate::census::NamePattern;
use crate::hotspot::heap::{Step, StepKind};

/// Blocks of one owner field, held the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// None: no Java object has the address.
    pub owner: Option<Owner>,
    pub state: State,
    /// From the root to the owner.
    pub path: Arc<[Step]>,
    pub count: u64,
    /// With what the blocks lead to.
    pub bytes: u64,
    /// The bytes are those of the blocks alone; else they are about right.
    pub exact: bool,
}

/// Properties that the blocks of a group share.
type Key = (Owner, State, Arc<[Step]>);

/// Groups, those with most bytes first. `before`: the blocks that were there before the look.
pub(super) fn of(
    verdicts: &[Verdict],
    closures: &[Closure],
    blocks: &Blocks,
    before: &Blocks,
    taken: &[bool],
) -> Vec<Group> {
    let mut groups: HashMap<Key, (Group, BTreeSet<String>)> = HashMap::new();
    for (verdict, closure) in verdicts.iter().zip(closures) {
        let (path, names) = with_patterns(&verdict.path);
        let key = (verdict.owner.clone(), verdict.state, path);
        let (group, all_names) = groups.entry(key).or_insert_with(|| {
            let group = Group {
                owner: Some(verdict.owner.clone()),
                state: verdict.state,
                path: verdict.path.clone(),
                count: 0,
                bytes: 0,
                exact: true,
            };
            (group, BTreeSet::new())
        });
        group.count += 1;
        group.bytes = group.bytes.saturating_add(closure.bytes);
        group.exact &= closure.exact;
        all_names.extend(names);
    }
    let mut groups: Vec<Group> = groups
        .into_iter()
        .map(|((_, _, path), (group, names))| match names.len() {
            0 | 1 => group,
            // Several threads of one kind.
            _ => Group { path, ..group },
        })
        .collect();
    let mut none =
        Group { owner: None, state: State::None, path: Arc::default(), count: 0, bytes: 0, exact: true };
    for (block, _) in blocks.iter().zip(taken).filter(|(block, taken)| !**taken && before.has(*block)) {
        none.count += 1;
        none.bytes = none.bytes.saturating_add(block.bytes);
    }
    if none.count > 0 {
        groups.push(none);
    }
    groups.sort_by(|a, b| {
        b.bytes.cmp(&a.bytes).then_with(|| (&a.owner, a.state, &a.path).cmp(&(&b.owner, b.state, &b.path)))
    });
    groups
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
