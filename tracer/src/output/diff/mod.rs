//! Differences, rendered: as text, JSON (`tracer.diff/1`), folded stacks with two numbers, and a flame graph of
//! differences.

mod by_line;
mod flamegraph;
mod stacks;
mod text;

use std::io::{self, Write};

pub use self::flamegraph::render as flamegraph;
pub use self::stacks::folded;
pub use self::text::render as text;
use super::{Options, json_text};
use crate::profile::diff::Diff;

/// Writes all of it as JSON; with `options.top`, only so many sites.
///
/// # Errors
/// Writing failed.
pub fn json(diff: &Diff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let shortened = options.top.filter(|&top| top < diff.sites.len()).map(|top| {
        let mut diff = diff.clone();
        diff.sites.truncate(top);
        diff
    });
    json_text::write(&mut *out, shortened.as_ref().unwrap_or(diff), true)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests;
