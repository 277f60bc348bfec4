//! The process that `-p` names: by its pid, or by the main class, the container id or the pod uid of a JVM.

use std::str::FromStr;

use super::failure::{Failure, status};
use crate::output::clean;
use crate::process::{NameError, Pid, named};

/// A process as a person names it; not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessName(String);

impl FromStr for ProcessName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ProcessName, Self::Err> {
        match text.trim() {
            "" => Err("the pid or name is empty; `tracer list` shows the JVMs of this host"),
            text => Ok(ProcessName(text.to_owned())),
        }
    }
}

impl ProcessName {
    /// The pid that it means.
    ///
    /// # Errors
    /// No process, or more than one, has that name.
    pub(super) fn pid(&self) -> Result<Pid, Failure> {
        let text = &self.0;
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let none = |_| Failure::new(status::FAILED, format!("no process with pid {text}")).help(LIST);
            return text.parse().map_err(none);
        }
        named(text).map_err(|error| {
            let help = match error {
                NameError::None => LIST,
                NameError::Several { .. } => "name one of them by its pid",
            };
            Failure::new(status::USAGE, format!("-p {}: {error}", clean(text))).help(help)
        })
    }
}

const LIST: &str = "`tracer list` shows the JVMs of this host";
