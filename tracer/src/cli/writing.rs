//! Form of a report or a comparison: the flags that `report` and `diff` share.

use clap::{Args, ValueEnum};

use super::destination::{Destination, DestinationArgs};
use super::failure::{Failure, status};
use super::filters::{FilterArgs, RangeArgs};
use super::format::{Format, by_ending};
use super::plain::TopArgs;
use super::reading::ReadingArgs;
use crate::output::Options;
use crate::profile::Sort;

/// The flags.
#[derive(Clone, Debug, Args)]
pub struct WritingArgs {
    /// Format of the result [default: by the ending of OUT (.txt, .html, .svg, .json, .folded, .pb.gz, .otlp, .dhat), else
    /// text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,

    #[command(flatten)]
    pub to: DestinationArgs,

    /// Source of the stacks' bytes, in all formats but text and json [default: allocator, or mapping where --category
    /// has nothing else]
    #[arg(long, value_enum, value_name = "SOURCE")]
    pub source: Option<SourceArg>,

    /// Lines of code in the names of frames (folded); other formats have them
    #[arg(long)]
    pub lines: bool,

    /// Stacks from the call that allocated to the thread's entry (folded, flamegraph)
    #[arg(long)]
    pub inverted: bool,

    /// Order of rows [default: most bytes in the view; of a comparison, those that grew most]
    #[arg(long, value_enum, value_name = "KEY")]
    pub sort: Option<Sort>,

    #[command(flatten)]
    pub top: TopArgs,

    /// Whole stacks in text and flame graphs
    #[arg(short, long)]
    pub verbose: bool,

    /// Every part in text: every table and finding; --top says how many rows of each
    #[arg(short, long)]
    pub all: bool,
}

/// Flags that `report` and `diff` share: what is read, of which part, and how it is written.
#[derive(Clone, Debug, Args)]
pub struct SharedArgs {
    #[command(flatten)]
    pub writing: WritingArgs,

    #[command(flatten)]
    pub reading: ReadingArgs,

    /// Exit with status 4 if a recording is not whole or anything was lost
    #[arg(long)]
    pub strict: bool,

    #[command(flatten)]
    pub filters: FilterArgs,

    #[command(flatten)]
    pub range: RangeArgs,
}

/// Source of the stacks' bytes.
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

impl WritingArgs {
    /// The format, and what is written to.
    ///
    /// # Errors
    /// A flag is not of this format, a terminal can do nothing with it, or the file exists or cannot be written.
    pub(super) fn open(&self, terminal: bool) -> Result<(Format, Destination), Failure> {
        let format = match (self.format, self.to.file()) {
            (Some(format), _) => format,
            (None, Some(path)) => by_ending(path, false)?,
            (None, None) => Format::Text,
        };
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
        Ok((format, self.to.open(format, terminal)?))
    }

    /// Options of rendering.
    pub(super) fn options(&self, filters: &FilterArgs, to: &Destination) -> Options {
        Options {
            view: filters.view(),
            category: filters.category(),
            source: self.source.map(SourceArg::as_str),
            lines: self.lines,
            inverted: self.inverted,
            top: self.top.top,
            color: to.color,
            verbose: self.verbose,
            all: self.all,
            width: to.width,
            pretty: to.pretty,
            file: None,
        }
    }
}
