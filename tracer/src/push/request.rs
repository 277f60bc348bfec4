//! The request: the body, its headers and the whole URL.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use ureq::http::Uri;

use super::{AddressError, Destination};
use crate::output::otlp::proto::Refused;
use crate::output::{Options, otlp, pprof, program_name, started_ns};
use crate::profile::Profile;

/// Path at which OTLP takes profiles.
const OTLP_PATH: &str = "/v1development/profiles";

/// Protocol in which a server takes a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Otlp,
    Pyroscope,
}

/// A request, ready to be sent.
pub(super) struct Request {
    pub(super) protocol: Protocol,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// The address of a server.
pub(super) fn address(url: &str) -> Result<Uri, AddressError> {
    let is_web = ["http://", "https://"]
        .iter()
        .any(|scheme| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    if !is_web {
        return Err(AddressError::Scheme(url.to_owned()));
    }
    let no_url = |why: String| AddressError::NoUrl(url.to_owned(), why);
    let uri: Uri = url.parse().map_err(|why| no_url(format!("{why}")))?;
    // A port that is none would be left out.
    let after_host = uri.authority().and_then(|it| {
        it.as_str().rsplit_once('@').map_or(it.as_str(), |(_, it)| it).split_once(uri.host()?)
    });
    if uri.port_u16().is_none() && after_host.is_some_and(|(_, port)| !port.is_empty()) {
        return Err(no_url("its port is not from 1 to 65535".to_owned()));
    }
    Ok(uri)
}

/// The request that sends a profile.
pub(super) fn of(profile: &Profile, options: &Options, to: &Destination) -> Result<Request, AddressError> {
    let uri = address(&to.url)?;
    let by_path = if uri.path().ends_with("/ingest") { Protocol::Pyroscope } else { Protocol::Otlp };
    let protocol = to.protocol.unwrap_or(by_path);
    let name = to.name.clone().unwrap_or_else(|| program_name(&profile.target));
    let mut request = match protocol {
        Protocol::Otlp => otlp_request(profile, options, &uri, &name),
        Protocol::Pyroscope => pyroscope_request(profile, options, &uri, &name),
    };
    request.headers.extend(to.headers.iter().cloned());
    Ok(request)
}

fn otlp_request(profile: &Profile, options: &Options, uri: &Uri, name: &str) -> Request {
    let body = otlp::encode(profile, options, Some(name));
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
    // A server's address alone: its usual path.
    let path = if matches!(uri.path(), "" | "/") { OTLP_PATH } else { uri.path() };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Request {
        protocol: Protocol::Otlp,
        url: format!("{}{path}{query}", origin(uri)),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: compressed(&body),
    }
}

fn pyroscope_request(profile: &Profile, options: &Options, uri: &Uri, name: &str) -> Request {
    let mut file = Vec::new();
    // A vector takes all that is written.
    let _ = pprof::render(profile, options, &mut file);
    let boundary = boundary(&file);
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"profile\"; filename=\"profile.pprof\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(&file);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let path = if matches!(uri.path(), "" | "/") { "/ingest" } else { uri.path() };
    let from_ns = started_ns(&profile.session);
    let until_ns = from_ns.saturating_add(profile.session.duration_ns);
    let own = uri.query().map(|query| format!("{query}&")).unwrap_or_default();
    let url = format!(
        "{}{path}?{own}name={}&from={}&until={}&format=pprof&spyName=tracer",
        origin(uri),
        percent_encoded(name),
        from_ns / 1_000_000_000,
        until_ns.div_ceil(1_000_000_000),
    );
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let headers = vec![("content-type".to_owned(), content_type)];
    Request { protocol: Protocol::Pyroscope, url, headers, body }
}

/// Message of an OTLP server about the part that it did not take. `None` if it took all.
pub fn partly(answer: &[u8]) -> Option<String> {
    let refused = Refused::decode(answer).ok()?.partial_success?;
    let text = crate::output::clean(&refused.error_message).into_owned();
    (refused.rejected_profiles > 0 || !text.is_empty())
        .then(|| format!("{} of the profiles were rejected: {text}", refused.rejected_profiles))
}

fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    format!("{scheme}://{}", uri.authority().map_or("", |authority| authority.as_str()))
}

/// A line that the file does not have.
fn boundary(file: &[u8]) -> String {
    let is_in = |boundary: &str| file.windows(boundary.len()).any(|part| part == boundary.as_bytes());
    let candidates = (0_u64..).map(|number| format!("tracer-part-{number:016x}"));
    candidates.into_iter().find(|boundary| !is_in(boundary)).unwrap_or_default()
}

fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let compress = || -> io::Result<Vec<u8>> {
        let mut compressed = GzEncoder::new(Vec::new(), Compression::fast());
        compressed.write_all(bytes)?;
        compressed.finish()
    };
    // A vector takes all that is written.
    compress().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Rules;
    use crate::recording::{self, fixture};

    fn request(url: &str) -> Result<Request, AddressError> {
        let (_folder, path) = fixture::finished();
        let profile = Profile::build(&recording::read(&path).expect("read"), &Rules::builtin());
        let to = Destination {
            url: url.to_owned(),
            protocol: None,
            headers: vec![("x-scope-orgid".to_owned(), "7".to_owned())],
            name: Some("shop/é 1".to_owned()),
        };
        of(&profile, &Options::default(), &to)
    }

    #[test]
    fn the_path_tells_the_protocol() {
        let of = |url: &str| request(url).map(|request| (request.protocol, request.url)).expect("request");
        let (protocol, url) = of("http://collector:4318");
        assert_eq!(
            (protocol, url.as_str()),
            (Protocol::Otlp, "http://collector:4318/v1development/profiles")
        );
        let (_, url) = of("https://gateway.acme.com/otlp/profiles?tenant=7");
        assert_eq!(url, "https://gateway.acme.com/otlp/profiles?tenant=7");
        let (protocol, url) = of("http://pyroscope:4040/ingest");
        assert_eq!(protocol, Protocol::Pyroscope);
        let query = url.strip_prefix("http://pyroscope:4040/ingest?").expect("query");
        assert!(query.starts_with("name=shop%2F%C3%A9%201&from="), "{query}");
        for wrong in ["collector:4318", "ftp://x/", "http//x", "", "file:///etc/passwd"] {
            assert!(matches!(request(wrong), Err(AddressError::Scheme(_))), "{wrong}");
        }
        for wrong in ["http://", "http://a b/", "http://a:99999/", "http://[::1]:70000", "http://u:p@a:0x1/"]
        {
            assert!(matches!(request(wrong), Err(AddressError::NoUrl(..))), "{wrong}");
        }
        for right in ["http://[::1]", "HTTP://[::1]:80/ingest", "http://u:p@a", "https://u@a:1/"] {
            assert!(request(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn a_request_has_the_headers_that_were_asked_for() {
        let request = request("http://localhost/ingest").expect("request");
        assert!(request.headers.iter().any(|(name, value)| name == "x-scope-orgid" && value == "7"));
        let (_, content_type) = request.headers.first().expect("type");
        let boundary = content_type.rsplit('=').next().expect("boundary");
        let parts = request.body.windows(boundary.len()).filter(|part| *part == boundary.as_bytes()).count();
        assert_eq!(parts, 2);
    }

    #[test]
    fn what_a_server_took_in_part_is_told() {
        let said = Refused {
            partial_success: Some(otlp::proto::PartialSuccess {
                rejected_profiles: 2,
                error_message: "too\u{7} large".to_owned(),
            }),
        };
        let text = partly(&said.encode_to_vec()).expect("told");
        assert_eq!(text, "2 of the profiles were rejected: too\u{fffd} large");
        assert_eq!(partly(&[]), None);
        assert_eq!(partly(b"<html>"), None);
    }
}
