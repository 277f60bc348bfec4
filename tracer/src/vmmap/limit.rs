//! The memory limit that counts for a process: the smallest of its control group and all above it.

use std::fs;
use std::path::{Path, PathBuf};

/// A limit of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub bytes: u64,
    /// What the group that is limited uses now, all its processes and its page cache; none if unknown.
    pub used_bytes: Option<u64>,
}

/// Above this a limit is none: cgroup v1 says "none" by a number of pages that fills a long.
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// The effective limit of process `pid`; none: unlimited, or not to be seen from here.
pub fn limit(pid: u32) -> Option<Limit> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    effective(&groups, &mounts)
}

fn effective(groups: &str, mounts: &str) -> Option<Limit> {
    let candidates = groups.lines().take(64).filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_v2 = controllers.is_empty();
        let is_v1 = controllers.split(',').any(|controller| controller == "memory");
        (is_v1 || is_v2).then(|| folders(mounts, is_v2, path)).map(|folders| (is_v2, folders))
    });
    let limits = candidates.flat_map(|(is_v2, folders)| {
        folders.into_iter().filter_map(move |folder| read_limit(&folder, is_v2))
    });
    limits.min_by_key(|limit| limit.bytes)
}

/// The folder of a control group and of all above it, innermost first, as far as they are mounted here.
fn folders(mounts: &str, is_v2: bool, group: &str) -> Vec<PathBuf> {
    let Some((root, mount_point)) = mounts.lines().find_map(|line| mount(line, is_v2)) else {
        return Vec::new();
    };
    // A group outside what is mounted begins with `..`: only the mounted part can be read.
    let Ok(relative) = Path::new(group).strip_prefix(&root) else {
        return vec![mount_point];
    };
    if relative.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return vec![mount_point];
    }
    let folder = mount_point.join(relative);
    folder.ancestors().take_while(|ancestor| ancestor.starts_with(&mount_point)).map(Path::to_owned).collect()
}

/// Root and mount point of the hierarchy that a line of mountinfo mounts, if it is the one asked for.
fn mount(line: &str, is_v2: bool) -> Option<(PathBuf, PathBuf)> {
    let (head, tail) = line.split_once(" - ")?;
    let mut head = head.split(' ').skip(3);
    let (root, mount_point) = (head.next()?, head.next()?);
    let mut tail = tail.split(' ');
    let (kind, _, options) = (tail.next()?, tail.next()?, tail.next().unwrap_or(""));
    let fits = match kind {
        "cgroup2" => is_v2,
        "cgroup" => !is_v2 && options.split(',').any(|option| option == "memory"),
        _ => false,
    };
    fits.then(|| (PathBuf::from(root), PathBuf::from(mount_point)))
}

fn read_limit(folder: &Path, is_v2: bool) -> Option<Limit> {
    let [limit, usage] = match is_v2 {
        true => ["memory.max", "memory.current"],
        false => ["memory.limit_in_bytes", "memory.usage_in_bytes"],
    };
    let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok();
    let bytes = number(limit).filter(|bytes| *bytes < NO_LIMIT_BYTES)?;
    Some(Limit { bytes, used_bytes: number(usage) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(folder: &Path, limit: &str, text: &str) {
        fs::create_dir_all(folder).expect("folder");
        fs::write(folder.join(limit), text).expect("limit");
    }

    #[test]
    fn the_smallest_of_the_ancestors_counts() {
        let root = tempfile::tempdir().expect("folder");
        let at = root.path();
        group(at, "memory.max", "max\n");
        group(&at.join("a"), "memory.max", "1000\n");
        group(&at.join("a/b"), "memory.max", "5000\n");
        fs::write(at.join("a/memory.current"), "400\n").expect("usage");
        let mounts = format!("30 24 0:26 / {} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate", at.display());
        let limit = effective("0::/a/b\n", &mounts);
        assert_eq!(limit, Some(Limit { bytes: 1000, used_bytes: Some(400) }));
        assert_eq!(effective("0::/\n", &mounts), None);
        assert_eq!(effective("0::/../../a\n", &mounts), None, "outside what is mounted");
    }

    #[test]
    fn version_one() {
        let root = tempfile::tempdir().expect("folder");
        let at = root.path();
        group(at, "memory.limit_in_bytes", "9223372036854771712\n");
        group(&at.join("x"), "memory.limit_in_bytes", "700\n");
        let mounts = format!("30 24 0:26 /docker {} rw - cgroup cgroup rw,memory", at.display());
        let limit = |groups: &str| effective(groups, &mounts).map(|limit| limit.bytes);
        assert_eq!(limit("4:memory:/docker/x\n1:cpu:/\n"), Some(700));
        assert_eq!(limit("4:memory:/docker\n"), None);
        assert_eq!(limit("4:cpu,cpuacct:/docker/x\n"), None);
    }
}
