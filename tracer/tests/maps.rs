//! `tracer maps` against what others know: a JVM's own Native Memory Tracking says for which subsystem each range
//! was reserved, the kernel how much of the process is in memory.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use common::fixture::{c_program, fetched_java, java_classes, jdk_home};
use common::process::Process;
use common::report::{number, rows};
use serde_json::Value;
use tracer::process::Pid;

/// The part that may have no owner, of the ranges that Native Memory Tracking names, in thousandths: pages that only
/// the JVM itself can tell (ZGC's small tables).
const UNOWNED_PER_MILLE: u64 = 5;

fn tracer(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tracer")).args(arguments).output().expect("run tracer")
}

fn maps(pid: Pid) -> Value {
    let output = tracer(&["maps", "-p", &pid.to_string(), "--format", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let maps = serde_json::from_slice(&output.stdout).expect("maps is JSON");
    common::schema::check("maps", &maps);
    maps
}

fn address(part: &Value, key: &str) -> u64 {
    let text = part[key].as_str().and_then(|text| text.strip_prefix("0x")).expect("an address");
    u64::from_str_radix(text, 16).expect("hexadecimal")
}

/// Conditions that hold in every map: parts in order, and sums.
fn assert_sound(map: &Value) {
    let parts = rows(map, "parts");
    assert!(parts.windows(2).all(|pair| address(&pair[0], "end") <= address(&pair[1], "start")));
    for key in ["reserved_bytes", "committed_bytes", "resident_bytes", "pss_bytes", "swap_bytes"] {
        let sum = |rows: &[Value]| rows.iter().map(|row| number(row, key)).sum::<u64>();
        assert_eq!(sum(parts), number(&map["total"], key), "{key} of the parts");
        assert_eq!(sum(rows(map, "owners")), number(&map["total"], key), "{key} of the owners");
    }
    let (rss, sum) = (number(map, "rss_bytes"), number(&map["total"], "resident_bytes"));
    assert!(rss.abs_diff(sum) <= rss / 100, "the parts are {sum}, the kernel counts {rss}");
}

/// The owners of a range, by bytes.
fn owners(map: &Value, start: u64, end: u64) -> BTreeMap<&str, u64> {
    let mut owners = BTreeMap::new();
    for part in rows(map, "parts") {
        let (from, to) = (address(part, "start").max(start), address(part, "end").min(end));
        if from < to {
            *owners.entry(part["owner"].as_str().expect("an owner")).or_default() += to - from;
        }
    }
    owners
}

/// Reserved ranges with what they are for, from `VM.native_memory detail`.
fn tracked(text: &str) -> Vec<(u64, u64, &str)> {
    let range = |line: &'_ str| -> Option<(u64, u64)> {
        let (start, end) = line.strip_prefix("[0x")?.split_once(']')?.0.split_once(" - 0x")?;
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
    };
    let lines = text.lines().filter_map(|line| {
        let (start, end) = range(line)?;
        let purpose = line.split_once("] reserved ")?.1.split_once(" for ")?.1;
        Some((start, end, purpose.trim_end_matches(" from").trim()))
    });
    lines.collect()
}

/// Owner in a map of what Native Memory Tracking calls so; none: it is not compared.
fn owner_of(purpose: &str) -> Option<&'static [&'static str]> {
    Some(match purpose {
        "Java Heap" => &["java-heap"],
        "Code" => &["code-cache"],
        "GC" => &["gc"],
        // Until 11 both are "Class".
        "Class" => &["class-space", "metaspace", "cds"],
        "Metaspace" => &["metaspace"],
        "Shared class space" => &["cds", "metaspace", "class-space", "java-heap"],
        "Thread Stack" | "Thread" => &["thread-stack", "cached-stack"],
        _ => return None,
    })
}

fn assert_agrees_with_nmt(java: &Path, jcmd: &[&str], options: &[&str]) {
    let mut command = Command::new(java);
    command.args(["-XX:NativeMemoryTracking=detail", "-Xmx256m"]).args(options);
    let (mut target, mut stdout, _stderr) =
        Process::start(command.arg("-cp").arg(java_classes()).arg("GzipStreams"));
    stdout.until("started");
    target.until_at_rest();
    let pid = target.pid().to_string();
    let jcmd_path = if jcmd.is_empty() { java.with_file_name("jcmd") } else { java.to_owned() };
    let output = Command::new(jcmd_path)
        .args(jcmd)
        .args([&pid, "VM.native_memory", "detail"])
        .output()
        .expect("run jcmd");
    // Both lists are of what is there then.
    target.until_at_rest();
    let map = maps(target.pid());
    target.tell("quit");
    target.wait();
    assert_sound(&map);
    let text = String::from_utf8_lossy(&output.stdout);
    let tracked = tracked(&text);
    assert!(tracked.len() > 20, "{options:?}: {text}");
    let (mut total, mut unowned) = (0, 0);
    for (start, end, purpose) in tracked {
        let Some(expected) = owner_of(purpose) else { continue };
        let owners = owners(&map, start, end);
        for (owner, bytes) in &owners {
            let right = expected.contains(owner);
            // A thread that ended meanwhile; what is not known is said to be.
            let absent = matches!(*owner, "unexplained") || purpose.starts_with("Thread");
            assert!(right || absent, "{options:?}: {start:#x}-{end:#x} is {purpose}, not {owners:?}");
            total += bytes;
            unowned += if right { 0 } else { *bytes };
        }
    }
    assert!(
        unowned <= total / 1000 * UNOWNED_PER_MILLE,
        "{options:?}: {unowned} of {total} bytes have no owner"
    );
    let unexplained: u64 = rows(&map, "owners")
        .iter()
        .filter(|row| row["id"] == "unexplained")
        .map(|row| number(row, "resident_bytes"))
        .sum();
    assert!(
        unexplained <= number(&map, "rss_bytes") * 3 / 100,
        "{options:?}: {unexplained} bytes are unexplained"
    );
}

/// The module of jcmd, in runtimes that have no program of that name.
const JCMD: [&str; 2] = ["-m", "jdk.jcmd/sun.tools.jcmd.JCmd"];

#[test]
fn a_jvm_with_its_class_archive() {
    assert_agrees_with_nmt(&jdk_home().join("bin/java"), &[], &["-XX:+UseG1GC"]);
}

macro_rules! on_fetched_jdks {
    ($($test:ident: $major:literal, $options:expr),* $(,)?) => {$(
        #[test]
        fn $test() {
            match fetched_java($major) {
                Some(java) => assert_agrees_with_nmt(&java, &JCMD, &$options),
                None => common::skip(concat!("needs JDK ", $major, " (cargo xtask setup --tests)")),
            }
        }
    )*};
}

on_fetched_jdks! {
    ranges_agree_on_jdk_11_g1: 11, ["-XX:+UseG1GC"],
    ranges_agree_on_jdk_17_parallel: 17, ["-XX:+UseParallelGC"],
    ranges_agree_on_jdk_17_z: 17, ["-XX:+UseZGC"],
    ranges_agree_on_jdk_21_shenandoah: 21, ["-XX:+UseShenandoahGC"],
    ranges_agree_on_jdk_21_g1: 21, ["-XX:+UseG1GC"],
    ranges_agree_on_jdk_25_g1: 25, ["-XX:+UseG1GC"],
    ranges_agree_on_jdk_25_serial: 25, ["-XX:+UseSerialGC"],
    ranges_agree_on_jdk_25_z: 25, ["-XX:+UseZGC"],
}

/// Threads, arenas and libraries have their owners in a program without a JVM, too.
#[test]
fn a_c_program_with_threads() {
    let (mut target, mut stdout, _stderr) = Process::start(&mut Command::new(c_program("threads")));
    stdout.until("started");
    let map = maps(target.pid());
    target.tell("go");
    stdout.next();
    target.tell("end");
    target.wait();
    assert_sound(&map);
    let ids: Vec<&str> = rows(&map, "owners").iter().filter_map(|row| row["id"].as_str()).collect();
    assert!(
        ["library", "malloc-arena", "thread-stack", "kernel"].iter().all(|id| ids.contains(id)),
        "{ids:?}"
    );
    assert!(map["jvm"].is_null());
}

#[test]
fn what_cannot_be_read_is_said() {
    let output = tracer(&["maps", "-p", "999999999"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: no process with pid 999999999\nhelp: "), "{stderr}");
    let kernel_thread = tracer(&["maps", "-p", "2"]);
    assert_ne!(kernel_thread.status.code(), Some(0));
    assert_eq!(tracer(&["maps"]).status.code(), Some(2), "without a pid");
}
