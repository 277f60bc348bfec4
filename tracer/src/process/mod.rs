//! Target of a recording: its mappings, modules, allocators, JVM and container.
//!
//! Takes a pid; gives descriptions. Only reads: `/proc`, and the files that the process has mapped.
//! Everything read is foreign input and is bounded. Knows nothing of probes.

pub mod address_ranges;
pub mod allocator;
pub mod background;
pub mod clock;
pub mod container;
pub mod core;
pub mod cpu_time;
mod debug_file;
pub mod elf;
mod error_chain;
mod foreign_text;
pub mod hold;
mod ids;
pub mod jvm;
pub mod lifecycle;
pub mod mapping;
pub mod memory;
pub mod module;
mod named;
pub mod pagemap;
pub mod privilege;
pub mod read_budget;
pub mod root;
pub mod target;
pub mod urgent;
pub mod usdt;
mod users;

pub use error_chain::error_chain;
pub use foreign_text::{ForeignText, displayable};
pub use ids::{InnerTid, Pid, Tid};
pub use jvm::JvmInfo;
pub use module::Module;
pub use named::{NameError, named};
pub use target::{Target, TargetError, inspect};
pub use users::Users;
