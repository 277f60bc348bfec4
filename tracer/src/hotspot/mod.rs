//! The JVM's own structures, read from outside: code cache, methods, threads, flags.
//!
//! Takes where libjvm is loaded and the target's memory; gives what the unwinder needs to walk Java
//! frames, and names for those frames. Reads only, and believes nothing: the memory is foreign and
//! changes while it is read, so what is stale or torn is marked, never shown as a wrong name. Knows
//! nothing of probes or output.

mod class_name;
mod code_cache;
mod copied;
mod frame;
pub mod heap;
mod history;
mod identity;
mod java_fields;
mod layout;
mod method;
mod nmethod;
mod oops;
mod pages;
mod ranges;
mod read;
mod resolve;
mod starting;
pub mod stats;
mod symbols;
mod threads;
mod unsigned5;
mod vmstructs;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracer_common::config;
use tracer_common::unwind::Frame;

pub use self::class_name::readable as readable_class_name;
pub use self::code_cache::Blob;
pub use self::frame::{JavaFrame, JavaFrameKind, Stale, Tier};
pub use self::ranges::{JvmRange, RangeKind};
pub use self::resolve::Compiled;
pub use self::starting::Starting;
pub use self::symbols::Symbols;
pub use self::threads::JavaThread;

use self::code_cache::CodeCache;
use self::identity::{Flags, Version};
use self::layout::Layout;
use self::oops::Objects;
use self::read::Reader;
use self::resolve::{NameSource, Names};
use self::vmstructs::VmStructs;
use crate::process::core::Core;
use crate::process::elf::ElfError;
use crate::process::mapping::Mapping;
use crate::process::memory::ProcessMemory;

/// Reason why a JVM cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HotspotError {
    /// The JVM is starting: ask again soon.
    #[error("the JVM has not started far enough: {0}")]
    NotReady(&'static str),
    /// The JVM does not describe something that is needed, or not in a way that makes sense.
    #[error("the JVM does not describe {missing}")]
    Unsupported {
        /// The field, type or variable.
        missing: String,
    },
    /// The JVM has more code heaps than the unwinder holds.
    #[error("the JVM has {0} code heaps; at most {max} are understood", max = config::CODE_HEAPS)]
    TooManyHeaps(usize),
    /// The library that a core file names is not there, or has changed.
    #[error("{0} is not here, or not the one that the process had")]
    OtherLibrary(String),
    /// The libjvm file, or the process's memory, cannot be read.
    #[error("libjvm cannot be read")]
    Library(#[source] std::io::Error),
}

impl From<ElfError> for HotspotError {
    fn from(error: ElfError) -> Self {
        Self::Library(match error {
            ElfError::Io(error) => error,
            error => std::io::Error::new(std::io::ErrorKind::InvalidData, error),
        })
    }
}

/// A running JVM.
pub struct Hotspot {
    memory: Box<dyn ProcessMemory + Send>,
    symbols: Symbols,
    layout: Layout,
    code_cache: CodeCache,
    version: Version,
    vendor: Option<String>,
    flags: Flags,
    objects: Option<Objects>,
    return_barrier: u64,
    names: Names,
}

impl fmt::Debug for Hotspot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hotspot").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Hotspot {
    /// Reads the JVM whose `libjvm.so` is `file` (to be opened by us) and is loaded with `load_bias`
    /// (runtime address − ELF virtual address) in the process that `memory` is of.
    ///
    /// # Errors
    /// `NotReady` while the JVM starts; `Unsupported` naming what it lacks; `Library`.
    pub fn open(
        file: &Path,
        load_bias: u64,
        memory: impl ProcessMemory + Send + 'static,
    ) -> Result<Self, HotspotError> {
        Self::with_symbols(Symbols::read(file, load_bias)?, memory)
    }

    /// Reads the JVM of a core file, whose library is mapped at `libjvm`.
    ///
    /// # Errors
    /// `OtherLibrary`, and as [`Hotspot::open`].
    pub fn of_core(core: &Arc<Core>, libjvm: &Mapping) -> Result<Self, HotspotError> {
        if !core.has_file(&libjvm.path) {
            return Err(HotspotError::OtherLibrary(libjvm.path.clone()));
        }
        Self::open(Path::new(&libjvm.path), libjvm.start, Arc::clone(core))
    }

    /// A [`Hotspot::open`] with the symbols at hand: from a saved image, or to ask again without reading the file
    /// again.
    ///
    /// # Errors
    /// As [`Hotspot::open`].
    pub fn with_symbols(
        symbols: Symbols,
        memory: impl ProcessMemory + Send + 'static,
    ) -> Result<Self, HotspotError> {
        let structs = started(&symbols, &memory)?;
        Self::described(symbols, &structs, memory)
    }

    /// The JVM that describes itself by `structs`.
    fn described(
        symbols: Symbols,
        structs: &VmStructs,
        memory: impl ProcessMemory + Send + 'static,
    ) -> Result<Self, HotspotError> {
        let memory: Box<dyn ProcessMemory + Send> = Box::new(memory);
        let reader = Reader::new(&*memory);
        let version = Version::read(reader, structs)?;
        let mut layout = Layout::new(structs, version.feature)?;
        let code_cache = CodeCache::read(reader, &layout.code)?;
        if layout.objects.as_ref().is_some_and(|objects| reader.u64(objects.thread_class) == Ok(0)) {
            return Err(HotspotError::NotReady("java.lang.Thread is not loaded"));
        }
        let flags = layout.flags.as_ref().map(|flags| Flags::read(&*memory, flags));
        let flags = flags.and_then(Result::ok).unwrap_or_default();
        let objects = Objects::read(reader, &layout, &flags).ok();
        if layout.objects.is_some() && objects.is_none() {
            layout.missing.push("the JVM's strings and threads are not laid out as known".to_owned());
        }
        let vendor = identity::vendor(reader, &symbols);
        let return_barrier = return_barrier(reader, &symbols, structs);
        if return_barrier == 0 && version.feature >= VIRTUAL_THREADS {
            let missing = "StubRoutines::_cont_returnBarrier: where stacks of virtual threads lack frames";
            layout.missing.push(missing.to_owned());
        }
        let names = Names::default();
        Ok(Self {
            memory,
            symbols,
            layout,
            code_cache,
            version,
            vendor,
            flags,
            objects,
            return_barrier,
            names,
        })
    }

    /// Configuration of the in-kernel unwinder. Read afresh: before JDK 23 the names of nmethods
    /// are known once the first ones are there, and until then stubs are taken for nmethods, which
    /// walks the same and is sorted out by [`Hotspot::resolve`].
    pub fn unwinder_config(&self) -> config::Jvm {
        self.code_cache.config(self.reader(), &self.layout, self.return_barrier, self.version.feature)
    }

    /// The version in full: "17.0.9+9", "1.8.0_504-b01".
    pub fn version(&self) -> &str {
        &self.version.text
    }

    /// 8, 11, 17, ...
    pub fn feature_version(&self) -> u32 {
        self.version.feature
    }

    /// The vendor's name of this build ("Temurin-17.0.9+9"), if the JVM says it.
    pub fn vendor(&self) -> Option<&str> {
        self.vendor.as_deref()
    }

    /// The collector in use: "G1", "ZGC", ...
    pub fn gc(&self) -> Option<&'static str> {
        self.flags.collector(self.reader())
    }

    /// The value of the boolean flag `name` (`-XX:+Name`).
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.flags.is_set(self.reader(), name)
    }

    /// The value of the flag `name` whose type has 64 bits (`-XX:Name=1234`), such as
    /// `ReservedCodeCacheSize`.
    pub fn flag_u64(&self, name: &str) -> Option<u64> {
        self.reader().u64(self.flags.address(name)?).ok()
    }

    /// Parts of this JVM that are not understood, though stacks are: one line each.
    pub fn missing(&self) -> &[String] {
        &self.layout.missing
    }

    /// The frames that a raw frame stands for, innermost first; never none. Inlined methods come
    /// before the compiled one that they are in.
    pub fn resolve(&mut self, frame: &Frame) -> Arc<[JavaFrame]> {
        let (names, source) = self.parts();
        names.resolve(source, frame)
    }

    /// The JVM installed an nmethod whose code starts at `code`. Copies what it takes to name frames
    /// that are resolved after it is gone. Says whether it is still there to be named.
    pub fn nmethod_loaded(&mut self, code: u64) -> bool {
        let (names, source) = self.parts();
        names.remember(source, code)
    }

    /// The addresses of all nmethods in the code cache, for [`Hotspot::copy_nmethod`].
    pub fn nmethod_addresses(&mut self) -> Vec<u64> {
        Names::nmethod_blobs(self.parts().1)
    }

    /// Copies the nmethod at `address`, as [`Hotspot::nmethod_loaded`] does.
    pub fn copy_nmethod(&mut self, address: u64) -> bool {
        let (names, source) = self.parts();
        names.copy(source, address)
    }

    /// Every nmethod in the code cache. The outermost method of each is remembered.
    pub fn nmethods(&mut self) -> Vec<Compiled> {
        let (names, source) = self.parts();
        names.nmethods(source)
    }

    /// Number of nmethods that are remembered.
    pub fn remembered_count(&self) -> usize {
        self.names.remembered_count()
    }

    /// The Java threads that the JVM lists now; none if it could not be read.
    pub fn threads(&self) -> Vec<JavaThread> {
        let layout = self.layout.threads.as_ref();
        let threads = layout.map(|layout| threads::read(self.reader(), layout, self.objects.as_ref()));
        threads.and_then(Result::ok).unwrap_or_default()
    }

    /// The ranges of the address space that are known to be the JVM's: its heap, metaspace, code heaps and
    /// GC structures, those that tell more first (see `hotspot/ranges.rs`). `anonymous`: the process's private
    /// anonymous mappings, sorted; only within them are GC structures and metaspace searched for.
    pub fn ranges(&self, anonymous: &[Range<u64>]) -> Vec<JvmRange> {
        self.ranges_source(anonymous).read()
    }

    /// Addresses of `starts` (addresses at which memory of unknown use begins) that the collector's structures
    /// point to: that memory is the collector's.
    pub fn collector_points_at(&self, starts: &BTreeSet<u64>) -> BTreeSet<u64> {
        self.ranges_source(&[]).collector_points_at(starts)
    }

    fn ranges_source<'a>(&'a self, anonymous: &'a [Range<u64>]) -> ranges::RangeSource<'a> {
        ranges::RangeSource {
            reader: self.reader(),
            layout: &self.layout.ranges,
            code: &self.layout.code,
            code_cache: &self.code_cache,
            symbols: &self.symbols,
            gc: self.gc(),
            class_space_bytes: self.flag_u64("CompressedClassSpaceSize"),
            anonymous,
        }
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(&*self.memory)
    }

    fn parts(&mut self) -> (&mut Names, NameSource<'_>) {
        let source = NameSource {
            reader: Reader::new(&*self.memory),
            layout: &self.layout,
            code_cache: &self.code_cache,
            return_barrier: self.return_barrier,
        };
        (&mut self.names, source)
    }
}

/// The version from which on threads can be virtual.
const VIRTUAL_THREADS: u32 = 21;

/// Address to which frames on a carrier's stack return whose callers lie in the heap; 0 if it is not known.
fn return_barrier(reader: Reader<'_>, symbols: &Symbols, structs: &VmStructs) -> u64 {
    let described = || structs.address(&["StubRoutines::_cont_returnBarrier"]).ok();
    let variable = symbols.address(symbols::RETURN_BARRIER).or_else(described);
    variable.and_then(|address| reader.u64(address).ok()).unwrap_or(0)
}

/// Variable with the number of Java threads. The first is counted after the code cache, the interpreter and every stub
/// exist, so with it everything that is read here does.
const THREAD_COUNT: &str = "Threads::_number_of_threads";
/// Time that is longer than the dynamic linker and static initializers need to fill the tables.
const FILLING: Duration = Duration::from_millis(20);

/// Structures that the JVM describes, if it has started.
fn started(symbols: &Symbols, memory: &dyn ProcessMemory) -> Result<VmStructs, HotspotError> {
    let read = || {
        let structs = VmStructs::read(symbols, memory)?;
        if structs.is_empty() {
            return Err(HotspotError::NotReady("vmStructs"));
        }
        let thread_count = structs.address(&[THREAD_COUNT])?;
        match Reader::new(memory).u32(thread_count) {
            Ok(0) | Err(_) => Err(HotspotError::NotReady("no Java thread yet")),
            Ok(_) => Ok(structs),
        }
    };
    match read() {
        // Described later, or never?
        Err(HotspotError::Unsupported { .. }) => {
            thread::sleep(FILLING);
            read()
        }
        result => result,
    }
}
