//! Allocators inside libraries that do not export them: recorded where there are symbols, else said. Needs root, a C
//! compiler and Debian's libjemalloc-dev.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::fixture::c_program;
use common::process::{Lines, Process};
use common::recorder::{Recorder, Recording, assert_text_untouched, tracer};
use common::report::{Totals, assert_sound, number, sites_through};
use serde_json::Value;
use tempfile::TempDir;

const JEMALLOC: &str = "/usr/lib/x86_64-linux-gnu/libjemalloc_pic.a";
const LIBRARY: &str = "libwith_allocator.so";
const NOTE: &str = "has an allocator of its own";

fn run(command: &mut Command) {
    let output = command.output().expect("the tool is there");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The library in `folder`, with these arguments of the compiler besides.
fn library(folder: &Path, arguments: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/hidden_allocator_library.c");
    let exports = folder.join("exports");
    std::fs::write(&exports, "{ global: hidden_take; hidden_give; local: *; };").expect("written");
    let library = folder.join(LIBRARY);
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-g", "-fno-builtin", "-Wall", "-fPIC", "-shared", "-o"]).arg(&library).arg(source);
    cc.arg(format!("-Wl,--version-script={}", exports.display()));
    run(cc.args(arguments));
    library
}

/// The library with jemalloc inside, or nothing if there is none to link.
fn with_jemalloc(arguments: &[&str]) -> Option<(TempDir, PathBuf)> {
    if !Path::new(JEMALLOC).exists() {
        common::skip("needs libjemalloc-dev");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let all = [arguments, &[JEMALLOC, "-lstdc++", "-lm", "-lpthread", "-ldl"]].concat();
    let library = library(folder.path(), &all);
    Some((folder, library))
}

fn start(library: &Path, how: &[&str]) -> (Process, Lines) {
    let mut command = Command::new(c_program("hidden_allocator"));
    // This build of jemalloc has its variables where a library that is loaded later has little room.
    command.env("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=65536");
    let (target, mut stdout, _stderr) = Process::start(command.arg(library).args(how));
    stdout.until("started");
    (target, stdout)
}

struct Traced {
    truth: Totals,
    report: Value,
    notes: String,
    _recording: Recording,
}

fn trace(library: &Path, how: &[&str]) -> Traced {
    let (mut target, mut stdout) = start(library, how);
    let recorder = Recorder::attach(target.pid(), "hidden-allocators", &[]);
    target.tell("go");
    let truth: Value = serde_json::from_str(&stdout.next()).expect("a program's truth is JSON");
    let recording = recorder.stop();
    assert_eq!(recording.status.code(), Some(0), "{}", recording.stderr);
    assert_text_untouched(target.pid());
    target.tell("end");
    assert_eq!(target.wait().code(), Some(23), "the target's own exit status");
    let report = recording.report();
    assert_sound(&report);
    let notes = report["trust"]["notes"].to_string();
    Traced { truth: Totals::of_truth(&truth), report, notes, _recording: recording }
}

fn assert_exact(library: &Path) {
    let traced = trace(library, &[]);
    assert_eq!(Totals::of(&traced.report["totals"]), traced.truth);
    assert_eq!(number(&traced.report["trust"], "unmatched_frees"), 0);
    let through = Totals::sum(sites_through(&traced.report, "allocator", "site_hidden"));
    assert_eq!((through.allocated_count, through.freed_count), (2000, 1333));
    assert!(!traced.notes.contains(NOTE), "{}", traced.notes);
}

fn output_of(arguments: &[&str], target: &Process) -> String {
    let pid = target.pid().to_string();
    let output = tracer().args(arguments).args(["-p", &pid]).output().expect("tracer");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn found_by_the_library_s_symbols() {
    let Some(_turn) = common::privileged() else { return };
    let Some((_folder, library)) = with_jemalloc(&[]) else { return };
    assert_exact(&library);
}

/// mimalloc's functions have names of their own, which a program that is linked with it calls.
#[test]
fn found_by_the_names_of_mimalloc() {
    let Some(_turn) = common::privileged() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let library = library(folder.path(), &["-DMIMALLOC"]);
    assert_exact(&library);
    run(Command::new("strip").arg(&library));
    let traced = trace(&library, &["unseen"]);
    assert!(traced.notes.contains(NOTE) && traced.notes.contains("mimalloc"), "{}", traced.notes);
}

/// Debian's compiler gives a build id; without one, the link's checksum must be right.
#[test]
fn found_by_the_symbols_of_a_debug_file() {
    let Some(_turn) = common::privileged() else { return };
    for arguments in [&["-Wl,--build-id=sha1"][..], &["-Wl,--build-id=none"]] {
        let Some((folder, library)) = with_jemalloc(arguments) else { return };
        let debug = folder.path().join("with_allocator.debug");
        run(Command::new("objcopy").arg("--only-keep-debug").arg(&library).arg(&debug));
        run(Command::new("strip").arg(&library));
        run(Command::new("objcopy").arg(format!("--add-gnu-debuglink={}", debug.display())).arg(&library));
        assert_exact(&library);
        // Of another build.
        let mut bytes = std::fs::read(&debug).expect("the debug file");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        if arguments == ["-Wl,--build-id=none"] {
            std::fs::write(&debug, bytes).expect("written");
            let traced = trace(&library, &["unseen"]);
            assert!(traced.notes.contains(NOTE), "{}", traced.notes);
        }
    }
}

/// Without symbols nothing is claimed of its blocks, and that they are not seen is said wherever one looks.
#[test]
fn said_where_there_are_no_symbols() {
    let Some(_turn) = common::privileged() else { return };
    let Some((_folder, library)) = with_jemalloc(&[]) else { return };
    run(Command::new("strip").arg(&library));
    let traced = trace(&library, &["unseen"]);
    assert_eq!(Totals::of(&traced.report["totals"]), traced.truth, "the process's own malloc is seen");
    assert!(traced.notes.contains(NOTE) && traced.notes.contains(LIBRARY), "{}", traced.notes);
    // By the stacks that mapped it, or by the allocator's structures.
    let parts = traced.report["memory"]["parts"].as_array().expect("parts");
    let is_its = |part: &&Value| part["id"] == "library-allocator" || part["name"] == LIBRARY;
    let resident = parts.iter().filter(is_its).map(|part| number(part, "resident_bytes")).sum::<u64>();
    // A third of 2,000 blocks of 36 KB is kept.
    assert!(resident > 15 << 20, "{parts:?}");

    let (mut target, mut stdout) = start(&library, &["unseen"]);
    target.tell("go");
    stdout.next();
    let check = output_of(&["check", "-v"], &target);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&check).contains("(jemalloc) has an allocator of its own"), "{check}");
    let maps = output_of(&["maps"], &target);
    let rows: Vec<&str> = maps.lines().skip_while(|line| !line.contains("own allocators")).take(2).collect();
    assert!(rows.last().is_some_and(|row| row.contains(LIBRARY)), "{maps}");
    let unexplained = maps.lines().find(|line| line.trim_start().starts_with("unexplained"));
    assert!(unexplained.is_none_or(|row| !row.contains("MiB")), "{maps}");
    let census = output_of(&["census"], &target);
    assert!(words(&census).contains("not read: that of libwith_allocator.so (jemalloc)"), "{census}");
    target.tell("end");
    assert_eq!(target.wait().code(), Some(23));
}

#[test]
fn a_library_that_is_loaded_later_is_said() {
    let Some(_turn) = common::privileged() else { return };
    let Some((_folder, library)) = with_jemalloc(&[]) else { return };
    let traced = trace(&library, &["late"]);
    assert!(traced.notes.contains("was loaded during the recording and has"), "{}", traced.notes);
}

/// Private functions of these names that take other arguments are no allocator, and nothing is claimed of them.
#[test]
fn private_functions_of_these_names_are_not_believed() {
    let Some(_turn) = common::privileged() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let library = library(folder.path(), &["-DPOOL"]);
    let traced = trace(&library, &["unseen"]);
    assert_eq!(Totals::of(&traced.report["totals"]), traced.truth);
    assert_eq!(number(&traced.report["trust"], "unmatched_frees"), 0);
}
