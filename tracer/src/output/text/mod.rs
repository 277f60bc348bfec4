//! The report for people: the process's memory by owner, categories, then the sites behind them, then how far to trust it.

pub(super) mod census;
mod code;
mod memory;
pub(super) mod sites;
pub(super) mod table;
mod threads;
mod touched;
mod trust;
pub(super) mod verdicts;

use std::io::{self, Write};

use super::style::Style;
use super::{Options, View, clean, label, units};
use crate::profile::{Category, Profile, Session};
use crate::recording::State;
use crate::session::budget::LEAST_PERCENT_OF_CPU;

/// Columns that every line fits in, but for whole stacks.
pub(super) const WIDTH: usize = 100;
/// Sites shown, unless told otherwise.
const SITES: usize = 10;
/// Sites of mappings shown at most.
const MAPPING_SITES: usize = 5;
/// Sites of a summary.
const SUMMARY_SITES: usize = 3;

/// Writes the whole report.
///
/// # Errors
/// Writing failed.
pub fn render(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let style = Style { color: options.color };
    heading(profile, style, out)?;
    if options.category.is_none() {
        memory::balance(profile, style, out)?;
        census::censuses(&profile.census, style, out)?;
    }
    table::categories(profile, options, style, out)?;
    verdicts::of_categories(profile, style, out)?;
    let top = options.top.unwrap_or(SITES);
    sites::sites(profile, options, style, ("allocator", top), true, out)?;
    sites::sites(profile, options, style, ("mapping", top.min(MAPPING_SITES)), true, out)?;
    if options.category.is_none() {
        threads::threads(profile, style, out)?;
        code::code_cache(profile, style, out)?;
        touched::touched(profile, style, out)?;
    }
    trust::trust(profile, options.verbose, style, out)?;
    next(profile, options, style, out)
}

/// Writes what a person wants to see when a recording ends: categories, the first sites in brief,
/// what was lost, and the command to run next.
///
/// # Errors
/// Writing failed.
pub fn summary(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let style = Style { color: options.color };
    heading(profile, style, out)?;
    if options.category.is_none() {
        memory::balance(profile, style, out)?;
    }
    table::categories(profile, options, style, out)?;
    verdicts::of_categories(profile, style, out)?;
    let top = options.top.unwrap_or(SUMMARY_SITES);
    sites::sites(profile, options, style, ("allocator", top), false, out)?;
    trust::trust(profile, false, style, out)?;
    next(profile, options, style, out)
}

fn heading(profile: &Profile, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let (target, session) = (&profile.target, &profile.session);
    let jvm = match &target.jvm {
        Some(jvm) => {
            let part = |text: &Option<String>, before: &str, after: &str| {
                text.as_deref().map(|text| format!("{before}{}{after}", clean(text))).unwrap_or_default()
            };
            format!(
                "JVM {}{}{}",
                clean(jvm.version.as_deref().unwrap_or("of unknown version")),
                part(&jvm.vendor, " (", ")"),
                part(&jvm.gc, ", ", "")
            )
        }
        None => "not a JVM: native frames only".to_owned(),
    };
    let what = format!("{} (pid {})", clean(&target.comm), target.pid);
    writeln!(out, "{}: {jvm}", style.bold(&what))?;
    if !target.command.is_empty() {
        let command = clean(&target.command.join(" ")).into_owned();
        writeln!(out, "{}", style.dim(&label::fit(&command, WIDTH)))?;
    }
    let mut parts =
        vec![format!("{} recorded from {}", units::duration(session.duration_ns), clean(&session.started))];
    match session.sample_bytes {
        Some(bytes) => {
            let interval = units::bytes(bytes);
            parts.push(format!("{} probes, sampled: one in about {interval}", clean(&session.probes)));
        }
        None => parts.push(format!("{} probes", clean(&session.probes))),
    }
    if let Some(count) = session.gc_count {
        parts.push(units::counted(count, "garbage collection"));
    }
    if let Some(container) = &target.container {
        parts.push(format!("container {}", label::fit(&clean(container), 12)));
    }
    if let Some(percent) = session.overhead_percent {
        parts.push(format!("took {percent} % of its CPU time"));
    }
    writeln!(out, "{}", parts.join(", "))?;
    if let Some(why) = why_not_less(session) {
        verdicts::paragraph(&why, 0, style, out)?;
    }
    for step in &session.steps {
        let when = units::duration(step.time_ns);
        verdicts::paragraph(&format!("After {when} {}.", clean(&step.text)), 0, style, out)?;
    }
    if let (Some(limit), false) = (session.max_overhead_percent, session.steps.is_empty()) {
        let text = format!("To record all of it: --max-overhead none, or a higher limit than {limit} %.");
        verdicts::paragraph(&text, 0, style, out)?;
    }
    match &profile.state {
        State::Finished(reason) if reason == "duration" => {}
        State::Finished(reason) => writeln!(out, "Ended early: {}.", clean(reason))?,
        State::Recording => {
            let text = "Still being recorded: this is what was there at the last tick.";
            writeln!(out, "{}", style.warn(text))?;
        }
        State::Unfinished => {
            let text = "Not finished: the recorder was killed or could not write on. All up to its last tick is here.";
            writeln!(out, "{}", style.warn(text))?;
        }
    }
    Ok(())
}

/// Why no less was recorded, where recording took more than it might.
fn why_not_less(session: &Session) -> Option<String> {
    let limit = session.max_overhead_percent?;
    if session.overhead_percent? <= f64::from(limit) || !session.steps.is_empty() {
        return None;
    }
    let of_cpu = session.overhead_percent_of_cpu?;
    Some(if of_cpu < LEAST_PERCENT_OF_CPU {
        format!(
            "More than {limit} % of it, but {of_cpu} % of one CPU: less than {LEAST_PERCENT_OF_CPU} % is never too much."
        )
    } else {
        format!("More than {limit} % of it, but never for long enough to record less.")
    })
}

/// Commands that lead on from here.
fn next(profile: &Profile, options: &Options, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let Some(file) = &options.file else { return Ok(()) };
    let path = file.to_string_lossy();
    let quoted = quote(&clean(&path));
    let picture = quote(&clean(&file.with_extension("svg").to_string_lossy()));
    // What a verdict found comes before what is merely large.
    let is_finding = |category: &&Category| category.verdict.as_ref().is_some_and(|it| it.kind.is_finding());
    let found = profile.categories.iter().filter(is_finding).max_by_key(|it| it.totals.live_bytes);
    let category = found
        .or_else(|| profile.categories.first())
        .filter(|_| options.category.is_none())
        .map(|category| format!("tracer report {quoted} --category {}", quote(&clean(&category.id))));
    writeln!(out)?;
    writeln!(out, "{}", style.bold("Next"))?;
    if options.view == View::Live
        && let Some(command) = category
    {
        writeln!(out, "  {command}")?;
    }
    writeln!(out, "  tracer report {quoted} --format flamegraph -o {picture}")
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
