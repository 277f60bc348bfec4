//! Contents of malloc's chunks and of the JVM's own structures: the part `census` of the document.
//!
//! `None` is not known, or the process does not have it (no JVM); in the first case the document's `unknown` has the
//! reason.

use serde::{Deserialize, Serialize};

/// Contents of a census: what was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contents {
    pub zlib: Option<Zlib>,
    pub malloc: Option<Malloc>,
    /// Chunks in use by the library that their first words point into, those with most bytes first; a few that wait
    /// in caches of threads are among them.
    pub libraries: Option<Vec<Library>>,
    pub jvm_arena_chunks: Option<ArenaChunks>,
    pub zstd: Option<Zstd>,
    pub openssl: Option<OpenSsl>,
    pub java_heap: Option<JavaHeap>,
    pub direct_buffers: Option<DirectBuffers>,
    pub threads: Option<Threads>,
    /// Class loaders by type, the most numerous first.
    pub class_loaders: Option<Vec<LoaderType>>,
    /// Metaspace of all class loaders. Also `None` if the census is of a version that did not keep it.
    pub class_loader_totals: Option<LoaderTotals>,
    pub code_cache: Option<CodeCache>,
    pub jni: Option<Jni>,
    pub symbols: Option<Symbols>,
    pub compile_queues: Option<Vec<CompileQueue>>,
    /// `None` also if the JVM was not started with it.
    pub native_memory_tracking: Option<NativeMemoryTracking>,
}

/// A number of things and the bytes that they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub count: u64,
    pub bytes: u64,
}

impl Sum {
    /// Adds `bytes`, of one more thing.
    pub fn add(&mut self, bytes: u64) {
        self.merge(Sum { count: 1, bytes });
    }

    /// Adds the other's things.
    pub fn merge(&mut self, other: Sum) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// States of zlib, proved one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Zlib {
    pub inflate: Sum,
    pub deflate: Sum,
    pub groups: Vec<ZlibGroup>,
    /// The libraries that made them, the largest sum first.
    pub libraries: Vec<Library>,
    /// `chunks`: looked for in malloc's chunks; `memory`: in all writable anonymous memory.
    pub searched: Option<String>,
}

/// States of zlib that are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZlibGroup {
    /// `inflate` or `deflate`.
    pub kind: String,
    /// Level of compression; `None` for an inflater.
    pub level: Option<i64>,
    pub window_bits: u64,
    pub has_window: bool,
    pub count: u64,
    pub bytes: u64,
}

/// A library with what it made, or whose objects they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    pub path: String,
    pub count: u64,
    pub bytes: u64,
}

/// glibc's heap. Bytes are those of chunks, with malloc's header of 8 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Malloc {
    /// Memory that its arenas got from the kernel.
    pub system_bytes: u64,
    pub in_use_bytes: u64,
    pub in_use_count: u64,
    /// Free between what is in use, caches of threads included.
    pub free_bytes: u64,
    #[serde(default)]
    pub free_count: Option<u64>,
    /// Part of `free_bytes` that is in caches of threads.
    #[serde(default)]
    pub cached_bytes: Option<u64>,
    /// Free at the ends of the arenas.
    pub top_bytes: u64,
    /// malloc's own: states of arenas, fences between heaps.
    #[serde(default)]
    pub own_bytes: u64,
    /// Blocks that each have a mapping of their own, as malloc counts them.
    pub mmapped_bytes: u64,
    pub mmapped_count: u64,
    #[serde(default)]
    pub mmapped_found_bytes: u64,
    #[serde(default)]
    pub mmapped_found_count: Option<u64>,
    #[serde(default)]
    pub mmapped_resident_bytes: Option<u64>,
    /// Places that were not consistent when they were read, several times.
    #[serde(default)]
    pub inconsistent: u64,
    #[serde(default)]
    pub inconsistent_bytes: u64,
    /// Bytes that were not read: swapped out, or not readable.
    #[serde(default)]
    pub unread_bytes: u64,
    #[serde(default)]
    pub thread_caches: u64,
    #[serde(default)]
    pub arenas: Vec<Arena>,
    /// Chunks in use by size: a histogram by powers of two, ascending.
    #[serde(default)]
    pub sizes: Vec<SizeClass>,
    /// Chunks in use by size: the sizes that hold most.
    #[serde(default)]
    pub largest_sizes: Vec<SizeClass>,
}

impl Malloc {
    /// Blocks in use, in arenas and alone.
    pub fn all_in_use(&self) -> Sum {
        Sum {
            count: self.in_use_count.saturating_add(self.mmapped_count),
            bytes: self.in_use_bytes.saturating_add(self.mmapped_bytes),
        }
    }

    /// Free, and kept: between what is in use, and at the ends of the arenas.
    pub fn all_free_bytes(&self) -> u64 {
        self.free_bytes.saturating_add(self.top_bytes)
    }
}

/// An arena of glibc's malloc.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arena {
    /// Hexadecimal, with `0x`.
    pub address: String,
    pub main: bool,
    /// Threads that allocate from it.
    pub attached_threads: u64,
    pub heaps: u64,
    pub system_bytes: u64,
    pub resident_bytes: Option<u64>,
    pub in_use_bytes: u64,
    pub in_use_count: u64,
    pub free_bytes: u64,
    pub fast_bytes: u64,
    pub cached_bytes: u64,
    pub top_bytes: u64,
    pub largest_free_bytes: u64,
    pub inconsistent: u64,
    pub unread_bytes: u64,
}

/// Chunks with sizes in a range, bounds included, bytes with header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeClass {
    pub from_bytes: u64,
    pub to_bytes: u64,
    pub count: u64,
    pub bytes: u64,
}

impl SizeClass {
    /// Tells whether all chunks of the class have one size.
    pub fn is_exact(&self) -> bool {
        self.from_bytes == self.to_bytes
    }
}

/// Chunks of the arenas of the JVM's compilers and threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArenaChunks {
    pub count: u64,
    pub bytes: u64,
    pub lengths: Vec<ChunkLength>,
}

/// Chunks of one of the lengths that the JVM uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkLength {
    pub length_bytes: u64,
    pub count: u64,
    pub bytes: u64,
}

/// Contexts of zstd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zstd {
    pub compress: Sum,
    pub decompress: Sum,
}

/// Contexts and connections of OpenSSL, without the connections' buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSsl {
    pub contexts: Sum,
    pub connections: Sum,
}

/// The Java heap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JavaHeap {
    pub used_bytes: u64,
    pub committed_bytes: Option<u64>,
    pub reserved_bytes: Option<u64>,
    pub spaces: Vec<HeapSpace>,
}

/// A space of the Java heap, or the regions of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapSpace {
    pub name: String,
    pub count: u64,
    pub capacity_bytes: u64,
    pub used_bytes: u64,
}

/// Direct buffers, as `java.nio.Bits` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectBuffers {
    pub count: u64,
    pub capacity_bytes: u64,
    /// Bytes with what their alignment takes; this is what `-XX:MaxDirectMemorySize` limits.
    pub reserved_bytes: u64,
}

/// Threads by the pattern of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threads {
    pub count: u64,
    pub groups: Vec<Group>,
}

/// Threads whose names have one pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The pattern, or the name itself if only one has it.
    pub name: String,
    pub count: u64,
}

/// Class loaders of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderType {
    #[serde(rename = "type")]
    pub name: String,
    pub count: u64,
    pub classes: u64,
    /// Committed in its chunks.
    pub metaspace_bytes: Option<u64>,
    #[serde(default)]
    pub metaspace_used_bytes: Option<u64>,
}

/// Totals of all class loaders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderTotals {
    pub count: u64,
    pub classes: u64,
    pub metaspace_bytes: Option<u64>,
    pub metaspace_used_bytes: Option<u64>,
}

/// The code cache, by heap and by method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeCache {
    pub reserved_bytes: u64,
    pub committed_bytes: u64,
    pub used_bytes: u64,
    pub heaps: Vec<CodeHeap>,
    pub tiers: Vec<CodeTier>,
    /// Compiled methods, the largest first; each compilation of a method counts for itself.
    pub methods: Vec<CodeMethod>,
    /// Bytes of all methods.
    pub method_count: u64,
    pub generated: Vec<Generated>,
}

/// A segment of the code cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeHeap {
    /// Name as the JVM has it: `CodeHeap 'profiled nmethods'`, `CodeCache`.
    pub name: String,
    pub reserved_bytes: u64,
    pub committed_bytes: u64,
    pub used_bytes: u64,
    pub blocks: u64,
}

/// Methods of one tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeTier {
    /// `c1`, `c2`; `native`: wrappers of native methods.
    pub tier: String,
    pub count: u64,
    pub bytes: u64,
}

/// A compiled method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeMethod {
    /// `package.Class.method`.
    pub method: String,
    /// `c1`, `c2`; `None` for the wrapper of a native method.
    pub tier: Option<String>,
    pub bytes: u64,
}

/// Code of generated classes whose names have one pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    pub pattern: String,
    pub count: u64,
    pub bytes: u64,
}

/// References to Java objects that native code holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jni {
    pub global_count: u64,
    pub global_bytes: u64,
    pub weak_count: u64,
    pub weak_bytes: u64,
}

/// The JVM's tables of symbols and of interned strings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbols {
    pub symbol_count: u64,
    pub symbol_bytes: u64,
    pub string_count: u64,
    pub string_bytes: u64,
}

/// A queue of methods that wait for a compiler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileQueue {
    pub name: String,
    pub length: u64,
}

/// The JVM's own account of its native memory (`-XX:NativeMemoryTracking`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NativeMemoryTracking {
    /// `summary` or `detail`.
    pub level: String,
    /// The largest first: by what is committed, in mappings and by malloc.
    pub categories: Vec<TrackedCategory>,
}

/// A category of the JVM's own account, beside the same memory as the balance has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedCategory {
    /// As the JVM has it.
    pub name: String,
    /// In mappings.
    pub reserved_bytes: u64,
    /// In mappings. `None` for stacks of threads, which the JVM counts only when it is asked for its report.
    pub committed_bytes: Option<u64>,
    /// Bytes of malloc, without the headers that tracking adds.
    pub malloc_bytes: u64,
    pub malloc_count: u64,
    /// In the JVM's arenas, which are of malloc, too.
    pub arena_bytes: u64,
    /// Parts of the balance that are the same mappings; none, if the balance does not tell them from others.
    pub parts: Vec<String>,
    /// Committed bytes of these parts.
    pub parts_committed_bytes: Option<u64>,
    pub parts_reserved_bytes: Option<u64>,
}

impl TrackedCategory {
    /// Bytes of malloc and of arenas.
    pub fn allocated_bytes(&self) -> u64 {
        self.malloc_bytes.saturating_add(self.arena_bytes)
    }
}
