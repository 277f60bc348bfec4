//! Folded stacks: `root;...;leaf bytes`, a line for each site, as flame graph tools read them.
//!
//! Java methods end in `_[j]` and kernel functions in `_[k]`, which those tools colour by. One mark
//! for Java however the method was run: marks by tier would take one call apart by how warm it was.

use std::io::{self, Write};

use super::Options;
use super::stacks::{levels, line, weighted};
use crate::profile::Profile;

/// Writes the stacks of a profile.
///
/// # Errors
/// Writing failed.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    for stack in weighted(profile, options, levels) {
        line(&stack.levels, out)?;
        writeln!(out, " {}", stack.bytes)?;
    }
    Ok(())
}
