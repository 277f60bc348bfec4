//! Schema `tracer.census/1`. What could not be read is null, and `unknown` has the reason by its key.

use serde_json::{Map, Value, json};

use super::{ARENAS_MISSING, Heading};
use crate::census::{ArenaChunks, Census, CodeUse, Group, Jvm, Library, OpenSsl, Zstd, zlib};
use crate::glibc::{Arena, Malloc, SizeClass};
use crate::hotspot::books::{HeapSpace, JavaHeap};
use crate::vmmap::{Owner, Usage};

/// Methods, sizes and types that are listed at most.
const MAX_ROWS: usize = 100;

/// The census as one JSON value.
pub fn value(census: &Census, heading: &Heading) -> Value {
    let mut unknown = Map::new();
    let books = match &census.jvm {
        Some(Ok(jvm)) => Some(jvm),
        Some(Err(why)) => {
            unknown.insert("jvm".into(), why.clone().into());
            None
        }
        None => None,
    };
    let mut known = |key: &str, value: Result<Value, &String>| match value {
        Ok(value) => value,
        Err(why) => {
            unknown.insert(key.to_owned(), why.clone().into());
            Value::Null
        }
    };
    let malloc = known("malloc", census.native.malloc.as_ref().map(malloc));
    if census.native.malloc.as_ref().is_ok_and(|malloc| !malloc.has_all_arenas) {
        known("malloc.arenas", Err(&ARENAS_MISSING.to_owned()));
    }
    let threads = known("threads", census.threads.as_ref().map(|groups| threads(groups)));
    let java_heap =
        books.map(|jvm| known("java_heap", jvm.java_heap.as_ref().map(|heap| java_heap(heap, census))));
    let direct_buffers = books.map(|jvm| {
        let buffers = jvm.direct_buffers.as_ref().map(|buffers| {
            json!({
                "count": buffers.count,
                "capacity_bytes": buffers.capacity_bytes,
                "reserved_bytes": buffers.reserved_bytes,
            })
        });
        known("direct_buffers", buffers)
    });
    let loaders = books.map(|jvm| {
        let loaders = jvm.loaders.as_ref().map(|loaders| {
            let types = loaders.types.iter().map(|kind| {
                json!({
                    "type": kind.name,
                    "count": kind.count,
                    "classes": kind.class_count,
                    "metaspace_bytes": kind.metaspace.map(|metaspace| metaspace.committed_bytes),
                    "metaspace_used_bytes": kind.metaspace.map(|metaspace| metaspace.used_bytes),
                })
            });
            types.collect::<Value>()
        });
        known("class_loaders", loaders)
    });
    let undivided =
        books.and_then(|jvm| jvm.loaders.as_ref().ok()).is_some_and(|loaders| loaders.metaspace.is_none());
    if undivided {
        let why = "this JVM does not describe the metaspace of its loaders".to_owned();
        known("class_loaders.metaspace_bytes", Err(&why));
    }
    let jni = books.map(|jvm| {
        let jni = jvm.jni.as_ref().map(|jni| {
            json!({
                "global_count": jni.global.count,
                "global_bytes": jni.global.bytes,
                "weak_count": jni.weak.count,
                "weak_bytes": jni.weak.bytes,
            })
        });
        known("jni", jni)
    });
    let symbols = books.map(|jvm| {
        let tables = jvm.tables.as_ref().map(|tables| {
            json!({
                "symbol_count": tables.symbols.count,
                "symbol_bytes": tables.symbols.bytes,
                "string_count": tables.strings.count,
                "string_bytes": tables.strings.bytes,
            })
        });
        known("symbols", tables)
    });
    let queues = books.map(|jvm| {
        let queues = jvm.compile_queues.as_ref().map(|queues| {
            let queues = queues.iter().map(|queue| json!({ "name": queue.name, "length": queue.length }));
            queues.collect::<Value>()
        });
        known("compile_queues", queues)
    });
    // Without chunks nothing could be told of them.
    let in_chunks = census.native.malloc.is_ok();
    let findings = census.findings();
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "kind": finding.kind,
                "bytes": finding.bytes,
                "evidence": finding.evidence,
                "category": finding.category,
                "advice": finding.advice,
            })
        })
        .collect();
    json!({
        "schema": "tracer.census/1",
        "target": target(heading, books),
        "taken": { "duration_ns": heading.duration_ns, "core": heading.core },
        "memory": memory(census, heading),
        "findings": findings,
        "census": {
            "zlib": zlib(census),
            "malloc": malloc,
            "libraries": in_chunks.then(|| libraries(&census.native.libraries)),
            "jvm_arena_chunks": in_chunks.then(|| arena_chunks(&census.native.arena_chunks)),
            "zstd": in_chunks.then(|| zstd(&census.native.zstd)),
            "openssl": in_chunks.then(|| openssl(&census.native.openssl)),
            "java_heap": java_heap,
            "direct_buffers": direct_buffers,
            "threads": threads,
            "class_loaders": loaders,
            "code_cache": books.map(|jvm| code_cache(&jvm.code)),
            "jni": jni,
            "symbols": symbols,
            "compile_queues": queues,
        },
        "unknown": unknown,
    })
}

fn target(heading: &Heading, jvm: Option<&Jvm>) -> Value {
    json!({
        "pid": heading.pid,
        "comm": heading.comm,
        "command": heading.command,
        "container": heading.container,
        "jvm": jvm.map(|jvm| json!({
            "version": jvm.version,
            "vendor": jvm.vendor,
            "gc": jvm.gc,
            "java_home": heading.java_home,
        })),
    })
}

fn memory(census: &Census, heading: &Heading) -> Value {
    let part = |(owner, usage): &(Owner, Usage)| {
        json!({
            "id": owner.id(),
            "reserved_bytes": usage.reserved_bytes,
            "committed_bytes": usage.committed_bytes,
            "resident_bytes": usage.resident_bytes,
            "swap_bytes": usage.swap_bytes,
        })
    };
    let unexplained = census.owners.iter().find(|(owner, _)| *owner == Owner::Unexplained);
    let known = !census.owners.is_empty();
    json!({
        "rss_bytes": census.rss_bytes,
        "limit_bytes": heading.limit_bytes,
        "parts": census.owners.iter().map(part).collect::<Value>(),
        "unexplained_bytes": known.then(|| unexplained.map_or(0, |(_, usage)| usage.resident_bytes)),
    })
}

fn sum(sum: zlib::Sum) -> Value {
    json!({ "count": sum.count, "bytes": sum.bytes })
}

fn zlib(census: &Census) -> Value {
    let zlib = &census.native.zlib;
    let groups: Vec<Value> = zlib
        .groups
        .iter()
        .map(|(group, sum)| {
            json!({
                "kind": match group.kind {
                    zlib::Kind::Inflate => "inflate",
                    zlib::Kind::Deflate => "deflate",
                },
                "level": group.level,
                "window_bits": group.window_bits,
                "has_window": group.has_window,
                "count": sum.count,
                "bytes": sum.bytes,
            })
        })
        .collect();
    let libraries: Vec<Value> = census
        .native
        .zlib_makers
        .iter()
        .map(|maker| json!({ "path": maker.path, "count": maker.count, "bytes": maker.bytes }))
        .collect();
    json!({
        "inflate": sum(zlib.inflate),
        "deflate": sum(zlib.deflate),
        "groups": groups,
        "libraries": libraries,
        "searched": if census.native.zlib_in_chunks { "chunks" } else { "memory" },
    })
}

fn malloc(malloc: &Malloc) -> Value {
    let total = malloc.total();
    let mapped = malloc.mapped.amount();
    let class = |class: &SizeClass| {
        json!({
            "from_bytes": class.from_bytes,
            "to_bytes": class.to_bytes,
            "count": class.count,
            "bytes": class.bytes,
        })
    };
    json!({
        "system_bytes": malloc.system_bytes(),
        "in_use_bytes": total.in_use.bytes,
        "in_use_count": total.in_use.count,
        "free_bytes": total.free_bytes(),
        "top_bytes": total.top_bytes,
        "own_bytes": total.own_bytes,
        "mmapped_bytes": mapped.bytes,
        "mmapped_count": mapped.count,
        "mmapped_found_bytes": malloc.mapped.found.bytes,
        "mmapped_resident_bytes": malloc.mapped.resident_bytes,
        "inconsistent": total.inconsistent.count,
        "inconsistent_bytes": total.inconsistent.bytes,
        "unread_bytes": total.unread_bytes,
        "thread_caches": malloc.cache_count,
        "arenas": malloc.arenas.iter().map(arena).collect::<Value>(),
        "sizes": malloc.sizes.histogram().iter().map(class).collect::<Value>(),
        "largest_sizes": malloc.sizes.largest(MAX_ROWS).iter().map(class).collect::<Value>(),
    })
}

fn arena(arena: &Arena) -> Value {
    let holdings = &arena.holdings;
    json!({
        "address": format!("{:#x}", arena.address),
        "main": arena.is_main,
        "attached_threads": arena.attached_threads,
        "heaps": arena.heaps.len(),
        "system_bytes": arena.system_bytes,
        "resident_bytes": arena.resident_bytes,
        "in_use_bytes": holdings.in_use.bytes,
        "in_use_count": holdings.in_use.count,
        "free_bytes": holdings.free_bytes(),
        "fast_bytes": holdings.fast.bytes,
        "cached_bytes": holdings.cached.bytes,
        "top_bytes": holdings.top_bytes,
        "largest_free_bytes": holdings.largest_free_bytes,
        "inconsistent": holdings.inconsistent.count,
        "unread_bytes": holdings.unread_bytes,
    })
}

fn libraries(libraries: &[Library]) -> Value {
    let row =
        |library: &Library| json!({ "path": library.path, "count": library.count, "bytes": library.bytes });
    libraries.iter().map(row).collect()
}

fn zstd(found: &Zstd) -> Value {
    json!({ "compress": sum(found.compress), "decompress": sum(found.decompress) })
}

fn openssl(found: &OpenSsl) -> Value {
    json!({ "contexts": sum(found.contexts), "connections": sum(found.connections) })
}

fn arena_chunks(chunks: &[ArenaChunks]) -> Value {
    let row = |chunks: &ArenaChunks| json!({ "length_bytes": chunks.length_bytes, "count": chunks.count, "bytes": chunks.bytes });
    json!({
        "count": chunks.iter().map(|chunks| chunks.count).sum::<u64>(),
        "bytes": chunks.iter().map(|chunks| chunks.bytes).sum::<u64>(),
        "lengths": chunks.iter().map(row).collect::<Value>(),
    })
}

fn java_heap(heap: &JavaHeap, census: &Census) -> Value {
    let space = |space: &HeapSpace| {
        json!({
            "name": space.name,
            "count": space.count,
            "capacity_bytes": space.capacity_bytes,
            "used_bytes": space.used_bytes,
        })
    };
    let mapped = census.owners.iter().find(|(owner, _)| *owner == Owner::JavaHeap).map(|(_, usage)| usage);
    json!({
        "used_bytes": heap.used_bytes,
        "committed_bytes": mapped.map(|usage| usage.committed_bytes),
        "reserved_bytes": mapped.map(|usage| usage.reserved_bytes),
        "spaces": heap.spaces.iter().map(space).collect::<Value>(),
    })
}

fn threads(groups: &[Group]) -> Value {
    let rows = groups.iter().map(|group| json!({ "name": group.name, "count": group.count }));
    json!({
        "count": groups.iter().map(|group| group.count).sum::<u64>(),
        "groups": rows.collect::<Value>(),
    })
}

fn code_cache(code: &CodeUse) -> Value {
    let heap = |heap: &crate::hotspot::books::CodeHeap| {
        json!({
            "name": heap.name,
            "reserved_bytes": heap.reserved_bytes,
            "committed_bytes": heap.committed_bytes,
            "used_bytes": heap.used_bytes,
            "blocks": heap.block_count,
        })
    };
    let tiers = code.tiers();
    let tier =
        |(tier, count, bytes): &(&str, u64, u64)| json!({ "tier": tier, "count": count, "bytes": bytes });
    let method = |method: &crate::census::CodeMethod| json!({ "method": method.method, "tier": method.tier, "bytes": method.bytes });
    let generated = |row: &crate::census::Generated| json!({ "pattern": row.pattern, "count": row.count, "bytes": row.bytes });
    json!({
        "reserved_bytes": code.reserved_bytes(),
        "committed_bytes": code.committed_bytes(),
        "used_bytes": code.used_bytes(),
        "heaps": code.heaps.iter().map(heap).collect::<Value>(),
        "tiers": tiers.iter().map(tier).collect::<Value>(),
        "methods": code.methods.iter().take(MAX_ROWS).map(method).collect::<Value>(),
        "method_count": code.methods.len(),
        "generated": code.generated.iter().take(MAX_ROWS).map(generated).collect::<Value>(),
    })
}
