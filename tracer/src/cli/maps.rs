//! `tracer maps`: every mapping of a process with its owner, at once and with no probe attached.

use std::io;

use super::failure::{Failure, status};
use super::plain::{PlainArgs, TopArgs};
use super::process_name::ProcessName;
use crate::hotspot::{Hotspot, HotspotError};
use crate::limits;
use crate::output::maps::{self as output, Maps};
use crate::process::memory::LiveMemory;
use crate::process::pagemap::PageMap;
use crate::process::read_budget::ReadBudget;
use crate::process::target::Status;
use crate::process::{self, Target};
use crate::vmmap;

/// Show who owns a process's memory: what is reserved, committed and in memory
///
/// Attaches nothing, and does not stop the process. Shows the sums by owner; with --all every mapping, too.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The process: its pid, or the main class, container id or pod uid of a JVM
    #[arg(short, long, value_name = "PID|NAME")]
    pub pid: ProcessName,
    /// Every mapping, too
    #[arg(short, long)]
    pub all: bool,
    #[command(flatten)]
    pub top: TopArgs,
    #[command(flatten)]
    pub writing: PlainArgs,
}

/// Runs the command.
///
/// # Errors
/// No such process, not permitted, or it ended while it was read.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let writing = args.writing.open()?;
    let pid = args.pid.pid()?;
    let target = process::inspect(pid).map_err(|error| {
        let lacking = matches!(error, process::TargetError::NotPermitted { .. });
        let status = if lacking { status::LACKING } else { status::FAILED };
        Failure::new(status, &error).help(error.help())
    })?;
    let unreadable = |error: io::Error| {
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Failure::new(status::LACKING, format!("not permitted to read the memory of pid {pid}"))
                .help("run as root: `sudo tracer ...`");
        }
        let what = match target.is_alive() {
            true => format!("cannot be read: {error}"),
            false => "ended while it was read".to_owned(),
        };
        Failure::new(status::FAILED, format!("process {pid} ({}) {what}", target.comm))
            .help("`tracer list` shows the JVMs of this host")
    };
    let budget = ReadBudget::for_bytes(Status::read(pid.leader()).map_or(0, |status| status.rss_bytes));
    let memory = LiveMemory::open(pid).map_err(unreadable)?.within(&budget);
    let residency = PageMap::open(pid).map_err(unreadable)?;
    let jvm = open_jvm(&target, &budget);
    let source = vmmap::Source {
        pid,
        modules: &target.modules,
        memory: &memory,
        residency: &residency,
        jvm: jvm.as_ref().and_then(|jvm| jvm.as_ref().ok()),
        walks_heap: true,
    };
    let map = vmmap::read(&source).map_err(unreadable)?;
    let mut notes = notes(&target, jvm.as_ref());
    notes.extend(budget.cut_short().map(|why| format!("The map is not whole: {why}.")));
    let maps = Maps { target: &target, map: &map, limit: limits::memory_limit(pid), notes: &notes };
    match writing.is_json {
        true => writing.json(&output::json(&maps))?,
        false => {
            let text = output::text(&maps, args.all, writing.screen(args.top));
            writing.text(&text)?;
        }
    }
    Ok(status::DONE)
}

fn open_jvm(target: &Target, budget: &ReadBudget) -> Option<Result<Hotspot, HotspotError>> {
    let info = target.jvm.as_ref()?;
    let memory = LiveMemory::open(target.pid).map_err(HotspotError::Library);
    let memory = memory.map(|memory| memory.within(budget));
    Some(memory.and_then(|memory| Hotspot::open(&info.libjvm.file, info.libjvm.load_bias, memory)))
}

fn notes(target: &Target, jvm: Option<&Result<Hotspot, HotspotError>>) -> Vec<String> {
    match jvm {
        Some(Err(error)) => vec![format!(
            "The JVM's own parts are not told apart: {}.",
            Failure::caused(status::LACKING, error).error
        )],
        Some(Ok(_)) => Vec::new(),
        None if target.jvm.is_none() => {
            vec!["Not a JVM: anonymous memory is malloc's or unexplained.".to_owned()]
        }
        None => Vec::new(),
    }
}
