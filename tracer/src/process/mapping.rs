//! Mappings: the lines of `/proc/PID/maps`.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::Pid;

/// One line of `/proc/PID/maps`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    pub start: u64,
    /// Exclusive.
    pub end: u64,
    pub readable: bool,
    pub writable: bool,
    pub executable: bool,
    pub shared: bool,
    /// File offset of `start`, bytes.
    pub offset: u64,
    pub device: Device,
    /// 0: no file.
    pub inode: u64,
    /// Path as the kernel prints it: in the target's own mount namespace (perhaps with ` (deleted)`), `[stack]`,
    /// `[heap]`, `[vdso]`, ..., or empty.
    pub path: String,
}

/// The device of a file, as `/proc/PID/maps` has it. The `st_dev` of the same file may be another (btrfs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    pub major: u32,
    pub minor: u32,
}

impl Mapping {
    /// Does a file back the mapping?
    pub fn is_file(&self) -> bool {
        self.inode != 0 && self.path.starts_with('/')
    }

    /// The path of this very file, whatever happened to its name: `/proc/PID/map_files/...`.
    /// Opening it needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, and follows no link of the
    /// target's file system.
    pub fn map_file(&self, pid: Pid) -> PathBuf {
        pid.path(format!("map_files/{:x}-{:x}", self.start, self.end))
    }
}

/// The mappings of process `pid`, sorted by start.
///
/// # Errors
/// No such process, or not permitted.
pub fn read(pid: Pid) -> io::Result<Vec<Mapping>> {
    Ok(parse(&fs::read_to_string(pid.path("maps"))?))
}

/// Parses the text of a `maps` file. Lines that are not of its form are passed over.
pub fn parse(text: &str) -> Vec<Mapping> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let trimmed = rest.trim_start_matches(' ');
        let end = trimmed.find(' ').unwrap_or(trimmed.len());
        let (field, tail) = trimmed.split_at(end);
        rest = tail;
        field
    };
    let (range, flags, offset, device, inode) = (field(), field(), field(), field(), field());
    let (start, end) = range.split_once('-')?;
    let (major, minor) = device.split_once(':')?;
    let &[readable, writable, executable, shared] = flags.as_bytes() else { return None };
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        readable: readable == b'r',
        writable: writable == b'w',
        executable: executable == b'x',
        shared: shared == b's',
        offset: u64::from_str_radix(offset, 16).ok()?,
        device: Device {
            major: u32::from_str_radix(major, 16).ok()?,
            minor: u32::from_str_radix(minor, 16).ok()?,
        },
        inode: inode.parse().ok()?,
        path: rest.trim_start_matches(' ').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_spaces_in_its_path() {
        let text = "7f0000000000-7f0000001000 r-xp 00002000 fe:00 123                        /opt/my app/lib.so (deleted)\n\
                    7ffd0000-7ffe0000 rw-p 00000000 00:00 0                          [stack]\nnonsense\n";
        let mappings = parse(text);
        assert_eq!(mappings.len(), 2);
        assert_eq!(mappings[0].path, "/opt/my app/lib.so (deleted)");
        assert!(mappings[0].executable && !mappings[0].writable && mappings[0].is_file());
        assert_eq!((mappings[0].offset, mappings[0].device.major, mappings[0].inode), (0x2000, 0xfe, 123));
        assert!(!mappings[1].is_file());
    }
}
