//! `tracer list`: the JVMs on this host, and whether each can be traced, or why not.
//!
//! A JVM is a process that has HotSpot mapped, whatever its program or library is called.

use std::fs::{self, File};
use std::io::Read;

use super::failure::{Failure, status};
use super::plain::{PlainArgs, TopArgs};
use crate::output::list::{self as output, Row};
use crate::probe::kernel::{Features, Requirement, Status};
use crate::probe::plan::seccomp_requirement;
use crate::process;
use crate::process::Pid;
use crate::process::mapping::{self, Mapping};
use crate::process::target::{Stat, TargetError};

const MAX_PASSWD_BYTES: u64 = 1 << 20;

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
    let users = users();
    let mut rows: Vec<Row> = pids().into_iter().filter_map(|pid| row(pid, &features, &users)).collect();
    for row in &mut rows {
        // What the host lacks stands against all of them; `check` tells every one of it.
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

fn pids() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<Pid> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// The row of process `pid`, if it is a JVM or could be one.
fn row(pid: Pid, features: &Features, users: &str) -> Option<Row> {
    let comm = Stat::read(pid).ok()?.comm;
    let hindered = |error: TargetError| {
        let hindrance = Some((error.to_string(), error.help()));
        Some(Row { pid, comm: comm.clone(), target: None, user: None, hindrance })
    };
    match mapping::read(pid) {
        Ok(mappings) if !may_be_jvm(comm.raw(), &mappings) => None,
        Ok(_) => match process::inspect(pid) {
            Ok(target) if target.jvm.is_none() => None,
            Ok(target) => {
                let hindrance = seccomp_requirement(&target, features);
                let hindrance = hindrance.map(|lacking| (lacking.found, lacking.help.unwrap_or_default()));
                let user = Some(user(users, target.uid));
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

/// Is it worth to look closer? By what every runtime maps, one with a renamed libjvm too.
fn may_be_jvm(comm: &str, mappings: &[Mapping]) -> bool {
    const LIBRARIES: [&str; 3] = ["/libjvm.so", "/libjava.so", "/libjli.so"];
    let maps = |library: &str| mappings.iter().any(|mapping| mapping.path.contains(library));
    comm == "java" || LIBRARIES.into_iter().any(maps)
}

/// The host's users; empty if they cannot be read.
fn users() -> String {
    let mut bytes = Vec::new();
    let file = File::open("/etc/passwd");
    let _ = file.and_then(|file| file.take(MAX_PASSWD_BYTES).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The name of a user, or the number.
fn user(passwd: &str, uid: u32) -> String {
    let number = uid.to_string();
    let named = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    named.unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n";
        assert_eq!(user(passwd, 1000), "app");
        assert_eq!(user(passwd, 7), "7");
    }
}
