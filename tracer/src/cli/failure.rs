//! Message of a command when it cannot do what was asked, and its exit status.

use std::fmt;

use crate::census::TakeError;
use crate::process::{TargetError, displayable, error_chain};
use crate::recording::WriteError;

/// Exit statuses.
pub mod status {
    pub const DONE: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    /// Status if something is not permitted, or the kernel or JVM lacks what is needed.
    pub const LACKING: u8 = 3;
    /// Finished, but data is incomplete (`--strict`).
    pub const INCOMPLETE: u8 = 4;
    /// Status if more is live than `--fail-over` allows.
    pub const OVER: u8 = 5;

    /// Statuses with what they mean.
    pub const ALL: [(u8, &str); 6] = [
        (DONE, "done"),
        (FAILED, "failed: a file, a process or a server"),
        (USAGE, "wrong usage: a flag, a value, a name that fits none or several"),
        (LACKING, "not permitted, or the kernel or the JVM lacks what is needed; check: something does"),
        (INCOMPLETE, "done, but data is incomplete (with --strict)"),
        (OVER, "done, but more is live than --fail-over allows"),
    ];
}

/// A failed command: `error: what, and for which pid or file`, then `help: what mends it`.
#[derive(Debug)]
pub struct Failure {
    pub status: u8,
    pub error: String,
    pub help: Option<String>,
}

impl Failure {
    /// A failure with its exit status.
    pub fn new(status: u8, error: impl fmt::Display) -> Self {
        Self { status, error: error.to_string(), help: None }
    }

    /// Adds a remedy.
    #[must_use]
    pub fn help(mut self, help: impl fmt::Display) -> Self {
        self.help = Some(help.to_string());
        self
    }

    /// `error` with all its causes, in one line.
    pub fn caused(status: u8, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(status, error_chain(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whatever of it is foreign: a line stays a line, and does nothing to a terminal.
        write!(out, "error: {}", displayable(self.error.trim_end()))?;
        if let Some(help) = &self.help {
            write!(out, "\nhelp: {}", displayable(help))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        Self::caused(status::FAILED, &error).help(error.help())
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        let status = if error.is_lacking() { status::LACKING } else { status::FAILED };
        Self::caused(status, &error).help(error.help())
    }
}

impl From<TakeError> for Failure {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Target(error) => error.into(),
            error => Self::caused(status::FAILED, &error).help(error.help()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::new(status::FAILED, format!("{error:#}")),
        }
    }
}
