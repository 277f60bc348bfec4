//! The answer: the first screen of a report, and all that a recording prints at its end.
//!
//! Takes a profile; says, in this order, what runs out, which line of code, how sure, what to change, and how good the
//! data is, in at most `FINDINGS` findings. Below it come the parts of memory and what came and went. No line is wider
//! than the screen: names are shortened by rules, and sentences wrapped.

mod below;
mod findings;
pub(in crate::output) mod heading;
pub(in crate::output) mod held;
pub(in crate::output) mod holders;
pub(in crate::output) mod limits;
mod merged;
mod next;
pub(in crate::output) mod quality;
pub(in crate::output) mod screen;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use self::screen::Screen;
use super::Options;
use crate::profile::Profile;

/// Findings on the first screen.
const FINDINGS: usize = 5;

/// Writes the first screen.
///
/// # Errors
/// Writing failed.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut screen = Screen::new(options, out);
    heading::heading(profile, &mut screen)?;
    limits::limits(profile, &mut screen)?;
    findings::findings(profile, options, &mut screen)?;
    quality::quality(profile, &mut screen)?;
    next::next(profile, options, &mut screen)
}

/// Writes what stands below the first screen: the balance at start and end, what came and went, threads by pattern.
///
/// # Errors
/// Writing failed.
pub fn below(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    below::below(profile, &mut Screen::new(options, out))
}
