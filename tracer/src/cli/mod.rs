//! Flags, stdout and exit status: the one place that wires the stages to each other.

pub mod census;
pub mod check;
pub mod diff;
pub mod failure;
pub mod filters;
pub mod holders;
pub mod list;
pub mod maps;
mod output_file;
pub mod push;
pub mod record;
pub mod report;
mod values;
pub mod writing;

use std::io::{self, IsTerminal, Write};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use self::failure::{Failure, status};

/// Who holds a running JVM's native memory: recorded from outside, with nothing loaded into it
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Record(record::Args),
    Report(report::Args),
    Diff(diff::Args),
    Push(push::Args),
    Maps(maps::Args),
    List(list::Args),
    Check(check::Args),
    Census(census::Args),
    Holders(holders::Args),
}

/// Runs the command line, and gives the exit status.
pub fn run() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Closed stdout is not an error.
            let _ = error.print();
            return if error.use_stderr() { status::USAGE } else { status::DONE };
        }
    };
    start_log();
    let outcome = match &cli.command {
        Command::Record(args) => record::run(args),
        Command::Report(args) => report::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Push(args) => push::run(args),
        Command::Maps(args) => maps::run(args),
        Command::List(args) => list::run(args),
        Command::Check(args) => check::run(args),
        Command::Census(args) => census::run(args),
        Command::Holders(args) => holders::run(args),
    };
    outcome.unwrap_or_else(|failure: Failure| {
        // Stderr may be gone, or full: there is nobody to tell then.
        let _ = writeln!(io::stderr(), "{failure}");
        failure.status
    })
}

/// Warnings on stderr; more of it with RUST_LOG. A certificate that is not trusted is an error of the command.
fn start_log() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,rustls_platform_verifier=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        // Stderr may be gone: that must not end a recording.
        .log_internal_errors(false)
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn no_two_flags_of_a_command_have_one_name() {
        super::Cli::command().debug_assert();
    }
}
