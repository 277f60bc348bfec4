//! A control group that a process is in for a while.

use std::fs;
use std::path::{Path, PathBuf};

use tracer::process::Pid;

/// Takes the process out, and the folders that it made away, when it is dropped.
pub(crate) struct ControlGroup {
    root: PathBuf,
    /// The innermost last.
    made: Vec<PathBuf>,
    pid: Pid,
}

impl ControlGroup {
    /// Puts a process into the group of this path, which it makes. `None` if this host has no such groups, or not for
    /// us.
    pub(crate) fn with(pid: Pid, path: &str) -> Option<ControlGroup> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.procs").is_file())?;
        let mut group = ControlGroup { root: root.to_owned(), made: Vec::new(), pid };
        let mut folder = root.to_owned();
        for part in path.split('/') {
            folder.push(part);
            if !folder.exists() {
                fs::create_dir(&folder).ok()?;
                group.made.push(folder.clone());
            }
        }
        fs::write(folder.join("cgroup.procs"), pid.to_string()).ok()?;
        Some(group)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = fs::write(self.root.join("cgroup.procs"), self.pid.to_string());
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}
