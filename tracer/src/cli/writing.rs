//! How and where a report or a comparison is written: the flags that `report` and `diff` share.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::failure::{Failure, status};
use super::output_file::OutputFile;

/// The flags.
#[derive(Clone, Debug, Args)]
pub struct WritingArgs {
    /// How to write it [default: by the ending of OUT (.html, .svg, .json, .folded, .pb.gz, .otlp, .dhat), else text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,

    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,

    /// Indent JSON, one value a line
    #[arg(long)]
    pub pretty: bool,

    /// Replace OUT if it exists
    #[arg(long, requires = "output")]
    pub force: bool,

    /// Only this category, by its id (zlib, thread-stack, native:libfoo.so, ...)
    #[arg(long, value_name = "ID")]
    pub category: Option<String>,

    /// What stacks are counted of, in all formats but text and json [default: allocator, or mapping where --category
    /// has nothing else]
    #[arg(long, value_enum, value_name = "SOURCE")]
    pub source: Option<SourceArg>,

    /// Lines of code in the names of frames (folded, flamegraph); other formats have them
    #[arg(long)]
    pub lines: bool,

    /// Show so many sites at most
    #[arg(long, value_name = "N")]
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
        let format = self.format.unwrap_or_else(|| by_ending(self.output.as_deref()));
        if format == Format::Flamegraph && self.output.is_none() && terminal {
            return Err(Failure::new(status::USAGE, "a flame graph is a picture, and stdout is a terminal")
                .help("write it to a file with -o OUT.svg"));
        }
        if format == Format::Html && self.output.is_none() && terminal {
            return Err(Failure::new(status::USAGE, "a page is for a browser, and stdout is a terminal")
                .help("write it to a file with -o OUT.html"));
        }
        if format.is_binary() && self.output.is_none() && terminal {
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
        let file = self.output.as_deref().map(|path| OutputFile::create(path, self.force)).transpose()?;
        let on_terminal = terminal && file.is_none();
        Ok(Writing { format, color: self.color.is_on(on_terminal), width: terminal_width(on_terminal), file })
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

/// The format that the ending of a file means.
fn by_ending(output: Option<&Path>) -> Format {
    let name = output.and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    // Files of pprof have several names.
    if [".pb.gz", ".pprof.gz", ".pprof"].iter().any(|ending| name.ends_with(ending)) {
        return Format::Pprof;
    }
    let ending = output.and_then(Path::extension).and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending {
        "html" | "htm" => Format::Html,
        "svg" => Format::Flamegraph,
        "json" => Format::Json,
        "folded" | "collapsed" => Format::Folded,
        "otlp" => Format::Otlp,
        "dhat" => Format::Dhat,
        _ => Format::Text,
    }
}

/// The columns of stdout's terminal; 0: it is none, or does not tell.
pub(super) fn terminal_width(is_terminal: bool) -> usize {
    let size = is_terminal.then(|| rustix::termios::tcgetwinsize(io::stdout()).ok()).flatten();
    size.map_or(0, |size| usize::from(size.ws_col))
}
