//! A recorder that does not run any more, though it is not dead: its programs stop recording, its probes go, and the
//! target runs on. Needs root.

mod common;

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::fixture::c_program;
use common::process::Process;
use common::recorder::{Recorder, changed_text};
use common::state::{all_threads_are, state};
use common::wait::wait_for;
use rustix::process::Signal;
use tracer::process::Pid;

/// The programs' deadline, and what the guard may take after it.
const LIMIT: Duration = Duration::from_secs(3 + 5);

/// Waits until no breakpoint is left in the target's text; how long that took.
fn until_untouched(pid: Pid) -> Duration {
    let begun = Instant::now();
    while changed_text(pid).is_some() {
        assert!(begun.elapsed() < 4 * LIMIT, "breakpoints are left");
        thread::sleep(Duration::from_millis(50));
    }
    begun.elapsed()
}

#[test]
fn probes_go_when_the_recorder_is_stopped() {
    let Some(_turn) = common::privileged() else { return };
    let (mut program, mut lines, _errors) = Process::start(&mut Command::new(c_program("budget")));
    lines.until("started");
    let recorder = Recorder::attach(program.pid(), "silence-stopped", &["-d", "60s"]);
    program.tell("go");
    assert!(changed_text(program.pid()).is_some(), "probes are set");
    recorder.signal(Signal::STOP);
    let took = until_untouched(program.pid());
    println!("untouched {took:?} after the recorder was stopped");
    assert!(took < LIMIT, "{took:?}");
    assert!(!program.is_stopped());
    recorder.signal(Signal::CONT);
    let recording = recorder.wait();
    assert_eq!(recording.status.code(), Some(0), "{}", recording.stderr);
    assert!(recording.render(&[]).contains("did not run"), "{}", recording.render(&[]));
    program.signal(Signal::KILL);
    program.wait();
}

#[test]
fn a_program_that_was_started_runs_on() {
    let Some(_turn) = common::privileged() else { return };
    let recorder = Recorder::launch("silence-launched", Command::new("sleep").arg("1"));
    let pid = recorder.launched_pid();
    recorder.signal(Signal::STOP);
    let stopped = Instant::now();
    wait_for("it is stopped at its end, where nobody answers", || all_threads_are(pid, 'T'));
    let process = format!("/proc/{pid}");
    wait_for("it ends by itself", || matches!(state(Path::new(&process)), None | Some('Z')));
    println!("it ended {:?} after the recorder was stopped", stopped.elapsed());
    assert!(stopped.elapsed() < LIMIT);
    recorder.signal(Signal::CONT);
    assert_eq!(recorder.wait().status.code(), Some(0));
}

#[test]
fn a_recorder_whose_guard_is_killed_ends() {
    let Some(_turn) = common::privileged() else { return };
    let (mut program, mut lines, _errors) = Process::start(&mut Command::new(c_program("budget")));
    lines.until("started");
    let recorder = Recorder::attach(program.pid(), "silence-guard", &["-d", "60s"]);
    let guard = rustix::process::Pid::from_raw(recorder.guard().raw()).expect("a pid");
    rustix::process::kill_process(guard, Signal::KILL).expect("kill the guard");
    assert!(until_untouched(program.pid()) < LIMIT);
    let recording = recorder.wait();
    assert_eq!(recording.status.code(), Some(0), "{}", recording.stderr);
    program.signal(Signal::KILL);
    program.wait();
}
