//! The facts of a census: one number or two each, so that two censuses can be compared. They are what malloc has, what
//! is in its chunks, and what the JVM's own structures say.

use std::collections::BTreeMap;

use crate::attribute::without_random_numbers;
use crate::census::Census;
use crate::census::document::Sum;
use crate::process::module::file_name;

/// A thing with its bytes and its count, as far as they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// `malloc-in-use`, `threads`; of a member of a list `threads/pool-N`.
    pub id: String,
    pub name: String,
    /// The fact that it is a part of.
    pub of: Option<&'static str>,
    pub bytes: Option<u64>,
    pub count: Option<u64>,
}

const IN_USE: &str = "malloc-in-use";

/// Bytes and count of a thing; `None` if it is not known.
type Amount = (Option<u64>, Option<u64>);

impl Fact {
    /// Facts of a census in the order in which they are told: one for each known thing, each followed by one for each
    /// member, if it is a list.
    pub fn all_of(census: &Census) -> Vec<Fact> {
        let of = &census.census;
        let zstd = of.zstd.map(|zstd| {
            let mut sum = zstd.compress;
            sum.merge(zstd.decompress);
            sum
        });
        let arenas =
            of.jvm_arena_chunks.as_ref().map(|chunks| Sum { count: chunks.count, bytes: chunks.bytes });
        let buffers = of.direct_buffers.map(|all| Sum { count: all.count, bytes: all.capacity_bytes });
        let code =
            of.code_cache.as_ref().map(|code| Sum { count: code.method_count, bytes: code.used_bytes });
        let symbols = of.symbols.map(|all| Sum { count: all.symbol_count, bytes: all.symbol_bytes });
        let strings = of.symbols.map(|all| Sum { count: all.string_count, bytes: all.string_bytes });
        let global = of.jni.map(|jni| Sum { count: jni.global_count, bytes: jni.global_bytes });
        let weak = of.jni.map(|jni| Sum { count: jni.weak_count, bytes: jni.weak_bytes });
        let free_bytes = of.malloc.as_ref().map(|malloc| malloc.all_free_bytes());
        let libraries = of.libraries.as_ref().map(|all| {
            members("libraries", all.iter().map(|it| (&*it.path, (Some(it.bytes), Some(it.count)))))
        });
        let threads = of.threads.as_ref().map(|threads| {
            members("threads", threads.groups.iter().map(|group| (&*group.name, (None, Some(group.count)))))
        });
        let loaders = of.class_loaders.as_ref().map(|all| {
            members("class-loaders", all.iter().map(|it| (&*it.name, (it.metaspace_bytes, Some(it.count)))))
        });
        let all_loaders = of.class_loader_totals.map(|all| (all.metaspace_bytes, Some(all.count)));

        let mut facts = Vec::new();
        let mut add = |id: &str, name: &str, part_of: Option<&'static str>, (bytes, count): Amount| {
            facts.push(Fact { id: id.to_owned(), name: name.to_owned(), of: part_of, bytes, count });
        };
        add(IN_USE, "malloc: in use", None, amount(of.malloc.as_ref().map(|malloc| malloc.all_in_use())));
        add(
            "zlib-inflate",
            "zlib inflate states",
            Some(IN_USE),
            amount(of.zlib.as_ref().map(|zlib| zlib.inflate)),
        );
        add(
            "zlib-deflate",
            "zlib deflate states",
            Some(IN_USE),
            amount(of.zlib.as_ref().map(|zlib| zlib.deflate)),
        );
        add("zstd", "zstd contexts", Some(IN_USE), amount(zstd));
        add("direct-buffers", "direct buffers", Some(IN_USE), amount(buffers));
        add("jvm-arenas", "chunks of the JVM's arenas", Some(IN_USE), amount(arenas));
        add("libraries", "chunks that lead to a library", Some(IN_USE), sum(libraries.as_deref()));
        add("malloc-free", "malloc: free, kept", None, (free_bytes, None));
        add("threads", "threads", None, (None, of.threads.as_ref().map(|threads| threads.count)));
        add("class-loaders", "class loaders", None, all_loaders.unwrap_or_else(|| sum(loaders.as_deref())));
        add("code-cache", "code cache, and methods in it", None, amount(code));
        add("java-heap", "Java heap, used", None, (of.java_heap.as_ref().map(|heap| heap.used_bytes), None));
        add("symbols", "symbols of classes", None, amount(symbols));
        add("strings", "interned strings", None, amount(strings));
        add("jni-global", "JNI global references", None, amount(global));
        add("jni-weak", "JNI weak global references", None, amount(weak));
        for members in [libraries, threads, loaders].into_iter().flatten() {
            let Some(list) = members.first().and_then(|member| member.of) else { continue };
            let after = facts.iter().position(|fact| fact.id == list).map_or(facts.len(), |at| at + 1);
            facts.splice(after..after, members);
        }
        facts
    }
}

fn amount(sum: Option<Sum>) -> Amount {
    (sum.map(|sum| sum.bytes), sum.map(|sum| sum.count))
}

/// The members of a list, each name once.
fn members<'a>(list: &'static str, rows: impl Iterator<Item = (&'a str, Amount)>) -> Vec<Fact> {
    let mut members: BTreeMap<String, Fact> = BTreeMap::new();
    for (name, (bytes, count)) in rows {
        let name = without_random_numbers(name).into_owned();
        let add = |sum: &mut Option<u64>, more: Option<u64>| {
            *sum = more.map(|more| sum.unwrap_or(0).saturating_add(more)).or(*sum);
        };
        let fact = members.entry(name).or_insert_with_key(|name| Fact {
            id: format!("{list}/{name}"),
            // The folder of a file says little.
            name: name.strip_prefix('/').map_or_else(|| name.clone(), |path| file_name(path).to_owned()),
            of: Some(list),
            bytes: None,
            count: None,
        });
        add(&mut fact.bytes, bytes);
        add(&mut fact.count, count);
    }
    members.into_values().collect()
}

/// The sums over the members of a list; not known if that of one member is not, or there is no member.
fn sum(members: Option<&[Fact]>) -> Amount {
    let of = |number: fn(&Fact) -> Option<u64>| {
        let numbers = members.into_iter().flatten().map(number);
        numbers.reduce(|sum, number| Some(sum?.saturating_add(number?))).flatten()
    };
    (of(|fact| fact.bytes), of(|fact| fact.count))
}
