//! The processor, as far as user space alone has to do with it: register sets of ptrace and core files, jumps, linkage
//! tables, system calls that only it has, HotSpot's references.
//!
//! `tracer_common::arch` has what the BPF programs know, too. x86-64 alone is built: another processor is another file
//! beside `x86_64.rs` with the same items, chosen here. Takes and gives bytes, words and addresses; uses no stage.

mod x86_64;

pub use self::x86_64::*;
