//! The sample recording's profile adds up and says what was recorded.

use serde_json::Value;
use tracer_common::stack::StackId;

use super::census::Fact;
use super::*;
use crate::attribute::Rules;
use crate::census::{Census, document};
use crate::holders::HolderState;
use crate::recording::{self, fixture};
use crate::symbolize::Tier;

fn profile() -> Profile {
    let (_folder, path) = fixture::finished();
    Profile::build(&recording::read(&path).expect("read"), &Rules::builtin())
}

#[test]
fn rows_add_up() {
    let profile = profile();
    let mut allocator = Totals::default();
    for row in profile.categories.iter().filter(|row| row.source == "allocator") {
        allocator.add(&row.totals);
    }
    assert_eq!(profile.totals, allocator);
    for category in &profile.categories {
        let mut sites = Totals::default();
        for site in &profile.sites {
            if site.category == category.id && site.source == category.source {
                sites.add(&site.totals);
            }
        }
        assert_eq!(category.totals, sites, "{}", category.id);
        let totals = category.totals;
        assert_eq!(totals.live_bytes, totals.allocated_bytes - totals.freed_bytes);
        assert_eq!(totals.live_count, totals.allocated_count - totals.freed_count);
    }
}

/// The sites that hold least, of very many, are judged as a part of their line, by which they are found, too.
#[test]
fn sites_that_hold_least_are_judged_with_their_line() {
    let (folder, path) = fixture::folder();
    let mut writer = recording::Writer::create(&path, false, &fixture::header()).expect("create");
    writer.started("2026-01-01T00:00:00Z", 0).expect("started");
    let stacks: Vec<StackId> = (1_000..2_100).map(StackId).collect();
    for (number, &stack) in (0..).zip(&stacks) {
        let calls = fixture::java(&format!("com.acme.Call{number}.run"), 7, Tier::C2);
        let frames = [
            fixture::native("stage", "/opt/libcodec.so"),
            fixture::java("com.acme.Codec.open0", 0, Tier::C2),
            fixture::java("com.acme.Codec.open", 3, Tier::C2),
            calls,
        ];
        writer.stack(stack, &frames, true, "complete").expect("stack");
    }
    for second in 1..=20 {
        let totals = (1..)
            .zip(&stacks)
            .map(|(size, &stack)| (stack, fixture::totals((size * second, second), (0, 0))));
        let time_ns = second * fixture::SECOND_NS;
        writer.allocator_totals(time_ns, &totals.collect::<Vec<_>>()).expect("totals");
        writer.tick(time_ns).expect("tick");
    }
    let end = recording::End { duration_ns: 20 * fixture::SECOND_NS, reason: "duration".to_owned() };
    writer.finish(&end).expect("finish");
    let profile = Profile::build(&recording::read(&path).expect("read"), &Rules::builtin());
    drop(folder);
    assert_eq!(profile.sites.len(), 1_100);
    let [line] = profile.by_line.as_slice() else { panic!("{} lines", profile.by_line.len()) };
    let found = line.verdict.as_ref().map(|verdict| verdict.kind);
    assert!(found.is_some());
    for (at, site) in profile.sites.iter().enumerate() {
        assert_eq!(site.verdict.is_some(), at < 1_000, "{at}");
        let own = site.verdict.as_ref().map(|verdict| verdict.kind);
        assert_eq!(site.found, own.or(found), "{at}");
    }
}

#[test]
fn one_way_is_one_site_however_warm_it_was() {
    let profile = profile();
    let zlib: Vec<&Site> = profile.sites.iter().filter(|site| site.category == "zlib").collect();
    assert_eq!(zlib.len(), 1);
    let site = zlib[0];
    assert_eq!(site.totals.allocated_bytes, 4_004_000);
    assert_eq!(site.totals.live_bytes, 2_562_560);
    assert_eq!(site.kind.as_deref(), Some("inflate"));
    assert_eq!(site.owner.as_deref(), Some("com.acme.Feed.open"));
    assert_eq!(site.threads, [SiteThread { name: "main".into(), live_bytes: 2_562_560, live_count: 300 }]);
    // The stack that holds most is the one that is shown.
    assert_eq!(site.frames.get(5).and_then(|frame| frame.tier), Some(Tier::Inlined));
    assert!(site.growth_bytes_per_s.is_some_and(|growth| growth > 100_000));
}

#[test]
fn growth_is_told_from_what_is_held() {
    let profile = profile();
    let site = |category: &str| profile.sites.iter().find(|site| site.category == category).expect("site");
    let verdict = |category: &str| site(category).verdict.clone().expect("verdict");
    // The one collection ran when a fifth of it was there.
    assert_eq!(verdict("zlib").kind, VerdictKind::GcPending, "{:?}", verdict("zlib"));
    assert!(verdict("zlib").evidence.contains("ran before most of it was allocated"));
    assert!(verdict("zlib").advice.contains("close() the stream"));
    assert_eq!(verdict("direct-buffer").kind, VerdictKind::Pool);
    let category = profile.categories.iter().find(|row| row.id == "zlib").expect("zlib");
    assert_eq!(category.verdict.as_ref().map(|verdict| verdict.kind), Some(VerdictKind::GcPending));
    assert_eq!(site("compiler").growth_bytes_per_s, Some(0));
}

#[test]
fn threads_are_counted_with_their_creators() {
    let threads = profile().threads;
    assert_eq!((threads.live, threads.started, threads.exited), (2, 2, 1));
    assert_eq!(threads.creators.len(), 1);
    assert_eq!(threads.creators[0].count, 2);
}

#[test]
fn more_freed_than_allocated_is_counted_and_not_shown() {
    let (_folder, path) = fixture::folder();
    let mut writer = recording::Writer::create(&path, false, &fixture::header()).expect("create");
    writer.allocator_totals(1, &[(StackId(7), fixture::totals((10, 1), (20, 2)))]).expect("totals");
    let end = recording::End { duration_ns: 1, reason: "duration".to_owned() };
    writer.finish(&end).expect("finish");
    let profile = Profile::build(&recording::read(&path).expect("read"), &Rules::builtin());
    assert_eq!(profile.quality.lost.get("inconsistent_totals"), Some(&1));
    assert_eq!(profile.totals.live_bytes, 0);
    assert_eq!(profile.totals.freed_bytes, 10);
    // A stack whose frames never came.
    assert_eq!(profile.sites[0].category, "unknown");
    assert!(profile.sites[0].frames.is_empty());
}

#[test]
fn the_schema_is_complete_and_in_order() {
    let text = serde_json::to_string(&profile()).expect("json");
    let json: Value = serde_json::from_str(&text).expect("json");
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
    };
    let totals =
        ["allocated_bytes", "allocated_count", "freed_bytes", "freed_count", "live_bytes", "live_count"];
    for (pointer, expected) in [
        (
            "",
            &[
                "schema",
                "target",
                "session",
                "trust",
                "totals",
                "categories",
                "sites",
                "threads",
                "code_cache",
                "memory",
            ][..],
        ),
        ("/target", &["pid", "comm", "command", "jvm", "container"]),
        ("/target/jvm", &["version", "vendor", "gc", "java_home"]),
        ("/session", &["started", "duration_ns", "probes", "sample_bytes", "gc_count"]),
        (
            "/trust",
            &[
                "lost",
                "stacks_total",
                "stacks_complete",
                "stacks_remembered",
                "incomplete",
                "unmatched_frees",
            ],
        ),
        ("/totals", &totals),
        ("/categories/0", &["id", "name", "source", "resident_bytes", "growth_bytes_per_s", "verdict"]),
        ("/categories/0", &totals),
        ("/sites/0", &["category", "source", "verdict", "owner", "threads", "frames"]),
        ("/sites/0", &totals),
        ("/sites/0/frames/0", &["function", "kind", "module", "file", "line", "offset", "tier"]),
        ("/threads", &["live", "started", "exited", "creators"]),
        ("/threads/creators/0", &["count", "frames"]),
        ("/code_cache", &["reserved_bytes", "committed_bytes", "used_bytes", "heaps", "methods"]),
        ("/code_cache/methods/0", &["method", "tier", "bytes"]),
        ("/memory", &["rss_bytes", "limit_bytes", "parts", "unexplained_bytes"]),
        ("/memory/parts/0", &["id", "reserved_bytes", "committed_bytes", "resident_bytes"]),
    ] {
        let found = keys(json.pointer(pointer).expect(pointer));
        for key in expected {
            assert!(found.iter().any(|one| one == key), "{pointer}/{key}");
        }
    }
    let place = |key: &str| text.find(&format!("\"{key}\":")).expect(key);
    assert!(place("schema") < place("target") && place("totals") < place("categories"));
    assert_eq!(json["sites"][0]["frames"][0]["kind"], "native");
}

#[test]
fn the_balance_adds_up() {
    let memory = profile().memory;
    let resident = |id: &str| {
        memory
            .parts
            .iter()
            .find(|part| part.id == id)
            .and_then(|part| part.resident_bytes)
            .unwrap_or_default()
    };
    let sum: u64 = memory.parts.iter().filter_map(|part| part.resident_bytes).sum();
    assert_eq!(Some(sum), memory.rss_bytes);
    // 180 MiB of arenas, of which 100 MiB are in use.
    assert_eq!(resident("malloc-free"), 80 << 20);
    assert_eq!(resident("malloc-live") + resident("malloc-before"), 100 << 20);
    assert!(resident("malloc-live") > profile().totals.live_bytes);
    // Mapped in the session by malloc: not unexplained.
    assert_eq!(resident("allocator"), 1 << 20);
    assert_eq!((resident("unexplained"), memory.unexplained_bytes), (2 << 20, Some(2 << 20)));
    let category = profile().categories.into_iter().find(|row| row.id == "thread-stack").expect("stacks");
    assert_eq!(category.resident_bytes, Some(resident("thread-stack")));
}

#[test]
fn threads_by_name_and_creator() {
    let threads = profile().threads;
    assert_eq!((threads.creators[0].count, threads.creators[0].live), (2, 1));
    assert_eq!(threads.creators[0].stack_reserved_bytes, 1 << 20);
    let pool = threads.names.iter().find(|row| row.pattern == "pool-#-thread-#").expect("the pool");
    assert_eq!((pool.live, pool.started, pool.exited, pool.stack_resident_bytes), (1, 2, 1, 20 << 10));
    assert_eq!(
        threads.cached_stacks.map(|cached| (cached.count, cached.resident_bytes)),
        Some((1, 12 << 10))
    );
    assert_eq!(threads.stack_reserved_bytes, Some(9 << 20));
}

#[test]
fn a_part_adds_up_too() {
    let (_folder, path) = fixture::finished();
    let recording = recording::read(&path).expect("read");
    let filter = Filter { categories: vec!["zlib".to_owned()], ..Filter::default() };
    let profile = Profile::filtered(&recording, &Rules::builtin(), &filter).expect("kept");
    assert_eq!(profile.totals.allocated_bytes, 4_004_000);
    assert_eq!(profile.categories.len(), 1);
    assert!(profile.sites.iter().all(|site| site.category == "zlib"));
}

#[test]
fn views() {
    let sites = |view| {
        let mut profile = profile();
        profile.keep_view(view);
        profile.sites.iter().map(|site| format!("{}/{}", site.source, site.category)).collect::<Vec<_>>()
    };
    assert_eq!(sites(View::Leaks), ["allocator/zlib"]);
    assert_eq!(sites(View::Temporary), ["allocator/zlib", "allocator/compiler", "mapping/thread-stack"]);
    assert_eq!(sites(View::Allocated).first().map(String::as_str), Some("allocator/direct-buffer"));
}

#[test]
fn a_census_with_nothing_in_it_has_no_number() {
    let census = Census { schema: document::SCHEMA.to_owned(), ..Census::default() };
    assert!(Fact::all_of(&census).iter().all(|fact| fact.bytes.is_none() && fact.count.is_none()));
}

#[test]
fn why_there_is_no_census_is_told() {
    let (_folder, path) = fixture::finished();
    let mut recording = recording::read(&path).expect("read");
    recording.censuses[1].census = Err("it was not through in 10 s".to_owned());
    let censuses = Profile::build(&recording, &Rules::builtin()).census;
    assert!(censuses.begin.is_some() && censuses.end.is_none());
    assert_eq!(censuses.unknown["end"], "it was not through in 10 s");
}

#[test]
fn rows_tell_who_keeps_what_they_hold() {
    let (_folder, path) = fixture::finished_with_holders();
    let profile = Profile::build(&recording::read(&path).expect("read"), &Rules::builtin());
    let zlib = profile.by_line.iter().find(|row| row.category == "zlib").expect("a row");
    let holders = zlib.holders.as_deref().expect("someone looked");
    // Two stacks, cold and warm, are one row.
    let told: Vec<_> = holders.iter().map(|share| (share.state, share.count, share.bytes)).collect();
    assert_eq!(told, [(HolderState::Held, 298, 2_403_000), (HolderState::Collectable, 2, 500)]);
    assert_eq!(holders[0].path[0].name.as_deref(), Some("OPEN"));
    let of_sites = zlib.sites.iter().map(|&site| profile.sites[site].holders.as_deref());
    assert_eq!(super::holders::merged(of_sites).as_deref(), Some(holders));
    let verdict = zlib.verdict.as_ref().expect("a verdict");
    assert_eq!((verdict.kind, verdict.proof), (VerdictKind::Leak, Proof::Reachability), "{verdict:?}");
    // Mapped memory has no owner on the heap, and where nobody looked nothing is told.
    assert!(profile.by_line.iter().filter(|row| row.source == "mapping").all(|row| row.holders.is_none()));
    let (_folder, path) = fixture::finished();
    let profile = Profile::build(&recording::read(&path).expect("read"), &Rules::builtin());
    assert!(profile.sites.iter().all(|site| site.holders.is_none()));
    assert!(profile.holders.is_err_and(|why| why.contains("record --holders")));
}
