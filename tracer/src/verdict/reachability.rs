//! Verdict of a look at the Java heap on a group's live bytes at the end: reachable, garbage, lost, or of no Java
//! object.

use std::collections::{HashMap, HashSet};

use super::VerdictKind;
use super::clauses::Sentence;
use super::sentence::Figures;
use crate::recording::{HolderState, Recording, StackRef};

/// Part of what is live that must be garbage to say that it waits for a collection.
const GARBAGE_SHARE: f64 = 0.5;
/// Part of what is live that must be reachable, or lost, to say that it leaks.
const REACHABLE_SHARE: f64 = 0.8;

/// Bytes of which something was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proven {
    pub(super) kind: VerdictKind,
    pub(super) told: Sentence,
    /// Advice more to the point than what holds for the category, now that the holders are known.
    pub(super) advice: Option<&'static str>,
}

/// Live bytes by how they are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reachability {
    /// Bytes that are reached from a root.
    reachable_bytes: u64,
    /// Bytes that only a cleaner or finalizer leads to.
    garbage_bytes: u64,
    /// Unreachable, and nothing frees them.
    lost_bytes: u64,
    all_bytes: u64,
}

impl Reachability {
    fn add(&mut self, state: HolderState, bytes: u64) {
        let sum = match state {
            HolderState::Held | HolderState::Stack | HolderState::Soft => Some(&mut self.reachable_bytes),
            HolderState::Collectable => Some(&mut self.garbage_bytes),
            HolderState::Lost => Some(&mut self.lost_bytes),
            HolderState::Unseen | HolderState::None => None,
        };
        if let Some(sum) = sum {
            *sum = sum.saturating_add(bytes);
        }
        self.all_bytes = self.all_bytes.saturating_add(bytes);
    }

    /// The kind that it proves for something that grows, with the reason. `None` if nothing passes.
    pub(super) fn proves(&self, figures: &mut Figures) -> Option<Proven> {
        let share = |bytes: u64| bytes as f64 / self.all_bytes.max(1) as f64;
        let stays_bytes = self.reachable_bytes.saturating_add(self.lost_bytes);
        if self.garbage_bytes > 0 && share(self.garbage_bytes) >= GARBAGE_SHARE {
            let garbage = figures.bytes("garbage_bytes", self.garbage_bytes);
            let all = figures.bytes("judged_bytes", self.all_bytes);
            let told =
                format!("at the end {garbage} of {all} was garbage that only cleaners or finalizers have");
            let told = Sentence::from(told).then(": ", "a collection frees it");
            return Some(Proven { kind: VerdictKind::GcPending, told, advice: None });
        }
        if stays_bytes == 0 || share(stays_bytes) < REACHABLE_SHARE {
            return None;
        }
        let all = figures.bytes("judged_bytes", self.all_bytes);
        let mut told = Sentence::default();
        if self.reachable_bytes > 0 {
            let reachable = figures.bytes("reachable_bytes", self.reachable_bytes);
            told = Sentence::from(format!("at the end {reachable} of {all} was reachable"))
                .then(": ", "collections cannot free it");
        }
        if self.lost_bytes > 0 {
            let lost = figures.bytes("lost_bytes", self.lost_bytes);
            let when = if self.reachable_bytes > 0 { "" } else { "at the end " };
            told = told
                .then(", and ", format!("{when}{lost} of {all} was lost"))
                .then(": ", "its owners are gone, and nothing frees it");
        }
        let advice = match self.lost_bytes > self.reachable_bytes {
            true => {
                "close these objects before dropping them (try-with-resources, finally), since nothing else frees what they have"
            }
            false => "bound what keeps it, or remove and close what is done with",
        };
        Some(Proven { kind: VerdictKind::Leak, told, advice: Some(advice) })
    }
}

/// Reachability of what each stack has.
pub(super) struct OfStacks(HashMap<StackRef, Reachability>);

impl OfStacks {
    /// `None` if nobody looked.
    pub(super) fn of(recording: &Recording) -> Option<Self> {
        let holders = recording.holders.as_ref().ok()?;
        let mut of_stacks: HashMap<StackRef, Reachability> = HashMap::new();
        for row in &holders.stacks {
            let group = usize::try_from(row.group).ok().and_then(|group| holders.groups.get(group));
            if let Some(group) = group {
                of_stacks.entry(row.stack).or_default().add(group.state, row.live_bytes);
            }
        }
        Some(Self(of_stacks))
    }

    /// The sum over stacks. `None` if nothing is known of them.
    pub(super) fn sum(&self, stacks: impl Iterator<Item = StackRef>) -> Option<Reachability> {
        let stacks: HashSet<StackRef> = stacks.collect();
        let mut sum: Option<Reachability> = None;
        for one in stacks.iter().filter_map(|stack| self.0.get(stack)) {
            let sum = sum.get_or_insert_default();
            sum.reachable_bytes = sum.reachable_bytes.saturating_add(one.reachable_bytes);
            sum.garbage_bytes = sum.garbage_bytes.saturating_add(one.garbage_bytes);
            sum.lost_bytes = sum.lost_bytes.saturating_add(one.lost_bytes);
            sum.all_bytes = sum.all_bytes.saturating_add(one.all_bytes);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::sentence::tests::holds;

    fn proves(parts: &[(HolderState, u64)]) -> Option<Proven> {
        let mut reachability = Reachability::default();
        parts.iter().for_each(|&(state, bytes)| reachability.add(state, bytes));
        let mut figures = Figures::default();
        let proven = reachability.proves(&mut figures);
        if let Some(proven) = &proven {
            holds(&proven.told.to_string(), &figures, &[]).expect("figures");
        }
        proven
    }

    #[test]
    fn what_most_of_it_is_decides() {
        use HolderState::{Collectable, Held, Lost, None as NoObject, Soft, Stack, Unseen};
        let kind = |parts: &[(HolderState, u64)]| proves(parts).map(|proven| proven.kind);
        assert_eq!(kind(&[(Held, 90), (Collectable, 10)]), Some(VerdictKind::Leak));
        assert_eq!(kind(&[(Soft, 40), (Stack, 50), (NoObject, 10)]), Some(VerdictKind::Leak));
        assert_eq!(kind(&[(Lost, 100)]), Some(VerdictKind::Leak));
        assert_eq!(kind(&[(Collectable, 50), (Held, 50)]), Some(VerdictKind::GcPending));
        assert_eq!(kind(&[(Collectable, 40), (Held, 60)]), None, "neither is most of it");
        assert_eq!(kind(&[(Held, 50), (NoObject, 50)]), None, "half of it is not known");
        assert_eq!(kind(&[(Unseen, 100)]), None);
        assert_eq!(kind(&[]), None);
        let proven = proves(&[(Held, 900 << 10), (Lost, 100 << 10)]).expect("proven");
        assert!(proven.told.contains("reachable") && proven.told.contains("lost"), "{proven:?}");
        assert!(proven.advice.is_some_and(|advice| advice.contains("what keeps it")));
    }
}
