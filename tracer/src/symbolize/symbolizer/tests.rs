//! Stacks of live JVMs, whole, walked and named from outside, against what the JVM itself says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tracer_common::unwind::Stop;

use super::*;
use crate::process::memory::LiveMemory;
use crate::process::module::modules;
use crate::process::{Pid, Tid, jvm, mapping};
use crate::symbolize::FrameKind;
use crate::unwind::still::{Started, StoppedThread, tables, threads};
use crate::unwind::walker::Walker;

/// Java homes with a `java`: those installed, and those that `TRACER_TEST_JDKS` names, separated by
/// colons.
fn homes() -> Vec<PathBuf> {
    let named = std::env::var("TRACER_TEST_JDKS").unwrap_or_default();
    let named = named.split(':').filter(|home| !home.is_empty()).map(PathBuf::from);
    let installed = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten().map(|jdk| jdk.path());
    let mut homes: Vec<PathBuf> =
        installed.chain(named).filter_map(|home| home.canonicalize().ok()).collect();
    homes.retain(|home| home.join("bin/java").exists());
    homes.sort();
    homes.dedup();
    homes
}

/// A Java thread as `jstack` prints it: its id, and lines `class.method(File.java:12)`.
fn threads_by_the_jvm(home: &Path, pid: Pid) -> Option<Vec<(Tid, Vec<String>)>> {
    let output =
        Command::new(home.join("bin/jcmd")).args([&pid.to_string(), "Thread.print"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut threads: Vec<(Tid, Vec<String>)> = Vec::new();
    for line in text.lines() {
        if let Some((_, id)) = line.split_once(" nid=") {
            let id = id.split([' ', ',']).next()?;
            let id = match id.strip_prefix("0x") {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
                None => id.parse().ok()?,
            };
            threads.push((Tid(id), Vec::new()));
        } else if let Some(frame) = line.strip_prefix("\tat ")
            && let Some((_, frames)) = threads.last_mut()
            && !is_hidden(frame)
        {
            // Without the module or loader in front.
            let (method, place) = frame.split_once('(')?;
            let method = method.rsplit('/').next()?;
            let place = place.trim_end_matches(')').rsplit('/').next()?;
            // `java.base@17.0.15` names the module where the place follows.
            frames.push(format!("{method} {place}"));
        }
    }
    (!threads.is_empty()).then_some(threads)
}

/// A frame in the JVM's own words.
fn in_words(frame: &Frame) -> String {
    let place = match (&frame.file, frame.line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        // Native methods, and classes without debug information.
        (Some(file), None) => file.clone(),
        (None, _) => "Unknown Source".to_owned(),
    };
    format!("{} {place}", frame.function)
}

/// Frames that the JVM leaves out of its own stack traces.
fn is_hidden(function: &str) -> bool {
    ["$$Lambda", "LambdaForm$", "java.lang.invoke."].iter().any(|part| function.contains(part))
}

fn check(home: &Path, folder: &Path, options: &[&str], warm: &str) {
    let context = format!("{} {options:?}", home.display());
    let mut command = Command::new(home.join("bin/java"));
    let command = command.args(options).arg("-cp").arg(folder).args(["Chain", warm]);
    let Ok(target) = Started::when_ready(command) else { panic!("{context}: does not start") };
    let pid = target.pid();
    // It compiles for a while what it ran, and then what it ran to answer.
    target.until_at_rest();
    let expected = threads_by_the_jvm(home, pid);
    target.until_at_rest();

    let mappings = mapping::read(pid).unwrap();
    let found = modules(pid, &mappings);
    let memory = LiveMemory::open(pid).unwrap();
    let tables = tables(pid, &mappings, &memory);
    let libjvm = jvm::find(pid, &found).unwrap().libjvm;
    let hotspot = Hotspot::open(&libjvm.file, libjvm.load_bias, LiveMemory::open(pid).unwrap())
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let walker = Walker::new(&memory, &tables, hotspot.unwinder_config());
    let mut symbolizer = Symbolizer::new(pid);
    symbolizer.set_modules(found);
    symbolizer.set_jvm(hotspot);

    let (mut complete, mut compared, mut chain_seen) = (0, 0, false);
    for (tid, comm) in threads(pid) {
        let Some(held) = StoppedThread::new(tid.0) else { continue };
        let stack = walker.walk(held.state);
        let began = Instant::now();
        let frames = symbolizer.stack(&stack.frames);
        if std::env::var_os("TRACER_TEST_PRINT").is_some() {
            println!("{context} {comm} {:?} {:?}", stack.stop, began.elapsed());
            for frame in &frames {
                let module = frame.module.as_deref().and_then(|m| m.rsplit('/').next());
                println!("    {} {:?} {:?}", in_words(frame), module, frame.tier);
            }
        }
        drop(held);
        assert_eq!(stack.stop, Stop::Complete, "{context} {comm}: {frames:#?}");
        complete += 1;
        // Some distributions strip the launcher: its `main` has no name.
        let launcher = |frame: &Frame| frame.module.as_deref().is_some_and(|path| path.ends_with("/java"));
        let named = |frame: &Frame| frame.unknown.is_none() || launcher(frame);
        assert!(frames.iter().all(named), "{context} {comm}: {frames:#?}");

        let Some((_, expected)) =
            expected.iter().flatten().find(|(id, frames)| *id == tid && !frames.is_empty())
        else {
            continue;
        };
        chain_seen |= expected.iter().any(|line| line.starts_with("Chain.leaf "));
        let own: Vec<String> = frames
            .iter()
            .filter(|frame| frame.kind == FrameKind::Java && !is_hidden(&frame.function))
            .map(in_words)
            .collect();
        let expected: Vec<String> = expected
            .iter()
            .map(|line| if line.ends_with(" Native Method") { String::new() } else { line.clone() })
            .collect();
        assert_eq!(own.len(), expected.len(), "{context} {comm}: {own:#?} {expected:#?}");
        for (own, expected) in own.iter().zip(&expected) {
            assert!(expected.is_empty() || own == expected, "{context} {comm}: {own} {expected}");
        }
        compared += 1;
    }
    assert!(complete > 8, "{context}: {complete} threads");
    if expected.is_some() {
        assert!(compared >= 3 && chain_seen, "{context}: {compared} threads compared");
    }
}

#[test]
fn every_thread_of_a_jvm_as_the_jvm_itself_tells() {
    let homes = homes();
    let folder = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/symbolize/symbolizer/Chain.java");
    let compiled =
        Command::new("javac").args(["--release", "8", "-d"]).arg(folder.path()).arg(source).status();
    if homes.is_empty() || !compiled.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("TRACER_REQUIRE_ROOT").is_none(), "no JDK to test with");
        eprintln!("skipped: no JDK");
        return;
    }
    let modes: [(&[&str], &str); 4] = [
        (&["-Xint"], "1"),
        (&["-XX:TieredStopAtLevel=1"], "2000"),
        (&["-XX:-TieredCompilation", "-Xcomp"], "50"),
        (&[], "20000"),
    ];
    for home in homes {
        for (options, warm) in modes {
            check(&home, folder.path(), options, warm);
        }
    }
}
