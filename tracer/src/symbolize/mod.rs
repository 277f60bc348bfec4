//! Addresses become names: frames, or `unknown, because ...`.
//!
//! Takes raw stacks, the modules that the target has mapped, and its JVM; gives named frames. An
//! address without a name is no failure: the frame says why. Knows nothing of sizes and counts.

pub mod frame;
mod image;
mod java;
mod name;
mod native;
pub mod perf_map;
mod plt;
mod symbolizer;

pub use frame::*;
pub use symbolizer::Symbolizer;
