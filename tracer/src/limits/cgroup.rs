//! The limits of control groups, versions 1 and 2: memory, and threads.
//!
//! A group's limit counts for all below it, so the ancestor with the least left is the one that is met. In a container
//! the groups above it are not to be seen from inside; tracer reads them on the host.
//! Source: Linux, `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst`.

mod group;

use std::fs;

use serde::{Deserialize, Serialize};

use self::group::{Group, Version};
use super::{Limit, number};
use crate::process::Pid;

/// Bytes from which on a limit is none: version 1 says "none" by a number of pages that fills a long.
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// Memory of a control group by kind, bytes. Version 1 does not tell all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CgroupMemory {
    pub anon: Option<u64>,
    /// Page cache.
    pub file: Option<u64>,
    pub shmem: Option<u64>,
    pub slab: Option<u64>,
    pub sock: Option<u64>,
    pub kernel_stack: Option<u64>,
    pub page_tables: Option<u64>,
    /// Resident anonymous and shared memory of the group's other processes.
    pub others: Option<u64>,
}

impl CgroupMemory {
    /// Page cache that the kernel drops when the group needs memory: files, but not shared memory.
    pub fn reclaimable(&self) -> u64 {
        self.file.unwrap_or(0).saturating_sub(self.shmem.unwrap_or(0))
    }
}

/// `cgroup-memory` and `cgroup-memory-high`.
pub(super) fn memory(pid: Pid) -> Vec<Limit> {
    match read(pid) {
        Some((groups, mounts)) => memory_of(pid, &groups, &mounts),
        None => ["cgroup-memory", "cgroup-memory-high"]
            .map(|id| Limit::bytes(id).reason("its control groups cannot be read"))
            .to_vec(),
    }
}

fn memory_of(pid: Pid, groups: &str, mounts: &str) -> Vec<Limit> {
    let all: Vec<Group> = [Version::One("memory"), Version::Two]
        .into_iter()
        .flat_map(|version| group::all(version, groups, mounts))
        .collect();
    let used = |group: &Group| group.number("memory.usage_in_bytes", "memory.current");
    let most = |group: &Group| {
        group.number("memory.limit_in_bytes", "memory.max").filter(|bytes| *bytes < NO_LIMIT_BYTES)
    };
    let high = Group::high;
    let max = match tightest(&all, used, most) {
        Some((group, limit)) => {
            let (file, hits) = match group.version {
                Version::One(_) => ("memory.limit_in_bytes", number(group.folder.join("memory.failcnt"))),
                Version::Two => ("memory.max", group.keyed("memory.events", "max")),
            };
            Limit {
                hits,
                cgroup: Some(group.memory(pid)),
                ..Limit::bytes("cgroup-memory")
                    .used(used(group))
                    .limit(Some(limit), &group.folder.join(file).to_string_lossy())
            }
        }
        // The use of the innermost group is known all the same.
        None => {
            let used = all.first().and_then(used);
            let limit = Limit::bytes("cgroup-memory").used(used).reason(match all.is_empty() {
                true => "its control group is not to be seen from here",
                false => "no limit is set, or none is to be seen from here",
            });
            Limit { cgroup: all.first().map(|group| group.memory(pid)), ..limit }
        }
    };
    let high = match tightest(&all, used, high) {
        Some((group, limit)) => Limit {
            hits: group.keyed("memory.events", "high"),
            ..Limit::bytes("cgroup-memory-high")
                .used(used(group))
                .limit(Some(limit), &group.folder.join("memory.high").to_string_lossy())
        },
        None if all.iter().any(|group| group.version == Version::Two) => {
            Limit::bytes("cgroup-memory-high").reason("no limit is set, or none is to be seen from here")
        }
        None => Limit::bytes("cgroup-memory-high").reason("control groups of version 1 have none"),
    };
    vec![max, high]
}

/// `threads:cgroup`.
pub(super) fn threads(pid: Pid) -> Limit {
    let limit = Limit::count("threads:cgroup");
    let Some((groups, mounts)) = read(pid) else { return limit.reason("its control groups cannot be read") };
    threads_of(&groups, &mounts)
}

fn threads_of(groups: &str, mounts: &str) -> Limit {
    let limit = Limit::count("threads:cgroup");
    let all: Vec<Group> = [Version::One("pids"), Version::Two]
        .into_iter()
        .flat_map(|version| group::all(version, groups, mounts))
        .collect();
    let used = |group: &Group| group.number("pids.current", "pids.current");
    match tightest(&all, used, |group| group.number("pids.max", "pids.max")) {
        Some((group, most)) => Limit {
            hits: group.keyed("pids.events", "max"),
            ..limit.used(used(group)).limit(Some(most), &group.folder.join("pids.max").to_string_lossy())
        },
        None => {
            limit.used(all.first().and_then(used)).reason("no limit is set, or none is to be seen from here")
        }
    }
}

/// A memory limit of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    pub limit_bytes: u64,
    /// Bytes that its group uses. `None` if they cannot be read.
    pub used_bytes: Option<u64>,
}

/// The memory limit that counts for process `pid`.
pub fn memory_limit(pid: Pid) -> Option<MemoryLimit> {
    let (groups, mounts) = read(pid)?;
    let limit = memory_of(pid, &groups, &mounts).into_iter().next()?;
    Some(MemoryLimit { limit_bytes: limit.limit?, used_bytes: limit.used })
}

fn read(pid: Pid) -> Option<(String, String)> {
    let groups = fs::read_to_string(pid.path("cgroup")).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    Some((groups, mounts))
}

/// The group with the least left of its limit.
fn tightest(
    groups: &[Group],
    used: impl Fn(&Group) -> Option<u64>,
    limit: impl Fn(&Group) -> Option<u64>,
) -> Option<(&Group, u64)> {
    let limited = groups.iter().filter_map(|group| Some((group, limit(group)?)));
    limited.min_by_key(|(group, limit)| limit.saturating_sub(used(group).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Files of a control group.
    fn made_group(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).expect("folder");
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("file");
        }
    }

    #[test]
    fn version_two_as_a_pod_has_it() {
        let root = tempfile::tempdir().expect("folder");
        let at = root.path();
        made_group(at, &[("cgroup.procs", "")]);
        made_group(
            &at.join("pod"),
            &[
                ("memory.max", "1000\n"),
                ("memory.current", "900\n"),
                ("memory.high", "max\n"),
                ("memory.events", "low 0\nhigh 3\nmax 17\noom 1\noom_kill 1\n"),
                (
                    "memory.stat",
                    "anon 500\nfile 300\nkernel_stack 16\npagetables 8\nsock 4\nshmem 2\nslab 60\n",
                ),
                ("cgroup.procs", ""),
                ("pids.max", "100\n"),
                ("pids.current", "40\n"),
                ("pids.events", "max 2\n"),
            ],
        );
        made_group(
            &at.join("pod/app"),
            &[
                ("memory.max", "max\n"),
                ("memory.current", "700\n"),
                ("memory.high", "800\n"),
                ("memory.events", "low 0\nhigh 5\nmax 0\n"),
                ("cgroup.procs", ""),
                ("pids.max", "max\n"),
                ("pids.current", "30\n"),
            ],
        );
        let mounts = format!("30 24 0:26 / {} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate", at.display());
        let limits = memory_of(Pid(1), "0::/pod/app\n", &mounts);
        let max = &limits[0];
        assert_eq!((max.used, max.limit, max.hits), (Some(900), Some(1000), Some(17)));
        assert_eq!(max.set_by.as_deref(), at.join("pod/memory.max").to_str());
        let expected = CgroupMemory {
            anon: Some(500),
            file: Some(300),
            shmem: Some(2),
            slab: Some(60),
            sock: Some(4),
            kernel_stack: Some(16),
            page_tables: Some(8),
            others: Some(0),
        };
        assert_eq!(max.cgroup, Some(expected));
        let high = &limits[1];
        assert_eq!((high.used, high.limit, high.hits), (Some(700), Some(800), Some(5)));
        let threads = threads_of("0::/pod/app\n", &mounts);
        assert_eq!((threads.used, threads.limit, threads.hits), (Some(40), Some(100), Some(2)));
        // Without a limit, and outside what is mounted.
        for groups in ["0::/\n", "0::/../../pod\n"] {
            let limits = memory_of(Pid(1), groups, &mounts);
            assert!(limits.iter().all(|limit| limit.limit.is_none() && limit.reason.is_some()), "{limits:?}");
        }
    }

    #[test]
    fn the_ancestor_with_least_left_counts() {
        let root = tempfile::tempdir().expect("folder");
        let at = root.path();
        made_group(&at.join("a"), &[("memory.max", "5000\n"), ("memory.current", "4990\n")]);
        made_group(&at.join("a/b"), &[("memory.max", "1000\n"), ("memory.current", "100\n")]);
        let mounts = format!("30 24 0:26 / {} rw - cgroup2 cgroup2 rw", at.display());
        let limit = &memory_of(Pid(1), "0::/a/b\n", &mounts)[0];
        assert_eq!((limit.limit, limit.left()), (Some(5000), Some(10)));
    }

    #[test]
    fn version_one() {
        let root = tempfile::tempdir().expect("folder");
        let at = root.path();
        made_group(
            at,
            &[("memory.limit_in_bytes", "9223372036854771712\n"), ("memory.usage_in_bytes", "7\n")],
        );
        made_group(
            &at.join("x"),
            &[
                ("memory.limit_in_bytes", "700\n"),
                ("memory.usage_in_bytes", "650\n"),
                ("memory.failcnt", "12\n"),
                ("memory.kmem.tcp.usage_in_bytes", "5\n"),
                ("memory.stat", "cache 1\nrss 2\ntotal_cache 100\ntotal_rss 400\ntotal_shmem 30\n"),
                ("cgroup.procs", ""),
            ],
        );
        let mounts = format!("30 24 0:26 /docker {} rw - cgroup cgroup rw,memory", at.display());
        let limits = memory_of(Pid(1), "4:memory:/docker/x\n1:cpu:/\n", &mounts);
        assert_eq!((limits[0].used, limits[0].limit, limits[0].hits), (Some(650), Some(700), Some(12)));
        let memory = limits[0].cgroup.clone().expect("its memory");
        assert_eq!(
            (memory.anon, memory.file, memory.shmem, memory.sock),
            (Some(400), Some(100), Some(30), Some(5))
        );
        assert_eq!((memory.slab, memory.kernel_stack), (None, None), "version 1 does not tell");
        assert_eq!(limits[1].reason.as_deref(), Some("control groups of version 1 have none"));
        let limit = |groups: &str| memory_of(Pid(1), groups, &mounts)[0].limit;
        assert_eq!(limit("4:memory:/docker\n"), None);
        assert_eq!(limit("4:cpu,cpuacct:/docker/x\n"), None);
        // A container sees its own group alone: it is not another's.
        let own = format!("30 24 0:26 /docker/x {} rw - cgroup cgroup rw,memory", at.join("x").display());
        let other = "4:memory:/docker/y\n";
        let limits = memory_of(Pid(1), other, &own);
        assert_eq!((limits[0].used, limits[0].limit, &limits[0].cgroup), (None, None, &None));
        // Unless all of them are mounted, too.
        let both = format!("{own}\n{mounts}");
        made_group(&at.join("y"), &[("memory.limit_in_bytes", "900\n"), ("memory.usage_in_bytes", "1\n")]);
        let limits = memory_of(Pid(1), other, &both);
        assert_eq!((limits[0].used, limits[0].limit), (Some(1), Some(900)));
    }
}
