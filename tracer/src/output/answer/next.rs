//! The commands that lead on from here; each of them works, and is one line whatever the width.

use std::io;

use unicode_width::UnicodeWidthStr;

use super::screen::Screen;
use crate::output::{Options, command};
use crate::process::Pid;
use crate::profile::Profile;

const FIRST: &str = "Next:  ";

pub(super) fn next(profile: &Profile, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let Some(file) = &options.file else { return Ok(()) };
    let name = command::word(file.as_os_str());
    let mut commands = vec![(format!("tracer report {name} -v"), "whole stacks; --all: every table")];
    let page = command::word(file.with_extension("html").as_os_str());
    commands.push((format!("tracer report {name} -o {page}"), "a page to share"));
    if profile.target.pid != Pid(0)
        && profile.totals.live_count == 0
        && profile.census.end.is_some()
        && !profile.state.has_exited()
    {
        let census = format!("tracer census -p {}", profile.target.pid);
        commands.push((census, "what it holds now, whoever allocated it"));
    }
    for (at, (command, why)) in commands.iter().enumerate() {
        let first = if at == 0 { FIRST } else { "       " };
        if FIRST.width() + command.width() + 3 + why.width() <= screen.width {
            screen.line(&format!("{first}{command}   {why}"))?;
        } else if FIRST.width() + command.width() <= screen.width {
            screen.line(&format!("{first}{command}"))?;
        } else {
            // Nothing before it, so that a line of the terminal that is broken is copied whole.
            if at == 0 {
                screen.line(FIRST)?;
            }
            screen.line(command)?;
        }
    }
    Ok(())
}
