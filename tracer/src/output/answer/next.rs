//! The commands that lead on from here; each of them works.

use std::io;

use super::screen::Screen;
use crate::output::{Options, clean, flamegraph};
use crate::profile::Profile;

pub(super) fn next(profile: &Profile, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let Some(file) = &options.file else { return Ok(()) };
    let name = quote(&clean(&file.to_string_lossy()));
    let mut commands = vec![(format!("tracer report {name} -v"), "whole stacks; --all: every table")];
    if !flamegraph::is_empty(profile, options) {
        let picture = quote(&clean(&file.with_extension("svg").to_string_lossy()));
        commands.push((format!("tracer report {name} -o {picture}"), "a flame graph"));
    }
    if profile.totals.live_count == 0 && profile.census.end.is_some() {
        let census = format!("tracer census -p {}", profile.target.pid);
        commands.push((census, "what it holds now, whoever allocated it"));
    }
    for (at, (command, why)) in commands.iter().enumerate() {
        let first = if at == 0 { "Next:  " } else { "       " };
        let line = format!("{first}{command}   {why}");
        if unicode_width::UnicodeWidthStr::width(line.as_str()) <= screen.width {
            screen.line(&line)?;
        } else {
            screen.paragraph(first, command)?;
        }
    }
    Ok(())
}

/// `text` as a shell takes it for one word.
fn quote(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-+:,@%=".contains(char);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
