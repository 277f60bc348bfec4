//! `tracer push`: a recording sent to a server that keeps profiles.
//!
//! Needs the recording alone: no root, no live process.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueEnum};

use super::failure::{Failure, status};
use super::record::file_from_stdin;
use super::report::profile;
use super::writing::print;
use crate::output::units;
use crate::profile::Filter;
use crate::push::{self, Destination, Patience, Protocol, PushError, SendError};

/// The largest file of headers that is read.
const HEADERS_MAX_BYTES: u64 = 64 << 10;

/// Send a recording to a server that keeps profiles: an OpenTelemetry Collector, Pyroscope
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "\
An address without a path means OTLP's usual one, /v1development/profiles. A server that is busy (429, 5xx), or does not \
answer, is asked up to 5 times. Servers and how to look at what they got: docs/outputs.md.")]
pub struct Args {
    /// The recording
    #[arg(value_name = "FILE", required_unless_present = "file_from_stdin")]
    pub file: Option<PathBuf>,

    /// The recording's name comes from stdin, or nothing does: for `record --push`
    #[arg(long, hide = true, conflicts_with = "file")]
    pub file_from_stdin: bool,

    /// Where to send it: http://HOST:PORT, https://HOST/PATH
    #[arg(long, value_name = "URL")]
    pub to: String,

    /// How the server wants it [default: pyroscope if the URL's path ends in /ingest, else otlp]
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub protocol: Option<ProtocolArg>,

    /// Headers to send along (authorization, tenants), one `Name: value` a line
    #[arg(long, value_name = "F")]
    pub header_file: Option<PathBuf>,

    /// What the server is to call the program [default: its main class, jar or name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Rules of your own, tried before the built-in ones
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
}

/// How a server wants a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    /// OTLP over HTTP, profiles v1development
    Otlp,
    /// Pyroscope's /ingest, with a pprof profile
    Pyroscope,
}

impl From<ProtocolArg> for Protocol {
    fn from(protocol: ProtocolArg) -> Self {
        match protocol {
            ProtocolArg::Otlp => Protocol::Otlp,
            ProtocolArg::Pyroscope => Protocol::Pyroscope,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The recording or the headers cannot be read, or the server did not take it.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let headers = args.header_file.as_deref().map(headers).transpose()?.unwrap_or_default();
    let to = Destination {
        url: args.to.clone(),
        protocol: args.protocol.map(Protocol::from),
        headers,
        name: args.name.clone(),
    };
    let Some(file) = args.file.clone().or_else(file_from_stdin) else { return Ok(status::DONE) };
    print(&send(&file, args.rules.as_deref(), &to)?)?;
    Ok(status::DONE)
}

/// Sends a recording, and gives the sentence that says so.
///
/// # Errors
/// The recording cannot be read, or the server did not take it.
pub(super) fn send(file: &Path, rules: Option<&Path>, to: &Destination) -> Result<String, Failure> {
    let profile = profile(file, rules, &Filter::default())?;
    let sent = push::push(&profile, to, &Patience::default()).map_err(|error| failure(file, &error))?;
    if let Some(partly) = &sent.partly {
        let error = format!("{}: the server took it only in part: {partly}", file.display());
        return Err(Failure::new(status::FAILED, error).help("see the server's limits and its log"));
    }
    let size = units::bytes(sent.bytes);
    Ok(format!("sent {} to {} ({}, {size})\n", file.display(), shown(&sent.url), sent.protocol))
}

/// Refuses an address that is none, and headers that cannot be read.
///
/// # Errors
/// One of them.
pub(super) fn check(url: &str, header_file: Option<&Path>) -> Result<(), Failure> {
    if let Some(path) = header_file {
        headers(path)?;
    }
    push::check(url).map_err(|error| {
        Failure::new(status::USAGE, format!("--push: {error}"))
            .help("name a server as in --push http://localhost:4318")
    })
}

/// A URL without its query, which may have a secret.
fn shown(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

fn failure(file: &Path, error: &PushError) -> Failure {
    let (status, help) = match error {
        PushError::Address(_) => (status::USAGE, "name a server as in --to http://localhost:4318".to_owned()),
        PushError::Send(SendError::Header(_)) => {
            (status::USAGE, "a file of headers has one `Name: value` a line".to_owned())
        }
        PushError::Send(SendError::Refused { status: 401 | 403, .. }) => {
            (status::FAILED, "give what it wants for authorization with --header-file".to_owned())
        }
        PushError::Send(SendError::Refused { status: 404 | 405, .. }) => {
            (status::FAILED, "see docs/outputs.md for the paths by which servers take profiles".to_owned())
        }
        PushError::Send(SendError::Refused { status: 413, .. }) => {
            (status::FAILED, "raise the server's limit for the size of a request".to_owned())
        }
        PushError::Send(SendError::Refused { .. }) => {
            (status::FAILED, "see whether the server takes profiles by this protocol (--protocol)".to_owned())
        }
        PushError::Send(SendError::Moved { location, .. }) => {
            (status::FAILED, format!("send it there, if that is your server: --to {location}"))
        }
        PushError::Send(SendError::Busy { .. } | SendError::Unreachable { .. }) => {
            let again = format!("the recording is kept; later: tracer push {} --to URL", file.display());
            (status::FAILED, again)
        }
    };
    Failure::new(status, error).help(help)
}

/// The headers in a file.
pub(super) fn headers(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let failed = |why: String| {
        Failure::new(status::FAILED, format!("cannot read headers from {}: {why}", path.display()))
            .help("a file of headers has one `Name: value` a line; lines that begin with # are comments")
    };
    let size = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > HEADERS_MAX_BYTES {
        return Err(failed(format!("it is larger than {}", units::bytes(HEADERS_MAX_BYTES))));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(at, line)| {
            // Not the line: it may be a secret.
            let (name, value) =
                line.split_once(':').ok_or_else(|| failed(format!("line {at} has no colon")))?;
            Ok((name.trim().to_lowercase(), value.trim().to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_headers() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("headers");
        fs::write(&file, "# token\nAuthorization: Bearer a:b\n\n X-Scope-OrgID : 7 \n").expect("write");
        let expected = [("authorization", "Bearer a:b"), ("x-scope-orgid", "7")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers(&file).expect("headers"), expected);
        fs::write(&file, "A: b\nsecret\n").expect("write");
        let failure = headers(&file).expect_err("no colon");
        assert!(failure.error.ends_with("line 2 has no colon"), "{}", failure.error);
        assert!(headers(&folder.path().join("none")).is_err());
    }
}
