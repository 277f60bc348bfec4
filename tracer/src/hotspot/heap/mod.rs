//! The Java heap, read from outside: which objects there are, which of them are reachable, and from where.
//!
//! Takes the JVM's description of itself; gives the used spaces, a local copy of them, the roots, and a mark over the
//! copy ([`MarkedHeap`]). Copy and roots must be of one moment: whoever asks holds the target meanwhile, or knows that no
//! collection came between. Object contents stay here: only names of classes, fields and threads go out. JDK 11, 17, 21
//! and 25 with G1, Parallel and Serial; anything else is refused, because nobody has compared it with the JVM's own
//! collection.

mod class;
mod class_table;
mod copy;
mod interiors;
mod jvm_classes;
mod large_arrays;
mod layout;
mod long_arrays;
mod mark;
mod marked_heap;
mod marks;
mod path;
mod roots;
mod shape;
mod spaces;
#[cfg(test)]
mod tests;
mod walk;

pub use self::class::{ClassId, DeclaredField};
pub use self::copy::{HeapCopy, Space, SpaceKind, Spaces, used_bytes};
pub use self::large_arrays::LargeArrays;
pub(super) use self::layout::HeapLayout;
pub use self::marked_heap::{ClassCount, MarkedHeap, Object, is_static};
pub use self::marks::{Quality, Reach};
pub use self::path::{Step, StepKind};
pub use self::roots::Roots;
pub use self::spaces::Collections;
pub use self::walk::Walked;

use self::class::MirrorFields;
use self::class_table::ClassTable;
use self::jvm_classes::JvmClasses;
use self::roots::Places;
use self::shape::{ClassPointer, Shape};
use super::Hotspot;
use super::layout::{Layout, ObjectLayout, RangesLayout, ThreadLayout};
use super::oops::{Compression, Objects};
use super::pages::Pages;
use super::read::{ReadError, Reader};
use super::stats::HeapUseLayout;
use crate::process::mapping::Mapping;
use crate::process::memory::ProcessMemory;

/// Versions and collectors that are compared with the JVM's own collections by tests.
const VERSIONS: [u32; 4] = [11, 17, 21, 25];
const COLLECTORS: [&str; 3] = ["G1", "Parallel", "Serial"];
const DEFAULT_RESERVE_WORDS: u64 = 2;
const WORD_BYTES: u64 = 8;

/// Reason why a heap cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeapError {
    /// The heaps of such JVMs were never compared with the JVM's own collections.
    #[error("{0}")]
    NotProved(String),
    /// Memory that was read makes no sense.
    #[error("the JVM's memory made no sense: {0}")]
    Unreadable(String),
    /// The mark found no memory.
    #[error("no memory: {0}")]
    NoMemory(String),
}

impl HeapError {
    fn missing(what: &str) -> Self {
        Self::NotProved(format!("this JVM does not describe {what}"))
    }
}

impl From<ReadError> for HeapError {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Pages of the JVM's memory that are kept while classes are read: those of a few thousand classes are many times as many.
const CLASS_PAGES: usize = 1 << 10;

/// The heap of one JVM.
pub struct HeapAccess<'a> {
    reader: Reader<'a>,
    memory: &'a dyn ProcessMemory,
    all: &'a Layout,
    layout: &'a HeapLayout,
    objects: &'a ObjectLayout,
    threads: &'a ThreadLayout,
    ranges: &'a RangesLayout,
    heap_use: &'a HeapUseLayout,
    gc: &'static str,
    feature: u32,
    shape: Shape,
    mirror: MirrorFields,
    /// Bytes behind a thread's buffer that are its own.
    buffer_reserve: u64,
    places: Places,
}

impl std::fmt::Debug for HeapAccess<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("HeapAccess").field("gc", &self.gc).finish_non_exhaustive()
    }
}

/// Can the heap of a JDK of this feature version (17) with this collector be read, unless it hides something?
pub fn is_known(feature: u32, gc: &str) -> bool {
    VERSIONS.contains(&feature) && COLLECTORS.contains(&gc)
}

impl Hotspot {
    /// The way to its heap. `mappings` are the process's, sorted by start; `libjvm` is the path of the JVM's library as
    /// they have it.
    ///
    /// # Errors
    /// `NotProved`: this version or collector is not one whose heap is known to be read right.
    pub fn heap(&self, mappings: &[Mapping], libjvm: &str) -> Result<HeapAccess<'_>, HeapError> {
        let feature = self.feature_version();
        if !VERSIONS.contains(&feature) {
            return Err(HeapError::NotProved(format!(
                "the heap of JDK {feature} is not read: known are JDK 11, 17, 21 and 25"
            )));
        }
        let gc = self.gc().unwrap_or("an unknown collector");
        if !COLLECTORS.contains(&gc) {
            return Err(HeapError::NotProved(format!(
                "the heap of {gc} is not read: known are G1, Parallel and Serial"
            )));
        }
        let layout = match &self.layout.heap {
            Ok(layout) => layout,
            Err(missing) => return Err(HeapError::NotProved(missing.clone())),
        };
        let all = &self.layout;
        let objects = all.objects.as_ref().ok_or_else(|| HeapError::missing("its objects"))?;
        let threads = all.threads.as_ref().ok_or_else(|| HeapError::missing("its threads"))?;
        let known = self.objects.as_ref().ok_or_else(|| HeapError::missing("its objects"))?;
        let reader = self.reader();
        let offset = |address: u64| reader.u32(address).map(u64::from);
        let classes = &layout.classes;
        let mirror = MirrorFields {
            size: offset(classes.mirror_size)?,
            static_count: offset(classes.mirror_statics)?,
            klass: offset(classes.mirror_klass)?,
        };
        // It has four bytes from JDK 21 on.
        let alignment = self.flag_u64("ObjectAlignmentInBytes").map_or(WORD_BYTES, |flag| flag & 0xffff_ffff);
        if ![8, 16, 32, 64, 128, 256].contains(&alignment) {
            return Err(HeapError::missing("how its objects are aligned"));
        }
        let reserve =
            |address: Option<u64>| address.and_then(|address| reader.u32(address).ok()).map(u64::from);
        let words = reserve(layout.threads.reserve_prefetch)
            .unwrap_or(0)
            .max(reserve(layout.threads.reserve_alignment).unwrap_or(DEFAULT_RESERVE_WORDS));
        let mut access = HeapAccess {
            reader,
            memory: &*self.memory,
            all,
            layout,
            objects,
            threads,
            ranges: &all.ranges,
            heap_use: &all.stats.heap,
            gc,
            feature,
            shape: shape(known, alignment),
            mirror,
            buffer_reserve: words.min(1 << 10) * WORD_BYTES,
            places: Places::default(),
        };
        access.places = access.find_places(mappings, libjvm)?;
        Ok(access)
    }
}

fn shape(objects: &Objects, alignment: u64) -> Shape {
    let class = match (objects.compact_shift(), objects.compressed_classes()) {
        (Some(bit), compression) => {
            ClassPointer::InMark { compression: compression.unwrap_or(Compression::NONE), bit }
        }
        (None, Some(compression)) => ClassPointer::Narrow(compression),
        (None, None) => ClassPointer::Wide,
    };
    Shape {
        references: objects.compressed_references(),
        class,
        array_length: objects.array_length_offset(),
        alignment,
    }
}

impl HeapAccess<'_> {
    /// The collector's name.
    pub fn gc(&self) -> &'static str {
        self.gc
    }

    /// Marks what `roots` lead to in `copy`, and shows the result to `then`.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn look<T>(
        &self,
        copy: &HeapCopy,
        mut roots: Roots,
        then: impl FnOnce(&mut MarkedHeap<'_, '_>) -> T,
    ) -> Result<T, HeapError> {
        self.memory.allow_marking(used_bytes(copy.spaces()));
        let pages = Pages::keeping(CLASS_PAGES, self.memory);
        let source = JvmClasses::new(self, Reader::new(&pages), copy, std::mem::take(&mut roots.handles));
        let mut classes = ClassTable::new(self.shape, self.mirror, &source);
        let threads = roots.threads.iter().map(|thread| thread.object).collect();
        let unallocated = std::mem::take(&mut roots.unallocated);
        let marks =
            mark::mark(copy, &mut classes, roots).map_err(|error| HeapError::NoMemory(error.to_string()))?;
        Ok(then(&mut MarkedHeap::new(copy, &mut classes, marks, threads, unallocated)))
    }
}
