//! Formats of results, and the endings of files that mean them.

use std::path::Path;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::failure::{Failure, status};

/// Form in which a result is written.
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
    /// Does the format draw stacks of one source?
    pub(super) const fn has_one_source(self) -> bool {
        !matches!(self, Format::Text | Format::Json)
    }

    /// Kind of the format, if a terminal can do nothing with it, and the ending of a file for it.
    pub(super) const fn not_for_terminals(self) -> Option<(&'static str, &'static str)> {
        match self {
            Format::Flamegraph => Some(("a flame graph is a picture", ".svg")),
            Format::Html => Some(("a page is for a browser", ".html")),
            Format::Pprof => Some(("this format is not text", ".pb.gz")),
            Format::Otlp => Some(("this format is not text", ".otlp")),
            _ => None,
        }
    }
}

/// Text and JSON: the formats of results that have no stacks.
pub(super) fn plain_formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["text", "json"])
        .map(|name| if name == "json" { Format::Json } else { Format::Text })
}

/// The format that the ending of a file means, of those that a command writes: all, or text and JSON. Pipes and devices
/// have none, and get text.
///
/// # Errors
/// It is the ending of no format, or of another one.
pub(super) fn by_ending(output: &Path, is_plain: bool) -> Result<Format, Failure> {
    match known_ending(output) {
        Some(format) if !is_plain || matches!(format, Format::Text | Format::Json) => Ok(format),
        None if output.exists() && !output.is_file() => Ok(Format::Text),
        _ => {
            let (of, help) = match is_plain {
                true => ("no format of this command", "use .txt or .json, or say which with --format"),
                false => (
                    "no format",
                    "use .txt, .json, .html, .svg, .folded, .pb.gz, .otlp or .dhat, or say which with --format",
                ),
            };
            let ending = output.extension().unwrap_or_default().display();
            let error = format!("{}: `.{ending}` is the ending of {of}", output.display());
            Err(Failure::new(status::USAGE, error).help(help))
        }
    }
}

fn known_ending(output: &Path) -> Option<Format> {
    let name = output.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // Files of pprof have several names.
    if [".pb.gz", ".pprof.gz", ".pprof"].iter().any(|ending| name.ends_with(ending)) {
        return Some(Format::Pprof);
    }
    Some(match output.extension().and_then(|ending| ending.to_str()) {
        None | Some("txt" | "text" | "log" | "out") => Format::Text,
        Some("html" | "htm") => Format::Html,
        Some("svg") => Format::Flamegraph,
        Some("json") => Format::Json,
        Some("folded" | "collapsed") => Format::Folded,
        Some("otlp") => Format::Otlp,
        Some("dhat") => Format::Dhat,
        Some(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings() {
        for (name, format) in [
            ("x", Format::Text),
            ("x.txt", Format::Text),
            ("x.json", Format::Json),
            ("x.svg", Format::Flamegraph),
            ("x.pb.gz", Format::Pprof),
            ("x.collapsed", Format::Folded),
            (".json", Format::Text),
        ] {
            assert_eq!(by_ending(Path::new(name), false).expect(name), format, "{name}");
        }
        for (name, is_plain) in [("x.png", false), ("x.gz", false), ("x.trec", true), ("x.svg", true)] {
            let failure = by_ending(Path::new(name), is_plain).expect_err(name);
            assert_eq!(failure.status, status::USAGE);
            assert!(failure.help.is_some_and(|help| help.contains(".json")));
        }
    }
}
