//! Memory that the JVM holds by its own statistics: the Java heap, loaders and their classes, symbols, direct
//! buffers, code, JNI references, what waits for a compiler.
//!
//! Each subject stands for itself: what this JVM does not describe is said to be so, and the others
//! are read. They change while they are read, so what must be equal is read twice.

mod buffers;
mod code;
mod cycles;
mod heap;
mod jni;
mod layout;
mod loaders;
mod metaspace;
mod queue;
mod tables;
mod tracking;

pub use self::buffers::DirectBuffers;
pub use self::code::{CodeHeap, CodeStats};
pub use self::cycles::ConcurrentCycles;
pub use self::heap::{HeapSpace, JavaHeap};
pub use self::jni::{JniReferences, References};
pub(super) use self::layout::{HeapUseLayout, StatsLayout};
pub use self::loaders::{LoaderType, Loaders};
pub use self::metaspace::Metaspace;
pub use self::queue::CompileQueue;
pub use self::tables::{Table, Tables};
pub use self::tracking::{TrackedCategory, Tracking, TrackingLevel};

use super::Hotspot;
use super::read::ReadError;
use super::vmstructs::{Field, Width};

/// Readings of what changes under us.
const ATTEMPTS: usize = 4;
const WORD_BYTES: u64 = 8;

/// A word of a structure that no field describes.
const fn word(index: u64) -> Field {
    Field { offset: index * WORD_BYTES, width: Width::Eight }
}

/// Reason why a statistic cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatsError {
    /// The JVM does not describe it, or not as known.
    #[error("this JVM does not describe {0}")]
    NotDescribed(String),
    /// The structure changed while it was read, each time.
    #[error("the JVM's memory made no sense: {0}")]
    Unreadable(String),
}

impl From<ReadError> for StatsError {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

fn not_described(what: &str) -> StatsError {
    StatsError::NotDescribed(what.to_owned())
}

impl Hotspot {
    /// Class loaders by type, with how many classes each type has.
    ///
    /// # Errors
    /// See [`StatsError`]. Known from JDK 8 to 25.
    pub fn loaders(&self) -> Result<Loaders, StatsError> {
        loaders::read(&*self.memory, &self.layout, self.objects.as_ref())
    }

    /// Direct buffers, as `java.nio.Bits` counts them.
    ///
    /// # Errors
    /// See [`StatsError`]. Known from JDK 8 to 25.
    pub fn direct_buffers(&self) -> Result<DirectBuffers, StatsError> {
        buffers::read(self.reader(), &self.layout, self.objects.as_ref())
    }

    /// The segments of the code cache.
    pub fn code_heaps(&self) -> Vec<CodeHeap> {
        code::heaps(self.reader(), &self.layout, &self.code_cache)
    }

    /// The code cache: its heaps and every method in it.
    pub fn code_stats(&mut self) -> CodeStats {
        CodeStats { heaps: self.code_heaps(), methods: self.nmethods() }
    }

    /// The part of the Java heap that holds objects.
    ///
    /// # Errors
    /// See [`StatsError`]. Known from JDK 8 to 25, of ZGC and Shenandoah to 24.
    pub fn java_heap(&self) -> Result<JavaHeap, StatsError> {
        let one_generation = self.flag("ZGenerational") == Some(false);
        heap::read(self.reader(), &self.layout, self.gc(), one_generation)
    }

    /// References that native code holds.
    ///
    /// # Errors
    /// See [`StatsError`]. Known from JDK 8 to 25.
    pub fn jni_references(&self) -> Result<JniReferences, StatsError> {
        jni::read(self.reader(), &self.layout.stats)
    }

    /// The tables of symbols and interned strings.
    ///
    /// # Errors
    /// See [`StatsError`]; from JDK 12 on, a libjvm without its full symbol table does not tell.
    pub fn tables(&self) -> Result<Tables, StatsError> {
        tables::read(&*self.memory, &self.layout, &self.symbols)
    }

    /// Cycles of a concurrent collector since the JVM's start. `None` if the collector has none.
    ///
    /// # Errors
    /// See [`StatsError`]; a libjvm without its full symbol table does not tell, and `-XX:-UsePerfData` leaves them out.
    pub fn concurrent_cycles(&self) -> Result<Option<ConcurrentCycles>, StatsError> {
        cycles::read(self.reader(), &self.symbols)
    }

    /// Totals of Native Memory Tracking. `None` if the JVM was not started with it.
    ///
    /// # Errors
    /// See [`StatsError`]; a libjvm without its full symbol table does not tell. Known from JDK 11 to 28.
    pub fn native_memory_tracking(&self) -> Result<Option<Tracking>, StatsError> {
        let flag = self.flags.address(tracking::FLAG);
        tracking::read(self.reader(), &self.symbols, flag)
    }

    /// Methods that wait for a compiler.
    ///
    /// # Errors
    /// See [`StatsError`]; a libjvm without its full symbol table does not tell.
    pub fn compile_queues(&self) -> Result<Vec<CompileQueue>, StatsError> {
        queue::read(self.reader(), &self.symbols)
    }
}
