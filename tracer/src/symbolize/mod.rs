//! Addresses become names: frames, or `unknown, because ...`.

pub mod frame;

pub use frame::*;
