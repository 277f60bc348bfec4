//! `tracer list`: the JVMs on this host, and whether each can be traced, or why not.
//!
//! A JVM is a process that has HotSpot mapped, whatever its program or library is called.

use super::failure::{Failure, status};
use super::plain::{PlainArgs, TopArgs};
use crate::output::list::{self as output, Row};
use crate::probe::kernel::{Features, Requirement, Status};
use crate::probe::plan::seccomp_requirement;
use crate::process::target::Stat;
use crate::process::{self, Pid, TargetError, Users, jvm, mapping};

/// List the JVMs on this host, the largest first, and whether each can be traced
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub top: TopArgs,
    #[command(flatten)]
    pub writing: PlainArgs,
}

/// Runs the command.
///
/// # Errors
/// Stdout cannot be written.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let writing = args.writing.open()?;
    let features = Features::read();
    let host: Vec<Requirement> = features
        .requirements()
        .into_iter()
        .filter(|requirement| requirement.status == Status::Missing)
        .collect();
    let users = Users::read();
    let mut pids: Vec<Pid> = Pid::all().collect();
    pids.sort_unstable();
    let mut rows: Vec<Row> = pids.into_iter().filter_map(|pid| row(pid, &features, &users)).collect();
    for row in &mut rows {
        // A requirement that the host lacks stands against all of them; `check` tells every one of it.
        if let Some(first) = host.first() {
            let why = format!("the host lacks {}: {}", first.title, first.found);
            row.hindrance = Some((why, first.help.clone().unwrap_or_default()));
        }
    }
    match writing.is_json {
        true => writing.json(&output::json(&rows))?,
        false => {
            let text = output::text(&rows, host.first(), writing.screen(args.top));
            writing.text(&text)?;
        }
    }
    Ok(status::DONE)
}

/// The row of process `pid`, if it is a JVM or could be one.
fn row(pid: Pid, features: &Features, users: &Users) -> Option<Row> {
    let comm = Stat::read(pid).ok()?.comm;
    let hindered = |error: TargetError| {
        let hindrance = Some((error.to_string(), error.help()));
        Some(Row { pid, comm: comm.clone(), target: None, user: None, hindrance })
    };
    match mapping::read(pid) {
        Ok(mappings) if !jvm::may_be(comm.raw(), &mappings) => None,
        Ok(_) => match process::inspect(pid) {
            Ok(target) if target.jvm.is_none() => None,
            Ok(target) => {
                let hindrance = seccomp_requirement(&target, features);
                let hindrance = hindrance.map(|lacking| (lacking.found, lacking.help.unwrap_or_default()));
                let user = Some(users.name(target.uid));
                Some(Row { pid, comm, target: Some(target), user, hindrance })
            }
            // It ended meanwhile.
            Err(TargetError::NoSuchProcess { .. } | TargetError::Ended { .. }) => None,
            Err(error) => hindered(error),
        },
        // Another user's: only its name tells.
        Err(_) if comm.raw() == "java" => hindered(TargetError::NotPermitted { pid, comm: comm.clone() }),
        Err(_) => None,
    }
}
