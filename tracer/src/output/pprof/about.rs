//! The subject of a profile, and how far it can be trusted, as lines for people.

use crate::output::{Options, filtered, units};
use crate::process::Pid;
use crate::profile::diff::Diff;
use crate::profile::{Profile, Session, Target, View};

pub(super) fn of_profile(profile: &Profile, options: &Options) -> Vec<String> {
    let mut lines = vec![writer(), process(&profile.target)];
    lines.extend(profile.target.jvm.as_ref().map(|jvm| {
        let parts = [&jvm.version, &jvm.vendor, &jvm.gc];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        format!("JVM: {}", parts.join(", "))
    }));
    lines.extend(profile.target.container.as_ref().map(|id| format!("container: {id}")));
    lines.extend(session(&profile.session));
    lines.extend(selection(options));
    lines.extend(filtered::of_profile(profile));
    let quality = &profile.quality;
    lines.push(format!("complete stacks: {}", units::share(quality.stacks_complete, quality.stacks_total)));
    if quality.lost.is_empty() {
        lines.push("lost: nothing".to_owned());
    }
    lines.extend(
        quality.lost.iter().map(|(reason, count)| format!("lost: {reason} {}", units::count(*count))),
    );
    lines.extend(quality.notes.iter().map(|note| format!("note: {note}")));
    lines
}

pub(super) fn of_diff(diff: &Diff, options: &Options) -> Vec<String> {
    let mut lines = vec![writer()];
    for (side, name) in [(&diff.base, "base"), (&diff.new, "new")] {
        let file = side.file.as_deref().unwrap_or("a recording");
        lines.push(format!("{name}: {file}, {}", process(&side.target)));
        lines.extend(side.session.iter().flat_map(session).map(|line| format!("{name}: {line}")));
        let lost = side.lost.iter();
        lines.extend(lost.map(|(reason, count)| format!("{name}: lost: {reason} {}", units::count(*count))));
    }
    lines.extend(selection(options));
    for (filtered, name) in diff.filtered.iter().flat_map(|pair| [(&pair.base, "base"), (&pair.new, "new")]) {
        lines.extend(filtered::describe(filtered).into_iter().map(|sentence| format!("{name}: {sentence}")));
    }
    lines.extend(diff.notes.iter().map(|note| format!("note: {note}")));
    lines
}

fn writer() -> String {
    format!("tracer {}", env!("CARGO_PKG_VERSION"))
}

fn process(target: &Target) -> String {
    let pid = if target.pid == Pid(0) { String::new() } else { format!(" (pid {})", target.pid) };
    format!("process: {}{pid}: {}", target.comm, target.command.join(" "))
}

fn session(session: &Session) -> Vec<String> {
    let ended = session.ended.as_deref().unwrap_or("the recording was not finished");
    let length = units::duration(session.duration_ns);
    let mut lines = vec![format!("recorded: {}, {length}, end: {ended}", session.started)];
    if session.probes == crate::recording::LIGHT {
        lines.push("probes: light, malloc was not watched".to_owned());
    }
    lines.extend(session.sample_bytes.map(|bytes| {
        format!("sampled: about one allocation in {}; the values are estimates", units::bytes(bytes))
    }));
    lines.extend(
        session.steps.iter().map(|step| format!("from {}: {}", units::duration(step.time_ns), step.text)),
    );
    lines
}

/// The view; it is no filter.
fn selection(options: &Options) -> Option<String> {
    (options.view == View::Leaks).then(|| "view: leaks".to_owned())
}
