//! The same question asked of others, where they are installed: bpftrace from outside, with a map of live
//! allocations, without and with stacks; and what works inside the process.

mod attached;
mod inside;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::workload;
pub(crate) use attached::Attached;
pub(crate) use inside::{Inside, remove_output};

/// Installation of async-profiler, which no package of the distribution has.
#[derive(Args)]
pub(crate) struct AsyncProfiler {
    /// A build of async-profiler to compare with: its libasyncProfiler.so
    #[arg(long = "async-profiler", value_name = "PATH")]
    library: Option<PathBuf>,
}

impl AsyncProfiler {
    /// Path of its library. `None` if it was not given, which is noted.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn library(&self, left_out: &mut Vec<String>) -> Result<Option<&Path>> {
        match self.library.as_deref() {
            Some(library) if !library.exists() => {
                bail!("--async-profiler: there is no {}", library.display())
            }
            None => {
                left_out.push("async-profiler: no build of it was given with --async-profiler".to_owned());
                Ok(None)
            }
            given => Ok(given),
        }
    }
}

/// bpftrace with its probes attached to a process; detached when dropped.
pub(crate) struct Bpftrace(Child);

/// Is bpftrace installed?
pub(crate) fn is_there() -> bool {
    Command::new("bpftrace").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

impl Bpftrace {
    /// Attaches to the C library's malloc and free of `pid`.
    pub(crate) fn attach(pid: u32, with_stacks: bool) -> Result<Self> {
        let library = c_library(pid)?;
        let value = if with_stacks { "(@size[tid], ustack())" } else { "@size[tid]" };
        // The interval's probe is attached last: when it fires, the others are there.
        let script = format!(
            "uprobe:{library}:malloc {{ @size[tid] = arg0; }}
             uretprobe:{library}:malloc /@size[tid]/ {{ @live[retval] = {value}; delete(@size[tid]); }}
             uprobe:{library}:free {{ delete(@live[arg0]); }}
             interval:ms:200 {{ printf(\"ready\\n\"); }}"
        );
        let file = workload::folder()?.join("peer.bt");
        fs::write(&file, script)?;
        let mut child = Command::new("bpftrace")
            .args(["-p", &pid.to_string()])
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run bpftrace")?;
        let mut lines = BufReader::new(child.stdout.take().context("a child without stdout")?).lines();
        for line in lines.by_ref() {
            if line?.starts_with("ready") {
                // Read on, so that it never waits for a reader.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Self(child));
            }
        }
        bail!("bpftrace did not attach ({})", child.wait()?)
    }
}

impl Drop for Bpftrace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The C library that `pid` has mapped.
fn c_library(pid: u32) -> Result<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let path = paths.find(|path| path.contains("/libc.so") || path.contains("/libc-"));
    Ok(path.context("the workload has no C library")?.to_owned())
}
