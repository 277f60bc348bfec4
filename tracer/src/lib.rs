//! `tracer` records, from outside, who holds a running JVM's native memory.
//!
//! A stage uses the stages to its left, never those to its right: `process → unwind → probe → ingest → session → glibc
//! → hotspot → symbolize → vmmap → limits → census → holders → attribute → recording → { recorder | verdict → profile →
//! output → push } → cli`; the two arms above `recording` do not use each other. Every stage may use `arch` and
//! `units`. `tests/layering.rs` holds this.

// Every failure is an error with a help, and stdout and stderr are written where a closed pipe is no panic. Indices and
// lengths may come from outside, wherever they have got to. Tests may do all of this.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::print_stdout,
        clippy::print_stderr,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

// Tests beside the code use parts of the harness in `tests/common`, which name this crate.
#[cfg(test)]
extern crate self as tracer;

pub mod arch;
pub mod attribute;
pub mod census;
pub mod cli;
pub mod glibc;
pub mod holders;
pub mod hotspot;
pub mod ingest;
pub mod limits;
pub mod output;
pub mod probe;
pub mod process;
pub mod profile;
pub mod push;
pub mod recorder;
pub mod recording;
pub mod session;
pub mod symbolize;
pub mod units;
pub mod unwind;
pub mod verdict;
pub mod vmmap;
