//! Fills the document with what was read, within its bounds.

use std::collections::BTreeMap;

use super::document::{
    Arena, ArenaChunks, Bounds, Census, CodeCache, CodeHeap, CodeMethod, CompileQueue, Contents,
    DirectBuffers, Generated, Group, HeapSpace, JavaHeap, Jni, JvmVersion, Library, LoaderTotals, LoaderType,
    Malloc, Memory, MemoryPart, NativeMemoryTracking, SCHEMA, SizeClass, Symbols, Threads, Zlib, ZlibGroup,
    text,
};
use super::jvm::{CodeUse, Jvm};
use super::native::Native;
use super::{CensusSource, Known, finding, of_names, tracking, zlib};
use crate::glibc;
use crate::hotspot::{Hotspot, stats};
use crate::vmmap::{Map, Owner, Usage, counted_again};

/// Methods, sizes and patterns that are listed.
const MAX_SIZES: usize = 100;
/// Reason why there are more arenas than are listed.
const ARENAS_MISSING: &str =
    "one that follows in the ring makes no sense: damaged, or of a glibc that is not known";
/// The key of the JVM's own account.
const TRACKING: &str = "native_memory_tracking";
const METASPACE_UNDIVIDED: &str = "this JVM does not describe the metaspace of its loaders";

/// Readings of a process, whole.
pub(super) struct Readings {
    native: Native,
    /// `None` if no JVM is in the process.
    jvm: Option<Known<Jvm>>,
    threads: Known<Vec<Group>>,
    rss_bytes: Option<u64>,
    /// Parts by owner, most resident first; empty if it is not known.
    parts: Vec<(Owner, Usage)>,
}

impl Readings {
    /// Reads. `hotspot` is the JVM, or why it cannot be read; `names` are those of all threads.
    pub(super) fn read(
        source: &CensusSource<'_>,
        hotspot: Option<&mut Known<Hotspot>>,
        names: Known<Vec<String>>,
    ) -> Self {
        // The JVM's own structures first: they say most, and change least in the time that they take.
        let jvm = hotspot.map(|known| known.as_mut().map(Jvm::read).map_err(|why| why.clone()));
        Self {
            native: Native::read(source),
            jvm,
            threads: names.map(|names| of_names(&names)),
            rss_bytes: source.rss_bytes.or_else(|| source.map?.rss_bytes),
            parts: source.map.map(Map::by_owner).unwrap_or_default(),
        }
    }
}

impl Readings {
    /// The segments of the code cache, if there is a JVM.
    pub(super) fn code_heaps(&self) -> &[stats::CodeHeap] {
        self.jvm.as_ref().and_then(|jvm| jvm.as_ref().ok()).map(|jvm| &*jvm.code.heaps).unwrap_or_default()
    }
}

/// The census with `heading`: whose it is, and how it was taken.
pub(super) fn fill(mut heading: Census, readings: &Readings, java_home: Option<String>) -> Census {
    let mut filling = Filling::default();
    let native = &readings.native;
    let jvm = match &readings.jvm {
        Some(Ok(jvm)) => Some(jvm),
        Some(Err(why)) => {
            filling.unknown.insert("jvm".to_owned(), text(why));
            None
        }
        None => None,
    };
    heading.target.command =
        filling.bounds.list("/target/command", heading.target.command.iter().map(|it| text(it)));
    heading.target.jvm = jvm.map(|jvm| JvmVersion {
        version: text(&jvm.version),
        vendor: jvm.vendor.as_deref().map(text),
        gc: jvm.gc.map(str::to_owned),
        java_home,
    });
    // Without chunks nothing could be told of them.
    let in_chunks = native.malloc.is_ok();
    let mut census = Census {
        schema: SCHEMA.to_owned(),
        memory: memory(readings),
        census: Contents {
            zlib: Some(filling.zlib(native)),
            malloc: filling.malloc(native),
            libraries: in_chunks.then(|| filling.libraries("/census/libraries", &native.libraries)),
            jvm_arena_chunks: in_chunks.then(|| ArenaChunks {
                count: native.arena_chunks.iter().map(|chunks| chunks.count).sum(),
                bytes: native.arena_chunks.iter().map(|chunks| chunks.bytes).sum(),
                lengths: native.arena_chunks.clone(),
            }),
            zstd: in_chunks.then_some(native.zstd),
            openssl: in_chunks.then_some(native.openssl),
            threads: filling.threads(&readings.threads),
            java_heap: jvm.and_then(|jvm| filling.java_heap(jvm, &readings.parts)),
            direct_buffers: jvm
                .and_then(|jvm| filling.known("direct_buffers", &jvm.direct_buffers).map(buffers)),
            class_loaders: jvm.and_then(|jvm| filling.loaders(jvm)),
            class_loader_totals: jvm.and_then(|jvm| jvm.loaders.as_ref().ok()).map(loader_totals),
            code_cache: jvm.map(|jvm| filling.code_cache(&jvm.code)),
            jni: jvm.and_then(|jvm| filling.known("jni", &jvm.jni).map(jni)),
            symbols: jvm.and_then(|jvm| filling.known("symbols", &jvm.tables).map(symbols)),
            compile_queues: jvm.and_then(|jvm| filling.queues(jvm)),
            native_memory_tracking: jvm
                .and_then(|jvm| filling.known(TRACKING, &jvm.tracking)?.clone())
                .map(|tracked| filling.tracking(&tracked, &readings.parts)),
        },
        ..heading
    };
    let findings = finding::of(&census);
    census.findings = filling.bounds.list("/findings", findings);
    census.unknown = filling.unknown;
    census.cut = filling.bounds.cut;
    census
}

/// Notes that are taken on the way.
#[derive(Default)]
struct Filling {
    bounds: Bounds,
    unknown: BTreeMap<String, String>,
}

impl Filling {
    /// A value; or, noted under its key, the reason why it is not known.
    fn known<'a, T>(&mut self, key: &str, value: &'a Known<T>) -> Option<&'a T> {
        value.as_ref().map_err(|why| self.unknown.insert(key.to_owned(), text(why))).ok()
    }

    fn libraries(&mut self, path: &str, libraries: &[Library]) -> Vec<Library> {
        self.bounds
            .list(path, libraries.iter().map(|library| Library { path: text(&library.path), ..*library }))
    }

    fn zlib(&mut self, native: &Native) -> Zlib {
        let group = |(shape, sum): (&zlib::Shape, &super::document::Sum)| ZlibGroup {
            kind: match shape.kind {
                zlib::Kind::Inflate => "inflate",
                zlib::Kind::Deflate => "deflate",
            }
            .to_owned(),
            level: shape.level.map(i64::from),
            window_bits: shape.window_bits.into(),
            has_window: shape.has_window,
            count: sum.count,
            bytes: sum.bytes,
        };
        Zlib {
            inflate: native.zlib.inflate,
            deflate: native.zlib.deflate,
            groups: self.bounds.list("/census/zlib/groups", native.zlib.shapes.iter().map(group)),
            libraries: self.libraries("/census/zlib/libraries", &native.zlib_makers),
            searched: Some(if native.zlib_in_chunks { "chunks" } else { "memory" }.to_owned()),
        }
    }

    fn malloc(&mut self, native: &Native) -> Option<Malloc> {
        let malloc = self.known("malloc", &native.malloc)?;
        if !malloc.has_all_arenas {
            self.unknown.insert("malloc.arenas".to_owned(), ARENAS_MISSING.to_owned());
        }
        let total = malloc.total();
        let mapped = malloc.mapped.amount();
        // The largest first: those are worth to be kept.
        let mut arenas: Vec<&glibc::Arena> = malloc.arenas.iter().collect();
        if arenas.len() > super::document::MAX_ROWS {
            arenas.sort_by_key(|arena| std::cmp::Reverse(arena.system_bytes));
        }
        Some(Malloc {
            system_bytes: malloc.system_bytes(),
            in_use_bytes: total.in_use.bytes,
            in_use_count: total.in_use.count,
            free_bytes: total.free_bytes(),
            free_count: Some(total.binned.count + total.fast.count + total.cached.count),
            cached_bytes: Some(total.cached.bytes),
            top_bytes: total.top_bytes,
            own_bytes: total.own_bytes,
            mmapped_bytes: mapped.bytes,
            mmapped_count: mapped.count,
            mmapped_found_bytes: malloc.mapped.found.bytes,
            mmapped_found_count: Some(malloc.mapped.found.count),
            mmapped_resident_bytes: malloc.mapped.resident_bytes,
            inconsistent: total.inconsistent.count,
            inconsistent_bytes: total.inconsistent.bytes,
            unread_bytes: total.unread_bytes,
            thread_caches: malloc.cache_count,
            arenas: self.bounds.list("/census/malloc/arenas", arenas.into_iter().map(arena)),
            sizes: malloc.sizes.histogram().iter().map(size_class).collect(),
            largest_sizes: malloc.sizes.largest(MAX_SIZES).iter().map(size_class).collect(),
        })
    }

    fn threads(&mut self, threads: &Known<Vec<Group>>) -> Option<Threads> {
        let groups = self.known("threads", threads)?;
        let group = |group: &Group| Group { name: text(&group.name), count: group.count };
        Some(Threads {
            count: groups.iter().map(|group| group.count).sum(),
            groups: self.bounds.list("/census/threads/groups", groups.iter().map(group)),
        })
    }

    fn java_heap(&mut self, jvm: &Jvm, parts: &[(Owner, Usage)]) -> Option<JavaHeap> {
        let heap = self.known("java_heap", &jvm.java_heap)?;
        let mapped = parts.iter().find(|(owner, _)| *owner == Owner::JavaHeap).map(|(_, usage)| usage);
        let space = |space: &stats::HeapSpace| HeapSpace {
            name: space.name.to_owned(),
            count: space.count,
            capacity_bytes: space.capacity_bytes,
            used_bytes: space.used_bytes,
        };
        Some(JavaHeap {
            used_bytes: heap.used_bytes,
            committed_bytes: mapped.map(|usage| usage.committed_bytes),
            reserved_bytes: mapped.map(|usage| usage.reserved_bytes),
            spaces: heap.spaces.iter().map(space).collect(),
        })
    }

    fn loaders(&mut self, jvm: &Jvm) -> Option<Vec<LoaderType>> {
        let loaders = self.known("class_loaders", &jvm.loaders)?;
        if loaders.metaspace.is_none() {
            self.unknown.insert("class_loaders.metaspace_bytes".to_owned(), METASPACE_UNDIVIDED.to_owned());
        }
        let kind = |kind: &stats::LoaderType| LoaderType {
            name: text(&kind.name),
            count: kind.count,
            classes: kind.class_count,
            metaspace_bytes: kind.metaspace.map(|metaspace| metaspace.committed_bytes),
            metaspace_used_bytes: kind.metaspace.map(|metaspace| metaspace.used_bytes),
        };
        Some(self.bounds.list("/census/class_loaders", loaders.types.iter().map(kind)))
    }

    fn code_cache(&mut self, code: &CodeUse) -> CodeCache {
        let heap = |heap: &stats::CodeHeap| CodeHeap {
            name: text(&heap.name),
            reserved_bytes: heap.reserved_bytes,
            committed_bytes: heap.committed_bytes,
            used_bytes: heap.used_bytes,
            blocks: heap.block_count,
        };
        let method = |method: &CodeMethod| CodeMethod { method: text(&method.method), ..method.clone() };
        let generated = |row: &Generated| Generated { pattern: text(&row.pattern), ..*row };
        CodeCache {
            reserved_bytes: code.reserved_bytes(),
            committed_bytes: code.committed_bytes(),
            used_bytes: code.used_bytes(),
            heaps: code.heaps.iter().map(heap).collect(),
            tiers: code.tiers(),
            methods: code.methods.iter().take(MAX_SIZES).map(method).collect(),
            method_count: code.methods.len() as u64,
            generated: code.generated.iter().take(MAX_SIZES).map(generated).collect(),
        }
    }

    fn tracking(&mut self, tracked: &stats::Tracking, parts: &[(Owner, Usage)]) -> NativeMemoryTracking {
        let categories = tracking::categories(tracked, parts);
        if categories.iter().any(|category| category.committed_bytes.is_none()) {
            self.unknown.insert(format!("{TRACKING}.committed_bytes"), tracking::STACKS_UNCOUNTED.to_owned());
        }
        NativeMemoryTracking {
            level: tracked.level.as_str().to_owned(),
            categories: self.bounds.list("/census/native_memory_tracking/categories", categories),
        }
    }

    fn queues(&mut self, jvm: &Jvm) -> Option<Vec<CompileQueue>> {
        let queues = self.known("compile_queues", &jvm.compile_queues)?;
        let queue =
            |queue: &stats::CompileQueue| CompileQueue { name: text(&queue.name), length: queue.length };
        Some(self.bounds.list("/census/compile_queues", queues.iter().map(queue)))
    }
}

fn memory(readings: &Readings) -> Memory {
    let collector = readings.jvm.as_ref().and_then(|jvm| jvm.as_ref().ok()).and_then(|jvm| jvm.gc);
    let part = |(owner, usage): &(Owner, Usage)| MemoryPart {
        id: owner.id().to_owned(),
        reserved_bytes: Some(usage.reserved_bytes),
        committed_bytes: Some(usage.committed_bytes),
        resident_bytes: Some(usage.resident_bytes),
        swap_bytes: Some(usage.swap_bytes),
    };
    let parts = &readings.parts;
    let unexplained = parts.iter().find(|(owner, _)| *owner == Owner::Unexplained);
    Memory {
        rss_bytes: readings.rss_bytes,
        limit_bytes: None,
        parts: parts.iter().map(part).collect(),
        unexplained_bytes: (!parts.is_empty())
            .then(|| unexplained.map_or(0, |(_, usage)| usage.resident_bytes)),
        rss_counted_again_bytes: parts.iter().find_map(|(owner, usage)| {
            counted_again(Some(*owner), collector, usage.resident_bytes, usage.pss_bytes)
        }),
    }
}

fn arena(arena: &glibc::Arena) -> Arena {
    let holdings = &arena.holdings;
    Arena {
        address: format!("{:#x}", arena.address),
        main: arena.is_main,
        attached_threads: arena.attached_threads,
        heaps: arena.heaps.len() as u64,
        system_bytes: arena.system_bytes,
        resident_bytes: arena.resident_bytes,
        in_use_bytes: holdings.in_use.bytes,
        in_use_count: holdings.in_use.count,
        free_bytes: holdings.free_bytes(),
        fast_bytes: holdings.fast.bytes,
        cached_bytes: holdings.cached.bytes,
        top_bytes: holdings.top_bytes,
        largest_free_bytes: holdings.largest_free_bytes,
        inconsistent: holdings.inconsistent.count,
        unread_bytes: holdings.unread_bytes,
    }
}

fn size_class(class: &glibc::SizeClass) -> SizeClass {
    SizeClass {
        from_bytes: class.from_bytes,
        to_bytes: class.to_bytes,
        count: class.count,
        bytes: class.bytes,
    }
}

fn buffers(buffers: &stats::DirectBuffers) -> DirectBuffers {
    DirectBuffers {
        count: buffers.count,
        capacity_bytes: buffers.capacity_bytes,
        reserved_bytes: buffers.reserved_bytes,
    }
}

fn loader_totals(loaders: &stats::Loaders) -> LoaderTotals {
    LoaderTotals {
        count: loaders.count,
        classes: loaders.class_count,
        metaspace_bytes: loaders.metaspace.map(|metaspace| metaspace.committed_bytes),
        metaspace_used_bytes: loaders.metaspace.map(|metaspace| metaspace.used_bytes),
    }
}

fn jni(references: &stats::JniReferences) -> Jni {
    Jni {
        global_count: references.global.count,
        global_bytes: references.global.bytes,
        weak_count: references.weak.count,
        weak_bytes: references.weak.bytes,
    }
}

fn symbols(tables: &stats::Tables) -> Symbols {
    Symbols {
        symbol_count: tables.symbols.count,
        symbol_bytes: tables.symbols.bytes,
        string_count: tables.strings.count,
        string_bytes: tables.strings.bytes,
    }
}
