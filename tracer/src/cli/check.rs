//! `tracer check`: can this host, and a process on it, be traced; if not, why, and what mends it.
//! Attaches nothing to it.

use std::fmt::Write;

use clap::ValueEnum;
use serde_json::{Value, json};

mod probes;

use super::failure::{Failure, status};
use super::print::{print, printable};
use crate::probe::calibrate::Cost;
use crate::probe::kernel::{Features, Requirement, Status};
use crate::probe::load::has_programs;
use crate::probe::plan::ProbePlan;
use crate::process::allocator::SkipReason;
use crate::process::{self, Target, TargetError};

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Tell whether this host, and a process on it, can be traced; attaches nothing to it
///
/// Exit status: 0 if nothing is missing, 3 if something is, 1 if there is no such process.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Check this process, too
    #[arg(short, long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Show each probe's place, what that saves, and what is not probed
    #[arg(short, long)]
    pub verbose: bool,
    /// How to write the result
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// A process that was checked.
struct Checked {
    target: Target,
    plan: ProbePlan,
    /// What a probe costs here, if it could be measured.
    cost: Option<Cost>,
}

/// Runs the command.
///
/// # Errors
/// No such process, or stdout cannot be written.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let features = Features::read();
    let mut host = features.requirements();
    host.push(programs());
    let mut process_requirements = Vec::new();
    let mut checked = None;
    if let Some(pid) = args.pid {
        match process::inspect(pid) {
            Ok(target) => {
                let plan = ProbePlan::of(&target, &features);
                process_requirements.clone_from(&plan.requirements);
                let wants_cost = args.verbose || args.format == Format::Json;
                let cost = if wants_cost { measure() } else { None };
                checked = Some(Checked { target, plan, cost });
            }
            // That is a finding, and the rest is still worth to be told.
            Err(error @ (TargetError::NotPermitted { .. } | TargetError::OtherMachine { .. })) => {
                let found = error.to_string();
                let title = "a process that can be read";
                process_requirements.push(Requirement::lacking(
                    "process",
                    title,
                    Status::Missing,
                    found,
                    error.help(),
                ));
            }
            Err(error) => return Err(Failure::new(status::FAILED, &error).help(error.help())),
        }
    }
    let ready =
        host.iter().chain(&process_requirements).all(|requirement| requirement.status != Status::Missing);
    let text = match args.format {
        Format::Text => text(args, &host, &process_requirements, checked.as_ref(), ready),
        Format::Json => {
            let report = json(args.pid, &host, &process_requirements, checked.as_ref(), ready);
            format!("{report:#}\n")
        }
    };
    print(&text)?;
    Ok(if ready { status::DONE } else { status::LACKING })
}

/// What this binary itself must have.
fn programs() -> Requirement {
    let (id, title) = ("programs", "a build with its BPF programs");
    match has_programs() {
        true => Requirement::met(id, title, "built in"),
        false => {
            let help = "build it by `cargo xtask build --release`, which builds both sides";
            Requirement::lacking(id, title, Status::Missing, "none in this build", help)
        }
    }
}

fn measure() -> Option<Cost> {
    Cost::measure().map_err(|error| tracing::debug!(%error, "what a probe costs was not measured")).ok()
}

fn text(
    args: &Args,
    host: &[Requirement],
    process: &[Requirement],
    checked: Option<&Checked>,
    ready: bool,
) -> String {
    let width = host.iter().chain(process).map(|requirement| requirement.title.len()).max().unwrap_or(0);
    let mut out = String::from("this host\n");
    list(&mut out, host, width);
    if let Some(pid) = args.pid {
        let title = checked.map(|checked| describe(&checked.target)).unwrap_or_default();
        let _ = writeln!(out, "\nprocess {pid}{title}");
        list(&mut out, process, width);
    }
    if args.verbose
        && let Some(checked) = checked
    {
        probes::list(&mut out, checked);
    }
    let missing =
        host.iter().chain(process).filter(|requirement| requirement.status == Status::Missing).count();
    let _ = match (ready, args.pid) {
        (true, Some(pid)) => writeln!(out, "\nready to trace process {pid}: `tracer record -p {pid}`"),
        (true, None) => writeln!(
            out,
            "\nready to trace: `tracer list` shows the JVMs, `tracer check -p PID` looks at one"
        ),
        (false, _) if missing == 1 => writeln!(out, "\nnot ready: one thing is missing"),
        (false, _) => writeln!(out, "\nnot ready: {missing} things are missing"),
    };
    out
}

/// ` (comm), in container ..., which knows itself as pid ...`
fn describe(target: &Target) -> String {
    let mut text = format!(" ({})", printable(&target.comm));
    if let Some(container) = &target.container {
        let short: String = printable(container).chars().take(12).collect();
        let _ = write!(text, ", in container {short}");
    }
    if let [_, .., inner] = target.namespace_pids[..] {
        let _ = write!(text, ", pid {inner} in its own namespace");
    }
    text
}

fn list(out: &mut String, requirements: &[Requirement], width: usize) {
    for requirement in requirements {
        let word = match requirement.status {
            Status::Met => "ok",
            Status::Warning => "note",
            Status::Missing => "MISSING",
        };
        let _ = writeln!(out, "  {word:<8} {:<width$}  {}", requirement.title, printable(&requirement.found));
        if let Some(help) = &requirement.help {
            let _ = writeln!(out, "  {:<8} help: {help}", "");
        }
    }
}

fn reason(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Ifunc => "code that is chosen when the program starts (an IFUNC)",
        SkipReason::NoCode => "not in an executable part of the file",
        SkipReason::Interposed => "the program uses another module's functions of these names",
        SkipReason::Forwards => "these only lead to functions that are probed",
    }
}

fn json(
    pid: Option<u32>,
    host: &[Requirement],
    process: &[Requirement],
    checked: Option<&Checked>,
    ready: bool,
) -> Value {
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
        "ready": ready,
        "host": requirements(host),
        "process": pid.map(|pid| json!({
            "pid": pid,
            "comm": checked.map(|checked| &checked.target.comm),
            "container": checked.and_then(|checked| checked.target.container.as_ref()),
            "jvm": checked.and_then(|checked| jvm_json(&checked.target)),
            "requirements": requirements(process),
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

/// The JVM of a process, as every JSON output tells it; `None` if it has none.
pub fn jvm_json(target: &Target) -> Option<Value> {
    target.jvm.as_ref().map(|jvm| {
        json!({
            "version": jvm.version,
            "vendor": jvm.vendor,
            "java_home": jvm.java_home,
            "libjvm": jvm.libjvm.path,
        })
    })
}

fn allocators_json(checked: &Checked) -> Vec<Value> {
    let allocator = |allocator: &crate::process::allocator::Allocator| json!({ "kind": allocator.kind, "module": allocator.path, "in_use": allocator.in_use });
    checked.plan.allocators.iter().map(allocator).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(status: Status) -> Requirement {
        let help = (status != Status::Met).then(|| "do this".to_owned());
        Requirement { id: "x", title: "a thing", status, found: "was\u{1b} found".into(), help }
    }

    #[test]
    fn each_status_reads_as_it_should() {
        let mut out = String::new();
        list(
            &mut out,
            &[requirement(Status::Met), requirement(Status::Warning), requirement(Status::Missing)],
            8,
        );
        assert_eq!(
            out,
            "  ok       a thing   was\u{fffd} found\n  note     a thing   was\u{fffd} found\n           help: do this\n  \
             MISSING  a thing   was\u{fffd} found\n           help: do this\n"
        );
    }

    #[test]
    fn this_process_in_json() {
        let features = Features::read();
        let target = process::inspect(std::process::id()).unwrap();
        let checked = Checked { plan: ProbePlan::of(&target, &features), target, cost: None };
        let value =
            json(Some(1), &[requirement(Status::Warning)], &checked.plan.requirements, Some(&checked), true);
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

    #[test]
    fn no_such_process_fails() {
        let args = Args { pid: Some(u32::MAX), verbose: false, format: Format::Text };
        let failure = run(&args).unwrap_err();
        assert_eq!(failure.status, status::FAILED);
        assert_eq!(failure.error, "no process with pid 4294967295");
        assert!(failure.help.is_some());
    }
}
