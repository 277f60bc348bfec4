//! `tracer census`: what holds a process's native memory now, with no probe attached and nothing
//! stopped.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::failure::{Failure, status};
use super::holders::{milliseconds, watched};
use super::plain::{PlainArgs, TopArgs};
use super::process_name::ProcessName;
use crate::census::{self, Census};
use crate::holders::{self, HoldersResult, MAX_PAUSE, Options};
use crate::output;
use crate::process::{Pid, background};

/// Say what holds a process's native memory now, at once: malloc's chunks, zlib's states, the JVM's statistics
///
/// Reads memory only: no probe is attached, and the process is not stopped (but by --holders). For who allocates, record.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The process to look at: its pid, or the main class, container id or pod uid of a JVM
    #[arg(short, long, value_name = "PID|NAME", conflicts_with = "core")]
    pub pid: Option<ProcessName>,
    /// The core file of a process that has ended, to look at instead
    #[arg(long, value_name = "FILE")]
    pub core: Option<PathBuf>,
    /// Look who keeps what is there, too: the process is held for a moment, while its Java heap is copied
    #[arg(long)]
    pub holders: bool,
    /// With --holders: hold the process no longer than this [default: 500]; if the prediction is longer, look without
    /// stopping it
    #[arg(long, value_name = "MS", value_parser = milliseconds, requires = "holders")]
    pub max_pause: Option<Duration>,
    #[command(flatten)]
    pub top: TopArgs,
    #[command(flatten)]
    pub writing: PlainArgs,
}

/// Runs the command.
///
/// # Errors
/// No such process, not permitted, it ended meanwhile, or stdout cannot be written.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let writing = args.writing.open()?;
    let pid = args.pid.as_ref().map(ProcessName::pid).transpose()?;
    let mut census = match (&args.core, pid) {
        (Some(path), _) => census::of_core(path)?,
        (None, Some(pid)) => background::run(|| census::of_process(pid))?,
        (None, None) => {
            return Err(Failure::new(status::USAGE, "neither a process nor a core file is named")
                .help("name one, as in -p PID or --core FILE; `tracer list` shows the JVMs of this host"));
        }
    };
    let look = args.holders.then(|| look(args, pid)).transpose()?;
    match (writing.is_json, look) {
        (true, None) => writing.json(&census)?,
        (true, Some(HoldersResult { subject, result })) => {
            let holders = result.map(|holders| output::holders::value(&holders, &subject)).map_err(|why| {
                census.unknown.insert("holders".to_owned(), why.to_string());
            });
            writing.json(&WithHolders { census: &census, holders: holders.ok() })?;
        }
        (false, look) => {
            let screen = writing.screen(args.top);
            let mut text = output::census::render(&census, screen);
            match look.map(|look| (look.subject, look.result)) {
                Some((subject, Ok(holders))) => {
                    text += &format!("\n{}", output::holders::render(&holders, &subject, screen));
                }
                Some((_, Err(why))) => text += &format!("\nHolders are not known: {why}\n"),
                None => {}
            }
            writing.text(&text)?;
        }
    }
    Ok(status::DONE)
}

/// A census, and who keeps what is there.
#[derive(Serialize)]
struct WithHolders<'a> {
    #[serde(flatten)]
    census: &'a Census,
    holders: Option<Value>,
}

fn look(args: &Args, pid: Option<Pid>) -> Result<HoldersResult, Failure> {
    let options = Options { max_pause: args.max_pause.unwrap_or(MAX_PAUSE), ..Options::default() };
    Ok(match (&args.core, pid) {
        (Some(path), _) => holders::of_core(path, &options)?,
        (None, pid) => watched(pid.unwrap_or_default(), &options)?,
    })
}
