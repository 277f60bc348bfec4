//! `/proc/PID/smaps`: the mappings, with what of each is in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;

use crate::process::mapping::{self, Mapping};
use crate::process::{Pid, background};

/// Lines read at most: a process has at most some 65,530 mappings (`vm.max_map_count`), unless the host
/// allows more, and each has about 25 lines.
const MAX_LINES: usize = 64 << 20;

/// Sums of some memory by where it is, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Address space.
    pub reserved_bytes: u64,
    /// Part of it that may be touched: mapped with any right to access it.
    pub committed_bytes: u64,
    pub resident_bytes: u64,
    /// Resident, divided by the number of processes that share each page.
    pub pss_bytes: u64,
    pub swap_bytes: u64,
}

impl Usage {
    /// Adds another's.
    pub fn add(&mut self, other: &Usage) {
        self.reserved_bytes = self.reserved_bytes.saturating_add(other.reserved_bytes);
        self.committed_bytes = self.committed_bytes.saturating_add(other.committed_bytes);
        self.resident_bytes = self.resident_bytes.saturating_add(other.resident_bytes);
        self.pss_bytes = self.pss_bytes.saturating_add(other.pss_bytes);
        self.swap_bytes = self.swap_bytes.saturating_add(other.swap_bytes);
    }
}

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vma {
    pub(super) mapping: Mapping,
    pub(super) usage: Usage,
}

/// The mappings of process `pid`, sorted by address.
///
/// # Errors
/// No such process, or not permitted.
pub(super) fn read(pid: Pid) -> io::Result<Vec<Vma>> {
    parse(BufReader::with_capacity(1 << 20, File::open(pid.path("smaps"))?))
}

/// The ranges that a text of smaps has, by address: none overlap.
///
/// # Errors
/// It cannot be read.
pub fn parse_smaps(text: impl BufRead) -> io::Result<Vec<Range<u64>>> {
    Ok(parse(text)?.iter().map(|vma| vma.mapping.start..vma.mapping.end).collect())
}

fn parse(text: impl BufRead) -> io::Result<Vec<Vma>> {
    let mut vmas: Vec<Vma> = Vec::new();
    // Names of files are bytes of the target's choice.
    for line in text.split(b'\n').take(MAX_LINES) {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        match (field(&line), vmas.last_mut()) {
            (Some((key, bytes)), Some(vma)) => match key {
                "Rss" => vma.usage.resident_bytes = bytes,
                "Pss" => vma.usage.pss_bytes = bytes,
                "Swap" => vma.usage.swap_bytes = bytes,
                _ => {}
            },
            _ => {
                background::pace();
                vmas.extend(mapping::parse(&line).into_iter().map(Vma::new));
            }
        }
    }
    // While it is read, a mapping that grew at its end can be told twice.
    vmas.sort_by_key(|vma| vma.mapping.start);
    let mut end = 0;
    vmas.retain(|vma| {
        let follows = vma.mapping.start >= end && vma.mapping.start < vma.mapping.end;
        if follows {
            end = vma.mapping.end;
        }
        follows
    });
    Ok(vmas)
}

/// A line `Rss:    1234 kB`.
fn field(line: &str) -> Option<(&str, u64)> {
    let (key, value) = line.split_once(':')?;
    let kibibytes: u64 = value.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some((key, kibibytes.checked_mul(1024)?))
}

impl Vma {
    fn new(mapping: Mapping) -> Self {
        let reserved_bytes = mapping.end.saturating_sub(mapping.start);
        let accessible = mapping.readable || mapping.writable || mapping.executable;
        let committed_bytes = if accessible { reserved_bytes } else { 0 };
        Self { mapping, usage: Usage { reserved_bytes, committed_bytes, ..Usage::default() } }
    }

    /// Private memory without a file.
    pub(super) fn is_anonymous(&self) -> bool {
        self.mapping.inode == 0 && !self.mapping.shared && self.unnamed()
    }

    /// Is the mapping without a name, but for one that the process itself gave (`[anon:...]`)?
    pub(super) fn unnamed(&self) -> bool {
        self.mapping.path.is_empty() || self.mapping.path.starts_with("[anon")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
00400000-00452000 r-xp 00000000 08:02 173521                             /opt/a b: c
Size:                328 kB
KernelPageSize:        4 kB
Rss:                 100 kB
Pss:                  50 kB
Swap:                  8 kB
VmFlags: rd ex mr mw me dw
7f0000000000-7f0000021000 ---p 00000000 00:00 0
Size:                132 kB
Rss:                   0 kB
7f0000010000-7f0000022000 rw-p 00000000 00:00 0
Rss:                  12 kB
nonsense
";

    #[test]
    fn fields_belong_to_the_mapping_above() {
        let vmas = parse(TEXT.as_bytes()).expect("text");
        assert_eq!(vmas.len(), 2, "what overlaps was told twice");
        assert_eq!(vmas[0].mapping.path, "/opt/a b: c");
        let usage = Usage {
            reserved_bytes: 0x52000,
            committed_bytes: 0x52000,
            resident_bytes: 100 << 10,
            pss_bytes: 50 << 10,
            swap_bytes: 8 << 10,
        };
        assert_eq!(vmas[0].usage, usage);
        assert_eq!((vmas[1].usage.reserved_bytes, vmas[1].usage.committed_bytes), (0x21000, 0));
        assert!(vmas[1].is_anonymous() && !vmas[0].is_anonymous());
    }

    #[test]
    fn its_own() {
        let vmas = read(Pid::own()).expect("our own");
        let resident: u64 = vmas.iter().map(|vma| vma.usage.resident_bytes).sum();
        assert!(resident > 1 << 20, "{resident}");
        assert!(vmas.iter().any(|vma| vma.mapping.path == "[stack]"));
    }
}
