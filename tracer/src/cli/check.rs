//! `tracer check`: can this host, and a process on it, be traced; if not, why, and what mends it.
//! Attaches nothing to it.

use super::failure::{Failure, status};
use super::plain::{PlainArgs, TopArgs};
use super::process_name::ProcessName;
use crate::output::check::{self as output, Checked, Report};
use crate::probe::calibrate::Cost;
use crate::probe::kernel::{Features, Requirement, Status};
use crate::probe::load::embedded_programs;
use crate::probe::plan::ProbePlan;
use crate::process;

/// Tell whether this host, and a process on it, can be traced; attaches nothing to it
///
/// Exit status: 0 if nothing is missing, 3 if something is, 1 if there is no such process.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Check this process, too: its pid, or the main class, container id or pod uid of a JVM
    #[arg(short, long, value_name = "PID|NAME")]
    pub pid: Option<ProcessName>,
    /// Show all that was checked, each probe's place, what that saves, and what is not probed
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub writing: PlainArgs,
}

/// Runs the command.
///
/// # Errors
/// No such process, or stdout cannot be written.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let writing = args.writing.open()?;
    let pid = args.pid.as_ref().map(ProcessName::pid).transpose()?;
    let features = Features::read();
    let mut host = features.requirements();
    host.push(embedded_programs());
    let mut report = Report { host, pid, process: Vec::new(), checked: None };
    if let Some(pid) = pid {
        match process::inspect(pid) {
            Ok(target) => {
                let plan = ProbePlan::of(&target, &features);
                report.process.clone_from(&plan.requirements);
                let wants_cost = args.verbose || writing.is_json;
                let cost = if wants_cost { measure() } else { None };
                report.checked = Some(Checked { target, plan, cost });
            }
            // That is a finding, and the rest is still worth to be told.
            Err(error) if error.is_lacking() => {
                let (found, title) = (error.to_string(), "a process that can be read");
                report.process.push(Requirement::lacking(
                    "process",
                    title,
                    Status::Missing,
                    found,
                    error.help(),
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    match writing.is_json {
        true => writing.json(&output::json(&report))?,
        false => {
            let text = output::text(&report, args.verbose, writing.screen(TopArgs::default()));
            writing.text(&text)?;
        }
    }
    Ok(if report.is_ready() { status::DONE } else { status::LACKING })
}

fn measure() -> Option<Cost> {
    Cost::measure().map_err(|error| tracing::debug!(%error, "what a probe costs was not measured")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_such_process_fails() {
        let pid = Some(u32::MAX.to_string().parse().expect("a pid"));
        let args = Args { pid, verbose: false, writing: PlainArgs::default() };
        let failure = run(&args).unwrap_err();
        assert_eq!(failure.status, status::FAILED);
        assert_eq!(failure.error, "no process with pid 4294967295");
        assert!(failure.help.is_some());
    }
}
