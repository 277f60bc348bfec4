//! Findings about holders, each with its evidence and what to do about it.

use std::collections::BTreeMap;

use super::group::Group;
use super::verdict::HolderState;
use crate::hotspot::heap::StepKind;

/// Bytes from which on lost memory is a finding.
const MIN_LOST_BYTES: u64 = 1 << 20;
const MIN_WAITING_BYTES: u64 = 16 << 20;
/// Parts from which on one static is a finding: of what Java objects hold, per cent, and in bytes.
const STATIC_SHARE: u64 = 30;
const MIN_STATIC_BYTES: u64 = 1 << 20;

/// Finding: something that stands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `lost`, `collectable`, `static`.
    pub kind: &'static str,
    pub bytes: u64,
    pub count: u64,
    /// Evidence in one sentence, without the number of bytes.
    pub evidence: String,
    pub advice: &'static str,
}

pub(super) fn of(groups: &[Group]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut lost: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut waiting: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut statics: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut owned_bytes = 0_u64;
    for group in groups {
        let Some(owner) = &group.owner else { continue };
        owned_bytes = owned_bytes.saturating_add(group.bytes);
        let first = group.path.first().filter(|step| step.kind == StepKind::Static);
        let of_static = first.map(|step| {
            format!("{}.{}", step.class.as_deref().unwrap_or("?"), step.name.as_deref().unwrap_or("?"))
        });
        let (sums, name) = match (group.state, of_static) {
            (HolderState::Lost, _) => (&mut lost, owner.to_string()),
            (HolderState::Collectable, _) => (&mut waiting, owner.to_string()),
            (HolderState::Held, Some(name)) => (&mut statics, name),
            _ => continue,
        };
        let (bytes, count) = sums.entry(name).or_default();
        *bytes = bytes.saturating_add(group.bytes);
        *count += group.count;
    }
    for (name, (bytes, count)) in lost.into_iter().filter(|(_, (bytes, _))| *bytes >= MIN_LOST_BYTES) {
        findings.push(Finding {
            kind: "lost",
            bytes,
            count,
            evidence: format!(
                "{count} blocks are lost: the objects with their addresses ({name}) are unreachable, and have no cleaner or finalizer"
            ),
            advice: "close these objects before dropping them, with try-with-resources or in finally: the next collection loses the addresses for ever",
        });
    }
    let all_waiting: u64 = waiting.values().map(|(bytes, _)| *bytes).fold(0, u64::saturating_add);
    if all_waiting >= MIN_WAITING_BYTES {
        let count = waiting.values().map(|(_, count)| *count).sum();
        let most = waiting.iter().max_by_key(|(_, (bytes, _))| *bytes).map_or("", |(name, _)| name);
        findings.push(Finding {
            kind: "collectable",
            bytes: all_waiting,
            count,
            evidence: format!(
                "{count} blocks are garbage that waits for a collection: only cleaners or finalizers have them (most: {most})"
            ),
            advice: "close or end() these objects instead of leaving them to the collector; until then, a smaller young generation collects them earlier",
        });
    }
    let of_statics = statics.into_iter().filter(|(_, (bytes, _))| {
        *bytes >= MIN_STATIC_BYTES && bytes.saturating_mul(100) >= owned_bytes.saturating_mul(STATIC_SHARE)
    });
    for (name, (bytes, count)) in of_statics {
        let share = 100 * u128::from(bytes) / u128::from(owned_bytes.max(1));
        findings.push(Finding {
            kind: "static",
            bytes,
            count,
            evidence: format!(
                "static {name} leads to {share} % of the native bytes that Java objects hold ({count} blocks)"
            ),
            advice: "see whether all of it is still needed: bound it, remove what is done with, or close it",
        });
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.bytes));
    findings
}
