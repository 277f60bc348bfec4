//! `tracer census`: what holds a process's native memory now, with no probe attached and nothing
//! stopped.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use super::failure::{Failure, status};
use super::writing::{Color, Format, plain_formats, print};
use crate::census::{self, TakeError};
use crate::output::{census as output, json};
use crate::process::{Pid, TargetError};

/// Say what holds a process's native memory now, at once: malloc's chunks, zlib's states, the JVM's books
///
/// Reads memory only: no probe is attached, and the process is not stopped. For who allocates, record.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The process to look at
    #[arg(short, long, value_name = "PID", required_unless_present = "core", conflicts_with = "core")]
    pub pid: Option<Pid>,
    /// The core file of a process that has ended, to look at instead
    #[arg(long, value_name = "FILE")]
    pub core: Option<PathBuf>,
    /// How to write the result
    #[arg(long, value_parser = plain_formats(), default_value = "text", value_name = "FORMAT")]
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
    let census = match (&args.core, args.pid) {
        (Some(path), _) => census::of_core(path),
        (None, Some(pid)) => census::of_process(pid),
        (None, None) => {
            return Err(Failure::new(status::USAGE, "neither a process nor a core file is named"));
        }
    };
    let census = census.map_err(|error| failure(&error))?;
    let text = match args.format {
        Format::Json => json::pretty(&census),
        _ => output::render(&census, args.color.is_on(io::stdout().is_terminal())),
    };
    print(&text)?;
    Ok(status::DONE)
}

fn failure(error: &TakeError) -> Failure {
    let status = match error {
        TakeError::Target(TargetError::NotPermitted { .. } | TargetError::OtherMachine { .. }) => {
            status::LACKING
        }
        _ => status::FAILED,
    };
    Failure::caused(status, error).help(error.help())
}
