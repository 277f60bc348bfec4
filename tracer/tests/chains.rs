//! Stacks against the truth: a Java program that says which of its methods are on the stack where it takes native
//! memory, under every way to run Java. Needs root and JDKs.
//!
//! Remembered stacks are walked all the same, and compared.
//!
//! Each test takes one JDK of those that are there; with `TRACER_ALL_CHAINS=1`, every JDK that can do it.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::fixture::{fetched_java, java_classes, jdk_home};
use common::process::Process;
use common::recorder::Recorder;
use common::report::{Totals, assert_sound, number, of_source, rows};
use serde_json::Value;

/// Classes are unloaded and code is dropped all the time.
const RESTLESS: &str = "-Dchains.restless=true";

/// Status that the workload exits with.
const EXIT_STATUS: i32 = 23;

/// The distribution's, and those that are fetched: not all have the same frames, files and symbols.
const JDKS: [Jdk; 5] =
    [Jdk::Installed, Jdk::Fetched(11), Jdk::Fetched(17), Jdk::Fetched(21), Jdk::Fetched(25)];

#[derive(Clone, Copy, Debug)]
enum Jdk {
    Installed,
    Fetched(u32),
}

impl Jdk {
    fn java(self) -> Option<PathBuf> {
        match self {
            Jdk::Installed => Some(jdk_home().join("bin/java")),
            Jdk::Fetched(major) => fetched_java(major),
        }
    }
}

/// Runs the workload with `flags` on the JDK that stands for all, or on all of `jdks`.
fn check(flags: &[&str], stands_for_all: Jdk, jdks: &[Jdk]) {
    let Some(_turn) = common::privileged() else { return };
    let all = std::env::var("TRACER_ALL_CHAINS").is_ok_and(|value| value == "1");
    let jdks = if all { jdks } else { std::slice::from_ref(&stands_for_all) };
    for jdk in jdks {
        match jdk.java() {
            Some(java) => check_on(&java, flags),
            None => common::skip(&format!("needs {jdk:?} (cargo xtask setup --tests)")),
        }
    }
}

fn check_on(java: &Path, flags: &[&str]) {
    let mut command = Command::new(java);
    command.args(flags).arg("-cp").arg(java_classes()).arg("KnownChains");
    let (mut target, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("started");
    // Before anything is warm: every transition between tiers is seen, and libraries are loaded later.
    let recorder =
        Recorder::attach(target.pid(), &format!("chains-{}", target.pid()), &["--memo", "checked"]);
    target.tell("start");
    let truth: Value = serde_json::from_str(&stdout.next()).expect("the truth is JSON");
    let recording = recorder.stop();
    assert_eq!(recording.status.code(), Some(0), "the recorder failed:\n{}", recording.stderr);
    target.tell("quit");
    assert_eq!(target.wait().code(), Some(EXIT_STATUS), "the JVM's own exit status");

    let report = recording.report();
    assert_sound(&report);
    let what = format!("{} {flags:?}", java.display());
    // Code that is dropped at once can be gone before its inlined methods are read.
    assert_chains(&report, &truth, &what);
    let trust = &report["trust"];
    let (total, complete) = (number(trust, "stacks_total"), number(trust, "stacks_complete"));
    assert!(total > number(&rows(&truth, "chains")[0], "count"), "{what}: {total} stacks");
    // With -Xcomp a library is loaded from below stacks of more than the 128 KB that are kept until it is known.
    let incomplete_share = if flags.contains(&"-Xcomp") { 200 } else { 1000 };
    assert!(
        (total - complete) * incomplete_share <= total,
        "{what}: {complete} of {total} stacks are complete"
    );
}

/// All memory that the workload takes is on its own chain, and no such memory is on another. One in a thousand of its
/// live bytes may lack methods.
fn assert_chains(report: &Value, truth: &Value, what: &str) {
    let chains = rows(truth, "chains");
    let mut found = vec![Totals::default(); chains.len()];
    let (mut bytes, mut named_bytes) = (0, 0);
    for site in of_source(report, "sites", "allocator") {
        let functions: Vec<&str> =
            rows(site, "frames").iter().filter_map(|frame| frame["function"].as_str()).collect();
        let Some(kind) = kind(&functions) else { continue };
        if number(site, "live_bytes") == 0 {
            continue;
        }
        let index = chains.iter().position(|chain| chain["kind"] == kind).expect("a kind of the workload");
        let expected: Vec<&str> =
            rows(&chains[index], "frames").iter().filter_map(|frame| frame.as_str()).collect();
        let named = is_chain(&functions, &expected);
        assert!(
            named || is_labelled_chain(&functions, &expected),
            "{what}: not the chain of {kind}, which is\n{expected:#?}\nbut\n{functions:#?}"
        );
        bytes += number(site, "live_bytes");
        named_bytes += if named { number(site, "live_bytes") } else { 0 };
        let totals = Totals::of(site);
        found[index].live_bytes += totals.live_bytes;
        found[index].live_count += totals.live_count;
    }
    println!("{what}: {named_bytes} of {bytes} live bytes show every method");
    assert!(
        (bytes - named_bytes) * 1000 <= bytes,
        "{what}: {named_bytes} of {bytes} live bytes show every method"
    );
    for (chain, found) in chains.iter().zip(found) {
        let (bytes, count) = (number(chain, "bytes"), number(chain, "count"));
        assert!(found.live_count >= count, "{what}: {found:?} of {chain}");
        // Beside it, the JVM takes a little for itself at the same place.
        assert!(found.live_bytes >= bytes, "{what}: {found:?} of {chain}");
        assert!(bytes == 0 || found.live_bytes <= bytes + bytes / 50, "{what}: {found:?} of {chain}");
    }
}

/// The program's own methods on a stack. The class that the JVM makes of a lambda is none.
fn own<'a>(functions: &'a [&str]) -> impl Iterator<Item = &'a str> {
    functions.iter().copied().filter(|name| name.starts_with("KnownChains") && !name.contains("$$Lambda"))
}

/// Are the methods on the stack those of the chain, in order and without a gap?
fn is_chain(functions: &[&str], expected: &[&str]) -> bool {
    own(functions).take(expected.len()).eq(expected.iter().copied())
}

/// The same, but for methods whose code was freed before their names were read: a frame says so, and
/// none is misnamed.
fn is_labelled_chain(functions: &[&str], expected: &[&str]) -> bool {
    if !functions.contains(&"[unknown: freed code]") {
        return false;
    }
    let mut expected = expected.iter();
    let mut left = own(functions).take_while(|name| *name != "KnownChains.run");
    left.all(|name| expected.any(|method| *method == name))
}

/// Kind of memory that a stack took, told by the native functions that the workload calls. Memory that the JVM takes
/// for itself on the way there (linking a method, say) is none.
fn kind(functions: &[&str]) -> Option<&'static str> {
    let has = |part: &str| functions.iter().any(|name| name.contains(part));
    if has("Inflater_init") {
        Some("inflater")
    } else if !has("Unsafe_AllocateMemory") && !malloc_for_unsafe(functions) {
        None
    } else if has("ByteBuffer.allocateDirect") {
        Some("buffer")
    } else {
        Some("unsafe")
    }
}

/// JDK 25's Unsafe jumps to the JVM's malloc, and is in no stack itself.
fn malloc_for_unsafe(functions: &[&str]) -> bool {
    let directly =
        |pair: &[&str]| pair[0].starts_with("os::malloc(") && pair[1].ends_with("Unsafe.allocateMemory0");
    functions.windows(2).any(directly)
}

#[test]
fn interpreted() {
    check(&["-Xint"], Jdk::Fetched(21), &JDKS);
}

#[test]
fn compiled_by_c1() {
    check(&["-XX:TieredStopAtLevel=1"], Jdk::Fetched(11), &JDKS);
}

#[test]
fn compiled_by_c2() {
    check(&["-XX:-TieredCompilation"], Jdk::Fetched(25), &JDKS);
}

#[test]
fn tiered() {
    check(&[], Jdk::Installed, &JDKS);
}

#[test]
fn compiled_before_it_runs() {
    check(&["-Xcomp"], Jdk::Fetched(17), &JDKS);
}

#[test]
fn while_classes_go_and_code_is_deoptimized() {
    check(&[RESTLESS], Jdk::Fetched(21), &JDKS);
}

#[test]
fn one_code_heap_and_plain_pointers() {
    let flags = ["-XX:-SegmentedCodeCache", "-XX:-UseCompressedOops", "-XX:+UseSerialGC"];
    check(&flags, Jdk::Fetched(25), &JDKS);
}

#[test]
fn with_a_collector_of_many_barriers() {
    let jdks = [Jdk::Installed, Jdk::Fetched(17), Jdk::Fetched(21), Jdk::Fetched(25)];
    check(&["-XX:+UseZGC", RESTLESS], Jdk::Fetched(25), &jdks);
}
