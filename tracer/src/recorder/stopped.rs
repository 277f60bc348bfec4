//! The target as far as it can be stopped or end: a program that the recorder started is stopped where it meets
//! unknown code, until that is known, and at its end, until the recording is closed.

use rustix::process::{Signal, kill_process};
use tracer_common::table::may_stop;

use super::{EndReason, ErrorKind, RecordError};
use crate::ingest::tables::Tables;
use crate::process::Pid;

/// Stops of a program of ours at most, where a walk of it meets unknown code: a JVM does when it uses a library of its
/// own, and when it begins to run Java code. A program that makes code all the time must not be stopped all the time.
const MAX_STOPS: u32 = 256;

/// See the module.
pub(super) struct TargetState {
    pub(super) pid: Pid,
    stopped: Option<StoppedTarget>,
    is_exiting: bool,
    /// Number of times that it was resumed.
    stop_count: u32,
    is_replaced: bool,
}

/// A program of ours that was stopped; it runs on when this is dropped.
pub(super) struct StoppedTarget {
    pub(super) pid: Pid,
}

impl TargetState {
    pub(super) fn new(pid: Pid) -> Self {
        Self { pid, stopped: None, is_exiting: false, stop_count: 0, is_replaced: false }
    }

    /// The target stopped itself; `exiting`: it is about to end.
    pub(super) fn stopped(&mut self, exiting: bool) {
        self.is_exiting |= exiting;
        let _ = self.stopped.get_or_insert(StoppedTarget { pid: self.pid });
    }

    /// The target executed another program.
    pub(super) fn replaced(&mut self) {
        self.is_replaced = true;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Reason why no more events will come of the target, if that is so: it became another program, and nothing of the
    /// old one is left, or it is about to end, and is stopped.
    pub(super) fn end(&self) -> Option<EndReason> {
        if self.is_exiting {
            Some(EndReason::TargetExited)
        } else {
            self.is_replaced.then_some(EndReason::TargetReplaced)
        }
    }

    /// Lets the target run on if it is stopped, unless it is about to end. It may be stopped again then.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn resume(&mut self, tables: &mut Tables) -> Result<(), RecordError> {
        if self.is_exiting || self.stopped.is_none() {
            return Ok(());
        }
        self.stop_count += 1;
        let next = if self.stop_count < MAX_STOPS { may_stop::AT_UNKNOWN_CODE } else { may_stop::AT_END };
        let allowed = tables.allow_stop(next);
        self.stopped = None;
        tracing::debug!("the target is resumed");
        allowed.map_err(|error| RecordError::caused(ErrorKind::Failed, &error))
    }
}

impl Drop for StoppedTarget {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid.raw()) {
            let _ = kill_process(pid, Signal::CONT);
        }
    }
}
