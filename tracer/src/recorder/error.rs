//! Errors of a recording: what could not be done, why, and what helps.

use std::{error::Error, fmt};

use crate::{
    probe::{ProbeError, kernel::Requirement},
    process::{TargetError, error_chain},
    recording::WriteError,
};

/// A recording that could not be started, or not be brought to its end.
#[derive(Debug)]
pub struct RecordError {
    pub kind: ErrorKind,
    message: String,
    help: Option<String>,
}

/// Kind of an error, by who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The caller asked for something that makes no sense.
    Usage,
    /// A permission is missing, or the kernel, the C library or the JVM lacks what is needed.
    Lacking,
    /// Anything else.
    Failed,
}

impl RecordError {
    pub(super) fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), help: None }
    }

    pub(super) fn failed(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    pub(super) fn lacking(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Lacking, message)
    }

    /// An error with all of its causes.
    pub(super) fn caused(kind: ErrorKind, error: &(dyn Error + 'static)) -> Self {
        Self::new(kind, error_chain(error))
    }

    /// A table of the BPF programs cannot be read.
    pub(super) fn unreadable(error: &std::io::Error) -> Self {
        Self::failed(format!("cannot read the tables of the BPF programs: {error}"))
    }

    /// Adds what the user can do.
    #[must_use]
    pub(super) fn with_help(mut self, help: impl fmt::Display) -> Self {
        self.help = Some(help.to_string());
        self
    }

    /// The user's remedy.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl Error for RecordError {}

impl From<WriteError> for RecordError {
    fn from(error: WriteError) -> Self {
        Self::caused(ErrorKind::Failed, &error).with_help(error.help())
    }
}

impl From<ProbeError> for RecordError {
    fn from(error: ProbeError) -> Self {
        Self::caused(ErrorKind::Failed, &error)
    }
}

impl From<TargetError> for RecordError {
    fn from(error: TargetError) -> Self {
        let kind = match &error {
            error if error.is_lacking() => ErrorKind::Lacking,
            _ => ErrorKind::Failed,
        };
        Self::caused(kind, &error).with_help(error.help())
    }
}

impl From<Requirement> for RecordError {
    fn from(lacking: Requirement) -> Self {
        Self::lacking(format!("{}: {}", lacking.title, lacking.found))
            .with_help(lacking.help.unwrap_or_else(|| "tracer check".to_owned()))
    }
}
