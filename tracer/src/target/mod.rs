//! Which process is traced: its mappings, modules, allocators, JVM and container.
//!
//! Takes a pid; gives descriptions. Knows nothing of probes.

pub mod mapping;
pub mod memory;
