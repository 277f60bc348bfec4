//! x86-64, with the System V ABI on Linux.

pub mod breakpoint;
pub mod coloured;
pub mod jump;
pub mod register_sets;
pub mod system_calls;

/// The processor's name in `uname -m`.
pub const MACHINE: &str = "x86_64";

/// Entries at the start of `.plt` that call the resolver, and name no function.
pub const PLT_RESOLVER_ENTRIES: usize = 1;
