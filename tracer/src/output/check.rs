//! Whether a host, and a process on it, can be traced: in a line when all is well, else what is missing and what mends
//! it; every probe's place when asked for; and as JSON (`tracer.check/1`).

mod probes;

use std::fmt::Write;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::answer::screen::wrapped;
use super::json::jvm;
use super::style::Style;
use super::{Screen, clean, of_command};
use crate::probe::calibrate::Cost;
use crate::probe::kernel::{Requirement, Status};
use crate::probe::plan::ProbePlan;
use crate::process::allocator::SkipReason;
use crate::process::{Pid, Target};

/// Requirements and probes that were found.
pub struct Report {
    pub host: Vec<Requirement>,
    /// The process that was asked for.
    pub pid: Option<Pid>,
    pub process: Vec<Requirement>,
    /// `None` if no process was asked for, or it cannot be read.
    pub checked: Option<Checked>,
}

/// A process that was checked.
pub struct Checked {
    pub target: Target,
    pub plan: ProbePlan,
    /// Cost of a probe here, if it could be measured.
    pub cost: Option<Cost>,
}

impl Report {
    fn missing(&self) -> usize {
        let all = self.host.iter().chain(&self.process);
        all.filter(|requirement| requirement.status == Status::Missing).count()
    }

    /// Whether nothing is missing.
    pub fn is_ready(&self) -> bool {
        self.missing() == 0
    }
}

/// Requirements that are told: all of it, or those that are not met.
fn shown(all: &[Requirement], verbose: bool) -> Vec<&Requirement> {
    all.iter().filter(|requirement| verbose || requirement.status != Status::Met).collect()
}

/// The findings as text; `verbose`: also what is met, and each probe's place.
pub fn text(report: &Report, verbose: bool, screen: Screen) -> String {
    let style = Style::new(screen.color, screen.width);
    let mut out = String::new();
    let host = shown(&report.host, verbose);
    if !host.is_empty() {
        out += &format!("{}\n", style.bold("this host"));
        list(&mut out, &host, style);
        out.push('\n');
    }
    let process = shown(&report.process, verbose);
    if let Some(pid) = report.pid.filter(|_| !process.is_empty()) {
        let title = report.checked.as_ref().map(|checked| describe(&checked.target)).unwrap_or_default();
        let _ = writeln!(out, "{}", style.bold(&format!("process {pid}{title}")));
        list(&mut out, &process, style);
        out.push('\n');
    }
    if let Some(checked) = report.checked.as_ref().filter(|_| verbose) {
        let mut places = String::new();
        probes::list(&mut places, checked);
        out += places.trim_start_matches('\n');
        out.push('\n');
    }
    let title = report.checked.as_ref().map(|checked| describe(&checked.target)).unwrap_or_default();
    let _ = match (report.missing(), report.pid) {
        (0, Some(pid)) => writeln!(out, "ready to trace process {pid}{title}: `tracer record -p {pid}`"),
        (0, None) => {
            writeln!(out, "ready to trace: `tracer list` shows the JVMs, `tracer check -p PID` looks at one")
        }
        (1, _) => writeln!(out, "not ready: one thing is missing"),
        (missing, _) => writeln!(out, "not ready: {missing} things are missing"),
    };
    out
}

/// ` (comm), in container ..., which knows itself as pid ...`
fn describe(target: &Target) -> String {
    let mut text = format!(" ({})", of_command(&target.command, &target.comm.to_string()));
    if let Some(container) = &target.container {
        let short: String = clean(container).chars().take(12).collect();
        let _ = write!(text, ", in container {short}");
    }
    if let [_, .., inner] = target.namespace_pids[..] {
        let _ = write!(text, ", pid {inner} in its own namespace");
    }
    text
}

/// A line for each, its help below it.
fn list(out: &mut String, requirements: &[&Requirement], style: Style) {
    let width = requirements.iter().map(|requirement| requirement.title.len()).max().unwrap_or(0);
    for requirement in requirements {
        let word = match requirement.status {
            Status::Met => "ok",
            Status::Warning => "note",
            Status::Missing => "MISSING",
        };
        let word = format!("{word:<8}");
        let word = if requirement.status == Status::Missing { style.warn(&word) } else { word };
        let indent = format!("  {:<8} ", "");
        let room = style.width.saturating_sub(indent.len());
        let text = format!("{:<width$}  {}", requirement.title, clean(&requirement.found));
        // Only what is short stands in a column of its own.
        let told = match text.width() <= room {
            true => vec![text],
            false => wrapped(&format!("{}: {}", requirement.title, clean(&requirement.found)), room),
        };
        let _ = writeln!(out, "  {word} {}", told.join(&format!("\n{indent}")));
        if let Some(help) = &requirement.help {
            let help = wrapped(&format!("help: {}", clean(help)), room);
            let _ = writeln!(out, "{indent}{}", help.join(&format!("\n{indent}")));
        }
    }
}

fn reason(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Ifunc => "code that is chosen when the program starts (an IFUNC)",
        SkipReason::NoCode => "not in an executable part of the file",
        SkipReason::Interposed => "the program uses another module's functions of these names",
        SkipReason::Private => {
            "only the library itself can call these, and they are not known to be an allocator's"
        }
        SkipReason::Forwards => "these only lead to functions that are probed",
    }
}

/// The findings as JSON.
pub fn json(report: &Report) -> Value {
    let checked = report.checked.as_ref();
    let requirement = |requirement: &Requirement| {
        json!({
            "id": requirement.id,
            "title": requirement.title,
            "status": status_name(requirement.status),
            "found": requirement.found,
            "help": requirement.help,
        })
    };
    let requirements = |list: &[Requirement]| list.iter().map(requirement).collect::<Vec<_>>();
    json!({
        "schema": "tracer.check/1",
        "ready": report.is_ready(),
        "host": requirements(&report.host),
        "process": report.pid.map(|pid| json!({
            "pid": pid,
            "comm": checked.map(|checked| &checked.target.comm),
            "container": checked.and_then(|checked| checked.target.container.as_ref()),
            "jvm": checked.and_then(|checked| jvm(&checked.target)),
            "requirements": requirements(&report.process),
            "allocators": checked.map_or_else(Vec::new, allocators_json),
            "probes": checked.map_or_else(Vec::new, |checked| probes::json(&checked.plan.functions, checked.cost)),
            "light_probes": checked.map_or_else(Vec::new, |checked| probes::json(&checked.plan.lifecycle, checked.cost)),
            "probe_cost": checked.and_then(|checked| checked.cost),
            "skipped": checked.map_or_else(Vec::new, |checked| checked.plan.skipped.iter().map(|skipped| json!({
                "name": skipped.name,
                "module": skipped.path,
                "reason": reason(skipped.reason),
            })).collect()),
            "usdt_sites": checked.map(|checked| &checked.plan.usdt_sites),
        })),
    })
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Met => "ok",
        Status::Warning => "warning",
        Status::Missing => "missing",
    }
}

fn allocators_json(checked: &Checked) -> Vec<Value> {
    let allocator = |allocator: &crate::process::allocator::Allocator| json!({ "kind": allocator.kind, "module": allocator.path, "in_use": allocator.in_use, "reach": allocator.reach.name() });
    checked.plan.allocators.iter().map(allocator).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::kernel::Features;
    use crate::process;

    fn requirement(status: Status) -> Requirement {
        let help = (status != Status::Met).then(|| "do this".to_owned());
        Requirement { id: "x", title: "a thing", status, found: "was\u{1b} found".into(), help }
    }

    fn report(host: Vec<Requirement>) -> Report {
        Report { host, pid: None, process: Vec::new(), checked: None }
    }

    #[test]
    fn one_line_when_all_is_well() {
        let ready = text(&report(vec![requirement(Status::Met)]), false, Screen::default());
        assert_eq!((ready.lines().count(), ready.starts_with("ready to trace")), (1, true), "{ready}");
        let all = text(&report(vec![requirement(Status::Met)]), true, Screen::default());
        assert!(all.starts_with("this host\n  ok       a thing  was\u{fffd} found\n\nready"), "{all}");
    }

    #[test]
    fn what_is_missing_is_told_with_its_help() {
        let missing = report(vec![
            requirement(Status::Met),
            requirement(Status::Warning),
            requirement(Status::Missing),
        ]);
        assert!(!missing.is_ready());
        assert_eq!(
            text(&missing, false, Screen::default()),
            "this host\n  note     a thing  was\u{fffd} found\n           help: do this\n  \
             MISSING  a thing  was\u{fffd} found\n           help: do this\n\nnot ready: one thing is missing\n"
        );
    }

    #[test]
    fn this_process_in_json() {
        let features = Features::read();
        let target = process::inspect(Pid::own()).unwrap();
        let plan = ProbePlan::of(&target, &features);
        let report = Report {
            host: vec![requirement(Status::Warning)],
            pid: Some(Pid(1)),
            process: plan.requirements.clone(),
            checked: Some(Checked { plan, target, cost: None }),
        };
        let value = json(&report);
        assert_eq!(value["schema"], "tracer.check/1");
        assert_eq!(value["host"][0]["status"], "warning");
        assert_eq!(value["process"]["allocators"][0]["in_use"], true);
        let probes = value["process"]["probes"].as_array().unwrap();
        assert!(
            probes.iter().any(|probe| probe["function"] == "free" && probe["emulated"].is_boolean()),
            "{probes:?}"
        );
        assert!(value["process"]["jvm"].is_null());
    }
}
