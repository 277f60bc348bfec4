//! `tracer diff`: what differs between two recordings, or two censuses.
//!
//! Needs the files alone: no root, no live process.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;

use super::failure::{Failure, status};
use super::filters::check_names;
use super::format::Format;
use super::writing::SharedArgs;
use crate::census::Census;
use crate::output::diff as output;
use crate::output::{View, html, pprof, report2, units};
use crate::profile::diff::Diff;
use crate::profile::{Filter, Profile};

/// The largest census that is read.
const MAX_CENSUS_BYTES: u64 = 64 << 20;

/// Show what differs between two recordings, or two censuses: what grew, what shrank, by how much
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "\
Recordings are what `tracer record` writes, censuses what `tracer census --format json > FILE` writes. \
Sites are the same if their frames are. Bytes per second (avg/s) are those of a recording by its whole length; \
growth within a recording, which a report has, is told from its course. The JSON schema is in docs/file-format.md.")]
pub struct Args {
    /// Base of the comparison: a recording, or a census
    #[arg(value_name = "BASE")]
    pub base: PathBuf,

    /// The recording or census that is compared with it
    #[arg(value_name = "NEW")]
    pub new: PathBuf,

    #[command(flatten)]
    pub shared: SharedArgs,
}

/// Runs the command.
///
/// # Errors
/// An input cannot be read or compared, or the result cannot be written.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    run_to(args, &mut BufWriter::new(stdout.lock()), terminal)
}

fn run_to(args: &Args, stdout: &mut dyn Write, terminal: bool) -> Result<u8, Failure> {
    let (format, to) = args.shared.writing.open(terminal)?;
    if matches!(format, Format::Otlp | Format::Dhat) {
        return Err(Failure::new(status::USAGE, "this format knows no differences")
            .help("compare with --format html, pprof, text, json, folded or flamegraph"));
    }
    let view = args.shared.filters.view();
    let filter = args.shared.filters.filter(args.shared.range)?;
    let mut incomplete = None;
    let mut diff = match (Input::read(&args.base, args, &filter)?, Input::read(&args.new, args, &filter)?) {
        (Input::Recording(base), Input::Recording(new)) => {
            let sides = [(&args.base, base.is_incomplete()), (&args.new, new.is_incomplete())];
            incomplete = sides.into_iter().find(|(_, is_incomplete)| *is_incomplete).map(|(file, _)| file);
            of_recordings(args, *base, *new, view)?
        }
        (Input::Census(base), Input::Census(new)) => of_censuses(args, format, &base, &new)?,
        (Input::Recording(_), Input::Census(_)) => return Err(mixed(&args.base, &args.new)),
        (Input::Census(_), Input::Recording(_)) => return Err(mixed(&args.new, &args.base)),
    };
    if !args.shared.reading.redact {
        diff.base.file = Some(args.base.display().to_string());
        diff.new.file = Some(args.new.display().to_string());
    }
    let options = args.shared.writing.options(&args.shared.filters, &to);
    let render = |out: &mut dyn Write| match format {
        Format::Text => output::text(&diff, &options, out),
        Format::Json => report2::diff(&diff, &options, out),
        Format::Json1 => output::json(&diff, &options, out),
        Format::Folded => output::folded(&diff, &options, out),
        Format::Flamegraph => output::flamegraph(&diff, &options, out),
        // Formats that know no differences were refused.
        Format::Pprof | Format::Otlp | Format::Dhat => pprof::render_diff(&diff, &options, out),
        Format::Html => html::render_diff(&diff, &options, out),
    };
    to.write(stdout, render)?;
    match incomplete.filter(|_| args.shared.strict) {
        Some(file) => {
            Err(Failure::new(status::INCOMPLETE, format!("{}: its data is incomplete", file.display()))
                .help(format!("`tracer report {}` says what is missing", file.display())))
        }
        None => Ok(status::DONE),
    }
}

/// One of the two inputs that are compared.
enum Input {
    Recording(Box<ManuallyDrop<Profile>>),
    Census(Box<Census>),
}

impl Input {
    /// Reads a file, and finds out which it is.
    fn read(path: &Path, args: &Args, filter: &Filter) -> Result<Self, Failure> {
        match census_text(path)? {
            Some(text) => Census::parse(&text).map(Box::new).map(Self::Census).map_err(|why| {
                Failure::new(status::FAILED, format!("{} is no census: {why}", path.display())).help(KINDS)
            }),
            None => Ok(Self::Recording(Box::new(args.shared.reading.profile(path, filter)?))),
        }
    }
}

const KINDS: &str =
    "name two recordings (`tracer record`), or two censuses (`tracer census --format json > FILE`)";

/// The text of a file that may be a census: it begins as JSON does, or is a pipe, which no recording can be.
/// Any other kind of file, or why it cannot be opened, the reader of recordings tells.
fn census_text(path: &Path) -> Result<Option<String>, Failure> {
    let Ok(meta) = fs::metadata(path) else { return Ok(None) };
    let is_pipe = meta.file_type().is_fifo();
    if !(is_pipe || meta.is_file()) {
        return Ok(None);
    }
    let Ok(file) = File::open(path) else { return Ok(None) };
    let mut file = BufReader::new(file);
    let failed = |error: &dyn Display| {
        Failure::new(status::FAILED, format!("cannot read {}: {error}", path.display())).help(KINDS)
    };
    let head = file.fill_buf().map_err(|error| failed(&error))?;
    let first = head.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') && !is_pipe {
        return Ok(None);
    }
    let mut text = String::new();
    file.take(MAX_CENSUS_BYTES + 1).read_to_string(&mut text).map_err(|error| failed(&error))?;
    if text.len() as u64 > MAX_CENSUS_BYTES {
        return Err(failed(&format!("a census has not more than {}", units::bytes(MAX_CENSUS_BYTES))));
    }
    Ok(Some(text))
}

fn mixed(recording: &Path, census: &Path) -> Failure {
    let error = format!(
        "{} is a recording and {} a census: they cannot be compared",
        recording.display(),
        census.display()
    );
    let recording = recording.display();
    Failure::new(status::USAGE, error).help(format!(
        "a recording has censuses, too: tracer report {recording} --format json | jq .census.end > END.json"
    ))
}

fn of_recordings(
    args: &Args,
    base: ManuallyDrop<Profile>,
    new: ManuallyDrop<Profile>,
    view: View,
) -> Result<Diff, Failure> {
    let files = format!("{} and {}", args.base.display(), args.new.display());
    check_names(&files, &[&base.filtered, &new.filtered])?;
    let mut diff = Diff::of_profiles(&base, &new);
    diff.keep_view(view);
    if let Some(sort) = args.shared.writing.sort {
        diff.sort(view, sort);
    }
    Ok(diff)
}

fn of_censuses(args: &Args, format: Format, base: &Census, new: &Census) -> Result<Diff, Failure> {
    let of_recordings = [
        (format.has_one_source(), "this format"),
        (args.shared.writing.sort.is_some(), "--sort"),
        (args.shared.writing.top.top.is_some(), "--top"),
        (args.shared.reading.rules.is_some(), "--rules"),
        (args.shared.reading.redact, "--redact"),
        (args.shared.strict, "--strict"),
    ];
    let first = of_recordings.iter().find(|(is_asked, _)| *is_asked).map(|(_, what)| *what);
    if let Some(what) = args.shared.filters.first(args.shared.range).or(first) {
        let error = format!("{what} is of stacks, and censuses have none: they tell what, not who");
        return Err(Failure::new(status::USAGE, error).help("compare recordings for that (`tracer record`)"));
    }
    Ok(Diff::of_censuses(base, new))
}

#[cfg(test)]
mod tests;
