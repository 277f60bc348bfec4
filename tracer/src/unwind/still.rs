//! Processes for tests that are started, and threads that are held still while they are walked.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

#[path = "../../tests/common/state.rs"]
mod state;
#[path = "../../tests/hotspot_support/stopped_thread.rs"]
mod stopped_thread;
#[path = "../../tests/common/wait.rs"]
mod wait;

pub(crate) use stopped_thread::StoppedThread;

use super::modules::ModuleTables;
use crate::process::mapping::Mapping;
use crate::process::memory::LiveMemory;
use crate::process::root;
use crate::process::{Pid, Tid};

/// A child process that ends with the test.
pub(crate) struct Started(Child);

impl Started {
    /// Starts `command`, and waits until it has printed the line `ready`.
    pub(crate) fn when_ready(command: &mut Command) -> std::io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let started = Self(child);
        BufReader::new(output).read_line(&mut line)?;
        assert_eq!(line, "ready\n");
        Ok(started)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid(self.0.id())
    }

    /// Waits until none of its threads has anything to do.
    pub(crate) fn until_at_rest(&self) {
        state::until_at_rest(self.pid());
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The threads of a process with their names, by id.
pub(crate) fn threads(pid: Pid) -> Vec<(Tid, String)> {
    let tids = pid.threads().unwrap();
    let mut threads: Vec<_> = tids.map(|tid| (tid, pid.thread_name(tid).unwrap_or_default())).collect();
    threads.sort_unstable();
    threads
}

/// The tables of a process.
pub(crate) fn tables(pid: Pid, mappings: &[Mapping], memory: &LiveMemory) -> ModuleTables {
    let mut tables = ModuleTables::new(1 << 20);
    tables.update(mappings, |m| root::mapped_file(pid, m).map(|(file, _)| file), memory);
    tables
}
