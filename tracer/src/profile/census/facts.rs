//! What of a census is one number or two, so that it can be compared: what malloc has, what is in its chunks,
//! and what the JVM's books say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Census;
use crate::attribute::without_drawn;
use crate::process::module::file_name;

/// Something that there is so and so much of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// `malloc-in-use`, `threads`; of a list `threads/pool-N`.
    pub id: String,
    pub name: String,
    /// The fact that it is a part of.
    pub of: Option<&'static str>,
    pub bytes: Option<u64>,
    pub count: Option<u64>,
}

/// A fact that is at fixed places: its numbers are the sums of what is there.
struct Place {
    id: &'static str,
    name: &'static str,
    of: Option<&'static str>,
    bytes: &'static [&'static str],
    /// Empty: as many as the list has.
    count: &'static [&'static str],
}

type Paths = &'static [&'static str];

const fn place(
    id: &'static str,
    name: &'static str,
    of: Option<&'static str>,
    bytes: Paths,
    count: Paths,
) -> Place {
    Place { id, name, of, bytes, count }
}

const IN_USE: Option<&str> = Some("malloc-in-use");
const IN_USE_BYTES: Paths = &["/census/malloc/in_use_bytes", "/census/malloc/mmapped_bytes"];
const IN_USE_COUNT: Paths = &["/census/malloc/in_use_count", "/census/malloc/mmapped_count"];
const INFLATE: [Paths; 2] = [&["/census/zlib/inflate/bytes"], &["/census/zlib/inflate/count"]];
const DEFLATE: [Paths; 2] = [&["/census/zlib/deflate/bytes"], &["/census/zlib/deflate/count"]];
const ZSTD: [Paths; 2] = [
    &["/census/zstd/compress/bytes", "/census/zstd/decompress/bytes"],
    &["/census/zstd/compress/count", "/census/zstd/decompress/count"],
];
const BUFFERS: [Paths; 2] = [&["/census/direct_buffers/capacity_bytes"], &["/census/direct_buffers/count"]];
const FREE_BYTES: Paths = &["/census/malloc/free_bytes", "/census/malloc/top_bytes"];
const CODE: [Paths; 2] = [&["/census/code_cache/used_bytes"], &["/census/code_cache/method_count"]];
const ARENAS: [Paths; 2] = [&["/census/jvm_arena_chunks/bytes"], &["/census/jvm_arena_chunks/count"]];
const HEAP_BYTES: Paths = &["/census/java_heap/used_bytes"];
const SYMBOLS: [Paths; 2] = [&["/census/symbols/symbol_bytes"], &["/census/symbols/symbol_count"]];
const STRINGS: [Paths; 2] = [&["/census/symbols/string_bytes"], &["/census/symbols/string_count"]];
const GLOBAL: [Paths; 2] = [&["/census/jni/global_bytes"], &["/census/jni/global_count"]];
const WEAK: [Paths; 2] = [&["/census/jni/weak_bytes"], &["/census/jni/weak_count"]];

/// In the order in which they are told; the members of a list come right after it.
const PLACES: [Place; 16] = [
    place("malloc-in-use", "malloc: in use", None, IN_USE_BYTES, IN_USE_COUNT),
    place("zlib-inflate", "zlib inflate states", IN_USE, INFLATE[0], INFLATE[1]),
    place("zlib-deflate", "zlib deflate states", IN_USE, DEFLATE[0], DEFLATE[1]),
    place("zstd", "zstd contexts", IN_USE, ZSTD[0], ZSTD[1]),
    place("direct-buffers", "direct buffers", IN_USE, BUFFERS[0], BUFFERS[1]),
    place("jvm-arenas", "chunks of the JVM's arenas", IN_USE, ARENAS[0], ARENAS[1]),
    place("libraries", "chunks that lead to a library", IN_USE, &[], &[]),
    place("malloc-free", "malloc: free, kept", None, FREE_BYTES, &[]),
    place("threads", "threads", None, &[], &["/census/threads/count"]),
    place("class-loaders", "class loaders", None, &[], &[]),
    place("code-cache", "code cache, and methods in it", None, CODE[0], CODE[1]),
    place("java-heap", "Java heap, used", None, HEAP_BYTES, &[]),
    place("symbols", "symbols of classes", None, SYMBOLS[0], SYMBOLS[1]),
    place("strings", "interned strings", None, STRINGS[0], STRINGS[1]),
    place("jni-global", "JNI global references", None, GLOBAL[0], GLOBAL[1]),
    place("jni-weak", "JNI weak global references", None, WEAK[0], WEAK[1]),
];

/// A list whose members are facts: of what, where, what names a member, and where its numbers are.
struct List {
    of: &'static str,
    rows: &'static str,
    name: &'static str,
    bytes: &'static str,
    count: &'static str,
}

const LISTS: [List; 3] = [
    List { of: "libraries", rows: "/census/libraries", name: "path", bytes: "bytes", count: "count" },
    List { of: "threads", rows: "/census/threads/groups", name: "name", bytes: "", count: "count" },
    List {
        of: "class-loaders",
        rows: "/census/class_loaders",
        name: "type",
        bytes: "metaspace_bytes",
        count: "count",
    },
];

impl Census {
    /// What can be compared; a fact for each of the known things, and one for each member of a list.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        for place in &PLACES {
            let list = LISTS.iter().find(|list| list.of == place.id);
            let members = list.and_then(|list| self.members(list));
            let of_members = |number: fn(&Fact) -> Option<u64>| sum(members.iter().flatten().map(number));
            let of_list = |number| members.as_ref().and_then(|_| of_members(number));
            facts.push(Fact {
                id: place.id.to_owned(),
                name: place.name.to_owned(),
                of: place.of,
                bytes: self.sum(place.bytes).or_else(|| of_list(|fact| fact.bytes)),
                count: self.sum(place.count).or_else(|| of_list(|fact| fact.count)),
            });
            facts.extend(members.into_iter().flatten());
        }
        facts
    }

    /// The sum of the numbers at some paths.
    fn sum(&self, paths: &[&str]) -> Option<u64> {
        sum(paths.iter().map(|path| self.number(path)))
    }

    /// The members of a list, each name once.
    fn members(&self, list: &List) -> Option<Vec<Fact>> {
        let mut members: BTreeMap<String, Fact> = BTreeMap::new();
        for row in self.rows(list.rows)? {
            let number = |key: &str| row.get(key).and_then(Value::as_u64);
            let Some(name) = row.get(list.name).and_then(Value::as_str) else { continue };
            let name = without_drawn(name).into_owned();
            let add = |sum: &mut Option<u64>, more: Option<u64>| {
                *sum = more.map(|more| sum.unwrap_or(0).saturating_add(more)).or(*sum);
            };
            let fact = members.entry(name).or_insert_with_key(|name| Fact {
                id: format!("{}/{name}", list.of),
                // Of a file, what its folder is says little.
                name: name.strip_prefix('/').map_or_else(|| name.clone(), |path| file_name(path).to_owned()),
                of: Some(list.of),
                bytes: None,
                count: None,
            });
            add(&mut fact.bytes, number(list.bytes));
            add(&mut fact.count, number(list.count));
        }
        Some(members.into_values().collect())
    }
}

/// None: one of them is not known, or there is none.
fn sum(numbers: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    numbers.reduce(|sum, number| Some(sum?.saturating_add(number?)))?
}
