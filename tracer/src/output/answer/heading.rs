//! Heading: whose memory, how long, how much.

use std::io;

use super::screen::Screen;
use crate::output::text::memory::counted_again;
use crate::output::{clean, filtered, units, with_pid};
use crate::profile::{Profile, Target};
use crate::recording::RecordingState;

/// One in so many bytes of RSS that is counted again is worth a sentence.
const AGAIN_PART: u64 = 20;

pub(super) fn heading(profile: &Profile, screen: &mut Screen<'_>) -> io::Result<()> {
    let (target, session) = (&profile.target, &profile.session);
    let name = with_pid(target);
    screen.ends(&name, &format!("{}, {}", jvm(target), units::duration(session.duration_ns)), true)?;
    screen.ends(&resident(profile), &not_freed(profile), false)?;
    let again = profile.memory.rss_counted_again_bytes.unwrap_or(0);
    if again.saturating_mul(AGAIN_PART) >= profile.memory.rss_bytes.unwrap_or(u64::MAX) {
        screen.paragraph("", &format!("{}.", counted_again(again)))?;
    }
    for sentence in filtered::of_profile(profile) {
        screen.paragraph("", &sentence)?;
    }
    if let Some(bytes) = session.sample_bytes {
        let text = format!(
            "sampled, one allocation in about {}: sizes are estimates, ± is the standard error",
            units::bytes(bytes)
        );
        screen.paragraph("", &text)?;
    }
    if profile.is_light() {
        let text =
            "light: malloc was not watched; this is what is held behind zlib's and the JDK's own calls";
        screen.paragraph("", text)?;
    }
    for step in &session.steps {
        screen.paragraph("", &format!("After {} {}.", units::duration(step.time_ns), clean(&step.text)))?;
    }
    if let (Some(limit), false) = (session.max_overhead_percent, session.steps.is_empty()) {
        let text = format!("To record all of it: --max-overhead none, or a higher limit than {limit} %.");
        screen.paragraph("", &text)?;
    }
    match &profile.state {
        RecordingState::Finished(reason) if ["duration", "interrupted"].contains(&reason.as_str()) => Ok(()),
        state if state.has_exited() => screen.paragraph("", "The process exited, and the recording with it."),
        RecordingState::Finished(reason) => screen.paragraph("", &format!("Ended early: {}.", clean(reason))),
        RecordingState::Recording => {
            screen.paragraph("", "Still being recorded: this is what was there at the last tick.")
        }
        RecordingState::Unfinished => screen.paragraph(
            "",
            "Not finished: the recorder was killed or could not write on. All up to its last tick is here.",
        ),
    }
}

/// `JDK 17.0.15, G1`.
fn jvm(target: &Target) -> String {
    let Some(jvm) = &target.jvm else { return "not a JVM".to_owned() };
    let version = jvm.version.as_deref().unwrap_or("of unknown version");
    let version = version.split(['+', '-']).next().unwrap_or(version);
    let gc = jvm.gc.as_deref().map(|gc| format!(", {}", clean(gc))).unwrap_or_default();
    format!("JDK {}{gc}", clean(version))
}

/// `RSS 232.0 -> 487.1 MiB (peak 545.0)`.
pub(in crate::output) fn resident(profile: &Profile) -> String {
    let seen = || profile.series.rss_bytes.iter().flatten().copied();
    let Some(end) = profile.memory.rss_bytes.or(seen().last()) else {
        return "RSS not known".to_owned();
    };
    let start = seen().next().unwrap_or(end);
    let peak = seen().max().unwrap_or(end).max(end).max(start);
    let (from, to, most) = (units::bytes(start), units::bytes(end), units::bytes(peak));
    let peak = if most != to && most != from { format!(" (peak {most})") } else { String::new() };
    if from == to {
        return format!("RSS {to}{peak}");
    }
    let unit = to.rsplit(' ').next().unwrap_or_default();
    let from = from.strip_suffix(unit).map_or(from.as_str(), str::trim_end);
    format!("RSS {from} -> {to}{peak}")
}

/// `269.0 MiB not freed of 901.6 MiB allocated`.
fn not_freed(profile: &Profile) -> String {
    let totals = &profile.totals;
    if totals.allocated_count == 0 && !profile.filtered.flags.is_empty() {
        return "nothing of malloc's passes".to_owned();
    }
    if totals.allocated_count == 0 {
        return "0 B allocated".to_owned();
    }
    let error = units::plus_minus(totals.live_bytes, totals.errors.live_bytes_error);
    let error = if error.is_empty() { error } else { format!(" {error}") };
    format!(
        "{}{error} not freed of {} allocated",
        units::bytes(totals.live_bytes),
        units::bytes(totals.allocated_bytes)
    )
}
