//! The rows of the large table: each owner, and below it what malloc's chunks and the JVM's own structures say of it.

use super::MAX_ROWS;
use crate::attribute::known_name;
use crate::census::document::{Census, CodeCache, Malloc, MemoryPart, Sum, Zlib};
use crate::output::units::{bytes, count};
use crate::output::{clean, label};
use crate::vmmap::Owner;

/// Owners of which the JVM and malloc tell, when the mappings are not known.
const TOLD: [Owner; 5] =
    [Owner::MallocArena, Owner::MallocMapped, Owner::ThreadStack, Owner::CodeCache, Owner::Metaspace];
/// Characters of a name, so that a row has no more than 80.
const NAME_WIDTH: usize = 42;
/// Loaders of a type from which it is listed.
const MIN_LOADERS: u64 = 2;
/// Patterns of generated classes.
const GENERATED: usize = 3;

/// The rows, and what is not known with the reason.
#[derive(Default)]
pub(super) struct Rows {
    /// Name, bytes, count, resident bytes.
    pub(super) all: Vec<[String; 4]>,
    pub(super) unknown: Vec<(&'static str, String)>,
}

impl Rows {
    pub(super) fn of(census: &Census) -> Self {
        let mut rows = Self::default();
        rows.unknown("the JVM's own structures", "jvm", census);
        let mut parts = census.memory.parts.clone();
        if parts.is_empty() {
            let part = |owner: &Owner| MemoryPart { id: owner.id().to_owned(), ..MemoryPart::default() };
            parts = TOLD.iter().map(part).collect();
        }
        for part in parts {
            let cell = |number: Option<u64>| number.map(bytes).unwrap_or_default();
            let resident = cell(part.resident_bytes);
            rows.add(0, part.name(), &cell(part.committed_bytes), "", &resident);
            let contents = &census.census;
            match Owner::from_id(&part.id) {
                Some(Owner::MallocArena) => {
                    contents.malloc.iter().for_each(|malloc| rows.malloc(malloc));
                    contents.zlib.iter().for_each(|zlib| rows.zlib(zlib));
                    rows.in_chunks(census);
                }
                Some(Owner::JavaHeap) => rows.java_heap(census),
                Some(Owner::MallocMapped) => contents.malloc.iter().for_each(|malloc| rows.mapped(malloc)),
                Some(Owner::ThreadStack) => rows.threads(census),
                Some(Owner::CodeCache) => contents.code_cache.iter().for_each(|code| rows.code(code)),
                Some(Owner::Metaspace) => rows.loaders(census),
                _ => {}
            }
        }
        rows.beside(census);
        for (name, key) in [
            ("malloc", "malloc"),
            ("malloc's arenas", "malloc.arenas"),
            ("threads", "threads"),
            ("the Java heap's use", "java_heap"),
            ("class loaders", "class_loaders"),
            ("metaspace of class loaders", "class_loaders.metaspace_bytes"),
            ("direct buffers", "direct_buffers"),
            ("JNI references", "jni"),
            ("symbols and strings", "symbols"),
            ("compile queues", "compile_queues"),
            ("Native Memory Tracking", "native_memory_tracking"),
            ("limits", "limits"),
            ("libraries' own allocators", "own_allocators"),
            ("all that is missing here", "reading"),
        ] {
            rows.unknown(name, key, census);
        }
        rows
    }

    fn unknown(&mut self, name: &'static str, key: &str, census: &Census) {
        if let Some(why) = census.unknown.get(key) {
            self.unknown.push((name, why.clone()));
        }
    }

    fn add(&mut self, indent: usize, name: &str, bytes: &str, count: &str, resident: &str) {
        let name = clean(name);
        let name = format!("{:indent$}{}", "", label::fit(&name, NAME_WIDTH - indent));
        self.all.push([name, bytes.to_owned(), count.to_owned(), resident.to_owned()]);
    }

    fn sum(&mut self, indent: usize, name: &str, sum: Sum) {
        self.add(indent, name, &bytes(sum.bytes), &count(sum.count), "");
    }

    /// A row, if there is anything of it.
    fn some(&mut self, indent: usize, name: &str, sum: Sum) {
        if sum.count > 0 {
            self.sum(indent, name, sum);
        }
    }

    fn malloc(&mut self, malloc: &Malloc) {
        self.sum(2, "in use", Sum { count: malloc.in_use_count, bytes: malloc.in_use_bytes });
        let free_count = malloc.free_count.map(count).unwrap_or_default();
        self.add(2, "free, between what is in use", &bytes(malloc.free_bytes), &free_count, "");
        if let Some(cached) = malloc.cached_bytes {
            self.add(4, "of it in caches of threads", &bytes(cached), "", "");
        }
        self.add(2, "free, at the top", &bytes(malloc.top_bytes), "", "");
        let inconsistent = Sum { count: malloc.inconsistent, bytes: malloc.inconsistent_bytes };
        self.some(2, "not consistent when it was read", inconsistent);
        if malloc.unread_bytes > 0 {
            self.add(2, "swapped out: not read", &bytes(malloc.unread_bytes), "", "");
        }
    }

    fn mapped(&mut self, malloc: &Malloc) {
        self.sum(2, "in use", Sum { count: malloc.mmapped_count, bytes: malloc.mmapped_bytes });
        if let Some(found) = malloc.mmapped_found_count.filter(|found| *found < malloc.mmapped_count) {
            self.add(4, "of them found", &bytes(malloc.mmapped_found_bytes), &count(found), "");
        }
    }

    /// States of zlib, part of what malloc has in use.
    fn zlib(&mut self, zlib: &Zlib) {
        self.some(4, "zlib inflate states", zlib.inflate);
        self.some(4, "zlib deflate states", zlib.deflate);
        for group in &zlib.groups {
            let window = u32::try_from(group.window_bits).ok().and_then(|bits| 1_u64.checked_shl(bits));
            let window = bytes(window.unwrap_or(0));
            let name = match (&*group.kind, group.level) {
                ("inflate", _) if !group.has_window => "inflate, without a window yet".to_owned(),
                (kind, None) => format!("{kind}, window of {window}"),
                (kind, Some(level)) => format!("{kind}, level {level}, window of {window}"),
            };
            self.sum(6, &name, Sum { count: group.count, bytes: group.bytes });
        }
        for maker in zlib.libraries.iter().take(MAX_ROWS) {
            let name = format!("of {}", known_name(&maker.path));
            self.sum(6, &name, Sum { count: maker.count, bytes: maker.bytes });
        }
    }

    fn in_chunks(&mut self, census: &Census) {
        if let Some(zstd) = census.census.zstd {
            self.some(4, "zstd contexts, compressing", zstd.compress);
            self.some(4, "zstd contexts, decompressing", zstd.decompress);
        }
        if let Some(openssl) = census.census.openssl {
            self.some(4, "OpenSSL contexts", openssl.contexts);
            self.some(4, "OpenSSL connections, without buffers", openssl.connections);
        }
        if let Some(chunks) = &census.census.jvm_arena_chunks {
            let sum = Sum { count: chunks.count, bytes: chunks.bytes };
            self.some(4, "JVM arenas (compilers, threads)", sum);
        }
    }

    fn threads(&mut self, census: &Census) {
        let Some(threads) = &census.census.threads else { return };
        self.add(2, "threads", "", &count(threads.count), "");
        for group in threads.groups.iter().filter(|group| group.count > 1).take(MAX_ROWS) {
            self.add(4, &group.name, "", &count(group.count), "");
        }
    }

    fn java_heap(&mut self, census: &Census) {
        let Some(heap) = &census.census.java_heap else { return };
        self.add(2, "used", &bytes(heap.used_bytes), "", "");
        for space in heap.spaces.iter().filter(|space| space.used_bytes > 0) {
            self.sum(4, &space.name, Sum { count: space.count, bytes: space.used_bytes });
        }
    }

    fn code(&mut self, code: &CodeCache) {
        for heap in &code.heaps {
            let name = format!("{}, of {}", heap.name, bytes(heap.reserved_bytes));
            self.sum(2, &name, Sum { count: heap.blocks, bytes: heap.used_bytes });
        }
        for tier in &code.tiers {
            let sum = Sum { count: tier.count, bytes: tier.bytes };
            self.sum(2, &format!("methods, {}", tier.tier), sum);
        }
        for generated in code.generated.iter().take(GENERATED) {
            let sum = Sum { count: generated.count, bytes: generated.bytes };
            self.sum(4, &format!("generated: {}", generated.pattern), sum);
        }
    }

    fn loaders(&mut self, census: &Census) {
        let Some(types) = &census.census.class_loaders else { return };
        let held = |metaspace: Option<u64>| metaspace.map_or_else(|| "-".to_owned(), bytes);
        if let Some(all) = census.census.class_loader_totals {
            self.add(2, "class loaders, with class space", &held(all.metaspace_bytes), &count(all.count), "");
            let used = all.metaspace_used_bytes.map(bytes).unwrap_or_default();
            self.add(4, "of it used; classes", &used, &count(all.classes), "");
        }
        for kind in types.iter().filter(|kind| kind.count >= MIN_LOADERS).take(MAX_ROWS) {
            self.add(4, &kind.name, &held(kind.metaspace_bytes), &count(kind.count), "");
        }
    }

    /// Parts of malloc's memory and of the JVM's that have no owner of their own among the mappings.
    fn beside(&mut self, census: &Census) {
        let contents = &census.census;
        if let Some(buffers) = &contents.direct_buffers {
            let sum = Sum { count: buffers.count, bytes: buffers.capacity_bytes };
            self.sum(0, "direct buffers (in malloc's)", sum);
            if buffers.capacity_bytes != buffers.reserved_bytes {
                self.add(2, "with their alignment", &bytes(buffers.reserved_bytes), "", "");
            }
        }
        if let Some(jni) = &contents.jni {
            self.sum(0, "JNI global references", Sum { count: jni.global_count, bytes: jni.global_bytes });
            self.sum(0, "JNI weak global references", Sum { count: jni.weak_count, bytes: jni.weak_bytes });
        }
        if let Some(tables) = &contents.symbols {
            let sum = Sum { count: tables.symbol_count, bytes: tables.symbol_bytes };
            self.sum(0, "symbols (in malloc's)", sum);
            let sum = Sum { count: tables.string_count, bytes: tables.string_bytes };
            self.sum(0, "table of interned strings (in malloc's)", sum);
        }
        for queue in contents.compile_queues.iter().flatten() {
            self.add(0, &format!("methods wait in the {}", queue.name), "", &count(queue.length), "");
        }
    }
}
