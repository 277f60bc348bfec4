//! What holds a process's native memory now: the memory itself and the JVM's books are asked, once.
//!
//! Takes a process, or a saved image of one, by its memory, page map and mappings; gives a [`Census`].
//! Only reads, attaches nothing, and stops nobody: the target may be stopped or at work. What could not
//! be read is there with the reason, never as a zero.

mod arenas;
pub mod finding;
mod groups;
mod jvm;
mod native;
mod openssl;
mod owners;
pub mod sweep;
pub mod zlib;
mod zstd;

pub use self::arenas::ArenaChunks;
pub use self::finding::Finding;
pub use self::groups::{Group, NamePattern, of_names};
pub use self::jvm::{CodeMethod, CodeUse, Generated, Jvm, generated, is_generated};
pub use self::native::{Native, ZlibMaker};
pub use self::openssl::OpenSsl;
pub use self::owners::Library;
pub use self::zstd::Zstd;

use crate::hotspot::Hotspot;
use crate::process::mapping::Mapping;
use crate::process::memory::ProcessMemory;
use crate::process::pagemap::Residency;
use crate::vmmap::{Map, Owner, Usage};

/// What was read, or why it was not.
pub type Known<T> = Result<T, String>;

/// What a census is taken of.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub memory: &'a dyn ProcessMemory,
    pub residency: &'a dyn Residency,
    /// Sorted by start.
    pub mappings: &'a [Mapping],
    /// `glibc`, `jemalloc`, ...: whose malloc the process calls.
    pub allocator: Option<&'a str>,
    pub rss_bytes: Option<u64>,
    /// A saved image, which does not tell what was in memory.
    pub is_image: bool,
    /// Who owns which mapping, if that could be told.
    pub map: Option<&'a Map>,
}

impl std::fmt::Debug for Subject<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subject").field("allocator", &self.allocator).finish_non_exhaustive()
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Census {
    pub native: Native,
    /// None: no JVM is in the process.
    pub jvm: Option<Known<Jvm>>,
    pub threads: Known<Vec<Group>>,
    pub rss_bytes: Option<u64>,
    /// The balance: all mappings, by owner, most resident first; empty if it is not known.
    pub owners: Vec<(Owner, Usage)>,
}

impl Census {
    /// Takes it. `hotspot` is the JVM, or why it cannot be read; `names` are those of all threads.
    pub fn take(
        subject: &Subject<'_>,
        hotspot: Option<Known<&mut Hotspot>>,
        names: Known<Vec<String>>,
    ) -> Self {
        // The books first: they say most, and change least in the time that they take.
        let jvm = hotspot.map(|hotspot| hotspot.map(Jvm::read));
        Self {
            native: Native::read(subject),
            jvm,
            threads: names.map(|names| of_names(&names)),
            rss_bytes: subject.rss_bytes.or_else(|| subject.map?.rss_bytes),
            owners: subject.map.map(Map::by_owner).unwrap_or_default(),
        }
    }

    /// What stands out, the largest first.
    pub fn findings(&self) -> Vec<Finding> {
        finding::of(self)
    }

    pub(crate) fn books(&self) -> Option<&Jvm> {
        self.jvm.as_ref()?.as_ref().ok()
    }
}
