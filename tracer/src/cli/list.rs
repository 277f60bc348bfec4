//! `tracer list`: the JVMs on this host, and whether each can be traced, or why not.
//!
//! A JVM is a process that has HotSpot mapped, whatever its program or library is called.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;

use serde_json::{Value, json};

use super::check::{Format, jvm_json};
use super::failure::{Failure, status};
use super::print::{print, printable};
use crate::probe::kernel::{Features, Requirement, Status};
use crate::probe::plan::seccomp_requirement;
use crate::process;
use crate::process::jvm;
use crate::process::mapping::{self, Mapping};
use crate::process::target::{Stat, Target, TargetError};

const MAX_PASSWD_BYTES: u64 = 1 << 20;

/// List the JVMs on this host, and whether each can be traced
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How to write the result
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// A JVM, or what could be one.
struct Row {
    pid: u32,
    comm: String,
    target: Option<Target>,
    /// Why it cannot be traced, and what mends it.
    hindrance: Option<(String, String)>,
}

/// Runs the command.
///
/// # Errors
/// Stdout cannot be written.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let features = Features::read();
    let host: Vec<Requirement> = features
        .requirements()
        .into_iter()
        .filter(|requirement| requirement.status == Status::Missing)
        .collect();
    let mut rows: Vec<Row> = pids().into_iter().filter_map(|pid| row(pid, &features)).collect();
    for row in &mut rows {
        // What the host lacks stands against all of them; `check` tells every one of it.
        if let Some(first) = host.first() {
            let why = format!("the host lacks {}: {}", first.title, first.found);
            row.hindrance = Some((why, first.help.clone().unwrap_or_default()));
        }
    }
    let text = match args.format {
        Format::Text => text(&rows, host.first()),
        Format::Json => {
            let jvms: Vec<Value> = rows.iter().map(row_json).collect();
            format!("{:#}\n", json!({ "schema": "tracer.list/1", "jvms": jvms }))
        }
    };
    print(&text)?;
    Ok(status::DONE)
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// The row of process `pid`, if it is a JVM or could be one.
fn row(pid: u32, features: &Features) -> Option<Row> {
    let comm = Stat::read(pid).ok()?.comm;
    let hindered = |error: TargetError, comm: String| {
        let hindrance = Some((error.to_string(), error.help()));
        Some(Row { pid, comm, target: None, hindrance })
    };
    match mapping::read(pid) {
        Ok(mappings) if !may_be_jvm(&comm, &mappings) => None,
        Ok(_) => match process::inspect(pid) {
            Ok(target) if target.jvm.is_none() => None,
            Ok(target) => {
                let hindrance = seccomp_requirement(&target, features);
                let hindrance = hindrance.map(|lacking| (lacking.found, lacking.help.unwrap_or_default()));
                Some(Row { pid, comm, target: Some(target), hindrance })
            }
            // It ended meanwhile.
            Err(TargetError::NoSuchProcess { .. } | TargetError::Ended { .. }) => None,
            Err(error) => hindered(error, comm),
        },
        // Another user's: only its name tells.
        Err(_) if comm == "java" => hindered(TargetError::NotPermitted { pid, comm: comm.clone() }, comm),
        Err(_) => None,
    }
}

/// Is it worth to look closer? By what every runtime maps, one with a renamed libjvm too.
fn may_be_jvm(comm: &str, mappings: &[Mapping]) -> bool {
    const LIBRARIES: [&str; 3] = ["/libjvm.so", "/libjava.so", "/libjli.so"];
    let maps = |library: &str| mappings.iter().any(|mapping| mapping.path.contains(library));
    comm == "java" || LIBRARIES.into_iter().any(maps)
}

fn text(rows: &[Row], host: Option<&Requirement>) -> String {
    if rows.is_empty() {
        return "no JVM runs on this host (that this user can see)\n".to_owned();
    }
    let users = users();
    let head = ["PID", "JVM", "RUNS", "CONTAINER", "USER", "RSS", "TRACEABLE"].map(str::to_owned);
    let mut cells: Vec<[String; 7]> = rows.iter().map(|row| cells(row, &users)).collect();
    if host.is_some() {
        // Told once, below.
        cells.iter_mut().for_each(|[.., traceable]| *traceable = "no".to_owned());
    }
    let all = || std::iter::once(&head).chain(&cells);
    let widths: [usize; 7] =
        std::array::from_fn(|column| all().map(|cells| cells[column].chars().count()).max().unwrap_or(0));
    let mut out = String::new();
    for cells in all() {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            // Numbers to the right.
            let _ = if matches!(column, 0 | 5) {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    if let Some(lacking) = host {
        let _ = writeln!(out, "\nthis host lacks {}: {}", lacking.title, lacking.found);
    }
    let mut helps: Vec<&str> =
        rows.iter().filter_map(|row| Some(row.hindrance.as_ref()?.1.as_str())).collect();
    helps.dedup();
    for help in helps {
        let _ = writeln!(out, "help: {help}");
    }
    if let Some(row) = rows.iter().find(|row| row.hindrance.is_none()) {
        let _ = writeln!(out, "\nnext: `tracer check -p {0}`, `tracer record -p {0}`", row.pid);
    }
    out
}

fn cells(row: &Row, users: &str) -> [String; 7] {
    let none = || "-".to_owned();
    let target = row.target.as_ref();
    let jvm = target.and_then(|target| target.jvm.as_ref());
    let version = jvm.and_then(|jvm| {
        let parts = [jvm.version.as_deref(), jvm.vendor.as_deref()].into_iter().flatten().collect::<Vec<_>>();
        (!parts.is_empty()).then(|| parts.join(" "))
    });
    [
        row.pid.to_string(),
        printable(&version.unwrap_or_else(none)),
        shorten(&printable(&runs(row)), 48),
        target
            .and_then(|target| target.container.as_ref())
            .map_or_else(none, |id| shorten(&printable(id), 12)),
        target.map_or_else(none, |target| user(users, target.uid)),
        target.map_or_else(none, |target| format!("{} MiB", target.rss_bytes >> 20)),
        row.hindrance.as_ref().map_or_else(|| "yes".to_owned(), |(why, _)| format!("no: {}", printable(why))),
    ]
}

/// What the JVM runs: its main class or jar, or else its comm.
fn runs(row: &Row) -> String {
    let main = row.target.as_ref().and_then(|target| jvm::main_class(&target.command));
    // Of a path the end tells more than the beginning.
    let main = main.map(|main| {
        main.rsplit('/').next().filter(|_| main.starts_with('/')).map_or(main.clone(), str::to_owned)
    });
    main.filter(|main| !main.is_empty()).unwrap_or_else(|| row.comm.clone())
}

fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit).collect()
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

fn row_json(row: &Row) -> Value {
    let target = row.target.as_ref();
    json!({
        "pid": row.pid,
        "comm": row.comm,
        "jvm": target.and_then(jvm_json),
        "main": target.and_then(|target| jvm::main_class(&target.command)),
        "command": target.map(|target| &target.command),
        "container": target.and_then(|target| target.container.as_ref()),
        "uid": target.map(|target| target.uid),
        "rss_bytes": target.map(|target| target.rss_bytes),
        "traceable": row.hindrance.is_none(),
        "reason": row.hindrance.as_ref().map(|(why, _)| why),
        "help": row.hindrance.as_ref().map(|(_, help)| help),
    })
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

    #[test]
    fn a_row_that_cannot_be_read() {
        let row = Row {
            pid: 12,
            comm: "ja\u{1b}va".into(),
            target: None,
            hindrance: Some(("not permitted".into(), "run as root".into())),
        };
        let out = text(std::slice::from_ref(&row), None);
        assert!(
            out.contains(
                " 12  -    ja\u{fffd}va  -          -       -  no: not permitted\nhelp: run as root\n"
            ),
            "{out}"
        );
        assert_eq!(row_json(&row)["traceable"], false);
        let lacking = Requirement::lacking("x", "a thing", Status::Missing, "it is gone", "run as root");
        let out = text(std::slice::from_ref(&row), Some(&lacking));
        assert!(out.ends_with("  no\n\nthis host lacks a thing: it is gone\nhelp: run as root\n"), "{out}");
    }

    #[test]
    fn none() {
        assert!(text(&[], None).starts_with("no JVM"));
    }
}
