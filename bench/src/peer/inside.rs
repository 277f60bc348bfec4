//! Peers that work inside the process: another run of the workload is started with them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::workload::{self, Workload};

const HEAPTRACK: [&str; 2] = [
    "/usr/lib/heaptrack/libheaptrack_preload.so",
    "/usr/lib/x86_64-linux-gnu/heaptrack/libheaptrack_preload.so",
];
const JEMALLOC: [&str; 1] = ["/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"];

/// A peer, and how often it takes a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    /// Every call, written to a file.
    Heaptrack,
    /// Every allocation, or one in 2^LOG2 bytes.
    Jemalloc { log2_bytes: u32 },
    /// `nativemem` of the library at this path, at every allocation or once in so many bytes.
    AsyncProfiler { library: PathBuf, bytes: u64 },
}

impl Inside {
    /// Reason why it cannot run here.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let (name, there) = match self {
            Self::Heaptrack => ("heaptrack", first(&HEAPTRACK).is_some()),
            Self::Jemalloc { .. } => ("jemalloc", first(&JEMALLOC).is_some()),
            // Given by its path.
            Self::AsyncProfiler { .. } => return None,
        };
        (!there).then(|| format!("{name}: not installed; cargo xtask bench cost --peers installs it"))
    }

    /// Starts the workload under it; `command` makes the workload's command, with these flags for a JVM.
    pub(crate) fn start(&self, command: impl Fn(&[&str]) -> Command) -> Result<Workload> {
        let folder = folder()?;
        fs::create_dir_all(&folder)?;
        let mut command = match self {
            Self::Heaptrack => {
                let mut command = command(&[]);
                command.env("LD_PRELOAD", first(&HEAPTRACK).unwrap_or_default());
                command.env("DUMP_HEAPTRACK_OUTPUT", folder.join("heaptrack"));
                command
            }
            Self::Jemalloc { log2_bytes } => {
                let mut command = command(&[]);
                command.env("LD_PRELOAD", first(&JEMALLOC).unwrap_or_default());
                command.env("MALLOC_CONF", format!("prof:true,prof_active:true,lg_prof_sample:{log2_bytes}"));
                command
            }
            Self::AsyncProfiler { library, bytes } => {
                let (library, file) = (library.display(), folder.join(format!("{bytes}.jfr")));
                // Quiet: its words would be taken for the workload's.
                let agent =
                    format!("-agentpath:{library}=start,quiet,nativemem={bytes},file={}", file.display());
                command(&[&agent])
            }
        };
        Workload::start(&mut command)
    }
}

/// Removes what they wrote.
pub(crate) fn remove_output() -> Result<()> {
    match fs::remove_dir_all(folder()?) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

pub(super) fn folder() -> Result<PathBuf> {
    Ok(workload::folder()?.join("peers"))
}

fn first(candidates: &[&'static str]) -> Option<&'static str> {
    candidates.iter().copied().find(|file| Path::new(file).exists())
}
