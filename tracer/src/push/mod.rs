//! A profile sent to a server: OTLP over HTTP, or Pyroscope's `/ingest`.
//!
//! Takes a profile and where to send it; gives what the server said. Reads no files. It sends files that `output`
//! writes, so the sums are those of the report.

#[cfg(test)]
pub(crate) mod receiver;
mod request;
mod send;

use std::fmt;

pub use request::{Protocol, partly};
pub use send::{Patience, SendError};

use crate::output::Options;
use crate::profile::Profile;

/// Destination of a profile.
#[derive(Clone, Debug)]
pub struct Destination {
    /// `http://` or `https://`.
    pub url: String,
    /// `None` if the path of the URL tells it.
    pub protocol: Option<Protocol>,
    /// Added to each request: authorization, tenants.
    pub headers: Vec<(String, String)>,
    /// The program's name on the server. `None` means its own name.
    pub name: Option<String>,
}

/// Reason why there is no request to send.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error("`{0}` is no URL: {1}")]
    NoUrl(String, String),
    #[error("`{0}` is neither http:// nor https://")]
    Scheme(String),
}

/// Result of a push.
#[derive(Clone, Debug)]
pub struct Sent {
    pub protocol: Protocol,
    /// Address that it was sent to.
    pub url: String,
    /// Bytes as they were sent, compressed.
    pub bytes: u64,
    /// The part that the server did not take, and why.
    pub partly: Option<String>,
}

/// Reason why it was not sent.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Is this the address of a server?
///
/// # Errors
/// The text is not such an address.
pub fn check(url: &str) -> Result<(), AddressError> {
    request::address(url).map(drop)
}

/// Sends a profile, as `options` have it.
///
/// # Errors
/// The address is none, or the server cannot be reached, refuses it, or does not answer in time.
pub fn push(
    profile: &Profile,
    options: &Options,
    to: &Destination,
    patience: &Patience,
) -> Result<Sent, PushError> {
    let request = request::of(profile, options, to)?;
    let answer = send::send(&request, patience)?;
    let partly = match request.protocol {
        Protocol::Otlp => request::partly(&answer),
        Protocol::Pyroscope => None,
    };
    let bytes = u64::try_from(request.body.len()).unwrap_or(u64::MAX);
    Ok(Sent { protocol: request.protocol, url: request.url, bytes, partly })
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Protocol::Otlp => "OTLP",
            Protocol::Pyroscope => "Pyroscope",
        })
    }
}
