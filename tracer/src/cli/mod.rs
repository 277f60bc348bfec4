//! Flags, stdout and exit status: the one place that wires the stages to each other.

pub mod census;
pub mod check;
pub mod diff;
pub mod failure;
pub mod filters;
pub mod holders;
pub mod list;
pub mod manual;
pub mod maps;
mod output_file;
pub mod push;
pub mod record;
pub mod report;
mod values;
pub mod writing;

use std::io::{self, IsTerminal, Write};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use self::failure::{Failure, status};

/// Who holds a running JVM's native memory: recorded from outside, with nothing loaded into it
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "\
Exit status: 0 done, 1 failed, 2 wrong usage, 3 the kernel or JVM lacks something, 4 --strict: data is incomplete, 5 --fail-over: too \
much is live. `tracer COMMAND --help` has each command's flags.")]
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
    Completions(manual::CompletionsArgs),
    #[command(hide = true)]
    Manual(manual::ManualArgs),
}

/// The one definition of all commands and flags.
fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line, and gives the exit status.
pub fn run() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
            if error.use_stderr() && !is_help {
                let _ = writeln!(io::stderr(), "{}", wrong_usage(&error.render().to_string()));
                return status::USAGE;
            }
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
        Command::Completions(args) => manual::completions(args, command()),
        Command::Manual(args) => manual::manual(args, command()),
    };
    outcome.unwrap_or_else(|failure: Failure| {
        // Stderr may be gone, or full: there is nobody to tell then.
        let _ = writeln!(io::stderr(), "{failure}");
        failure.status
    })
}

/// What clap says of a command line, as all errors are told: one line of what, one of help.
fn wrong_usage(text: &str) -> Failure {
    let joined = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = text.split("\n\n").map(joined).filter(|paragraph| !paragraph.is_empty());
    let error = paragraphs.next().unwrap_or_default();
    let error = error.strip_prefix("error: ").unwrap_or(&error).to_owned();
    let help: Vec<String> = paragraphs
        .filter(|paragraph| !paragraph.starts_with("For more information"))
        .map(|paragraph| {
            let text = paragraph.replace("tip: ", "");
            text.strip_prefix("Usage: ").map(|usage| format!("usage: {usage}")).unwrap_or(text)
        })
        .collect();
    let help =
        if help.is_empty() { "`tracer COMMAND --help` tells all flags".to_owned() } else { help.join("; ") };
    Failure::new(status::USAGE, error).help(help)
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
    use clap::{CommandFactory, Parser};

    #[test]
    fn wrong_usage_is_a_line_of_what_and_one_of_help() {
        for (line, error) in [
            (&["tracer", "report"][..], "the following required arguments were not provided: <FILE>"),
            (
                &["tracer", "report", "x", "--top", "ten"],
                "invalid value 'ten' for '--top <N>': not a number; write for example 10",
            ),
            (&["tracer", "report", "x", "--vieww", "live"], "unexpected argument '--vieww' found"),
            (&["tracer", "recrod"], "unrecognized subcommand 'recrod'"),
        ] {
            let text = super::Cli::try_parse_from(line).expect_err("wrong").render().to_string();
            let failure = super::wrong_usage(&text);
            assert_eq!(failure.error, error);
            assert!(
                failure.help.as_ref().is_some_and(|help| !help.is_empty() && !help.contains('\n')),
                "{failure}"
            );
        }
    }

    #[test]
    fn no_two_flags_of_a_command_have_one_name() {
        super::Cli::command().debug_assert();
    }
}
