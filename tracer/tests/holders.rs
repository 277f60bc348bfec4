//! `tracer holders`: reachability held against the JVM's own full collection, and verdicts against programs that know
//! what is true of each of their blocks.
//!
//! A part of the matrix of JDKs and collectors runs always; all of it with `cargo xtask test holders`, which sets
//! `TRACER_ALL_HOLDERS`.

mod common;
#[path = "holders/containers.rs"]
mod containers;
#[path = "holders/hosts.rs"]
mod hosts;
#[path = "holders/libraries.rs"]
mod libraries;
#[path = "holders/predicted.rs"]
mod predicted;
#[path = "holders/tables.rs"]
mod tables;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::fixture::{fetched_java, java_classes, jdk_home};
use common::process::{Lines, Process};
use common::recorder::{tracer, tracer_output};
use common::report::number;
use common::skip;
use common::wait::wait_for;
use serde_json::Value;
use tracer::hotspot::heap::{ClassCount, HeapCopy, used_bytes};
use tracer::hotspot::{Hotspot, readable_class_name};
use tracer::process::hold::Hold;
use tracer::process::memory::{BulkMemory, LiveMemory};
use tracer::process::pagemap::{PageMap, ResidentMemory};
use tracer::process::{Pid, inspect, mapping};

const COLLECTORS: [&str; 3] = ["-XX:+UseG1GC", "-XX:+UseParallelGC", "-XX:+UseSerialGC"];
const VERSIONS: [u32; 4] = [11, 17, 21, 25];
/// Objects that the JVM makes while it answers `jcmd`: of one class, and in all.
const MADE_BY_JCMD: u64 = 40;
const ALL_MADE_BY_JCMD: u64 = 250;
/// Pieces of garbage to which words may lead that are left over on stacks.
const LEFT_OVER: u64 = 2;
/// Bytes that malloc may add to a block, beside rounding.
const REMAINDER_BYTES: u64 = 16;

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("needs root");
    }
    root
}

fn is_all() -> bool {
    std::env::var("TRACER_ALL_HOLDERS").is_ok_and(|value| !value.is_empty() && value != "0")
}

/// JDKs with flags: all of the matrix, or one collector for each version.
fn matrix() -> Vec<(u32, PathBuf, Vec<&'static str>)> {
    let mut matrix = Vec::new();
    for (index, version) in VERSIONS.into_iter().enumerate() {
        let Some(java) = fetched_java(version) else {
            skip(&format!("needs JDK {version} (cargo xtask setup --tests)"));
            continue;
        };
        let wanted = |collector: usize| is_all() || collector == index % COLLECTORS.len();
        for (_, collector) in COLLECTORS.iter().enumerate().filter(|(collector, _)| wanted(*collector)) {
            matrix.push((version, java.clone(), vec![*collector]));
        }
        if is_all() {
            matrix.push((version, java.clone(), vec!["-XX:-UseCompressedOops"]));
            matrix.push((version, java.clone(), vec!["-XX:ObjectAlignmentInBytes=16"]));
            if version == 25 {
                let compact = ["-XX:+UnlockExperimentalVMOptions", "-XX:+UseCompactObjectHeaders"];
                for collector in COLLECTORS {
                    matrix.push((version, java.clone(), [&compact[..], &[collector]].concat()));
                }
            }
        }
    }
    // With an archive of classes.
    if is_all() {
        let system = jdk_home().join("bin/java");
        COLLECTORS.iter().for_each(|collector| matrix.push((17, system.clone(), vec![*collector])));
    }
    matrix
}

/// Truth about the blocks of one size.
#[derive(Clone, Copy, Debug)]
struct Truth {
    count: u64,
    bytes: u64,
}

/// Starts the program with owners of every kind; gives what is true, by the bytes of a block and its state.
fn start(
    java: &Path,
    flags: &[&str],
    how: &str,
    each: u32,
) -> (Process, Lines, BTreeMap<(u64, String), Truth>) {
    let mut command = Command::new(java);
    command.args(["-Xmx256m", "-XX:MaxDirectMemorySize=200m"]).args(flags);
    command.arg("-cp").arg(java_classes()).args(["Owners", how, &each.to_string()]);
    start_owners(&mut command)
}

/// Starts that program with a command of one's own.
fn start_owners(command: &mut Command) -> (Process, Lines, BTreeMap<(u64, String), Truth>) {
    let (process, mut stdout, _stderr) = Process::start(command);
    let mut truths = BTreeMap::new();
    loop {
        let line = stdout.next();
        if line == "ready" {
            return (process, stdout, truths);
        }
        let words: Vec<&str> = line.split(' ').collect();
        let ["truth", state, count, bytes] = words[..] else { panic!("{line}") };
        let parsed = |text: &str| text.parse::<u64>().expect("a number");
        let truth = Truth { count: parsed(count), bytes: parsed(bytes) };
        // malloc rounds up, with its header.
        truths.insert(((truth.bytes + 8).next_multiple_of(16), state.to_owned()), truth);
    }
}

/// What a look at the held process shows.
struct Reachable {
    /// Number of objects of each class that are reachable, and how many only by stacks.
    counts: HashMap<String, ClassCount>,
    used_bytes: u64,
    /// Bytes that needed no copy.
    uncopied_bytes: u64,
}

fn reachable(pid: Pid) -> Reachable {
    let target = inspect(pid).expect("a process");
    let jvm = target.jvm.as_ref().expect("a JVM");
    let memory = || LiveMemory::open(pid).expect("its memory");
    let hotspot = Hotspot::open(&jvm.libjvm.file, jvm.libjvm.load_bias, memory()).expect("HotSpot");
    let mappings = mapping::read(pid).expect("mappings");
    let heap = hotspot.heap(&mappings, &jvm.libjvm.path).expect("a heap that is understood");
    let residency = PageMap::open(pid).expect("a page map");
    let spaces = heap.spaces().expect("spaces");
    let mut copy = HeapCopy::reserve(spaces.extent).expect("room");
    let bulk = BulkMemory::new(pid);
    let arrays = heap.large_arrays(&ResidentMemory::new(&bulk, &residency), &spaces.used);
    let hold = Hold::begin(pid, Duration::from_secs(20)).expect("held");
    assert!(!heap.collections().expect("collections").active, "a program at rest does not collect");
    let used = heap.spaces().expect("spaces").used;
    heap.fill(&mut copy, &bulk, &used, &arrays, &|| true).expect("copied");
    let uncopied = heap.uncopied(&used, &arrays);
    let roots = heap.roots(hold.threads(), &residency).expect("roots");
    assert!(hold.release().in_time);
    let ((counts, quality), walked) = heap
        .look(&copy, roots, |look| ((look.class_counts(), look.quality()), look.each_long(&mut |_, _, _| {})))
        .expect("a mark");
    assert!(quality.is_consistent() && quality.unknown + quality.outside <= 2, "{quality:?}");
    assert_eq!(walked.unproved, 0);
    let uncopied_bytes = uncopied.iter().map(|part| part.end - part.start).sum();
    Reachable { counts, used_bytes: used_bytes(&used), uncopied_bytes }
}

fn jcmd(java: &Path, pid: Pid, command: &str) -> String {
    let jcmd = java.with_file_name("jcmd");
    let output = Command::new(jcmd).arg(pid.to_string()).arg(command).output().expect("jcmd");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The JVM's own count of reachable objects, after a full collection.
fn histogram(java: &Path, pid: Pid) -> HashMap<String, u64> {
    let text = jcmd(java, pid, "GC.class_histogram");
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[rank, count, _bytes, name, ..] = &words[..] else { return None };
        rank.strip_suffix(':')?.parse::<u64>().ok()?;
        Some((normal(name), count.parse::<u64>().ok()?))
    };
    let mut counts = HashMap::new();
    for (name, count) in text.lines().filter_map(row) {
        *counts.entry(name).or_default() += count;
    }
    counts
}

/// A class name in the form that both agree on: without what tells hidden classes apart.
fn normal(name: &str) -> String {
    readable_class_name(name)
}

fn check_reachable(java: &Path, flags: &[&str]) {
    let (process, _stdout, _truths) = start(java, flags, "still", 100);
    compare_with_the_jvm(java, flags, &process);
}

/// Holds what a look shows against the JVM's own collection.
fn compare_with_the_jvm(java: &Path, flags: &[&str], process: &Process) -> Reachable {
    // The thread that answers such commands is there after the first.
    jcmd(java, process.pid(), "VM.version");
    process.until_at_rest();
    let mut ours: HashMap<String, ClassCount> = HashMap::new();
    let reachable = reachable(process.pid());
    for (name, count) in reachable.counts.clone() {
        let sum = ours.entry(normal(&name)).or_default();
        sum.all += count.all;
        sum.by_stacks += count.by_stacks;
    }
    let theirs = histogram(java, process.pid());
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let (mut wrong, mut all) = (Vec::new(), 0);
    for name in names.into_iter().filter(|name| !name.contains("jdk.internal.vm.Filler")) {
        let ClassCount { all: our, by_stacks } = ours.get(name).copied().unwrap_or_default();
        let their = theirs.get(name).copied().unwrap_or(0);
        all += our.abs_diff(their);
        // Nothing may be missing. Objects that were made meanwhile are theirs alone, and one that a word left on a
        // stack leads to is ours alone.
        if our - by_stacks > their || their.saturating_sub(our) > MADE_BY_JCMD {
            wrong.push(format!("{name}: {our} reached ({by_stacks} by stacks), the JVM has {their}"));
        }
    }
    let at = format!("{} {flags:?}", java.display());
    let total: u64 = ours.values().map(|count| count.all).sum();
    eprintln!(
        "{at}: {total} objects reached, {} in the JVM's histogram, {all} apart",
        theirs.values().sum::<u64>()
    );
    assert!(wrong.is_empty() && all <= ALL_MADE_BY_JCMD, "{at}: {all} apart\n{}", wrong.join("\n"));
    assert!(total > 5_000, "{at}: {total}");
    reachable
}

#[test]
fn reachable_objects_are_those_of_the_jvms_own_collection() {
    if !is_root() {
        return;
    }
    for (_, java, flags) in matrix() {
        check_reachable(&java, &flags);
    }
}

/// Old arrays of numbers are not copied, wherever they are, and nothing that they lie among is missed.
#[test]
fn large_arrays_need_no_copy() {
    if !is_root() {
        return;
    }
    for (_, java, flags) in matrix() {
        for how in ["still", "busy"] {
            let mut command = Command::new(&java);
            // Regions in which such arrays are not humongous.
            command.args(["-Xmx512m", "-Xms512m", "-Xmn128m"]).args(&flags);
            if flags.contains(&COLLECTORS[0]) {
                command.arg("-XX:G1HeapRegionSize=4m");
            }
            command.arg("-cp").arg(java_classes()).args(["LargeArrays", how]);
            let (mut process, mut stdout, _stderr) = Process::start(&mut command);
            stdout.until("ready");
            let at = format!("{} {flags:?} {how}", java.display());
            if how == "still" {
                let Reachable { used_bytes, uncopied_bytes, .. } =
                    compare_with_the_jvm(&java, &flags, &process);
                assert!(
                    uncopied_bytes > used_bytes / 2,
                    "{at}: {uncopied_bytes} of {used_bytes} bytes need no copy"
                );
            }
            for look in 0..if is_all() { 20 } else { 2 } {
                let answer = holders(process.pid(), &["--max-pause", "20000"]);
                assert_eq!(answer["quality"]["consistent"], true, "{at}: {answer:#}");
                let groups = answer["groups"].as_array().expect("groups").iter();
                let kept = groups.filter(|group| {
                    group["owner"]["class"] == "java.nio.DirectByteBuffer"
                        && group["path"][0]["name"] == "KEPT"
                        && group["state"] == "held"
                });
                assert_eq!(kept.map(|group| number(group, "count")).sum::<u64>(), 100, "{at}, look {look}");
            }
            process.tell("");
            assert!(stdout.rest().contains("done"), "{at}");
            assert_eq!(process.wait().code(), Some(0), "{at}");
        }
    }
}

/// The JSON answer.
fn holders(pid: Pid, flags: &[&str]) -> Value {
    let pid = pid.to_string();
    let output = tracer_output(&[&["holders", "-p", &pid, "--format", "json"], flags].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tracer holders failed: {stderr}");
    let holders: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    common::schema::check("holders", &holders);
    holders
}

/// Blocks of direct buffers by the bytes of one and state. Groups of several sizes are not expected.
fn buffers(holders: &Value) -> BTreeMap<(u64, String), u64> {
    let mut found = BTreeMap::new();
    for group in holders["groups"].as_array().expect("groups") {
        let class = group["owner"]["class"].as_str().unwrap_or_default();
        if !class.starts_with("java.nio.DirectByteBuffer") {
            continue;
        }
        let count = number(group, "count");
        assert_eq!(group["exact"], true, "{group}");
        let state = group["state"].as_str().expect("a state").to_owned();
        // Chunks are of 16 bytes and their kinds 64 apart: the remainders that some have are rounded away.
        let bytes = number(group, "bytes") / count / REMAINDER_BYTES;
        *found.entry((bytes * REMAINDER_BYTES, state)).or_default() += count;
    }
    found
}

fn check_verdicts(java: &Path, flags: &[&str], how: &str, looks: u32) {
    let (mut process, mut stdout, truths) = start(java, flags, how, 100);
    let at = format!("{} {flags:?} {how}", java.display());
    let pid = process.pid();
    for look in 0..looks {
        let answer = holders(pid, &["--max-pause", "20000"]);
        check_answer(&answer, &truths, how, &format!("{at}, look {look}"));
    }
    process.tell("");
    // It did its work, and ends as it would have.
    let rest = stdout.rest();
    assert!(rest.contains("sum 0"), "{at}: {rest}");
    assert_eq!(process.wait().code(), Some(7), "{at}");
}

/// Holds an answer against what is true.
fn check_answer(answer: &Value, truths: &BTreeMap<(u64, String), Truth>, how: &str, at: &str) {
    assert_eq!(answer["quality"]["consistent"], true, "{at}: {answer:#}");
    let groups = answer["groups"].as_array().expect("groups");
    for ((bytes, state), truth) in truths {
        if state == "collectable" {
            continue;
        }
        let of_size = groups.iter().filter(|group| {
            let class = group["owner"]["class"].as_str();
            class.is_some_and(|class| class.starts_with("java.nio.Direct")) && are_of_size(group, *bytes)
        });
        let counts: Vec<(String, u64)> = of_size
            .map(|group| (group["state"].as_str().expect("a state").to_owned(), number(group, "count")))
            .collect();
        let right: u64 = counts.iter().filter(|(found, _)| found == state).map(|(_, count)| count).sum();
        assert!(
            counts.iter().all(|(found, _)| found == state) && right == truth.count,
            "{at}: {} blocks of {bytes} bytes are {state}, found {counts:?}\n{answer:#}",
            truth.count
        );
    }
    check_garbage(answer, truths, how, at);
}

/// Are these blocks of the kind whose blocks have `bytes`? malloc leaves what is too small for a block of its own to
/// the block before it: some have 16 bytes more, and kinds are 64 apart.
fn are_of_size(group: &Value, bytes: u64) -> bool {
    let count = number(group, "count");
    (bytes * count..=(bytes + REMAINDER_BYTES) * count).contains(&number(group, "bytes"))
}

/// Garbage is in one group: of several sizes, so it is told by its count and bytes. A collection may have freed it.
fn check_garbage(answer: &Value, truths: &BTreeMap<(u64, String), Truth>, how: &str, at: &str) {
    let groups = answer["groups"].as_array().expect("groups");
    let wrong = groups.iter().find(|group| {
        let class = group["owner"]["class"].as_str().unwrap_or_default();
        class.starts_with("java.nio.Direct") && group["state"] == "lost"
    });
    assert!(wrong.is_none(), "{at}: {wrong:?}");
    let collectable = groups.iter().filter(|group| {
        group["state"] == "collectable" && group["owner"]["class"] == "java.nio.DirectByteBuffer$Deallocator"
    });
    let (count, bytes) = collectable.fold((0, 0), |(count, bytes), group| {
        (count + number(group, "count"), bytes + number(group, "bytes"))
    });
    let garbage = || truths.iter().filter(|((_, state), _)| state == "collectable");
    let all: u64 = garbage().map(|(_, truth)| truth.count).sum();
    let all_bytes: u64 = garbage().map(|((bytes, _), truth)| bytes * truth.count).sum();
    match how {
        "quiet" => {
            // A word that was left over on a stack may lead to one of them, and is told as such.
            assert!((all - LEFT_OVER..=all).contains(&count), "{at}: {answer:#}");
            let largest = garbage().map(|((bytes, _), _)| *bytes).max().unwrap_or(0);
            let range = all_bytes - LEFT_OVER * largest..=all_bytes + all * REMAINDER_BYTES;
            assert!(range.contains(&bytes), "{at}: {range:?} {answer:#}");
        }
        _ => assert!(count <= all, "{at}: {answer:#}"),
    }
}

#[test]
fn every_way_of_holding_is_told_right() {
    if !is_root() {
        return;
    }
    for (_, java, flags) in matrix() {
        check_verdicts(&java, &flags, "quiet", 1);
        check_verdicts(&java, &flags, "busy", if is_all() { 50 } else { 2 });
    }
}

/// Blocks of the sizes of garbage are never said to be garbage by looks that do not stop the process.
#[test]
fn without_stopping_nothing_is_called_garbage() {
    if !is_root() {
        return;
    }
    let java = jdk_home().join("bin/java");
    let (process, _stdout, truths) = start(&java, &[], "quiet", 100);
    let answer = holders(process.pid(), &["--no-stop"]);
    assert_eq!(answer["pause"]["method"], "none");
    assert_eq!(answer["pause"]["held_ns"], Value::Null);
    assert!(answer["unknown"]["pause.held_ns"].is_string());
    let found = buffers(&answer);
    assert!(found.keys().all(|(_, state)| !["lost", "collectable"].contains(&state.as_str())), "{found:?}");
    let held = truths.iter().filter(|((_, state), _)| state == "held" || state == "soft");
    for (key, truth) in held {
        assert_eq!(found.get(key), Some(&truth.count), "{key:?} {found:?}");
    }
    // A pause that would be longer than allowed is not made: the same answer follows, marked.
    let pid = process.pid().to_string();
    let output = tracer_output(&["holders", "-p", &pid, "--max-pause", "1", "--format", "json"]);
    assert!(output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("not held") && stderr.contains("--max-pause 1"), "{stderr}");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["pause"]["method"], "none");
    assert!(
        answer["pause"]["predicted_ns"].as_u64().is_some_and(|predicted| predicted > 1_000_000),
        "{answer:#}"
    );
}

/// A tracer that is killed while it holds a process leaves it running.
#[test]
fn a_killed_tracer_lets_the_process_run_on() {
    if !is_root() {
        return;
    }
    let java = jdk_home().join("bin/java");
    let (mut process, mut stdout, _truths) = start(&java, &[], "busy", 100);
    let pid = process.pid().to_string();
    let mut killed_while_held = 0;
    for round in 0..if is_all() { 100 } else { 10 } {
        let mut child = tracer()
            .args(["holders", "-p", &pid, "--max-pause", "20000"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("tracer");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_traced(process.pid())
            && Instant::now() < deadline
            && child.try_wait().expect("a child").is_none()
        {
            std::thread::sleep(Duration::from_micros(100));
        }
        killed_while_held += u32::from(is_traced(process.pid()));
        child.kill().expect("killed");
        child.wait().expect("waited");
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_traced(process.pid()) {
            assert!(Instant::now() < deadline, "round {round}: it is still held");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(killed_while_held > 0, "it was never held when the tracer was killed");
    process.tell("");
    assert!(stdout.rest().contains("sum 0"));
    assert_eq!(process.wait().code(), Some(7));
}

fn is_traced(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}

#[test]
fn what_is_refused_and_why() {
    if !is_root() {
        return;
    }
    let java = jdk_home().join("bin/java");
    let start = |flags: &[&str]| {
        let mut command = Command::new(&java);
        command.args(["-Xmx128m"]).args(flags).arg("-cp").arg(java_classes()).args(["Owners", "quiet", "1"]);
        let (process, mut stdout, _stderr) = Process::start(&mut command);
        stdout.until("ready");
        (process, stdout)
    };
    let run = |pid: Pid, flags: &[&str]| {
        let pid = pid.to_string();
        let output = tracer_output(&[&["holders", "-p", &pid], flags].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), output.stdout)
    };
    let (process, _stdout) = start(&["-XX:+UseZGC"]);
    let (status, stderr, stdout) = run(process.pid(), &["--format", "json"]);
    assert_eq!(status, Some(3), "{stderr}");
    assert!(stderr.contains("error: the heap of ZGC is not read") && stderr.contains("help: "), "{stderr}");
    let refusal: Value = serde_json::from_slice(&stdout).expect("JSON");
    common::schema::check("holders", &refusal);
    assert_eq!(refusal["groups"], Value::Null);
    assert!(refusal["unknown"]["groups"].as_str().is_some_and(|why| why.contains("ZGC")), "{refusal:#}");
    drop(process);

    let (process, _stdout) = start(&[]);
    let (status, stderr, _) = run(process.pid(), &["--max-memory", "1MiB"]);
    assert_eq!(status, Some(1), "{stderr}");
    assert!(
        stderr.contains("--max-memory allows 1 MiB") && stderr.contains("help: --max-memory"),
        "{stderr}"
    );
    let (status, stderr, _) = run(Pid(std::process::id()), &[]);
    assert_eq!(status, Some(3), "{stderr}");
    assert!(stderr.contains("has no HotSpot JVM\nhelp: `tracer list`"), "{stderr}");
    // Someone else's debugger.
    let hold = Hold::begin(process.pid(), Duration::from_secs(60)).expect("held");
    let (status, stderr, _) = run(process.pid(), &[]);
    assert_eq!(status, Some(1), "{stderr}");
    assert!(stderr.contains("held by another debugger"), "{stderr}");
    drop(hold);
    let (status, stderr, _) = run(Pid(1 << 22), &[]);
    assert_eq!(status, Some(1), "{stderr}");
    // A stopped process is looked at as well, and stays stopped.
    process.stop();
    let (status, stderr, _) = run(process.pid(), &[]);
    assert_eq!(status, Some(0), "{stderr}");
    wait_for("it is stopped again", || process.is_stopped());
}

/// A recording that looked who keeps what was allocated says so of each line, and proves what it could only guess.
#[test]
fn a_recording_tells_who_keeps_what_each_line_allocated() {
    if !is_root() {
        return;
    }
    let java = jdk_home().join("bin/java");
    let mut command = Command::new(java);
    command.args(["-Xmx256m", "-cp"]).arg(java_classes()).arg("KeptAndDropped");
    let (mut process, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("ready");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kept.trec");
    let file = file.to_str().expect("a path");
    let pid = process.pid().to_string();
    let output =
        tracer_output(&["record", "-p", &pid, "-d", "8s", "--holders", "--max-pause", "20000", "-o", file]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("will be held for about") && stderr.contains("was held for"), "{stderr}");
    let output = tracer_output(&["report", file, "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["holders"]["method"], "ptrace", "{:#}", report["unknown"]);
    let row = |method: &str| {
        let rows = report["by_line"].as_array().expect("rows");
        let mut rows = rows.iter().filter(|row| {
            row["source"] == "allocator"
                && row["category"] == "direct-buffer"
                && row["line"]["function"].as_str().is_some_and(|function| function.ends_with(method))
        });
        rows.next().unwrap_or_else(|| panic!("no row of {method}: {report:#}"))
    };
    for (method, state, root, kind) in [
        ("KeptAndDropped.kept", "held", Some(("static", "KEPT")), "leak"),
        ("KeptAndDropped.dropped", "collectable", None, "gc-pending"),
        ("KeptAndDropped.onStack", "stack", Some(("stack", "main")), "leak"),
    ] {
        let row = row(method);
        let kept = &row["kept_by"][0];
        // One that is being made when the process is held has no owner yet.
        assert_eq!(kept["state"], state, "{row:#}");
        assert!(number(kept, "count") + 1 >= number(row, "live_count"), "{row:#}");
        assert!(number(kept, "count") <= number(row, "live_count"), "{row:#}");
        let step = &kept["path"][0];
        let root = root.map_or((Value::Null, Value::Null), |(kind, name)| (kind.into(), name.into()));
        assert_eq!((&step["kind"], &step["name"]), (&root.0, &root.1), "{row:#}");
        assert_eq!(
            (&row["verdict"]["kind"], &row["verdict"]["proof"]),
            (&kind.into(), &"reachability".into())
        );
    }
    let text = tracer_output(&["report", file]).stdout;
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.contains("kept by static KeptAndDropped.KEPT -> "), "{text}");
    assert!(text.contains("kept by a cleaner or finalizer alone: garbage"), "{text}");
    process.tell("");
    assert!(stdout.rest().contains("done"));
    assert_eq!(process.wait().code(), Some(0));
}

/// Programs that only keep addresses: `Handles`.
fn start_handles(flags: &[&str]) -> (Process, Lines) {
    let mut command = Command::new(jdk_home().join("bin/java"));
    command.args(["-Xmx1g", "-Xmn400m"]).args(flags).arg("-cp").arg(java_classes()).arg("Handles");
    let (process, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("ready");
    (process, stdout)
}

/// Lost is only what cannot be another's: not what closed objects have the old addresses of. No number, time or text is
/// taken for an address, and nothing of any object's contents is in an answer or in a recording.
#[test]
fn lost_is_said_of_what_is_lost_alone() {
    if !is_root() {
        return;
    }
    let (mut process, mut stdout) = start_handles(&[]);
    let answer = holders(process.pid(), &["--max-pause", "20000"]);
    let of_class = |class: &str| -> Vec<(String, u64)> {
        let groups = answer["groups"].as_array().expect("groups").iter();
        let is_of_class = |group: &&Value| group["owner"]["class"].as_str().is_some_and(|name| name == class);
        let told =
            |group: &Value| (group["state"].as_str().expect("a state").to_owned(), number(group, "count"));
        groups.filter(is_of_class).map(told).collect()
    };
    // The key of a table is no owner, unless there is none other that could free the block.
    assert_eq!(of_class("Handles$Open"), [("held".to_owned(), 200)], "{answer:#}");
    assert_eq!(of_class("java.lang.Long"), [("held".to_owned(), 200)], "{answer:#}");
    assert_eq!(of_class("Handles$Listed"), [], "{answer:#}");
    let lost = of_class("Handles$Forgotten");
    // For some, memory that the JVM has not cleared may still have the address.
    assert!(matches!(&lost[..], [(state, 190..=200)] if state == "lost"), "{answer:#}");
    assert_eq!(of_class("Handles$Closed"), [], "{answer:#}");
    assert_eq!(of_class("Handles$Numbers"), [], "{answer:#}");
    let why = answer["unknown"]["groups[].state"].as_str().unwrap_or_default();
    assert!(why.contains("Handles$Closed.handle"), "{why}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("handles.trec");
    let path = file.to_str().expect("a path");
    let pid = process.pid().to_string();
    let output =
        tracer_output(&["record", "-p", &pid, "-d", "1s", "--holders", "--max-pause", "20000", "-o", path]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = tracer_output(&["holders", "-p", &pid, "--max-pause", "20000"]).stdout;
    let kept = std::fs::read(&file).expect("the recording");
    for secret in ["a password that", "another secret of"] {
        let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for written in [&kept, &text, &answer.to_string().into_bytes()] {
            let has = |secret: &[u8]| written.windows(secret.len()).any(|window| window == secret);
            assert!(!has(secret.as_bytes()) && !has(&wide), "{secret}");
        }
    }
    process.tell("");
    assert!(stdout.rest().contains("done"));
    assert_eq!(process.wait().code(), Some(0));
}

/// Notices of what happens to the process go to stderr, and one that is full ends nothing.
#[test]
fn an_answer_needs_no_stderr() {
    if !is_root() {
        return;
    }
    let (process, _stdout) = start_handles(&[]);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("open /dev/full");
    let pid = process.pid().to_string();
    let output = tracer().args(["holders", "-p", &pid, "--max-pause", "20000"]).stderr(full).output();
    let output = output.expect("run tracer");
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Handles$Open"));
}
