//! Commands that look at a live JVM whose memory lies: each ends soon and takes little memory, whatever it reads, and
//! nothing of the JVM's is touched that was not. Needs root, JDKs and strace.

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::fixture::{fetched_java, java_classes, jdk_home, jni_library_in};
use common::lying_jvm::{LyingJvm, Outcome};

/// The commands, and one of how many lies each is asked about: a census reads by far the most, maps among it.
const COMMANDS: [(&[&str], u64); 4] = [
    (&["census", "--format", "json"], 1),
    (&["holders", "--format", "json"], 2),
    (&["maps", "--format", "json"], 8),
    (&["check", "--format", "json"], 8),
];

/// CPU time and memory that reading any process may take, and more for each GiB that it has in memory.
const CPU: Duration = Duration::from_secs(2);
const CPU_PER_GIB: Duration = Duration::from_millis(500);
const MOST_BYTES: u64 = 200 << 20;
const BYTES_PER_GIB: u64 = 64 << 20;
/// An unoptimised build has so many times as long for who holds what (`process/read_budget.rs`).
const SLOWER: u32 = 4;
/// Page tables of the JVM may grow by so much: for pages that a lie led to, not for whole regions.
const MOST_TABLE_BYTES: u64 = 2 << 20;
/// Lists of each JVM that are made endless: those to which the most words lead.
const LISTS: u64 = 8;
/// Wall time of the lies of one JVM, after which there are enough, and random lies that there are at least.
const ENOUGH: Duration = Duration::from_secs(3);
const LIES_MIN: u64 = 2;

/// Asks about lies of one JVM: as many as `TRACER_LIES` has it, from `TRACER_LIES_FROM` on, or some.
fn lie_and_look(java: PathBuf, flags: &[&str]) {
    if !rustix::process::geteuid().is_root() || Command::new("strace").arg("--version").output().is_err() {
        common::skip("needs root and strace");
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (count, first) = (number("TRACER_LIES"), number("TRACER_LIES_FROM").unwrap_or(0));
    let mirrors = jni_library_in("tests/programs", "mirrors", &jdk_home(), &["-O2"]);
    let mut command = Command::new(&java);
    command.args(["-Xmx32m", "-Xss512k"]).args(flags).arg("-cp").arg(java_classes()).arg("Waits");
    let jvm = LyingJvm::start(&mut command, &mirrors, &[COMMANDS[0].0, COMMANDS[1].0]);
    let resident = jvm.status_bytes("VmRSS:");
    let gib = resident as f64 / f64::from(1 << 30);
    let most_bytes = MOST_BYTES + (gib * BYTES_PER_GIB as f64) as u64;
    // What an honest JVM takes is not all reading: files are opened, and answers written.
    let healthy = COMMANDS.map(|(command, _)| jvm.look(command).cpu);
    let allowed = |at: usize| {
        let reading = CPU + CPU_PER_GIB.mul_f64(gib);
        healthy[at] + if COMMANDS[at].0[0] == "holders" { reading * SLOWER } else { reading }
    };
    let (begun, mut worst) = (Instant::now(), [(Duration::ZERO, 0); COMMANDS.len()]);
    let tables = jvm.status_bytes("VmPTE:");
    let mut look = |seed: u64, lie: &str, is_asked: &dyn Fn(&[&str], u64) -> bool| {
        for (at, (command, one_in)) in COMMANDS.iter().enumerate() {
            if !is_asked(command, *one_in) {
                continue;
            }
            let outcome = jvm.look(command);
            let at_seed = format!("{} {flags:?}, {lie} {seed}, {command:?}", java.display());
            if count.is_some() {
                println!("{at_seed}: {:?}, {} MiB", outcome.cpu, outcome.most_bytes >> 20);
            }
            check(&outcome, &at_seed);
            assert!(outcome.cpu <= allowed(at), "{at_seed} took {:?}, of {:?}", outcome.cpu, allowed(at));
            assert!(outcome.most_bytes <= most_bytes, "{at_seed} took {} MiB", outcome.most_bytes >> 20);
            worst[at] = (worst[at].0.max(outcome.cpu), worst[at].1.max(outcome.most_bytes));
        }
        let grown = jvm.status_bytes("VmPTE:").saturating_sub(tables);
        assert!(
            grown <= MOST_TABLE_BYTES,
            "{lie} {seed}: page tables of the JVM grew by {} KiB",
            grown >> 10
        );
    };
    // Who walks the most of lists is asked about them.
    let lists = count.map_or(LISTS, |_| jvm.endless_lists());
    for list in first.min(lists)..lists.min(count.map_or(lists, |count| first + count)) {
        let is_asked =
            |command: &[&str], _| command[0] == "holders" || command[0] == "census" && list % 3 == 0;
        jvm.with_endless_list(list, || look(list, "list", &is_asked));
    }
    let mut seed = first;
    let is_enough = |seed: u64| match count {
        Some(count) => seed >= first + count,
        None => seed >= first + LIES_MIN && begun.elapsed() > ENOUGH,
    };
    while !is_enough(seed) {
        jvm.with_lies(seed, || look(seed, "seed", &|_, one_in| seed.is_multiple_of(one_in)));
        seed += 1;
    }
    println!("{} {flags:?}: {} lies, healthy {healthy:?}, worst {worst:?}", java.display(), seed - first);
}

/// It ended in an answer that is JSON, or in words.
fn check(outcome: &Outcome, at: &str) {
    let Outcome { status, stdout, stderr, .. } = outcome;
    assert!((0..=4).contains(status) && !stderr.contains("panicked"), "{at}: {outcome:?}");
    if *status == 0 {
        let json: serde_json::Result<serde_json::Value> = serde_json::from_str(stdout);
        assert!(json.is_ok(), "{at}: {stdout}");
    } else {
        assert!(!stderr.is_empty() || !stdout.is_empty(), "{at} says nothing");
    }
}

#[test]
fn of_the_distribution() {
    lie_and_look(jdk_home().join("bin/java"), &["-XX:+UseG1GC"]);
}

#[test]
fn with_serial() {
    let Some(java) = fetched_java(21) else { return common::skip("needs JDK 21") };
    lie_and_look(java, &["-XX:+UseSerialGC"]);
}

#[test]
fn with_z() {
    let Some(java) = fetched_java(25) else { return common::skip("needs JDK 25") };
    lie_and_look(java, &["-XX:+UseZGC"]);
}

#[test]
fn of_an_old_one_with_parallel() {
    let Some(java) = fetched_java(11) else { return common::skip("needs JDK 11") };
    lie_and_look(java, &["-XX:+UseParallelGC"]);
}

/// Any JVM, for longer: `TRACER_LIES_JAVA`, with `TRACER_LIES_FLAGS`.
#[test]
#[ignore = "by hand: TRACER_LIES=1000 TRACER_LIES_JAVA=... TRACER_LIES_FLAGS=..."]
fn of_any() {
    let java =
        std::env::var_os("TRACER_LIES_JAVA").map_or_else(|| jdk_home().join("bin/java"), PathBuf::from);
    let flags = std::env::var("TRACER_LIES_FLAGS").unwrap_or_default();
    lie_and_look(java, &flags.split_whitespace().collect::<Vec<_>>());
}
