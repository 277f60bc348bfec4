//! A request sent, and sent again while the server may only be busy.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderName, HeaderValue, Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};

use super::request::Request;
use crate::output::clean;

/// Bytes that are read of an answer.
const ANSWER_BYTES: u64 = 64 << 10;
/// Characters that are shown of one.
const SHOWN_CHARS: usize = 300;
/// The longest that a server may ask to be left alone.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Patience with a server: time to wait, and number of requests.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Requests, at most.
    pub tries: u32,
    /// Time from a request's begin to its answer's end.
    pub timeout: Duration,
    /// Time before the second request; twice as long before each further one.
    pub wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 5, timeout: Duration::from_secs(30), wait: Duration::from_secs(1) }
    }
}

/// Reason why a request did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A text that was given as a header cannot be one.
    #[error("`{0}` cannot be a header")]
    Header(String),
    /// The server said no, and would again.
    #[error("{url} answered {status}{text}")]
    Refused { url: String, status: u16, text: String },
    /// The server leads elsewhere.
    #[error("{url} answered {status}: it is elsewhere, at {location}")]
    Moved { url: String, status: u16, location: String },
    /// The server had its tries.
    #[error("{url} answered {status}{text}, {tries} times")]
    Busy { url: String, status: u16, text: String, tries: u32 },
    /// No answer.
    #[error("cannot send to {url}: {why}{}", times(*tries))]
    Unreachable { url: String, why: String, tries: u32 },
}

fn times(tries: u32) -> String {
    if tries > 1 { format!(", {tries} times") } else { String::new() }
}

/// Result of one request.
enum Outcome {
    Taken(Vec<u8>),
    /// May go better later.
    Later(SendError, Option<Duration>),
    Never(SendError),
}

/// Sends a request, and gives the answer's first bytes.
pub(super) fn send(request: &Request, patience: &Patience) -> Result<Vec<u8>, SendError> {
    let agent = agent(patience);
    let mut wait = patience.wait;
    let tries = patience.tries.max(1);
    let mut tried = 1;
    loop {
        let (error, asked) = match attempt(&agent, request, tried)? {
            Outcome::Taken(answer) => return Ok(answer),
            Outcome::Never(error) => return Err(error),
            Outcome::Later(error, asked) => (error, asked),
        };
        if tried >= tries {
            return Err(error);
        }
        let pause = asked.unwrap_or(wait).min(WAIT_MAX);
        tracing::warn!("{error}; again in {:.1} s", pause.as_secs_f64());
        thread::sleep(pause);
        wait = wait.saturating_mul(2);
        tried += 1;
    }
}

fn agent(patience: &Patience) -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    Agent::config_builder()
        .timeout_global(Some(patience.timeout))
        .http_status_as_error(false)
        // A server may have closed a connection that was kept: each request has its own.
        .max_idle_connections(0)
        // Headers may hold a secret, which is for the server that was named.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("tracer/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build()
        .into()
}

fn attempt(agent: &Agent, request: &Request, tried: u32) -> Result<Outcome, SendError> {
    let mut post = agent.post(&request.url);
    for (name, value) in &request.headers {
        let wrong = || SendError::Header(clean(name).into_owned());
        let name: HeaderName = name.parse().map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        post = post.header(name, value);
    }
    let url = shown(&request.url);
    Ok(match post.send(request.body.as_slice()) {
        Ok(answer) => outcome(answer, url, tried),
        Err(error) => {
            let is_final = match &error {
                // A certificate that is not trusted, or a server that does not speak TLS.
                ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
                error => {
                    matches!(error, ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::Rustls(_))
                }
            };
            let error = SendError::Unreachable { url, why: why(&error), tries: tried };
            if is_final { Outcome::Never(error) } else { Outcome::Later(error, None) }
        }
    })
}

fn outcome(mut answer: Response<ureq::Body>, url: String, tries: u32) -> Outcome {
    let status = answer.status().as_u16();
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let asked = header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let location = header("location").map(|text| clean(text).into_owned()).unwrap_or_default();
    // An answer that breaks off was one all the same.
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec().unwrap_or_default();
    match status {
        200..300 => Outcome::Taken(body),
        300..400 => Outcome::Never(SendError::Moved { url, status, location }),
        429 | 500.. => {
            let text = said(&body);
            Outcome::Later(SendError::Busy { url, status, text, tries }, asked)
        }
        _ => Outcome::Never(SendError::Refused { url, status, text: said(&body) }),
    }
}

/// Message of an answer, in one line.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text: Vec<&str> = text.split_whitespace().collect();
    let text: String = clean(&text.join(" ")).chars().take(SHOWN_CHARS).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

/// Reason why there is no answer, in words.
fn why(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "it closed the connection before it answered".to_owned()
        }
        ureq::Error::Io(error) => clean(&error.to_string()).into_owned(),
        error => clean(&error.to_string()).into_owned(),
    }
}

/// The URL without what may be a secret.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    match url.parse::<Uri>().ok().and_then(|uri| uri.authority().cloned()) {
        Some(authority) if authority.as_str().contains('@') => {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            clean(&url.replacen(authority.as_str(), host, 1)).into_owned()
        }
        _ => clean(url).into_owned(),
    }
}

#[cfg(test)]
mod tests;
