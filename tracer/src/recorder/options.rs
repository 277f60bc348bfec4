//! Options of one recording, as types: flags and their texts are the caller's.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tracer_common::config::memo;

use crate::{
    probe::probes::ProbeSet,
    process::{Pid, Target, jvm},
    recording::LIGHT,
    session::budget::Level,
};

/// Characters of a target's name in a file's.
const MAX_NAME_CHARS: usize = 64;

/// Options of a recording.
pub struct Options {
    pub subject: Subject,
    pub output: OutputFile,
    /// Length of the recording. `None` means until the target ends or the caller stops it.
    pub duration: Option<Duration>,
    pub probes: ProbeSet,
    /// Smaller allocations are left out, bytes.
    pub min_size_bytes: u64,
    /// Bytes for which about one allocation is recorded. `None` means every one.
    pub sample_bytes: Option<u32>,
    /// Limit of the overhead, percent of the target's CPU time. `None` means no limit, and no measuring.
    pub max_overhead_percent: Option<u32>,
    /// Keep every allocation and free, not only their totals.
    pub keeps_events: bool,
    pub memo: Memo,
    pub looks: Looks,
}

/// Looks at the target's memory beside recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Take a census at the start and one at the end.
    pub takes_censuses: bool,
    /// Look at the end who keeps what was allocated, and hold the target for it no longer than this. `None` means not
    /// to look.
    pub holders_pause: Option<Duration>,
}

/// The process to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A process that runs already.
    Process(Pid),
    /// A program, with its arguments, which the recorder starts.
    Command(Vec<String>),
}

/// The file to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputFile {
    /// `None` means `tracer-NAME-PID-TIME.trec` in the current folder; the time is UTC.
    pub path: Option<PathBuf>,
    /// Replaces a file that exists.
    pub replace: bool,
}

/// Use of the memo of stacks that were walked before; anything but `On` is for tests and benchmarks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memo {
    Off,
    #[default]
    On,
    /// Every stack is walked all the same, and differences are counted.
    Checked,
}

impl Options {
    /// Options for recording `subject` exactly, with no limit of time or overhead.
    pub fn new(subject: Subject, path: PathBuf) -> Self {
        Self {
            subject,
            output: OutputFile { path: Some(path), replace: false },
            duration: None,
            probes: ProbeSet::Full,
            min_size_bytes: 0,
            sample_bytes: None,
            max_overhead_percent: None,
            keeps_events: false,
            memo: Memo::On,
            looks: Looks { takes_censuses: true, holders_pause: None },
        }
    }

    /// The level at which recording begins.
    pub(super) fn level(&self) -> Level {
        match (self.probes, self.sample_bytes) {
            (ProbeSet::Light, _) => Level::Light,
            (ProbeSet::Full, Some(bytes)) => Level::Sampled(bytes),
            (ProbeSet::Full, None) => Level::Exact,
        }
    }

    /// Name of the set of probes in recordings.
    pub(super) fn probes_name(&self) -> &'static str {
        match self.probes {
            ProbeSet::Full => "full",
            ProbeSet::Light => LIGHT,
        }
    }
}

impl OutputFile {
    /// The path for a recording of `target` that begins at `time`.
    pub(super) fn path_for(&self, target: &Target, time: SystemTime) -> PathBuf {
        self.path.clone().unwrap_or_else(|| default_path(target.pid, &name(target), time))
    }
}

/// The name of a target in the names of files: the main class without its package, the jar, or the process's name.
fn name(target: &Target) -> String {
    let main = jvm::main_class(&target.command).unwrap_or_default();
    let main = main.rsplit('/').next().unwrap_or_default();
    let main = main.strip_suffix(".jar").unwrap_or_else(|| main.rsplit('.').next().unwrap_or_default());
    if main.is_empty() { target.comm.raw().to_owned() } else { main.to_owned() }
}

fn default_path(pid: Pid, name: &str, time: SystemTime) -> PathBuf {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = name.chars().map(safe).take(MAX_NAME_CHARS).collect();
    // `2026-11-30T02:21:24Z`, without what file systems and shells do not like.
    let time = humantime::format_rfc3339_seconds(time).to_string();
    let time: String = time.trim_end_matches('Z').replace('T', "-").replace(':', "");
    PathBuf::from(format!("tracer-{name}-{pid}-{time}.trec"))
}

impl Memo {
    /// The mode as the BPF programs know it.
    pub(super) const fn mode(self) -> u32 {
        match self {
            Self::Off => memo::OFF,
            Self::On => memo::ON,
            Self::Checked => memo::CHECKED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_name_says_who_and_when() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let path = default_path(Pid(7), "a b/../\u{1b}c", time);
        assert_eq!(path, PathBuf::from("tracer-a_b_..__c-7-2001-09-09-014640.trec"));
        assert!(default_path(Pid(7), &"x".repeat(1_000), time).as_os_str().len() < 120);
    }
}
