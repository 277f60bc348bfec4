//! How and where a report or a comparison is written: the flags that `report` and `diff` share.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::failure::{Failure, status};
use super::output_file::OutputFile;
use super::values;
use crate::profile::Sort;

/// The flags.
#[derive(Clone, Debug, Args)]
pub struct WritingArgs {
    /// How to write it [default: by the ending of OUT (.txt, .html, .svg, .json, .folded, .pb.gz, .otlp, .dhat), else text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,

    /// Write to this file instead of stdout (-)
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,

    /// Indent JSON, one value a line
    #[arg(long)]
    pub pretty: bool,

    /// Replace OUT if it exists
    #[arg(long, requires = "output")]
    pub force: bool,

    /// What stacks are counted of, in all formats but text and json [default: allocator, or mapping where --category
    /// has nothing else]
    #[arg(long, value_enum, value_name = "SOURCE")]
    pub source: Option<SourceArg>,

    /// Lines of code in the names of frames (folded, flamegraph); other formats have them
    #[arg(long)]
    pub lines: bool,

    /// Stacks from the call that allocated to the thread's entry (folded, flamegraph)
    #[arg(long)]
    pub inverted: bool,

    /// What comes first [default: most bytes in the view; of a comparison, those that grew most]
    #[arg(long, value_enum, value_name = "KEY")]
    pub sort: Option<SortArg>,

    /// Show so many sites at most
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub top: Option<usize>,

    /// Rules of your own, tried before the built-in ones
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,

    /// Colours in text
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and stacks for people
    Text,
    /// Everything, for programs: tracer.report/2, tracer.diff/2 (docs/file-format.md)
    Json,
    /// The same as earlier versions wrote it, for this version only: tracer.report/1, tracer.diff/1
    Json1,
    /// One line a stack, root first, for flame graph tools
    Folded,
    /// An SVG for the browser
    Flamegraph,
    /// A page with all of it for the browser, in one file
    Html,
    /// A profile for pprof, Pyroscope, Parca, Perfetto, speedscope (docs/outputs.md)
    Pprof,
    /// A profile for the OpenTelemetry Collector (docs/outputs.md)
    Otlp,
    /// A profile for dh_view and the Firefox Profiler (docs/outputs.md)
    Dhat,
}

impl Format {
    /// Is it of bytes that no person reads?
    const fn is_binary(self) -> bool {
        matches!(self, Format::Pprof | Format::Otlp)
    }

    /// Does it draw stacks of one source?
    pub(super) const fn has_one_source(self) -> bool {
        !matches!(self, Format::Text | Format::Json)
    }
}

/// What stacks are counted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SourceArg {
    /// Bytes asked of malloc and its like
    Allocator,
    /// Bytes mapped
    Mapping,
}

impl SourceArg {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            SourceArg::Allocator => "allocator",
            SourceArg::Mapping => "mapping",
        }
    }
}

/// What rows come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SortArg {
    /// Bytes in the view
    Bytes,
    /// Allocations in the view
    Count,
    /// All bytes allocated
    Allocated,
    /// Growth of what is not freed
    Growth,
}

impl From<SortArg> for Sort {
    fn from(sort: SortArg) -> Sort {
        match sort {
            SortArg::Bytes => Sort::Bytes,
            SortArg::Count => Sort::Count,
            SortArg::Allocated => Sort::Allocated,
            SortArg::Growth => Sort::Growth,
        }
    }
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// Is text to be coloured, written to a terminal or not?
    pub fn is_on(self, terminal: bool) -> bool {
        let wanted = || {
            let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            !no_color && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
        };
        match self {
            Color::Auto => terminal && wanted(),
            Color::Always => true,
            Color::Never => false,
        }
    }
}

/// Text and JSON: the formats of results that have no stacks.
pub(super) fn plain_formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["text", "json"])
        .map(|name| if name == "json" { Format::Json } else { Format::Text })
}

/// Writes `text` to stdout, whole.
///
/// # Errors
/// Stdout cannot be written (a full disk, say).
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()), "stdout")
}

/// Where it goes.
pub(super) struct Writing {
    pub(super) format: Format,
    pub(super) color: bool,
    /// Columns of the terminal; 0: it is none.
    pub(super) width: usize,
    file: Option<OutputFile>,
}

impl WritingArgs {
    /// Opens what is written to: before the work, so that a file that cannot be written is no surprise at the end.
    ///
    /// # Errors
    /// A picture would go to a terminal, or the file exists or cannot be written.
    pub(super) fn open(&self, terminal: bool) -> Result<Writing, Failure> {
        let output = self.output.as_deref();
        // `-o -` is stdout, as everywhere.
        let output = output.filter(|path| *path != Path::new("-"));
        let format = match (self.format, output) {
            (Some(format), _) => format,
            (None, Some(path)) => by_ending(path)?,
            (None, None) => Format::Text,
        };
        if format == Format::Flamegraph && output.is_none() && terminal {
            return Err(Failure::new(status::USAGE, "a flame graph is a picture, and stdout is a terminal")
                .help("write it to a file with -o OUT.svg"));
        }
        if format == Format::Html && output.is_none() && terminal {
            return Err(Failure::new(status::USAGE, "a page is for a browser, and stdout is a terminal")
                .help("write it to a file with -o OUT.html"));
        }
        if format.is_binary() && output.is_none() && terminal {
            return Err(Failure::new(status::USAGE, "this format is not text, and stdout is a terminal")
                .help("write it to a file with -o OUT"));
        }
        if self.source.is_some() && !format.has_one_source() {
            return Err(Failure::new(
                status::USAGE,
                "--source is of stacks, and this format has the rows of both sources",
            )
            .help("add --format html, folded, flamegraph, pprof, otlp or dhat"));
        }
        if self.inverted && !matches!(format, Format::Folded | Format::Flamegraph) {
            return Err(Failure::new(status::USAGE, "--inverted is of folded stacks and flame graphs").help(
                "add --format folded or flamegraph; a page (-o OUT.html) has an inverted view of its own",
            ));
        }
        let file = output.map(|path| OutputFile::create(path, self.force)).transpose()?;
        let on_terminal = terminal && file.is_none();
        Ok(Writing {
            format,
            color: self.color.is_on(on_terminal),
            width: if on_terminal { terminal_width() } else { 0 },
            file,
        })
    }
}

impl Writing {
    /// Writes what `render` writes.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(
        self,
        stdout: &mut dyn Write,
        render: impl Fn(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        match self.file {
            Some(file) => file.write(render),
            None => written(render(stdout).and_then(|()| stdout.flush()), "stdout"),
        }
    }
}

/// Takes a reader that has gone away for one that has seen enough.
pub(super) fn written(result: io::Result<()>, to: &str) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(status::FAILED, format!("cannot write to {to}: {error}")))
        }
        _ => Ok(()),
    }
}

/// The format that the ending of a file means. Pipes and devices have none, and get text.
fn by_ending(output: &Path) -> Result<Format, Failure> {
    let name = output.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // Files of pprof have several names.
    if [".pb.gz", ".pprof.gz", ".pprof"].iter().any(|ending| name.ends_with(ending)) {
        return Ok(Format::Pprof);
    }
    let ending = output.extension().and_then(|ending| ending.to_str());
    Ok(match ending {
        None | Some("txt" | "text" | "log" | "out") => Format::Text,
        Some("html" | "htm") => Format::Html,
        Some("svg") => Format::Flamegraph,
        Some("json") => Format::Json,
        Some("folded" | "collapsed") => Format::Folded,
        Some("otlp") => Format::Otlp,
        Some("dhat") => Format::Dhat,
        Some(_) if output.exists() && !output.is_file() => Format::Text,
        Some(ending) => {
            let error = format!("{}: `.{ending}` is the ending of no format", output.display());
            return Err(Failure::new(status::USAGE, error).help(
                "use .txt, .json, .html, .svg, .folded, .pb.gz, .otlp or .dhat, or say which with --format",
            ));
        }
    })
}

/// The columns of stdout's terminal; 0: it is none, or does not tell.
pub(super) fn terminal_width() -> usize {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
    size.map_or(0, |size| usize::from(size.ws_col))
}
