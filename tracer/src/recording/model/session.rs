//! Subject of a recording, its settings, and the cost of recording.

use serde::{Deserialize, Serialize};

use crate::process::Pid;

/// Facts that are known when a recording starts.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Header {
    pub target: TargetInfo,
    pub session: SessionInfo,
}

/// The traced process.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetInfo {
    /// Process id in the pid namespace of the tracer.
    pub pid: Pid,
    pub comm: String,
    /// argv.
    pub command: Vec<String>,
    pub exe: Option<String>,
    /// The container's id.
    pub container: Option<String>,
    /// `None` if the process is not a JVM.
    pub jvm: Option<JvmInfo>,
}

/// The JVM in the traced process.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JvmInfo {
    pub version: Option<String>,
    pub vendor: Option<String>,
    pub gc: Option<String>,
    pub java_home: Option<String>,
}

/// [`SessionInfo::probes`] of a session that left the allocator alone.
pub const LIGHT: &str = "light";

/// Circumstances of the session.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionInfo {
    /// RFC 3339, the moment when every probe was attached.
    pub started: String,
    /// The same moment as CLOCK_MONOTONIC.
    pub started_ns: u64,
    /// `full` or `light`.
    pub probes: String,
    /// Bytes for which about one allocation was recorded. `None` if all were.
    pub sample_bytes: Option<u64>,
    /// Are collections seen at all? If not, their number is unknown, not 0.
    pub gc_probes: bool,
    /// Share that recording may take, percent of the target's CPU time. `None` if it was not held to anything.
    pub max_overhead_percent: Option<u32>,
    /// Steps that it took to keep to that.
    pub steps: Vec<BudgetStep>,
    /// Cost of recording, where that was measured.
    pub overhead: Option<Overhead>,
}

/// A moment from which on less was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetStep {
    /// CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// `sampled`, `light` or `detached`.
    pub level: String,
    pub sample_bytes: Option<u64>,
    /// Share that recording took before, percent of the target's CPU time.
    pub overhead_percent: u32,
    /// Reason, and what is recorded from then on.
    pub text: String,
}

/// CPU time in the windows in which it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overhead {
    /// Time that recording took from the target.
    pub probes_ns: u64,
    /// CPU time of the whole target.
    pub target_ns: u64,
    /// The time of the clock in which that was measured.
    pub span_ns: u64,
}

/// End of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Time from ready to detach.
    pub duration_ns: u64,
    /// `duration`, `interrupted`, `target exited`, ...
    pub reason: String,
}
