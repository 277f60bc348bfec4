//! Destination of a result, and its look there: the flags that every command with a result has.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::failure::{Failure, status};
use super::format::Format;
use super::output_file::OutputFile;

/// The flags.
#[derive(Clone, Debug, Default, Args)]
pub struct DestinationArgs {
    /// Write to this file instead of stdout (-)
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,

    /// Replace OUT if it exists
    #[arg(long, requires = "output")]
    pub force: bool,

    /// Indent JSON, one value a line
    #[arg(long)]
    pub pretty: bool,

    /// Colours in text
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
}

/// Use of colours.
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

impl DestinationArgs {
    /// The file that is named. `-o -` is stdout, as everywhere.
    pub(super) fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }

    /// Opens what is written to: before the work, so that a file that cannot be written is no surprise at the end.
    ///
    /// # Errors
    /// A terminal can do nothing with the format, or the file exists or cannot be written.
    pub(super) fn open(&self, format: Format, terminal: bool) -> Result<Destination, Failure> {
        let output = self.file();
        if self.pretty && !matches!(format, Format::Json | Format::Json1) {
            return Err(Failure::new(status::USAGE, "--pretty is of JSON").help("add --format json"));
        }
        if let (Some((what, ending)), None, true) = (format.not_for_terminals(), output, terminal) {
            return Err(Failure::new(status::USAGE, format!("{what}, and stdout is a terminal"))
                .help(format!("write it to a file with -o OUT{ending}")));
        }
        let file = output.map(|path| OutputFile::create(path, self.force)).transpose()?;
        let on_terminal = terminal && file.is_none();
        Ok(Destination {
            color: self.color.is_on(on_terminal),
            width: if on_terminal { terminal_width() } else { 0 },
            pretty: self.pretty,
            file,
        })
    }
}

/// Destination of a result.
pub(super) struct Destination {
    pub(super) color: bool,
    /// Columns of the terminal; 0: it is none.
    pub(super) width: usize,
    pub(super) pretty: bool,
    file: Option<OutputFile>,
}

impl Destination {
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

/// Writes `text` to stdout, whole.
///
/// # Errors
/// Stdout cannot be written (a full disk, say).
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()), "stdout")
}

/// Takes a reader that has gone away for one that has seen enough.
pub(super) fn written(result: io::Result<()>, to: &str) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(status::FAILED, format!("cannot write to {to}: {error}"))
                .help("see whether its disk is full, or write to another file with -o OUT"))
        }
        _ => Ok(()),
    }
}

/// The columns of stdout's terminal; 0: it is none, or does not tell.
pub(super) fn terminal_width() -> usize {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
    size.map_or(0, |size| usize::from(size.ws_col))
}
