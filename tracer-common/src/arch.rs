//! The processor: everything that both sides know of its registers, its frames and the kernel's system calls on it.
//!
//! x86-64 alone is built. Another processor is another file beside `x86_64.rs` with the same items, chosen here. Records
//! and unwind rows name no register: they say stack pointer (sp), frame pointer (fp) and pc.

pub mod x86_64;

pub use self::x86_64::*;
