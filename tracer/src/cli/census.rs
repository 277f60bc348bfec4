//! `tracer census`: what holds a process's native memory now, with no probe attached and nothing
//! stopped.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::check::Format;
use super::failure::{Failure, status};
use super::print::print;
use super::writing::Color;
use crate::census::{Census, Known, Subject};
use crate::hotspot::{Hotspot, JavaThread};
use crate::output::census::{self as output, Heading};
use crate::process::core::Core;
use crate::process::mapping::Mapping;
use crate::process::memory::LiveMemory;
use crate::process::pagemap::PageMap;
use crate::process::target::{Status, Target, TargetError};
use crate::process::{allocator, inspect};
use crate::vmmap;

/// Threads of a process that are looked at.
const MAX_THREADS: usize = 1 << 16;

/// Say what holds a process's native memory now, at once: malloc's chunks, zlib's states, the JVM's books
///
/// Reads memory only: no probe is attached, and the process is not stopped. For who allocates, record.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The process to look at
    #[arg(short, long, value_name = "PID", required_unless_present = "core", conflicts_with = "core")]
    pub pid: Option<u32>,
    /// The core file of a process that has ended, to look at instead
    #[arg(long, value_name = "FILE")]
    pub core: Option<PathBuf>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// When to colour text
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
}

/// Runs the command.
///
/// # Errors
/// No such process, not permitted, it ended meanwhile, or stdout cannot be written.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let (census, heading) = match (&args.core, args.pid) {
        (Some(path), _) => of_core(path)?,
        (None, Some(pid)) => of_pid(pid)?,
        (None, None) => {
            return Err(Failure::new(status::USAGE, "neither a process nor a core file is named"));
        }
    };
    let text = match args.format {
        Format::Text => output::render(&census, &heading, args.color.is_on(io::stdout().is_terminal())),
        Format::Json => format!("{:#}\n", output::value(&census, &heading)),
    };
    print(&text)?;
    Ok(status::DONE)
}

fn of_pid(pid: u32) -> Result<(Census, Heading), Failure> {
    let target = inspect(pid).map_err(|error| failure(&error))?;
    let begin = Instant::now();
    let census = of_process(&target, None)?;
    let heading = heading(&target, begin);
    // What was read of a process that ended on the way is not whole.
    if !target.is_alive() {
        let error = format!("process {} ({}) ended while it was read", target.pid, target.comm);
        return Err(Failure::new(status::FAILED, error).help("`tracer list` shows the JVMs that run"));
    }
    Ok((census, heading))
}

/// The census of a live process as JSON, taken by `deadline`.
///
/// # Errors
/// In a few words, why there is none.
pub fn json_by(pid: u32, deadline: Instant) -> Result<Value, String> {
    let begin = Instant::now();
    let target = inspect(pid).map_err(|error| error.to_string())?;
    let census = of_process(&target, Some(deadline)).map_err(|failure| failure.error)?;
    // What was read of a process that ended on the way is not whole; neither is what was cut short.
    if !target.is_alive() {
        return Err("the process ended while it was read".to_owned());
    }
    if Instant::now() >= deadline {
        return Err(format!("it was not through in {} s", begin.elapsed().as_secs()));
    }
    Ok(output::value(&census, &heading(&target, begin)))
}

fn heading(target: &Target, begin: Instant) -> Heading {
    Heading {
        pid: target.pid,
        comm: target.comm.clone(),
        command: target.command.clone(),
        container: target.container.clone(),
        java_home: target.jvm.as_ref().and_then(|jvm| jvm.java_home.clone()),
        core: None,
        limit_bytes: vmmap::limit(target.pid).map(|limit| limit.bytes),
        duration_ns: elapsed_ns(begin),
    }
}

fn of_core(path: &Path) -> Result<(Census, Heading), Failure> {
    let begin = Instant::now();
    let core = Core::open(path).map_err(|error| {
        let failure = Failure::caused(status::FAILED, &error);
        Failure::new(status::FAILED, format!("core file {}: {}", path.display(), failure.error))
            .help("name a core file of the process: `gcore PID`, or `coredumpctl dump`, writes one")
    })?;
    let core = Arc::new(core);
    let mappings = core.mappings();
    let mut hotspot = libjvm(&mappings).map(|mapping| -> Known<Hotspot> {
        if !core.has_file(&mapping.path) {
            return Err(format!("{} is not here, or not the one that the process had", mapping.path));
        }
        Hotspot::open(Path::new(&mapping.path), mapping.start, core.clone())
            .map_err(|error| error.to_string())
    });
    let java = match &hotspot {
        Some(Ok(hotspot)) => hotspot.threads(),
        _ => Vec::new(),
    };
    let java: BTreeMap<u32, &str> =
        java.iter().filter_map(|thread| Some((thread.tid, thread.name.as_deref()?))).collect();
    let name = |tid: &u32| java.get(tid).map_or("not named in a core", |name| *name).to_owned();
    let names = core.tids.iter().map(name).collect();
    let subject = Subject {
        memory: &core,
        residency: &*core,
        mappings: &mappings,
        allocator: None,
        rss_bytes: None,
        is_image: true,
        map: None,
    };
    let hotspot = hotspot.as_mut().map(|known| known.as_mut().map_err(|why| why.clone()));
    let census = Census::take(&subject, hotspot, Ok(names));
    let heading = Heading {
        pid: core.pid,
        comm: core.comm.clone(),
        command: core.arguments.split_ascii_whitespace().map(str::to_owned).collect(),
        core: Some(path.to_owned()),
        duration_ns: elapsed_ns(begin),
        ..Heading::default()
    };
    Ok((census, heading))
}

/// The first mapping of the file that HotSpot is in.
fn libjvm(mappings: &[Mapping]) -> Option<&Mapping> {
    mappings.iter().find(|mapping| mapping.path.ends_with("/libjvm.so") && mapping.offset == 0)
}

fn elapsed_ns(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Takes the census of a live process; from `deadline` on, nothing is read any more.
///
/// # Errors
/// Its memory may not be read, or it ended.
pub fn of_process(target: &Target, deadline: Option<Instant>) -> Result<Census, Failure> {
    let pid = target.pid;
    let unreadable = |error: io::Error| {
        let error = match error.kind() {
            io::ErrorKind::PermissionDenied => TargetError::NotPermitted { pid, comm: target.comm.clone() },
            io::ErrorKind::NotFound => TargetError::NoSuchProcess { pid },
            _ => TargetError::Io { pid, source: error },
        };
        failure(&error)
    };
    let memory = LiveMemory::open(pid).map_err(unreadable)?.until(deadline);
    let residency = PageMap::open(pid).map_err(unreadable)?;
    let found = allocator::find(target, Some(&memory));
    let mut hotspot = target.jvm.as_ref().map(|jvm| -> Known<Hotspot> {
        let memory = LiveMemory::open(pid).map_err(|error| error.to_string())?.until(deadline);
        Hotspot::open(&jvm.libjvm.file, jvm.libjvm.load_bias, memory).map_err(|error| error.to_string())
    });
    let java = match &hotspot {
        Some(Ok(hotspot)) => hotspot.threads(),
        _ => Vec::new(),
    };
    let source = vmmap::Source {
        pid,
        modules: &target.modules,
        memory: &memory,
        residency: &residency,
        jvm: hotspot.as_ref().and_then(|hotspot| hotspot.as_ref().ok()),
        // The census walks it itself, and shows each chunk to those who may know it.
        walks_heap: false,
    };
    let map = vmmap::read(&source).map_err(unreadable)?;
    let subject = Subject {
        memory: &memory,
        residency: &residency,
        mappings: &target.mappings,
        allocator: found.allocators.iter().find(|allocator| allocator.in_use).map(|allocator| allocator.kind),
        rss_bytes: Status::read(pid).ok().map(|status| status.rss_bytes),
        is_image: false,
        map: Some(&map),
    };
    let hotspot = hotspot.as_mut().map(|known| known.as_mut().map_err(|why| why.clone()));
    Ok(Census::take(&subject, hotspot, thread_names(target, &java)))
}

/// Every thread's name: in full as the JVM has it, or the kernel's.
fn thread_names(target: &Target, java: &[JavaThread]) -> Known<Vec<String>> {
    let nested = target.namespace_pids.len() > 1;
    let java: BTreeMap<u32, &str> =
        java.iter().filter_map(|thread| Some((thread.tid, thread.name.as_deref()?))).collect();
    let entries = fs::read_dir(format!("/proc/{}/task", target.pid)).map_err(|error| error.to_string())?;
    let name = |tid: u32| {
        let inner = || Status::read(tid).ok().and_then(|status| status.namespace_pids.last().copied());
        let inside = if nested { inner().unwrap_or(tid) } else { tid };
        let kernel = || fs::read_to_string(format!("/proc/{}/task/{tid}/comm", target.pid)).ok();
        java.get(&inside).map(|name| (*name).to_owned()).or_else(|| Some(kernel()?.trim_end().to_owned()))
    };
    let tids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(tids.take(MAX_THREADS).filter_map(name).collect())
}

fn failure(error: &TargetError) -> Failure {
    let status = match error {
        TargetError::NotPermitted { .. } | TargetError::OtherMachine { .. } => status::LACKING,
        _ => status::FAILED,
    };
    Failure::caused(status, error).help(error.help())
}
