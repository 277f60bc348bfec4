//! Results without stacks, as text or JSON: the flags of the commands that look at processes, and what writes by them.

use std::io::{self, IsTerminal as _};

use clap::Args;
use serde::Serialize;

use super::destination::{Destination, DestinationArgs};
use super::failure::Failure;
use super::format::{Format, by_ending, plain_formats};
use super::values;
use crate::output::{Screen, json_text};

/// The flags.
#[derive(Clone, Debug, Default, Args)]
pub struct PlainArgs {
    /// Format of the result [default: by the ending of OUT (.txt, .json), else text]
    #[arg(long, value_parser = plain_formats(), value_name = "FORMAT")]
    pub format: Option<Format>,

    #[command(flatten)]
    pub to: DestinationArgs,
}

/// Number of rows that are shown.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct TopArgs {
    /// Show so many rows at most: sites, or rows of each list
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub top: Option<usize>,
}

impl PlainArgs {
    /// Opens what is written to, before the work.
    ///
    /// # Errors
    /// The file exists, cannot be written, or has the ending of another format.
    pub(super) fn open(&self) -> Result<Plain, Failure> {
        let format = match (self.format, self.to.file()) {
            (Some(format), _) => format,
            (None, Some(path)) => by_ending(path, true)?,
            (None, None) => Format::Text,
        };
        let to = self.to.open(format, io::stdout().is_terminal())?;
        Ok(Plain { is_json: format == Format::Json, to })
    }
}

/// Destination of a result.
pub(super) struct Plain {
    pub(super) is_json: bool,
    to: Destination,
}

impl Plain {
    /// Layout of text.
    pub(super) fn screen(&self, top: TopArgs) -> Screen {
        Screen { color: self.to.color, width: self.to.width, top: top.top }
    }

    /// Writes text.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn text(self, text: &str) -> Result<(), Failure> {
        self.to.write(&mut io::stdout().lock(), |out| out.write_all(text.as_bytes()))
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let pretty = self.to.pretty;
        self.to.write(&mut io::BufWriter::new(io::stdout().lock()), |mut out| {
            json_text::write(&mut out, value, pretty)?;
            out.write_all(b"\n")
        })
    }
}
