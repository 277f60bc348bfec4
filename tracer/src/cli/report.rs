//! `tracer report`: a recording as text, JSON, folded stacks, a flame graph, or a file of another profiler's viewer.
//!
//! Needs the recording alone: no root, no live process.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueEnum};

use super::failure::{Failure, status};
use super::writing::{Color, Format, SourceArg, WritingArgs, terminal_width, written};
use crate::attribute::Rules;
use crate::output::{
    Options, View, clean, dhat, flamegraph, folded, html, json, otlp, pprof, report2, text, units,
};
use crate::profile::Profile;
use crate::recording;

/// Show what a recording holds: who holds native memory, and through which calls
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "\
Sizes are what was asked of the allocator. Categories, sites and views are explained in \
docs/attribution.md, the JSON schema in docs/file-format.md.")]
pub struct Args {
    /// The recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    #[command(flatten)]
    pub writing: WritingArgs,

    /// What to look at
    #[arg(long, value_enum, default_value_t, value_name = "VIEW")]
    pub view: ViewArg,

    /// Whole stacks in text
    #[arg(short, long)]
    pub verbose: bool,

    /// Every table in text, and every finding
    #[arg(long)]
    pub all: bool,

    /// Exit with status 4 if the recording is not whole or anything was lost
    #[arg(long)]
    pub strict: bool,

    /// Exit with status 5 if more is live than this (bytes, or with a unit: 512k, 64M, 2G)
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub fail_over: Option<u64>,
}

/// What of each site is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ViewArg {
    /// Allocated in the session and not freed
    #[default]
    Live,
    /// All that was allocated in the session
    Allocated,
    /// Live where the verdict is leak or gc-pending (in a short session: all that is live)
    Leaks,
    /// Allocated and freed again in the session
    Temporary,
}

impl From<ViewArg> for View {
    fn from(view: ViewArg) -> View {
        match view {
            ViewArg::Live => View::Live,
            ViewArg::Allocated => View::Allocated,
            ViewArg::Leaks => View::Leaks,
            ViewArg::Temporary => View::Temporary,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The recording cannot be read, or its report not be written; with `--strict` and `--fail-over`,
/// what they watch for.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    run_to(args, &mut BufWriter::new(stdout.lock()), terminal)
}

/// Prints what a recording that just ended holds, for `tracer record`.
///
/// # Errors
/// It cannot be read, or stdout cannot be written.
pub fn summary(file: &Path) -> Result<(), Failure> {
    let profile = profile(file, None)?;
    let stdout = io::stdout();
    let color = Color::Auto.is_on(stdout.is_terminal());
    let width = terminal_width(stdout.is_terminal());
    let options = Options { color, width, file: Some(file.to_owned()), ..Options::default() };
    let mut out = BufWriter::new(stdout.lock());
    written(text::summary(&profile, &options, &mut out).and_then(|()| out.flush()), "stdout")
}

fn run_to(args: &Args, stdout: &mut dyn Write, terminal: bool) -> Result<u8, Failure> {
    let writing = args.writing.open(terminal)?;
    let format = writing.format;
    let mut profile = profile(&args.file, args.writing.rules.as_deref())?;
    if let Some(category) = &args.writing.category {
        keep_category(&mut profile, category, &args.file)?;
    }
    let view = args.view.into();
    profile.keep_view(view);
    let options = Options {
        view,
        category: args.writing.category.clone(),
        source: args.writing.source.map(SourceArg::as_str),
        lines: args.writing.lines,
        top: args.writing.top,
        color: writing.color,
        verbose: args.verbose,
        all: args.all,
        width: writing.width,
        pretty: args.writing.pretty,
        file: Some(args.file.clone()),
    };
    if format == Format::Flamegraph && flamegraph::is_empty(&profile, &options) {
        let category = args
            .writing
            .category
            .as_deref()
            .map(|id| format!(" of category {}", clean(id)))
            .unwrap_or_default();
        let error =
            format!("{}: nothing to draw: no bytes{category} in view {}", args.file.display(), view.as_str());
        return Err(Failure::new(status::FAILED, error)
            .help(format!("see all that is there with: tracer report {}", args.file.display())));
    }
    let render = |out: &mut dyn Write| match format {
        Format::Text => text::render(&profile, &options, out),
        Format::Json => report2::report(&profile, &options, out),
        Format::Json1 => json::render(&profile, &options, out),
        Format::Folded => folded::render(&profile, &options, out),
        Format::Flamegraph => flamegraph::render(&profile, &options, out),
        Format::Html => html::render(&profile, &options, out),
        Format::Pprof => pprof::render(&profile, &options, out),
        Format::Otlp => otlp::render(&profile, &options, out),
        Format::Dhat => dhat::render(&profile, &options, out),
    };
    writing.write(stdout, render)?;
    verdict(args, &profile)
}

/// The profile of a recording, by the built-in rules and those of a file.
///
/// # Errors
/// One of the files cannot be read.
pub(super) fn profile(file: &Path, rules: Option<&Path>) -> Result<ManuallyDrop<Profile>, Failure> {
    let rules = match rules {
        Some(path) => Rules::load(path).map_err(|error| {
            Failure::new(status::FAILED, error).help("docs/attribution.md describes files of rules")
        })?,
        None => Rules::builtin(),
    };
    let recording = recording::read(file).map_err(|error| {
        let help = error.help();
        Failure::new(status::FAILED, error).help(help)
    })?;
    let profile = Profile::build(&recording, &rules);
    // A report is the last thing that the process does: to give back millions of small pieces one by one
    // takes as long as a third of the work.
    std::mem::forget(recording);
    Ok(ManuallyDrop::new(profile))
}

fn keep_category(profile: &mut Profile, category: &str, file: &Path) -> Result<(), Failure> {
    let ids = profile.category_ids();
    if !ids.contains(&category) {
        let error = format!("{} has no category `{}`", file.display(), clean(category));
        let ids = if ids.is_empty() { "none".to_owned() } else { clean(&ids.join(", ")).into_owned() };
        return Err(Failure::new(status::USAGE, error).help(format!("its categories are: {ids}")));
    }
    profile.keep_category(category);
    Ok(())
}

/// What `--fail-over` and `--strict` make of a report that was written.
fn verdict(args: &Args, profile: &Profile) -> Result<u8, Failure> {
    // Of a chosen category, all; of everything, the allocator's: mappings may hold the heap.
    let rows =
        profile.categories.iter().filter(|row| args.writing.category.is_some() || row.source == "allocator");
    let live_bytes = rows.fold(0_u64, |sum, row| sum.saturating_add(row.totals.live_bytes));
    if let Some(limit) = args.fail_over.filter(|&limit| live_bytes > limit) {
        let error = format!(
            "{}: {} live, and --fail-over allows {}",
            args.file.display(),
            units::bytes(live_bytes),
            units::bytes(limit)
        );
        return Err(Failure::new(status::OVER, error)
            .help("the first rows of the report hold most; raise --fail-over if that is right"));
    }
    if args.strict && profile.is_incomplete() {
        return Err(Failure::new(
            status::INCOMPLETE,
            format!("{}: its data is incomplete", args.file.display()),
        )
        .help(format!("`tracer report {}` says what is missing", args.file.display())));
    }
    Ok(status::DONE)
}

#[cfg(test)]
mod tests;
