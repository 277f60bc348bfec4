//! Texts that are made of the flags' one definition: completions for shells, man pages, and docs/cli.md.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Arg, ArgAction, Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

use super::destination::{print, written};
use super::failure::{Failure, status};

/// Print what makes a shell complete tracer's commands and flags
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
bash: tracer completions bash > /usr/share/bash-completion/completions/tracer
zsh:  tracer completions zsh > /usr/local/share/zsh/site-functions/_tracer
fish: tracer completions fish > ~/.config/fish/completions/tracer.fish")]
pub struct CompletionsArgs {
    /// Shell to write for
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: ShellArg,
}

/// Shells that have completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShellArg {
    Bash,
    Zsh,
    Fish,
}

/// Write man pages, or print the reference of commands: for `cargo xtask man`
#[derive(Clone, Debug, clap::Args)]
pub struct ManualArgs {
    /// Folder for man pages; without it, the reference is printed
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// Prints completions of `command`.
///
/// # Errors
/// Stdout cannot be written.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> Result<u8, Failure> {
    let shell = match args.shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "tracer", &mut script);
    let mut out = io::stdout().lock();
    written(out.write_all(&script).and_then(|()| out.flush()), "stdout")?;
    Ok(status::DONE)
}

/// Writes man pages of `command`, or prints the reference.
///
/// # Errors
/// It cannot be written.
pub fn manual(args: &ManualArgs, command: Command) -> Result<u8, Failure> {
    let Some(folder) = &args.folder else {
        print(&reference(command))?;
        return Ok(status::DONE);
    };
    let failed = |path: &Path, error: io::Error| {
        Failure::new(status::FAILED, format!("cannot write {}: {error}", path.display()))
            .help("name a folder that you can write")
    };
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for (name, page) in pages(command) {
        let path = folder.join(format!("{name}.1"));
        fs::write(&path, page).map_err(|error| failed(&path, error))?;
    }
    Ok(status::DONE)
}

/// The command with all that clap adds, and subcommands under their whole names.
fn built(mut command: Command) -> Command {
    command.build();
    command
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

/// Man pages by name: of the program, and of each command.
fn pages(command: Command) -> Vec<(String, String)> {
    let command = built(command.disable_help_subcommand(true));
    let of_commands: Vec<Command> = shown(&command)
        .map(|sub| {
            sub.clone()
                .display_name(format!("tracer-{}", sub.get_name()))
                .bin_name(format!("tracer {}", sub.get_name()))
        })
        .collect();
    let page = |command: Command| {
        let name = command.get_display_name().unwrap_or("tracer").to_owned();
        let mut page = Vec::new();
        let man = Man::new(command).title(name.to_uppercase()).date(today());
        // Writing to memory does not fail.
        let _ = man.source(concat!("tracer ", env!("CARGO_PKG_VERSION"))).render(&mut page);
        let _ = writeln!(page, ".SH \"EXIT STATUS\"");
        for (number, meaning) in status::ALL {
            let _ = writeln!(page, ".TP\n{number}\n{meaning}");
        }
        // Line breaks around an empty line break nothing.
        (name, String::from_utf8_lossy(&page).replace("\n.br\n\n.br\n", "\n.sp\n"))
    };
    std::iter::once(command.clone()).chain(of_commands).map(page).collect()
}

/// The day on which pages are made, or that of `SOURCE_DATE_EPOCH`, for builds that are the same whenever they are
/// made.
fn today() -> String {
    let seconds = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse::<u32>().ok());
    let time =
        seconds.map_or_else(SystemTime::now, |seconds| UNIX_EPOCH + Duration::from_secs(seconds.into()));
    humantime::format_rfc3339_seconds(time).to_string().chars().take("2026-01-01".len()).collect()
}

/// docs/cli.md.
fn reference(command: Command) -> String {
    let command = built(command.disable_help_subcommand(true));
    let mut text = "# Commands\n\nMade of the flags by `cargo xtask man`, which also writes man pages. `tracer COMMAND --help` says the \
                    same.\n\n| command | what it does |\n|---|---|\n"
        .to_owned();
    for sub in shown(&command) {
        let _ = writeln!(text, "| [`{0}`](#tracer-{0}) | {1} |", sub.get_name(), about(sub));
    }
    text.push_str("\n## Exit statuses\n\n| status | meaning |\n|---|---|\n");
    for (number, meaning) in status::ALL {
        let _ = writeln!(text, "| {number} | {meaning} |");
    }
    for sub in shown(&command) {
        let _ = write!(text, "\n## tracer {}\n\n{}.\n\n", sub.get_name(), about(sub));
        let usage = sub.clone().bin_name(format!("tracer {}", sub.get_name())).render_usage().to_string();
        let _ = write!(text, "```\n{}\n```\n\n| | |\n|---|---|\n", usage.trim_start_matches("Usage: "));
        let is_shown =
            |arg: &&Arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str());
        for arg in sub.get_arguments().filter(is_shown) {
            let _ = writeln!(text, "| {} | {} |", names(arg), what(arg));
        }
        if let Some(more) = sub.get_after_help() {
            let _ = write!(text, "\n```\n{}\n```\n", wrapped(&more.to_string()));
        }
    }
    text
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// Lines of at most 100 columns.
fn wrapped(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut now = String::new();
        for word in line.split(' ') {
            if !now.is_empty() && now.len() + 1 + word.len() > 100 {
                lines.push(std::mem::take(&mut now));
            } else if !now.is_empty() {
                now.push(' ');
            }
            now.push_str(word);
        }
        lines.push(now);
    }
    lines.join("\n")
}

/// `` `-o`, `--output OUT` ``.
fn names(arg: &Arg) -> String {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value =
        arg.get_value_names().and_then(<[_]>::first).map(|name| name.replace('|', "\\|")).unwrap_or_default();
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let others = arg.get_visible_aliases().unwrap_or_default();
    let longs: Vec<String> = arg
        .get_long()
        .into_iter()
        .chain(others)
        .map(|long| if takes_value { format!("`--{long} {value}`") } else { format!("`--{long}`") })
        .collect();
    if longs.is_empty() { format!("`{value}`") } else { format!("{short}{}", longs.join(", ")) }
}

/// Purpose of a flag, its values, and what holds without it.
fn what(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    if takes_value && !values.is_empty() {
        let _ = write!(text, ": {}", values.join("; "));
    }
    let default: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if takes_value && !default.is_empty() {
        let _ = write!(text, " [default: {}]", default.join(", "));
    }
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    #[test]
    fn the_reference_is_that_of_the_flags() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == reference(command()), "docs/cli.md is not of these flags: cargo xtask man");
    }

    #[test]
    fn every_command_and_flag_is_in_its_page_and_in_completions() {
        let pages = pages(command());
        let command = built(command());
        for sub in shown(&command) {
            let name = format!("tracer-{}", sub.get_name());
            let (_, page) = pages.iter().find(|(of, _)| *of == name).expect("a page");
            let page = page.replace("\\-", "-");
            assert!(page.contains("EXIT STATUS"), "{name}");
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut command.clone(), "tracer", &mut script);
                let script = String::from_utf8(script).expect("text");
                for long in sub.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long) {
                    assert!(page.contains(&format!("--{long}")), "{name}: {long}");
                    assert!(script.contains(long), "{shell}: {long}");
                }
            }
        }
    }
}
