//! Files of the target, opened without leaving its root.
//!
//! A target in a container names files by paths of its own root, and may have placed links there.
//! `/proc/PID/map_files` gives the very file that is mapped; everything else is opened by
//! `openat2` with `RESOLVE_IN_ROOT`, for which an absolute link or `..` ends at the target's root.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::Pid;
use super::mapping::Mapping;

/// Opens `path`, as `/proc/PID/maps` prints it, inside the root of process `pid`.
///
/// # Errors
/// No such process or file, not permitted, or not a regular file.
pub fn open(pid: Pid, path: &str) -> io::Result<File> {
    let link = pid.path("root");
    let root = File::open(&link)?;
    // The kernel prints paths as the *reader* sees them: those of a process that changed its root,
    // but not its mount namespace, begin with that root.
    let outside = fs::read_link(&link).ok().filter(|root| root != Path::new("/"));
    let inside = outside.and_then(|root| Path::new(path).strip_prefix(root).ok().map(Path::to_owned));
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let try_open = |path: &Path| rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve);
    let opened = match inside {
        Some(inside) => try_open(&inside).or_else(|_| try_open(Path::new(path)))?,
        None => try_open(Path::new(path))?,
    };
    open_regular(&File::from(opened))
}

/// Opens for reading the file that `place`, a descriptor that only names it (`O_PATH`), leads to. A FIFO does not stop
/// the tracer, and a device does not act (a watchdog begins to count when it is opened): neither is opened.
///
/// # Errors
/// It is no regular file, or not permitted.
pub fn open_regular(place: &File) -> io::Result<File> {
    if !place.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    File::open(format!("/proc/self/fd/{}", place.as_raw_fd()))
}

/// The first `limit_bytes` of a text file inside the root of process `pid`, bytes that are not
/// UTF-8 replaced.
///
/// # Errors
/// As [`open`].
pub fn read_text(pid: Pid, path: &str, limit_bytes: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(pid, path)?.take(limit_bytes).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The file behind a mapping of process `pid`, and a path by which it can be opened again.
///
/// # Errors
/// The file cannot be opened, or the path leads to another file than the mapped one.
pub fn mapped_file(pid: Pid, mapping: &Mapping) -> io::Result<(File, PathBuf)> {
    let by_range = mapping.map_file(pid);
    let refused = match File::open(&by_range) {
        Ok(file) => return Ok((file, by_range)),
        Err(error) => error,
    };
    // Without CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE. The file's name must lead to the same file.
    let file = open(pid, &mapping.path).map_err(|_| refused)?;
    let metadata = file.metadata()?;
    if metadata.ino() != mapping.inode {
        return Err(io::Error::new(io::ErrorKind::NotFound, "its path leads to another file"));
    }
    let by_path = pid.path(format!("root{}", mapping.path));
    // Opened again by this path the kernel would follow links: then it must have none.
    let resolved = fs::metadata(&by_path)?;
    if (resolved.ino(), resolved.dev()) == (metadata.ino(), metadata.dev()) {
        Ok((file, by_path))
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, "its path leads to another file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_inside_its_own_root() {
        let pid = Pid::own();
        assert!(read_text(pid, "/proc/self/status", 64).is_ok_and(|text| text.len() == 64));
        assert!(open(pid, "/tmp").is_err(), "a directory is not a file");
        assert!(open(pid, "/no/such/file").is_err());
        for device in ["/dev/null", "/dev/zero"] {
            let error = open(pid, device).expect_err("a device is not opened");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        let pid = Pid::own();
        let mapping = Mapping {
            start: 0x1000,
            end: 0x2000,
            readable: true,
            writable: false,
            executable: true,
            shared: false,
            offset: 0,
            device: crate::process::mapping::Device::default(),
            inode: 1,
            path: "/bin/true".into(),
        };
        assert!(mapped_file(pid, &mapping).is_err());
    }
}
