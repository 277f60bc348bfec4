//! `tracer report`: a recording as text, JSON, folded stacks, a flame graph, or a file of another profiler's viewer.
//!
//! Needs the recording alone: no root, no live process.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;

use super::destination::{Color, terminal_width, written};
use super::failure::{Failure, status};
use super::filters::check_names;
use super::format::Format;
use super::reading::ReadingArgs;
use super::writing::SharedArgs;
use crate::output::{Options, dhat, flamegraph, folded, html, json, otlp, pprof, report2, text, units};
use crate::profile::{Filter, Profile};

/// Show what a recording holds: who holds native memory, and through which calls
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "\
Sizes are what was asked of the allocator. Categories, sites and views are explained in \
docs/attribution.md, the JSON schema in docs/file-format.md.")]
pub struct Args {
    /// The recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Exit with status 5 if more is live than this (bytes, or with a unit: 512k, 64M, 2G)
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub fail_over: Option<u64>,

    #[command(flatten)]
    pub shared: SharedArgs,
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
    let profile = ReadingArgs::default().profile(file, &Filter::default())?;
    let stdout = io::stdout();
    let color = Color::Auto.is_on(stdout.is_terminal());
    let width = terminal_width();
    let options = Options { color, width, file: Some(file.to_owned()), ..Options::default() };
    let mut out = BufWriter::new(stdout.lock());
    written(text::summary(&profile, &options, &mut out).and_then(|()| out.flush()), "stdout")
}

fn run_to(args: &Args, stdout: &mut dyn Write, terminal: bool) -> Result<u8, Failure> {
    let (format, to) = args.shared.writing.open(terminal)?;
    let filter = args.shared.filters.filter(args.shared.range)?;
    // The process ends when it is written: its millions of small pieces need not be freed.
    let mut profile = ManuallyDrop::new(args.shared.reading.profile(&args.file, &filter)?);
    check_names(&args.file.display().to_string(), &[&profile.filtered])?;
    let view = args.shared.filters.view();
    profile.keep_view(view);
    if let Some(sort) = args.shared.writing.sort {
        profile.sort(view, sort);
    }
    let file = (!args.shared.reading.redact).then(|| args.file.clone());
    let options = Options { file, ..args.shared.writing.options(&args.shared.filters, &to) };
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
    to.write(stdout, render)?;
    verdict(args, &profile)
}

/// Verdict of `--fail-over` and `--strict` on a report that was written.
fn verdict(args: &Args, profile: &Profile) -> Result<u8, Failure> {
    // All of a chosen category; without one, the allocator's alone: mappings may hold the heap.
    let is_chosen = !args.shared.filters.category.is_empty();
    let rows = profile.categories.iter().filter(|row| is_chosen || row.source == "allocator");
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
    if args.shared.strict && profile.is_incomplete() {
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
