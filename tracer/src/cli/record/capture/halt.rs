//! A program of ours that stands still: where it met unknown code, until that is known, or at its end, until the
//! recording is closed.

use super::Capture;
use crate::cli::{failure::Failure, record::launch::Halt};

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
        self.run_on();
        Ok(())
    }

    /// Lets it run on, unless it is about to end.
    pub(super) fn run_on(&mut self) {
        if !self.is_leaving && self.halt.take().is_some() {
            tracing::debug!("what the target met is known: it runs on");
        }
    }
}
