//! The commands that lead on from here; each of them works, and is one line whatever the width.

use std::io;

use unicode_width::UnicodeWidthStr;

use super::screen::Screen;
use crate::hotspot::heap::is_known;
use crate::output::{Options, command};
use crate::process::Pid;
use crate::profile::{Profile, VerdictKind};

const FIRST: &str = "Next:  ";
const INDENT: &str = "       ";

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
    if waits_for_holders(profile) {
        let holders = format!("tracer holders -p {}", profile.target.pid);
        commands.push((holders, "who keeps it; stops it for a moment"));
    }
    for (at, (command, why)) in commands.iter().enumerate() {
        let first = if at == 0 { FIRST } else { INDENT };
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

/// Is there a finding of memory that Java objects may keep, in a process that runs, and did nobody look who does?
fn waits_for_holders(profile: &Profile) -> bool {
    let jvm = profile.target.jvm.as_ref();
    let feature = jvm.and_then(|jvm| jvm.version.as_deref()?.split(['.', '+', '-']).next()?.parse().ok());
    let gc = jvm.and_then(|jvm| jvm.gc.as_deref());
    let is_found = profile.findings.iter().any(|finding| {
        let is_kept = matches!(finding.kind, VerdictKind::Leak | VerdictKind::GcPending);
        is_kept && finding.rows.first().is_some_and(|row| row.source == "allocator")
    });
    is_found
        && profile.holders.is_err()
        && profile.target.pid != Pid(0)
        && !profile.state.has_exited()
        && feature.zip(gc).is_some_and(|(feature, gc)| is_known(feature, gc))
}
