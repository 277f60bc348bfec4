//! The limits that a process meets when its memory, threads or mappings grow: its control groups', its own, the
//! kernel's, the machine's and its JVM's.
//!
//! Takes a pid, its map of mappings and its JVM; gives one [`Limit`] for each, with what is used of it and who set it.
//! These are the causes that HotSpot lists when it gets no memory, so each is there, or says why it cannot be met.
//! Reads files of /proc and of the control groups' file systems, and the JVM's memory; writes nothing.

mod cgroup;
mod host;
mod jvm;
mod process;

use serde::{Deserialize, Serialize};

pub use self::cgroup::{CgroupMemory, MemoryLimit, memory_limit};
use crate::hotspot::Hotspot;
use crate::hotspot::stats::CodeHeap;
use crate::process::Pid;
use crate::vmmap::{Map, Owner};

/// Number from which on a limit is none, whatever its unit is.
const UNLIMITED: u64 = 1 << 56;

/// A limit with what is used of it.
///
/// `growth_per_s`, `seconds_left` and `reached_ns` need more than one look; they are `None` in a census.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// `cgroup-memory`, `direct-buffers`, `threads:rlimit`, ...
    pub id: String,
    pub used: Option<u64>,
    /// `None` if there is none, or it cannot be read; `reason` says which.
    pub limit: Option<u64>,
    pub unit: Unit,
    pub growth_per_s: Option<f64>,
    pub seconds_left: Option<u64>,
    /// The limit is used up since then, ns after the session started.
    pub reached_ns: Option<u64>,
    /// Number of times that the limit was met.
    pub hits: Option<u64>,
    /// The file or flag that sets it.
    pub set_by: Option<String>,
    /// Reason why `used` or `limit` is not there.
    pub reason: Option<String>,
    /// Memory of the control group by kind; for `cgroup-memory` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupMemory>,
}

/// The unit of a limit's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    #[default]
    Bytes,
    Count,
}

/// The heap's maximum and everything else that the process has, beside the limit of its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fits {
    /// The limit that is compared with.
    pub limit_id: String,
    pub heap_max_bytes: u64,
    /// Resident bytes beside the Java heap.
    pub rest_bytes: u64,
    /// The sum is not above the limit.
    pub fits: bool,
}

impl Fits {
    /// Compares the Java heap's maximum and `rest_bytes`, what is resident beside it, with the memory limit. `None` if
    /// no JVM, or no limit.
    pub fn of(limits: &[Limit], rest_bytes: u64) -> Option<Self> {
        let limit_of = |id: &str| limits.iter().find(|limit| limit.id == id && limit.limit.is_some());
        let limit = limit_of("cgroup-memory").or_else(|| limit_of("host-memory"))?;
        let heap_max_bytes = limit_of("java-heap")?.limit?;
        let fits = heap_max_bytes.saturating_add(rest_bytes) <= limit.limit?;
        Some(Fits { limit_id: limit.id.clone(), heap_max_bytes, rest_bytes, fits })
    }
}

impl Limit {
    fn bytes(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    fn count(id: &str) -> Self {
        Self { id: id.to_owned(), unit: Unit::Count, ..Self::default() }
    }

    fn used(self, used: Option<u64>) -> Self {
        Self { used, ..self }
    }

    fn limit(self, limit: Option<u64>, set_by: &str) -> Self {
        Self { limit, set_by: Some(set_by.to_owned()), ..self }
    }

    fn reason(self, reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..self }
    }

    /// The unused part; `None` if there is no limit, or it is not known how much is used.
    pub fn left(&self) -> Option<u64> {
        Some(self.limit?.saturating_sub(self.used?))
    }

    /// The used part that nobody gives back when memory is short: without the group's page cache, where it is known.
    pub fn needed(&self) -> Option<u64> {
        let cache = self.cgroup.as_ref().map_or(0, CgroupMemory::reclaimable);
        Some(self.used?.saturating_sub(cache))
    }

    /// The used part in percent, rounded down.
    pub fn percent(&self) -> Option<u64> {
        let percent = u128::from(self.used?) * 100 / u128::from(self.limit?.max(1));
        Some(u64::try_from(percent).unwrap_or(u64::MAX))
    }
}

/// Source of limits.
#[derive(Clone, Copy)]
pub struct LimitSource<'a> {
    pub pid: Pid,
    /// The process's mappings by owner, if they were read.
    pub map: Option<&'a Map>,
    /// `None` without a JVM, or if it cannot be read.
    pub jvm: Option<&'a Hotspot>,
    /// Segments of the JVM's code cache.
    pub code_heaps: &'a [CodeHeap],
}

/// Reads all limits of a process. Limits that it does not have (no JVM) are left out.
pub fn read(source: &LimitSource<'_>) -> Vec<Limit> {
    let mut limits = cgroup::memory(source.pid);
    if let Some(jvm) = source.jvm {
        limits.extend(jvm::limits(source.pid, jvm, source.map, source.code_heaps));
    }
    limits.extend(process::limits(source.pid));
    limits.extend(host::limits());
    for limit in &mut limits {
        if limit.limit.is_some_and(|most| most >= UNLIMITED) {
            limit.limit = None;
            limit.reason.get_or_insert_with(|| "larger than any memory".to_owned());
        }
    }
    limits
}

/// Fit of a process with this map, as [`Fits::of`].
pub fn fits(limits: &[Limit], map: &Map) -> Option<Fits> {
    let heap = map.parts.iter().filter(|part| part.owner == Owner::JavaHeap);
    let heap_bytes: u64 = heap.map(|part| part.usage.resident_bytes).sum();
    Fits::of(limits, map.total().resident_bytes.saturating_sub(heap_bytes))
}

/// The first number in a file of the kernel's; `None` if it cannot be read, or says `max`.
fn number(path: impl AsRef<std::path::Path>) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_and_the_rest_fit_the_innermost_memory_limit() {
        let limit = |id: &str, limit| Limit::bytes(id).used(Some(30)).limit(Some(limit), "a file");
        let (heap, group, host) =
            (limit("java-heap", 60), limit("cgroup-memory", 100), limit("host-memory", 90));
        assert_eq!(heap.left(), Some(30));
        let fits =
            |limits: &[Limit], rest_bytes| Fits::of(limits, rest_bytes).map(|it| (it.limit_id, it.fits));
        let all = [heap.clone(), host.clone(), group];
        assert_eq!(fits(&all, 40), Some(("cgroup-memory".to_owned(), true)));
        assert_eq!(fits(&all, 41), Some(("cgroup-memory".to_owned(), false)));
        assert_eq!(fits(&[heap.clone(), host.clone()], 31), Some(("host-memory".to_owned(), false)));
        assert_eq!((fits(&[heap], 0), fits(&[host], 0)), (None, None));
    }

    #[test]
    fn limits_of_this_process() {
        let source = LimitSource { pid: Pid::own(), map: None, jvm: None, code_heaps: &[] };
        let limits = read(&source);
        let of =
            |id: &str| limits.iter().find(|limit| limit.id == id).unwrap_or_else(|| panic!("{limits:?}"));
        assert!(of("mappings").used.is_some_and(|used| used > 5 && used < of("mappings").limit.unwrap_or(0)));
        assert!(of("threads:threads-max").percent().is_some_and(|percent| percent < 100));
        assert!(of("host-memory").left().is_some_and(|left| left > 0));
        // A limit that is not there says why.
        let silent: Vec<_> = limits
            .iter()
            .filter(|limit| (limit.limit.is_none() || limit.used.is_none()) && limit.reason.is_none())
            .collect();
        assert_eq!(silent, [] as [&Limit; 0]);
    }
}
