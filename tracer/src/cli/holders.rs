//! `tracer holders`: who keeps native memory, from each block to the Java field that has its address and to what holds
//! that. The one command that holds a process for a moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::failure::{Failure, status};
use super::plain::{PlainArgs, TopArgs};
use super::process_name::ProcessName;
use crate::holders::{self, Holders, HoldersError, Image, Options};
use crate::hotspot::Hotspot;
use crate::output::holders::{self as output, Heading};
use crate::output::units::parse_bytes;
use crate::process::Pid;
use crate::process::core::Core;
use crate::process::inspect;
use crate::process::read_budget::ReadBudget;
use crate::process::target::{Target, TargetError};

/// Say who keeps native memory: which Java field has the address of which block, and what holds that, or nobody
///
/// The process is held by ptrace while its Java heap is copied: how long is predicted and said before, and measured. Names of
/// classes, fields and threads are shown, never contents. JDK 11, 17, 21 and 25 with G1, Parallel or Serial.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The process to look at: its pid, or the main class, container id or pod uid of a JVM
    #[arg(short, long, value_name = "PID|NAME", conflicts_with = "core")]
    pub pid: Option<ProcessName>,
    /// The core file of a process that has ended, to look at instead
    #[arg(long, value_name = "FILE")]
    pub core: Option<PathBuf>,
    /// Hold the process no longer than this; if the prediction is longer, look without stopping it
    #[arg(long, value_name = "MS", default_value = "500", value_parser = milliseconds)]
    pub max_pause: Duration,
    /// Never stop the process: several looks, which say who holds, but prove no garbage
    #[arg(long)]
    pub no_stop: bool,
    /// Only blocks whose owner is of this class, or that are held through it (its name, with or without packages)
    #[arg(long, value_name = "CLASS")]
    pub class: Option<String>,
    /// Use no more memory than this [default: half of what the host has available]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub max_memory: Option<u64>,
    #[command(flatten)]
    pub top: TopArgs,
    #[command(flatten)]
    pub writing: PlainArgs,
}

/// A time to hold a process.
pub fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(number) if (1..=60_000).contains(&number) => Ok(Duration::from_millis(number)),
        _ => Err("a number of milliseconds from 1 to 60000 is needed".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// No such process, not permitted, a JVM or collector that is not understood (status 3), or any other reason to refuse.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let writing = args.writing.open()?;
    let pid = args.pid.as_ref().map(ProcessName::pid).transpose()?;
    let (mut heading, result) = match (&args.core, pid) {
        (Some(path), _) => of_core(path, &options(args))?,
        (None, Some(pid)) => of_pid(pid, &options(args))?,
        (None, None) => {
            return Err(Failure::new(status::USAGE, "neither a process nor a core file is named")
                .help("name one, as in -p PID or --core FILE; `tracer list` shows the JVMs of this host"));
        }
    };
    let mut holders = match result {
        Ok(holders) => holders,
        Err(error) => {
            if writing.is_json {
                writing.json(&output::refusal(&error, &heading))?;
            }
            return Err(failure(&error));
        }
    };
    if let Some(class) = &args.class {
        holders.keep_class(class);
    }
    heading.command.truncate(1 << 10);
    match writing.is_json {
        true => writing.json(&output::value(&holders, &heading))?,
        false => {
            let text = output::render(&holders, &heading, writing.screen(args.top));
            writing.text(&text)?;
        }
    }
    Ok(status::DONE)
}

fn options(args: &Args) -> Options {
    Options {
        max_pause: args.max_pause,
        no_stop: args.no_stop,
        max_memory_bytes: args.max_memory,
        ..Options::default()
    }
}

/// Whose they are, and the answer or why there is none.
pub type Answer = (Heading, Result<Holders, HoldersError>);

/// Looks at a live process, and says on stderr what happens to it.
///
/// # Errors
/// It is not there, not to be read, or ended meanwhile.
pub fn of_pid(pid: Pid, options: &Options) -> Result<Answer, Failure> {
    let target = inspect(pid).map_err(|error| {
        let status = match error {
            TargetError::NotPermitted { .. } | TargetError::OtherMachine { .. } => status::LACKING,
            _ => status::FAILED,
        };
        Failure::caused(status, &error).help(error.help())
    })?;
    let holders = holders::of_process(&target, options, &mut |notice| {
        if let Some(text) = output::notice(notice, pid) {
            eprintln!("{text}");
        }
    });
    // What was read of a process that ended on the way is not whole, and why it cannot be read is no news.
    if holders.is_err() && !target.is_alive() {
        let error = format!("process {pid} ended while it was looked at");
        return Err(Failure::new(status::FAILED, error).help("`tracer list` shows the JVMs that run"));
    }
    Ok((heading(&target), holders))
}

fn heading(target: &Target) -> Heading {
    Heading {
        pid: target.pid,
        comm: target.comm.to_string(),
        command: target.command.clone(),
        container: target.container.clone(),
        java_home: target.jvm.as_ref().and_then(|jvm| jvm.java_home.clone()),
        version: target.jvm.as_ref().and_then(|jvm| jvm.version.clone()),
        core: None,
    }
}

/// Looks at a core file.
///
/// # Errors
/// It is none, or cannot be read.
pub fn of_core(path: &Path, options: &Options) -> Result<Answer, Failure> {
    let core = Core::open(path).map_err(|error| {
        let failure = Failure::caused(status::FAILED, &error);
        Failure::new(status::FAILED, format!("core file {}: {}", path.display(), failure.error))
            .help("name a core file of the process: `gcore PID`, or `coredumpctl dump`, writes one")
    })?;
    let budget = ReadBudget::for_marking(core.stored_bytes().unwrap_or(0));
    let core = Arc::new(core.within(&budget));
    let mut heading = Heading {
        pid: core.pid,
        comm: core.comm.clone(),
        command: core.arguments.split_ascii_whitespace().map(str::to_owned).collect(),
        core: Some(path.to_owned()),
        ..Heading::default()
    };
    let mappings = core.mappings();
    let libjvm = mappings.iter().find(|mapping| mapping.path.ends_with("/libjvm.so") && mapping.offset == 0);
    let Some(libjvm) = libjvm else {
        let error = HoldersError::NotProved("no HotSpot JVM is in the core file".to_owned());
        return Ok((heading, Err(error)));
    };
    if !core.has_file(&libjvm.path) {
        let error = format!("{} is not here, or not the one that the process had", libjvm.path);
        return Ok((heading, Err(HoldersError::Refused(error))));
    }
    let hotspot = match Hotspot::open(Path::new(&libjvm.path), libjvm.start, core.clone()) {
        Ok(hotspot) => hotspot,
        Err(error) => return Ok((heading, Err(HoldersError::NotProved(error.to_string())))),
    };
    heading.version = Some(hotspot.version().to_owned());
    let image = Image {
        memory: &*core,
        residency: &*core,
        mappings: &mappings,
        libjvm: &libjvm.path,
        threads: core.threads(),
    };
    let holders = holders::of_image(&hotspot, &image, options);
    let cut_short = budget.cut_short().map(HoldersError::Refused);
    Ok((heading, cut_short.map_or(holders, Err)))
}

fn failure(error: &HoldersError) -> Failure {
    match error {
        HoldersError::NotProved(_) => Failure::new(status::LACKING, error)
            .help("`tracer census` reads other JVMs and collectors; `jcmd PID GC.heap_dump` tells what holds objects"),
        HoldersError::Refused(_) | HoldersError::Late => {
            Failure::new(status::FAILED, error).help("`tracer holders --no-stop` looks without holding the process")
        }
    }
}
