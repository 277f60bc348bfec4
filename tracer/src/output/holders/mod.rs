//! Holders of native memory, rendered: as text, the findings first, and as JSON (`tracer.holders/1`).

mod json;
mod path;
mod text;

pub use self::json::{groups, refusal, value};
pub(in crate::output) use self::path::{in_one_line, in_words};
pub use self::text::{notice, render};
