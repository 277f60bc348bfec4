//! A program of ours that stands still: where it met unknown code, until that is known, or at its end, until the
//! recording is closed.

use tracer_common::table::may_halt;

use super::Capture;
use crate::cli::{
    failure::{Failure, status},
    record::launch::Halt,
};

/// How often a program of ours is stopped at most where a walk of it meets unknown code: a JVM does when it uses a library
/// of its own, and when it begins to run Java code. One that makes code all the time is not to stand still all the
/// time.
const MAX_HALTS: u32 = 256;

impl Capture {
    /// The target was stopped; `leaving`: it is about to end.
    pub(super) fn halted(&mut self, leaving: bool) {
        self.is_leaving |= leaving;
        let _ = self.halt.get_or_insert(Halt { pid: self.pid });
    }

    /// Lets the target run on, if it was stopped because of code that was unknown: what can be known of it by now is.
    /// If it is about to end, it stands still until the recording is closed.
    ///
    /// # Errors
    /// As for [`Capture::poll_jvm`].
    pub(in crate::cli::record) fn resume(&mut self) -> Result<(), Failure> {
        if self.halt.is_some() && self.jvm.is_starting() {
            // What a JVM describes counts when it was read twice, and the same.
            self.poll_jvm()?;
            self.poll_jvm()?;
        }
        self.run_on()
    }

    /// Lets it run on, unless it is about to end. It may be stopped again then.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn run_on(&mut self) -> Result<(), Failure> {
        if self.is_leaving || self.halt.is_none() {
            return Ok(());
        }
        self.halt_count += 1;
        let next = if self.halt_count < MAX_HALTS { may_halt::AT_UNKNOWN_CODE } else { may_halt::AT_END };
        let allowed = self.attached.tables.allow_halt(next);
        self.halt = None;
        tracing::debug!("what the target met is known: it runs on");
        allowed.map_err(|error| Failure::caused(status::FAILED, &error))
    }
}
