//! `/tmp/perf-PID.map`: names that a just-in-time compiler may have written for its code.
//!
//! Anyone in the target's root can write a file there, so only one of the target's user, or of root, is read, and it is
//! asked last: for code that is in no file and is not the JVM's. Names from it are marked by their module.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use crate::process::Pid;
use crate::process::root;
use crate::process::target::Status;

/// Bytes that are read of the file; entries that are kept.
const MAX_BYTES: u64 = 64 << 20;
const MAX_ENTRIES: usize = 1 << 20;
/// A file that grows is not read again more often.
const INTERVAL: Duration = Duration::from_secs(1);

/// The perf map of one process.
#[derive(Debug)]
pub(super) struct PerfMap {
    pid: Pid,
    /// Path of the map in the target's own root and pid namespace.
    path: String,
    /// Sorted by start.
    entries: Vec<Entry>,
    /// Length, time of change and inode of what was read.
    stamp: Option<(u64, i64, i64, u64)>,
    looked: Option<Instant>,
}

/// A name, and the code that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub start: u64,
    /// Address behind the code.
    pub end: u64,
    /// Name without anything that acts on a terminal.
    pub name: String,
}

impl PerfMap {
    pub(super) fn new(pid: Pid) -> Self {
        let path = format!("/tmp/perf-{}.map", namespace_pid(pid).unwrap_or(pid));
        Self { pid, path, entries: Vec::new(), stamp: None, looked: None }
    }

    /// Module that marks a frame as named by the map.
    pub(super) fn module(&self) -> String {
        format!("[{}]", self.path.rsplit('/').next().unwrap_or_default())
    }

    /// The name for `address`, if the map has one.
    pub(super) fn name(&mut self, address: u64) -> Option<&str> {
        if find(&self.entries, address).is_none()
            && self.looked.is_none_or(|looked| looked.elapsed() >= INTERVAL)
        {
            self.looked = Some(Instant::now());
            self.read();
        }
        find(&self.entries, address).map(|entry| entry.name.as_str())
    }

    /// Reads the file if it is another than before.
    fn read(&mut self) {
        let Ok(file) = root::open(self.pid, &self.path) else { return };
        let Ok(metadata) = file.metadata() else { return };
        let user = Status::read(self.pid.leader()).map(|status| status.uid);
        if !user.is_ok_and(|user| is_trusted(metadata.uid(), user)) {
            return;
        }
        let stamp = Some((metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ino()));
        if stamp == self.stamp {
            return;
        }
        let mut bytes = Vec::new();
        if file.take(MAX_BYTES).read_to_end(&mut bytes).is_ok() {
            self.entries = parse(&String::from_utf8_lossy(&bytes));
            self.stamp = stamp;
        }
    }
}

/// May a file of this owner name the code of a process of `user`?
fn is_trusted(owner: u32, user: u32) -> bool {
    owner == user || owner == 0
}

fn find(entries: &[Entry], address: u64) -> Option<&Entry> {
    let after = entries.partition_point(|entry| entry.start <= address);
    entries.get(after.checked_sub(1)?).filter(|entry| address < entry.end)
}

/// Parses lines `START SIZE NAME`, numbers hexadecimal. The later of two for one address holds: the
/// memory was used again. Lines of another form are passed over.
pub fn parse(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = text.lines().filter_map(parse_line).take(MAX_ENTRIES).collect();
    // Stable: later lines stay behind earlier ones.
    entries.sort_by_key(|entry| entry.start);
    entries.dedup_by(|later, kept| {
        let same = later.start == kept.start;
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
    entries
}

fn parse_line(line: &str) -> Option<Entry> {
    let (start, rest) = line.split_once(' ')?;
    let (size, name) = rest.split_once(' ')?;
    let hexadecimal = |text: &str| u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok();
    let start = hexadecimal(start)?;
    let end = start.checked_add(hexadecimal(size)?)?;
    let name = super::name::clean(name.trim());
    (start < end && !name.is_empty()).then_some(Entry { start, end, name })
}

/// The pid that the process has in its own pid namespace.
fn namespace_pid(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(pid.path("status")).ok()?;
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    pids.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_lines_hold_and_nonsense_is_passed_over() {
        let entries = parse(
            "1000 20 first\n1000 10 second\n2000 8 other name\nffffffffffffffff 10 wraps\n\
             zz 10 bad\n3000 0 empty\n4000 8\n0x5000 0x10 prefixed\n6000 8 bad\u{1b}[31m\n",
        );
        let name = |address| find(&entries, address).map(|entry| entry.name.as_str());
        assert_eq!(name(0x1000), Some("second"));
        assert_eq!(name(0x1010), None, "the earlier entry is gone");
        assert_eq!(name(0x2007), Some("other name"));
        assert_eq!(name(0x2008), None);
        assert_eq!(name(0x5001), Some("prefixed"));
        assert_eq!(name(0x6000), Some("bad\u{fffd}[31m"));
        assert_eq!(entries.len(), 4);
    }

    #[test]
    fn a_map_of_another_user_names_nothing() {
        assert!(is_trusted(1000, 1000) && is_trusted(0, 1000));
        assert!(!is_trusted(1000, 0) && !is_trusted(1001, 1000));
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let path = format!("/tmp/perf-{}.map", child.id());
        fs::write(&path, "1000 10 one\n").unwrap();
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        let named = PerfMap::new(Pid(child.id())).name(0x1008).map(str::to_owned);
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        let trusted = PerfMap::new(Pid(child.id())).name(0x1008).map(str::to_owned);
        fs::remove_file(&path).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((named, trusted.as_deref()), (None, Some("one")));
    }

    #[test]
    fn the_map_of_this_process_is_found_and_followed() {
        let pid = Pid::own();
        let path = format!("/tmp/perf-{pid}.map");
        fs::write(&path, "1000 10 one\n").unwrap();
        let mut map = PerfMap::new(pid);
        assert_eq!(map.name(0x1008), Some("one"));
        assert_eq!(map.module(), format!("[perf-{pid}.map]"));
        fs::write(&path, "1000 10 one\n2000 10 two\n").unwrap();
        map.looked = None;
        assert_eq!(map.name(0x2008), Some("two"));
        fs::remove_file(&path).unwrap();
    }
}
