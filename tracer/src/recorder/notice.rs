//! Notices of a recording to its caller, while it goes on.

use std::{path::PathBuf, time::Duration};

use super::Progress;
use crate::{
    holders,
    process::{ForeignText, Pid},
};

/// Called with each notice, in the thread that runs the recorder.
pub type Notify = Box<dyn FnMut(Notice)>;

/// Notice of something that the caller may want to tell its user.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The target is known, and attaching begins.
    Attaching { target: NoticedTarget, file: PathBuf },
    /// Every probe is attached, and recording has begun.
    Ready { target: NoticedTarget, probe_count: usize, took: Duration },
    /// Recording took too much of the target's CPU time, and less is recorded from here on. The text says how much
    /// it was, and what is done.
    BudgetStep { text: String },
    /// Progress of the recording, about once a second.
    Progress(Progress),
    /// The file has all that is known by now, as the caller asked.
    Written,
    /// Effect of the look for holders on the target.
    Holders(holders::Notice),
    /// Recording ends, for this reason; the last census and snapshot are taken, and what is left is written.
    Ending(EndReason),
}

/// The process that is recorded; its name is foreign text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticedTarget {
    pub pid: Pid,
    pub comm: ForeignText,
    pub is_jvm: bool,
}

/// Reason why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The caller stopped it.
    Interrupted,
    /// The time was up.
    Duration,
    TargetExited,
    /// The target executed another program.
    TargetReplaced,
    /// Recording took too much of the target's CPU time, at the lowest level too.
    Overhead,
    /// The recorder did not run for some seconds (it was stopped, or got no CPU), or its guard was killed: the probes
    /// are gone.
    ProbesGone,
}

impl EndReason {
    /// The reason as recordings have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Duration => "duration",
            Self::TargetExited => crate::recording::TARGET_EXITED,
            Self::TargetReplaced => "target became another program",
            Self::Overhead => "recording took too much of the target's CPU time",
            Self::ProbesGone => "the recorder did not run, and the probes were taken away",
        }
    }
}
