//! A recorder makes no system call outside its list, from the moment at which its probes are attached to its end: as
//! `strace` sees it. Needs root and strace.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use common::fixture::c_program;
use common::process::Process;
use common::recorder::tracer;
use rustix::process::Signal;
use tracer::recorder::allowed_calls;

#[test]
fn no_call_outside_the_list() {
    let Some(_turn) = common::privileged() else { return };
    if Command::new("strace").arg("--version").output().is_err() {
        common::skip("needs strace");
        return;
    }
    let (program, mut lines, _errors) = Process::start(&mut Command::new(c_program("malloc")));
    lines.until("started");
    let folder = tempfile::tempdir().expect("a folder");
    let (seen, file) = (folder.path().join("calls"), folder.path().join("a.trec"));
    let recorder = tracer();
    let output = Command::new("strace")
        // Of all threads, with numbers. The guard is another process, with a list of its own.
        .args(["-f", "-n", "-o"])
        .arg(&seen)
        .arg(recorder.get_program())
        .args(["record", "-d", "2s", "-p", &program.pid().to_string(), "-o"])
        .arg(&file)
        .output()
        .expect("strace");
    program.signal(Signal::KILL);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = fs::read(&seen).expect("what was seen");
    let seen = String::from_utf8_lossy(&seen);
    // The guard's filter comes first, then the recorder's.
    let filters: Vec<usize> = seen.match_indices("SECCOMP_SET_MODE_FILTER").map(|(at, _)| at).collect();
    let [guards, recorders] = filters[..] else { panic!("two filters: {filters:?}") };
    let line_of = |at: usize| seen[..at].rfind('\n').map_or(0, |end| end + 1);
    let guard = seen[line_of(guards)..].split_ascii_whitespace().next().expect("a pid");
    let allowed: BTreeSet<i64> = allowed_calls().collect();
    let mut count = 0;
    for line in seen[recorders..].lines().skip(1) {
        // PID [NUMBER] NAME(...
        let Some((pid, call)) = line.split_once(" [") else { continue };
        let Some((number, call)) = call.split_once("] ") else { continue };
        let Ok(number) = number.trim().parse::<i64>() else { continue };
        if pid.trim() == guard || call.starts_with("<...") {
            continue;
        }
        assert!(allowed.contains(&number), "outside the list: {line}");
        count += 1;
    }
    assert!(count > 100, "{count} calls were seen");
}
