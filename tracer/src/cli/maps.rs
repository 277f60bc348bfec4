//! `tracer maps`: every mapping of a process with its owner, at once and with no probe attached.

use super::failure::{Failure, status};
use super::plain::{PlainArgs, TopArgs};
use super::process_name::ProcessName;
use crate::limits;
use crate::output::maps::{self as output, Maps};
use crate::process::{self, background};
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
    let target = process::inspect(pid)?;
    let taken = background::run(|| vmmap::of_process(&target))?;
    let maps = Maps { target: &target, taken: &taken, limit: limits::memory_limit(pid) };
    match writing.is_json {
        true => writing.json(&output::json(&maps))?,
        false => {
            let text = output::text(&maps, args.all, writing.screen(args.top));
            writing.text(&text)?;
        }
    }
    Ok(status::DONE)
}
