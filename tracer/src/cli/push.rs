//! `tracer push`: a recording sent to a server that keeps profiles.
//!
//! Needs the recording alone: no root, no live process.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;

use super::destination::print;
use super::failure::{Failure, status};
use super::filters::{FilterArgs, PushRangeArgs, check_names};
use super::reading::ReadingArgs;
use super::record::file_from_stdin;
use super::writing::SourceArg;
use crate::output::{Options, units};
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

    /// Server to send it to: http://HOST:PORT, https://HOST/PATH
    #[arg(long, value_name = "URL")]
    pub to: String,

    /// Protocol of the server [default: pyroscope if the URL's path ends in /ingest, else otlp]
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub protocol: Option<Protocol>,

    /// Headers to send along (authorization, tenants), one `Name: value` a line
    #[arg(long, value_name = "F")]
    pub header_file: Option<PathBuf>,

    /// The program's name on the server [default: its main class, jar or name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Source of the stacks' bytes [default: allocator, or mapping where --category has nothing else]
    #[arg(long, value_enum, value_name = "SOURCE")]
    pub source: Option<SourceArg>,

    #[command(flatten)]
    pub reading: ReadingArgs,

    #[command(flatten)]
    pub filters: FilterArgs,

    #[command(flatten)]
    pub range: PushRangeArgs,
}

/// Runs the command.
///
/// # Errors
/// The recording or the headers cannot be read, or the server did not take it.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let headers = args.header_file.as_deref().map(headers).transpose()?.unwrap_or_default();
    let to = Destination { url: args.to.clone(), protocol: args.protocol, headers, name: args.name.clone() };
    let Some(file) = args.file.clone().or_else(file_from_stdin) else { return Ok(status::DONE) };
    print(&send(&file, args, &to)?)?;
    Ok(status::DONE)
}

/// Sends a recording, and gives the sentence that says so.
///
/// # Errors
/// The recording cannot be read, or the server did not take it.
fn send(file: &Path, args: &Args, to: &Destination) -> Result<String, Failure> {
    let filter = args.filters.filter(args.range.into())?;
    let mut profile = args.reading.profile(file, &filter)?;
    check_names(&file.display().to_string(), &[&profile.filtered])?;
    let view = args.filters.view();
    profile.keep_view(view);
    let options = Options {
        view,
        category: args.filters.category(),
        source: args.source.map(SourceArg::as_str),
        ..Options::default()
    };
    let sent =
        push::push(&profile, &options, to, &Patience::default()).map_err(|error| failure(file, &error))?;
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
/// The address or the headers cannot be used.
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
    use std::io::Read as _;

    use clap::Parser as _;
    use flate2::read::GzDecoder;

    use super::*;
    use crate::attribute::Rules;
    use crate::output::otlp;
    use crate::profile::Profile;
    use crate::push::receiver::{Do, TAKEN, server};
    use crate::recording::{self, fixture};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// Runs `push FILE --to http://127.0.0.1:PORT ARGS`.
    fn push_to(port: u16, file: &Path, args: &[&str]) -> Result<u8, Failure> {
        let (to, file) = (format!("http://127.0.0.1:{port}"), file.to_str().expect("path"));
        let words = ["push", file, "--to", &to].into_iter().chain(args.iter().copied());
        run(&Line::try_parse_from(words).expect("arguments").args)
    }

    /// A profile that a server gets has the sums of the report with the same filters.
    #[test]
    fn what_is_sent_is_what_passes() {
        let (_folder, path) = fixture::finished();
        let recording = recording::read(&path).expect("read");
        let (port, requests, served) = server(vec![Do::Answer(TAKEN), Do::Answer(TAKEN), Do::Answer(TAKEN)]);
        for args in
            [&[][..], &["--category", "zlib", "--redact"], &["--from", "2", "--until", "5", "--redact"]]
        {
            assert_eq!(push_to(port, &path, args).expect("sent"), status::DONE);
            let request = requests.recv().expect("request");
            let at = request.windows(4).position(|part| part == b"\r\n\r\n").expect("a head") + 4;
            let mut body = Vec::new();
            GzDecoder::new(&request[at..]).read_to_end(&mut body).expect("gzip");
            let line =
                Line::try_parse_from(["push", "x", "--to", "y"].iter().chain(args)).expect("arguments");
            let filter = line.args.filters.filter(line.args.range.into()).expect("filter");
            let profile = Profile::filtered(&recording, &Rules::builtin(), &filter).expect("kept");
            let live = i64::try_from(profile.totals.live_bytes).expect("small");
            assert_eq!(otlp::tests::sums(&body)["inuse_space"], live, "{args:?}");
            let has_command = String::from_utf8_lossy(&body).contains("-Xmx");
            assert_eq!(has_command, args.is_empty(), "--redact leaves the command line out");
        }
        served.join().expect("served");
    }

    #[test]
    fn a_refusal_has_the_server_s_words_and_the_status() {
        let (_folder, path) = fixture::finished();
        for (answer, word, help) in [
            (
                "HTTP/1.1 400 Bad\r\ncontent-length: 12\r\n\r\nno such type",
                "answered 400: no such type",
                "--protocol",
            ),
            ("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n", "answered 403", "--header-file"),
            ("HTTP/1.1 413 Large\r\ncontent-length: 0\r\n\r\n", "answered 413", "limit"),
            (
                "HTTP/1.1 302 Go\r\nlocation: http://b/\r\ncontent-length: 0\r\n\r\n",
                "at http://b/",
                "--to http://b/",
            ),
        ] {
            let (port, _requests, served) = server(vec![Do::Answer(answer)]);
            let failure = push_to(port, &path, &[]).expect_err(word);
            assert_eq!(failure.status, status::FAILED);
            assert!(failure.error.contains(word), "{failure}");
            assert!(failure.help.is_some_and(|text| text.contains(help)), "{word}: {help}");
            served.join().expect("served");
        }
        let failure = push_to(1, &path, &["--category", "zib"]).expect_err("no category");
        assert_eq!(failure.status, status::USAGE);
        assert!(path.exists());
    }

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
