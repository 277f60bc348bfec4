//! Results rendered: of profiles text, JSON, folded stacks, flame graphs and the files of other profilers' viewers; of
//! a census, a map, the list of JVMs and a check text and JSON.
//!
//! Takes what the stages found, with options, and writes to what it is given, or gives text. Touches no files and no
//! terminals. Foreign text goes through [`clean`]. A reader that has gone away is an `io::Error` of kind `BrokenPipe`,
//! which the caller takes for success.

pub mod answer;
mod calls;
pub mod census;
pub mod check;
mod command;
pub mod dhat;
mod dictionary;
pub mod diff;
mod filtered;
mod fitted;
pub mod flamegraph;
pub mod folded;
pub mod holders;
pub mod html;
pub mod json;
pub mod json_text;
mod kind;
mod label;
mod limits;
pub mod list;
pub mod maps;
pub mod otlp;
mod palette;
mod pictured;
mod pieces;
pub mod pprof;
mod program;
pub mod report2;
mod samples;
mod stacks;
mod style;
mod svg;
mod table;
pub mod text;
mod tracking;

use std::path::PathBuf;

pub use crate::profile::View;
pub use crate::units;
pub use label::{clean, fit};
use program::of_command;
pub use program::{name as program_name, started_ns, with_pid};

/// Options of rendering. The part of a profile that is shown is decided before: see
/// [`Profile::filtered`](crate::profile::Profile::filtered) and
/// [`Profile::keep_view`](crate::profile::Profile::keep_view).
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub view: View,
    /// The categories that were kept; for titles, and because mappings are drawn only then.
    pub category: Option<String>,
    /// Source of the stacks' bytes: `allocator` or `mapping`. `None` means the allocator, or mappings if the category
    /// that was kept has nothing else.
    pub source: Option<&'static str>,
    /// Lines of code in the names of frames.
    pub lines: bool,
    /// Stacks from the leaf to the root.
    pub inverted: bool,
    /// Sites shown at most. `None` means as many as the output shows by itself.
    pub top: Option<usize>,
    /// Escape sequences for a terminal.
    pub color: bool,
    /// Are whole stacks and all threads written?
    pub verbose: bool,
    /// Every table.
    pub all: bool,
    /// Columns of the terminal. 0: there is none.
    pub width: usize,
    /// JSON indented, one value a line.
    pub pretty: bool,
    /// The recording, for commands to run next.
    pub file: Option<PathBuf>,
}

/// Layout of text without stacks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Screen {
    /// Escape sequences for a terminal.
    pub color: bool,
    /// Columns of the terminal. 0: there is none.
    pub width: usize,
    /// Rows of each list at most. `None` means as many as the list shows by itself.
    pub top: Option<usize>,
}

#[cfg(test)]
mod filter_tests;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod redact_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod verdict_tests;
