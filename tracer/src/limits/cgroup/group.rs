//! Control groups of a process, as the file systems that are mounted here show them, and the numbers of one group.
//!
//! Knows where version 1 and version 2 keep the same number; says nothing of limits.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::CgroupMemory;
use crate::limits::number;
use crate::process::Pid;

/// Groups above a process.
const MAX_DEPTH: usize = 64;
/// Processes of a group, and groups below it, that are looked at for what others use.
const MAX_PROCESSES: usize = 4_096;
const MAX_GROUPS: usize = 1_024;

/// A hierarchy of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Version 1, with the controller's name.
    One(&'static str),
    Two,
}

/// A group of a process, with the file system that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) version: Version,
    pub(super) folder: PathBuf,
}

impl Group {
    pub(super) fn number(&self, one: &str, two: &str) -> Option<u64> {
        number(self.folder.join(match self.version {
            Version::One(_) => one,
            Version::Two => two,
        }))
    }

    /// A number beside a key in a file of the group.
    pub(super) fn keyed(&self, file: &str, key: &str) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }

    pub(super) fn memory(&self, pid: Pid) -> CgroupMemory {
        let text = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let stat: BTreeMap<&str, u64> = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(key, value)| Some((key, value.trim().parse().ok()?)))
            .collect();
        // Version 1 has sums over the groups below under names of their own.
        let of = |one: &str, two: &str| {
            let key = if self.version == Version::Two { two } else { one };
            stat.get(key).copied()
        };
        let socket = || number(self.folder.join("memory.kmem.tcp.usage_in_bytes"));
        CgroupMemory {
            anon: of("total_rss", "anon"),
            file: of("total_cache", "file"),
            shmem: of("total_shmem", "shmem"),
            slab: of("", "slab"),
            sock: if self.version == Version::Two { of("", "sock") } else { socket() },
            kernel_stack: of("", "kernel_stack"),
            page_tables: of("", "pagetables"),
            others: self.others(pid),
        }
    }

    pub(super) fn high(&self) -> Option<u64> {
        (self.version == Version::Two).then(|| number(self.folder.join("memory.high")))?
    }

    /// Memory that other processes of the group, and of groups below it, have in memory that is not page cache.
    fn others(&self, pid: Pid) -> Option<u64> {
        let mut folders = vec![self.folder.clone()];
        let mut pids: Vec<Pid> = Vec::new();
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            let text = fs::read_to_string(folder.join("cgroup.procs")).ok()?;
            pids.extend(
                text.lines()
                    .filter_map(|line| line.parse::<Pid>().ok())
                    .filter(|other| *other != pid && other.0 != 0),
            );
            seen += 1;
            if pids.len() > MAX_PROCESSES || seen > MAX_GROUPS {
                return None;
            }
            let below = fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(
                below
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        let resident = |pid: &Pid| {
            let text = fs::read_to_string(pid.path("status")).ok()?;
            let of = |name: &str| -> Option<u64> {
                let line = text.lines().find_map(|line| line.strip_prefix(name))?;
                line.split_ascii_whitespace().next()?.parse().ok()
            };
            Some((of("RssAnon:")? + of("RssShmem:")?) * 1024)
        };
        Some(pids.iter().filter_map(resident).sum())
    }
}

/// The group of a process in one hierarchy, and all above it, innermost first, as far as they are mounted here.
pub(super) fn all(version: Version, groups: &str, mounts: &str) -> Vec<Group> {
    let path = groups.lines().take(MAX_DEPTH).find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_it = match version {
            Version::One(name) => controllers.split(',').any(|controller| controller == name),
            Version::Two => controllers.is_empty(),
        };
        is_it.then_some(path)
    });
    let Some(path) = path else { return Vec::new() };
    // A group that is not below what is mounted is not to be seen from here, and what is mounted is another's: a
    // recorder's own, in a container. From a namespace, such a group begins with `..`.
    let below = |root: &Path| {
        let relative = Path::new(path).strip_prefix(root).ok()?;
        relative.components().all(|part| matches!(part, Component::Normal(_))).then_some(relative)
    };
    let seen = mounts
        .lines()
        .filter_map(|line| mount(line, version))
        .find_map(|(root, mount_point)| Some((mount_point.join(below(&root)?), mount_point)));
    let Some((folder, mount_point)) = seen else { return Vec::new() };
    let ancestors = folder.ancestors().take_while(|ancestor| ancestor.starts_with(&mount_point));
    ancestors.take(MAX_DEPTH).map(|folder| Group { version, folder: folder.to_owned() }).collect()
}

/// Root and mount point of the hierarchy that a line of mountinfo mounts, if it is the one asked for.
fn mount(line: &str, version: Version) -> Option<(PathBuf, PathBuf)> {
    let (head, tail) = line.split_once(" - ")?;
    let mut head = head.split(' ').skip(3);
    let (root, mount_point) = (head.next()?, head.next()?);
    let mut tail = tail.split(' ');
    let (kind, _, options) = (tail.next()?, tail.next()?, tail.next().unwrap_or(""));
    let is_it = match version {
        Version::Two => kind == "cgroup2",
        Version::One(name) => kind == "cgroup" && options.split(',').any(|option| option == name),
    };
    is_it.then(|| (PathBuf::from(root), PathBuf::from(mount_point)))
}
