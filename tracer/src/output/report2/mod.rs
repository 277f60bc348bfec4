//! JSON of the second version: the schemas `tracer.report/2` and `tracer.diff/2`.
//!
//! Takes a profile, or what differs between two, and writes one document: frames are a table, and all else has indices
//! into it; rows by line come before the sites behind them. An unknown figure is `null`, with the reason in `unknown`.

mod diff;
mod frames;
mod report;
mod rows;
mod unknown;

use std::io::{self, Write};

use serde::Serialize;

use super::json_text;
use super::pieces::Pieces;

pub use self::diff::render as diff;
pub use self::report::render as report;

/// Writes a document in one line, or indented.
fn write(document: &impl Serialize, pretty: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut pieces = Pieces::new(out);
    json_text::write(&mut pieces, document, pretty)?;
    pieces.write_all(b"\n")?;
    pieces.flush()
}
