//! Who keeps native memory, rendered: as text, the findings first, and as JSON (`tracer.holders/1`).

use crate::process::Pid;

mod json;
mod path;
mod text;

pub use self::json::{groups, refusal, value};
pub(in crate::output) use self::path::{in_one_line, in_words};
pub use self::text::{notice, render};

/// Whose it is.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    pub pid: Pid,
    pub comm: String,
    pub command: Vec<String>,
    pub container: Option<String>,
    pub java_home: Option<String>,
    /// The JVM's version.
    pub version: Option<String>,
    /// The core file that was read instead of a process.
    pub core: Option<std::path::PathBuf>,
}
