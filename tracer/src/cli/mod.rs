//! Flags, stdout and exit status: the one place that wires the stages to each other.

pub mod census;
pub mod check;
mod choices;
mod destination;
pub mod diff;
pub mod failure;
pub mod filters;
mod format;
pub mod holders;
pub mod list;
pub mod manual;
pub mod maps;
mod output_file;
mod plain;
mod process_name;
pub mod push;
mod reading;
pub mod record;
pub mod report;
mod values;
mod writing;

use std::io::{self, IsTerminal, Write};

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
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
///
/// A word that looks like a negative number is taken for a value of the flag before it: errors tell what that flag
/// wants.
fn command() -> clap::Command {
    let takes_value = |arg: &clap::Arg| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    Cli::command().mut_subcommands(|sub| {
        sub.mut_args(|arg| {
            let is_flag = takes_value(&arg) && !arg.is_positional();
            if is_flag { arg.allow_negative_numbers(true) } else { arg }
        })
    })
}

fn parse(words: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches_from(words)?)
}

/// Runs the command line, and gives the exit status.
pub fn run() -> u8 {
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
            if error.use_stderr() && !is_help {
                let command = std::env::args().nth(1).unwrap_or_default();
                let _ = writeln!(io::stderr(), "{}", wrong_usage(&error.render().to_string(), &command));
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

/// Errors of clap of a command line, told as all errors are: one line of what, one of help. `first`: the first word, which
/// names the command if it is right.
fn wrong_usage(text: &str, first: &str) -> Failure {
    let joined = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = text.split("\n\n").map(joined).filter(|paragraph| !paragraph.is_empty());
    let error = paragraphs.next().unwrap_or_default();
    let error = error.strip_prefix("error: ").unwrap_or(&error).to_owned();
    let help: Vec<String> = paragraphs
        // A value after `--` would be the command to record, or a file.
        .filter(|paragraph| {
            !paragraph.starts_with("For more information") && !paragraph.starts_with("tip: to pass '")
        })
        .map(|paragraph| {
            let text = paragraph.replace("tip: ", "");
            text.strip_prefix("Usage: ").map(|usage| format!("usage: {usage}")).unwrap_or(text)
        })
        .collect();
    let is_command = command().get_subcommands().any(|sub| sub.get_name() == first && !sub.is_hide_set());
    let flags = format!("`tracer {} --help` tells all flags", if is_command { first } else { "COMMAND" });
    let help = if help.is_empty() { flags } else { help.join("; ") };
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
    /// Wrong usage is answered by a line with the flag or value and one with what to write instead; nothing of a
    /// library's words.
    #[test]
    fn wrong_usage_is_a_line_of_what_and_one_of_help() {
        for (line, error) in [
            ("report", "the following required arguments were not provided: <FILE>"),
            ("report x --top ten", "invalid value 'ten' for '--top <N>': not a number; write for example 10"),
            ("report x --top -1", "invalid value '-1' for '--top <N>': not a number; write for example 10"),
            ("maps -p 1 -7", "unexpected argument '-7' found"),
            ("report x --vieww live", "unexpected argument '--vieww' found"),
            ("recrod", "unrecognized subcommand 'recrod'"),
            ("record -p 1 -- java", "the argument '--pid <PID|NAME>' cannot be used with '[CMD]...'"),
            (
                "record -p 1 -d abc",
                "invalid value 'abc' for '--duration <TIME>': not a time; write for example 90, 2.5, 90s, 5m or 1h30m",
            ),
            (
                "record -p 1 -d 0",
                "invalid value '0' for '--duration <TIME>': a session of no length records nothing; give at least 1s",
            ),
            (
                "record -p 1 --sample-bytes 3",
                "invalid value '3' for '--sample-bytes <SIZE>': the interval must be from 1k to 1g; leave the flag out to \
                 record every allocation",
            ),
            ("record -p 1 --max-pause 9", "the following required arguments were not provided: --holders"),
            (
                "report x --include a(",
                "invalid value 'a(' for '--include <REGEX>': not a regular expression: unclosed group",
            ),
            (
                "report x --min-size -5",
                "invalid value '-5' for '--min-size <SIZE>': not a size; write for example 512, 4k or 1.5m",
            ),
            (
                "report x --fail-over abc",
                "invalid value 'abc' for '--fail-over <SIZE>': not a size; write for example 512, 4k or 1.5m",
            ),
            (
                "report x --min-size 5q",
                "invalid value '5q' for '--min-size <SIZE>': `q` is no unit of size: use K, M, G or T",
            ),
            (
                "report x --top 99999999999999999999",
                "invalid value '99999999999999999999' for '--top <N>': larger than any number that can be meant",
            ),
            (
                "report x --older -3",
                "invalid value '-3' for '--older <TIME>': not a time; write for example 90, 2.5, 90s, 5m or 1h30m",
            ),
            ("report x --verbos", "unexpected argument '--verbos' found"),
            (
                "report x --older 5x",
                "invalid value '5x' for '--older <TIME>': not a time; write for example 90, 2.5, 90s, 5m or 1h30m",
            ),
            ("report x --older 1 --older 2", "the argument '--older <TIME>' cannot be used multiple times"),
            ("report x --force", "the following required arguments were not provided: --output <OUT>"),
            ("diff x", "the following required arguments were not provided: <NEW>"),
            ("push x", "the following required arguments were not provided: --to <URL>"),
            ("maps", "the following required arguments were not provided: --pid <PID|NAME>"),
        ] {
            let words = ["tracer"].into_iter().chain(line.split(' '));
            let text = super::parse(words).expect_err(line).render().to_string();
            let failure = super::wrong_usage(&text, line.split(' ').next().expect("a word"));
            assert_eq!(failure.error, error, "{line}");
            let help = failure.help.as_deref().unwrap_or_default();
            assert!(!help.contains("COMMAND --help") || line.starts_with("recrod"), "{help}");
            assert!(!help.contains("to pass"), "{help}");
            assert!(
                failure.help.as_ref().is_some_and(|help| !help.is_empty() && !help.contains('\n')),
                "{line}: {failure}"
            );
        }
        for empty in [["record", "-p", ""], ["maps", "-p", " "]] {
            let words = ["tracer"].into_iter().chain(empty);
            let text = super::parse(words).expect_err("empty").render().to_string();
            assert!(text.contains("the pid or name is empty"), "{text}");
        }
    }

    /// A flag is the same wherever it is: its letter, its value and what it is for.
    #[test]
    fn flags_are_the_same_on_every_command() {
        let command = super::command();
        let of = |name: &str| command.find_subcommand(name).expect(name).clone();
        let results = ["report", "diff", "maps", "list", "check", "census", "holders"];
        for flag in ["output", "force", "pretty", "color", "format"] {
            for name in results {
                let has = of(name).get_arguments().any(|arg| arg.get_long() == Some(flag));
                assert!(has, "{name} has no --{flag}");
            }
        }
        let mut seen: std::collections::BTreeMap<String, (String, String)> = Default::default();
        for sub in command.get_subcommands() {
            for arg in sub.get_arguments().filter(|arg| !arg.is_hide_set()) {
                // A time of a recording; but of `push`, whither.
                let Some(long) = arg.get_long().filter(|long| *long != "to") else { continue };
                let values: Vec<&str> =
                    arg.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect();
                let is = format!("-{:?} {values:?}", arg.get_short());
                let (first, name) =
                    seen.entry(long.to_owned()).or_insert_with(|| (is.clone(), sub.get_name().to_owned()));
                assert_eq!(*first, is, "--{long} of {name} and of {}", sub.get_name());
            }
        }
        for name in ["report", "diff", "push"] {
            for flag in [
                "view", "category", "line", "include", "exclude", "thread", "older", "min-size", "source",
                "from", "until",
            ] {
                let is_it = |arg: &clap::Arg| {
                    arg.get_long() == Some(flag)
                        || arg.get_visible_aliases().is_some_and(|other| other.contains(&flag))
                };
                let has = of(name).get_arguments().any(is_it);
                assert!(has, "{name} has no --{flag}");
            }
        }
    }

    #[test]
    fn no_two_flags_of_a_command_have_one_name() {
        super::command().debug_assert();
    }
}
