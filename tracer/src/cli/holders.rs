//! `tracer holders`: who keeps native memory, from each block to the Java field that has its address and to what holds
//! that. The one command that holds a process for a moment.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use super::failure::{Failure, status};
use super::plain::{PlainArgs, TopArgs};
use super::process_name::ProcessName;
use crate::census::TakeError;
use crate::holders::{self, HoldersError, HoldersResult, Options};
use crate::output::holders as output;
use crate::output::units::parse_bytes;
use crate::process::Pid;

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
    let HoldersResult { mut subject, result } = match (&args.core, pid) {
        (Some(path), _) => holders::of_core(path, &options(args))?,
        (None, Some(pid)) => watched(pid, &options(args))?,
        (None, None) => {
            return Err(Failure::new(status::USAGE, "neither a process nor a core file is named")
                .help("name one, as in -p PID or --core FILE; `tracer list` shows the JVMs of this host"));
        }
    };
    let mut holders = match result {
        Ok(holders) => holders,
        Err(error) => {
            if writing.is_json {
                writing.json(&output::refusal(&error, &subject))?;
            }
            return Err(failure(&error));
        }
    };
    if let Some(class) = &args.class {
        holders.keep_class(class);
    }
    subject.command.truncate(1 << 10);
    match writing.is_json {
        true => writing.json(&output::value(&holders, &subject))?,
        false => {
            let text = output::render(&holders, &subject, writing.screen(args.top));
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

/// Looks at a live process, and says on stderr what happens to it.
///
/// # Errors
/// It is not there, not to be read, or ended meanwhile.
pub fn watched(pid: Pid, options: &Options) -> Result<HoldersResult, TakeError> {
    holders::of_pid(pid, options, &mut |notice| {
        if let Some(text) = output::notice(notice, pid) {
            // A stderr that is gone is no reason to look no further.
            let _ = writeln!(io::stderr(), "{text}");
        }
    })
}

fn failure(error: &HoldersError) -> Failure {
    match error {
        HoldersError::NotProved(_) => Failure::new(status::LACKING, error)
            .help("`tracer census` reads other JVMs and collectors; `jcmd PID GC.heap_dump` tells what holds objects"),
        HoldersError::NoJvm(_) => {
            Failure::new(status::LACKING, error).help("`tracer list` shows the JVMs of this host")
        }
        HoldersError::Swapped { .. } => Failure::new(status::FAILED, error)
            .help("`tracer census` tells what is there without reading the Java heap"),
        HoldersError::TooLarge(_) => {
            Failure::new(status::FAILED, error).help("--max-memory SIZE lets it take more")
        }
        HoldersError::Refused(_) | HoldersError::Late => {
            Failure::new(status::FAILED, error).help("`tracer holders --no-stop` looks without holding the process")
        }
    }
}
