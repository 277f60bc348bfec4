//! Processes that are hard to hold: with very many threads, in a collection that does not end, or killed meanwhile.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::fixture::{java_classes, jdk_home};
use crate::common::process::{Lines, Process};
use crate::common::recorder::{tracer, tracer_output};
use crate::common::report::number;
use crate::common::wait::wait_for;
use crate::{holders, is_root, is_traced};

const COUNT: u64 = 1_000;
/// Stops of a program that does nothing but collect, until one of them falls into a collection.
const STOPS: u32 = 40;

fn start(flags: &[&str], argument: &str) -> (Process, Lines) {
    let mut command = Command::new(jdk_home().join("bin/java"));
    command.args(["-Xmx512m"]).args(flags).arg("-cp").arg(java_classes()).args(["Crowd", argument]);
    let (process, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("ready");
    (process, stdout)
}

/// The one sentence of an error.
fn error(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = stderr.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
    assert_eq!((output.status.code(), errors.len()), (Some(1), 1), "{stderr}");
    errors.concat()
}

#[test]
fn what_each_of_a_thousand_threads_holds_is_found() {
    if !is_root() {
        return;
    }
    let (mut process, mut stdout) = start(&["-XX:+UseSerialGC"], &COUNT.to_string());
    let answer = holders(process.pid(), &["--max-pause", "5000"]);
    let groups = answer["groups"].as_array().expect("groups").iter();
    let of_crowd = groups.filter(|group| {
        let is_buffer = group["owner"]["class"] == "java.nio.DirectByteBuffer";
        let steps = group["path"].as_array().expect("a path");
        is_buffer
            && steps.iter().any(|step| step["name"].as_str().is_some_and(|name| name.starts_with("crowd-")))
    });
    let count: u64 =
        of_crowd.filter(|group| group["state"] == "held").map(|group| number(group, "count")).sum();
    assert_eq!(count, COUNT, "{answer:#}");
    process.tell("");
    assert!(stdout.rest().contains("done"));
    assert_eq!(process.wait().code(), Some(0));
}

/// A process that was stopped (SIGSTOP) in a collection is not read, and is left as it was.
#[test]
fn a_collection_that_does_not_end_is_refused() {
    if !is_root() {
        return;
    }
    let (process, _stdout) = start(&["-XX:+UseSerialGC"], "collecting");
    let pid = process.pid().to_string();
    let mut refused = 0;
    for round in 0..STOPS {
        // It runs on for some time, else all stops are at one place of the program.
        std::thread::sleep(Duration::from_millis(u64::from(5 + 7 * round)));
        process.stop();
        let output = tracer_output(&["holders", "-p", &pid, "--max-pause", "5000"]);
        if !output.status.success() {
            let why = error(&output);
            assert!(why.contains(&format!("a collection of process {pid} does not end in 2 s")), "{why}");
            refused += 1;
        }
        // A thread that is let go stops again by itself, a moment later.
        wait_for("it is stopped again", || process.is_stopped() && !is_traced(process.pid()));
        process.signal(Signal::CONT);
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0, "none of {STOPS} stops fell into a collection");
}

/// One sentence says that the process is gone, whenever it is killed.
#[test]
fn a_process_that_dies_while_it_is_held() {
    if !is_root() {
        return;
    }
    let mut killed_while_held = 0;
    for round in 0..if crate::is_all() { 20_u32 } else { 3 } {
        let (mut process, _stdout) = start(&["-XX:+UseSerialGC"], "100");
        let pid = process.pid();
        let child = tracer()
            .args(["holders", "-p", &pid.to_string(), "--max-pause", "5000"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tracer");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_traced(pid) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(Duration::from_micros(u64::from(round) * 500));
        killed_while_held += u32::from(is_traced(pid));
        process.signal(Signal::KILL);
        let output = child.wait_with_output().expect("it ends");
        process.wait();
        // It may have been let go in time, and all that was asked be known.
        if !output.status.success() {
            let why = error(&output);
            assert!(why.contains(&pid.to_string()) || why.contains("ended"), "round {round}: {why}");
        }
    }
    assert!(killed_while_held > 0, "it was never held when it was killed");
}
