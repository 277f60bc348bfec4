//! The census: what holds a process's native memory now, read from the memory itself and from the JVM's own
//! structures, once.
//!
//! Takes a process ([`of_process`]) or a core file ([`of_core`]); gives a [`Census`], which is the document that is
//! printed, kept in recordings and compared. Only reads, attaches nothing, and stops nobody: the target may be stopped
//! or at work. A value that could not be read is there with the reason, never as a zero.

mod arenas;
pub mod document;
mod fill;
mod finding;
mod groups;
mod jvm;
mod native;
mod openssl;
mod owners;
pub mod sweep;
mod take;
mod tracking;
pub mod zlib;
mod zstd;

pub use self::document::{Census, Finding, Group};
pub use self::groups::{NamePattern, of_names};
pub use self::jvm::{CodeUse, generated, is_generated};
pub use self::take::{TakeError, by_deadline, of_core, of_process};

use crate::process::mapping::Mapping;
use crate::process::memory::ProcessMemory;
use crate::process::pagemap::Residency;
use crate::vmmap::Map;

/// A value, or the reason why it could not be read.
pub type Known<T> = Result<T, String>;

/// Source of a census.
#[derive(Clone, Copy)]
struct CensusSource<'a> {
    memory: &'a dyn ProcessMemory,
    residency: &'a dyn Residency,
    /// Sorted by start.
    mappings: &'a [Mapping],
    /// The allocator that the process calls: `glibc`, `jemalloc`, ...
    allocator: Option<&'a str>,
    rss_bytes: Option<u64>,
    /// A saved image, which does not tell what was in memory.
    is_image: bool,
    /// The owners of the mappings, if they could be told.
    map: Option<&'a Map>,
}
