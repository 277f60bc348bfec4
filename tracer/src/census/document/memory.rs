//! The balance of a census: the process's mappings by owner.

use serde::{Deserialize, Serialize};

use crate::vmmap::Owner;

/// Resident memory of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Resident bytes as the kernel counts them. `None` for a core file, which does not tell.
    pub rss_bytes: Option<u64>,
    /// The smallest memory limit of its control groups.
    pub limit_bytes: Option<u64>,
    /// Parts by owner, most resident first; empty if it is not known.
    pub parts: Vec<MemoryPart>,
    /// Resident bytes of no known owner.
    pub unexplained_bytes: Option<u64>,
    /// Part of `rss_bytes` that is counted again: the heap of a collector that maps its pages several times.
    pub rss_counted_again_bytes: Option<u64>,
}

/// An owner's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPart {
    /// Id of the owner, as [`Owner::id`].
    pub id: String,
    #[serde(default)]
    pub reserved_bytes: Option<u64>,
    #[serde(default)]
    pub committed_bytes: Option<u64>,
    #[serde(default)]
    pub resident_bytes: Option<u64>,
    #[serde(default)]
    pub swap_bytes: Option<u64>,
}

impl Memory {
    /// The part of one owner, if it has any.
    pub fn part(&self, owner: Owner) -> Option<&MemoryPart> {
        self.parts.iter().find(|part| part.id == owner.id())
    }

    /// The sum of all parts in memory.
    pub fn resident_bytes(&self) -> u64 {
        self.parts.iter().filter_map(|part| part.resident_bytes).fold(0, u64::saturating_add)
    }
}

impl MemoryPart {
    /// The owner's name; its id, if this version does not know it.
    pub fn name(&self) -> &str {
        Owner::from_id(&self.id).map_or(&self.id, |owner| owner.name())
    }
}
