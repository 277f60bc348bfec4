//! The balance of a recording: against the kernel's count, against Native Memory Tracking, and against what workloads
//! say of themselves. Needs root and JDKs.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::fixture::{fetched_java, java_classes, jdk_home};
use common::process::Process;
use common::recorder::{Recorder, tracer_output};
use common::report::{assert_nothing_lost, category, number, rows, sites_through};
use common::state::until_at_rest;
use serde_json::Value;

/// Records `workload` on a JVM that runs already, from before its work until after it.
fn attach(workload: &str, options: &[&str]) -> (Value, Value) {
    let mut command = Command::new(jdk_home().join("bin/java"));
    command.args(options).arg("-cp").arg(java_classes()).arg(workload);
    let (mut target, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("started");
    let recorder = Recorder::attach(target.pid(), &format!("memory-{workload}"), &[]);
    target.tell("start");
    let truth = serde_json::from_str(&stdout.next()).expect("a workload's truth is JSON");
    // Parts that are summed up are read one after the other.
    target.until_at_rest();
    let recording = recorder.stop();
    assert_eq!(recording.status.code(), Some(0), "the recorder failed:\n{}", recording.stderr);
    target.tell("quit");
    target.wait();
    let report = recording.report();
    assert_nothing_lost(&report);
    assert_balance(&report, 3);
    (truth, report)
}

fn part(report: &Value, id: &str, key: &str) -> u64 {
    let part = rows(&report["memory"], "parts").iter().find(|part| part["id"] == id);
    part.map_or(0, |part| number(part, key))
}

/// The parts are the process's resident bytes within one percent, and little of them is unexplained.
fn assert_balance(report: &Value, unexplained_percent: u64) {
    let memory = &report["memory"];
    let rss = number(memory, "rss_bytes");
    let sum: u64 = rows(memory, "parts").iter().map(|part| number(part, "resident_bytes")).sum();
    assert!(sum.abs_diff(rss) <= rss / 100, "the parts are {sum}, the kernel counts {rss}: {memory}");
    let unexplained = number(memory, "unexplained_bytes");
    assert!(unexplained <= rss * unexplained_percent / 100, "{unexplained} of {rss} are unexplained");
}

#[test]
fn a_gigabyte_of_direct_buffers() {
    let Some(_turn) = common::privileged() else { return };
    let (truth, report) = attach("Gigabyte", &["-XX:MaxDirectMemorySize=2g"]);
    let buffers = sites_through(&report, "allocator", "Gigabyte.allocate");
    let buffers: Vec<_> = buffers.into_iter().filter(|site| site["category"] == "direct-buffer").collect();
    let sum = |key: &str| buffers.iter().map(|site| number(site, key)).sum::<u64>();
    assert_eq!(sum("live_count"), number(&truth, "count"));
    assert_eq!(sum("live_bytes"), number(&truth, "bytes"));
    assert!(category(&report, "direct-buffer").live_bytes >= number(&truth, "bytes"));
    // Each is touched when it is zeroed, so it is in memory.
    let (live, asked) = (part(&report, "malloc-live", "resident_bytes"), number(&truth, "bytes"));
    assert!(live.abs_diff(asked) <= asked / 100, "{live}, of {asked} asked for: {}", report["memory"]);
    // The JVM's statistics say the same, and that there were none before.
    let counted = |moment: &str| number(&report["census"][moment]["census"]["direct_buffers"], "count");
    assert_eq!((counted("begin"), counted("end")), (0, number(&truth, "count")), "{}", report["census"]);
    let heap = &report["memory"]["heap"];
    assert_eq!(number(heap, "mapped_count") / number(&truth, "count"), 1, "{heap}");
}

#[test]
fn a_thousand_threads() {
    let Some(_turn) = common::privileged() else { return };
    let (truth, report) = attach("ManyThreads", &["-Xss512k"]);
    let threads = &report["threads"];
    let by_workload = |key: &str| -> u64 {
        let creators = rows(threads, "creators").iter();
        let own = creators.filter(|creator| creator.to_string().contains("ManyThreads.startPool"));
        own.map(|creator| number(creator, key)).sum()
    };
    assert_eq!(by_workload("count"), number(&truth, "started"));
    assert_eq!(by_workload("live"), number(&truth, "live"));
    let pool = rows(threads, "names").iter().find(|row| row["pattern"] == "pool-#-thread-#");
    let pool = pool.unwrap_or_else(|| panic!("no pool: {threads}"));
    assert_eq!(number(pool, "started"), number(&truth, "started"), "{pool}");
    assert_eq!(number(pool, "exited"), number(&truth, "ended"), "{pool}");
    assert_eq!(number(pool, "live"), number(&truth, "live"), "{pool}");
    // 512 KiB each, and glibc's guard page at most.
    let reserved = number(pool, "stack_reserved_bytes") / number(&truth, "live");
    assert!((512 << 10..=520 << 10).contains(&reserved), "{reserved} bytes a stack: {pool}");
    assert!(number(pool, "stack_resident_bytes") >= number(&truth, "live") * 8192, "{pool}");
    // glibc keeps 40 MiB of the stacks of those that ended.
    let cached = &threads["cached_stacks"];
    assert!((1..=40 << 20).contains(&number(cached, "reserved_bytes")), "{cached}");
    assert!(number(cached, "count") <= 80, "{cached}");
}

/// Committed bytes of each category, and of them those of mappings, as `VM.native_memory summary` says.
fn tracked(text: &str) -> BTreeMap<String, (u64, u64)> {
    let number = |text: &str, key: &str| -> Option<u64> {
        let digits = text.split_once(key)?.1;
        digits.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok()
    };
    let mut all: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, rest)) = line.strip_prefix('-').and_then(|line| line.split_once("(reserved=")) {
            current = name.trim().to_owned();
            all.insert(current.clone(), (number(rest, "committed=").unwrap_or(0), 0));
        } else if line.contains("(mmap: reserved=")
            && let Some(row) = all.get_mut(&current)
        {
            row.1 += number(line, "committed=").unwrap_or(0);
        }
    }
    all
}

/// Bytes that a JVM's own tracking adds to each allocation: a header and, from 17, a footer.
const NMT_OVERHEAD_BYTES: u64 = 18;
/// Pages of a Java thread's stack that it may not touch (reserved, yellow and red zone): the JVM counts them as
/// committed, and they are never in memory.
const GUARD_ZONE_BYTES: u64 = 16 << 10;

fn assert_agrees_with_nmt(java: &Path, name: &str) {
    let mut command = Command::new(java);
    command.args(["-XX:NativeMemoryTracking=summary", "-XX:+UseG1GC", "-Xmx256m", "-cp"]);
    let mut recorder = Recorder::launch(name, command.arg(java_classes()).arg("GzipStreams"));
    recorder.stdout.until("started");
    recorder.process.tell("start");
    recorder.stdout.next();
    let launched = recorder.launched_pid();
    let at_rest = || until_at_rest(launched);
    let pid = launched.to_string();
    at_rest();
    let mut jcmd = Command::new(java);
    jcmd.args([
        "-m",
        "jdk.jcmd/sun.tools.jcmd.JCmd",
        &pid.to_string(),
        "VM.native_memory",
        "summary",
        "scale=b",
    ]);
    let nmt = String::from_utf8(jcmd.output().expect("run jcmd").stdout).expect("text");
    at_rest();
    let maps = tracer_output(&["maps", "-p", &pid, "--format", "json"]);
    let maps: Value = serde_json::from_slice(&maps.stdout).expect("maps is JSON");
    recorder.signal(rustix::process::Signal::INT);
    // The recording is closed, and waits for the program that it started.
    recorder.stdout.until("Next");
    recorder.process.tell("quit");
    let recording = recorder.wait();
    let report = recording.report();
    assert_nothing_lost(&report);
    assert_balance(&report, 3);
    let nmt = tracked(&nmt);
    let committed = |name: &str| nmt.get(name).map_or(0, |row| row.0);
    let malloc = |id: &str| {
        let row =
            rows(&report, "categories").iter().find(|row| row["id"] == id && row["source"] == "allocator");
        row.map_or(0, |row| number(row, "live_bytes") - NMT_OVERHEAD_BYTES * number(row, "live_count"))
    };
    let mapped = |id: &str| part(&report, id, "committed_bytes");
    // Memory that only one of the two counts: the stack that the launcher's first thread has, and the guard zones.
    let stacks = || rows(&maps, "parts").iter().filter(|part| part["owner"] == "thread-stack");
    let first: u64 = stacks()
        .filter(|part| part["name"] == "process's first thread")
        .map(|part| number(part, "resident_bytes"))
        .sum();
    let zones = stacks()
        .filter(|part| part["permissions"] == "---p" && number(part, "reserved_bytes") >= GUARD_ZONE_BYTES)
        .count() as u64;
    let threads = part(&report, "thread-stack", "resident_bytes") + zones * GUARD_ZONE_BYTES - first;
    // Where the runtime has no class archive, 17 tracks class space as "Unknown".
    let class_space = ["Class", "Unknown"].map(|name| nmt.get(name).map_or(0, |row| row.1)).iter().sum();
    for (what, ours, theirs) in [
        ("Java Heap", mapped("java-heap"), committed("Java Heap")),
        ("Code", mapped("code-cache") + malloc("code-cache"), committed("Code")),
        ("GC", mapped("gc") + malloc("gc"), committed("GC")),
        ("Metaspace", mapped("metaspace") + malloc("metaspace"), committed("Metaspace")),
        ("class space", mapped("class-space"), class_space),
        ("Thread", threads + malloc("thread"), committed("Thread")),
    ] {
        println!("{name}: {what}: {ours}, tracked {theirs}");
        assert!(ours.abs_diff(theirs) <= theirs * 3 / 100, "{what}: {ours}, tracked {theirs}: {nmt:?}");
    }
}

macro_rules! on_fetched_jdks {
    ($($test:ident: $major:literal),* $(,)?) => {$(
        #[test]
        fn $test() {
            let Some(_turn) = common::privileged() else { return };
            match fetched_java($major) {
                Some(java) => assert_agrees_with_nmt(&java, stringify!($test)),
                None => common::skip(concat!("needs JDK ", $major, " (cargo xtask setup --tests)")),
            }
        }
    )*};
}

on_fetched_jdks! {
    agrees_with_native_memory_tracking_on_jdk_17: 17,
    agrees_with_native_memory_tracking_on_jdk_21: 21,
    agrees_with_native_memory_tracking_on_jdk_25: 25,
}
