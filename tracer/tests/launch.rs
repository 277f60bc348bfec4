//! `record -- CMD`: a program is recorded from its first instruction to its last, and runs on whatever becomes of the
//! recorder. Needs root.

mod common;

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::fixture::{c_program, fetched_java, jdk_home};
use common::process::Process;
use common::recorder::{Recorder, assert_text_untouched};
use common::report::{Totals, assert_sound, number, rows};
use common::state::{all_threads_are, state};
use common::wait::wait_for;
use rustix::process::Signal;

/// Records `java -version`: of 1,000 stacks, 995 are whole, every Java frame has its name, and its memory was read before
/// it was gone. `late`: the recorder hardly ever runs meanwhile.
fn assert_run_is_whole(java: &Path, name: &str, late: bool) {
    let recorder = Recorder::launch(&format!("launch-{name}"), Command::new(java).arg("-version"));
    if late {
        // Longer than the program would take.
        for _ in 0..20 {
            recorder.signal(Signal::STOP);
            thread::sleep(Duration::from_millis(30));
            recorder.signal(Signal::CONT);
            thread::sleep(Duration::from_millis(2));
        }
    }
    let recording = recorder.wait();
    assert_eq!(recording.status.code(), Some(0), "{}", recording.stderr);
    let report = recording.report();
    assert_sound(&report);
    let trust = &report["trust"];
    let (total, complete) = (number(trust, "stacks_total"), number(trust, "stacks_complete"));
    assert!(total > 5_000, "{name}: {total} stacks");
    assert!((total - complete) * 200 <= total, "{name}: {complete} of {total} are whole: {trust:#}");
    let frames = rows(&report, "sites").iter().flat_map(|site| rows(site, "frames"));
    let (unnamed, named): (Vec<_>, Vec<_>) =
        frames.filter(|frame| frame["kind"] == "java").partition(|frame| {
            frame["function"].as_str().is_none_or(|function| function.starts_with("[unknown"))
        });
    assert!(unnamed.is_empty() && !named.is_empty(), "{name}: {} and {unnamed:#?}", named.len());
    assert!(number(&report["memory"], "rss_bytes") > 10 << 20, "{name}: {:#}", report["memory"]);
    assert!(
        number(&report["census"]["end"]["census"]["malloc"], "in_use_bytes") > 1 << 20,
        "{name}: no census"
    );
}

#[test]
fn the_whole_run_of_a_jvm_is_recorded() {
    let Some(_turn) = common::privileged() else { return };
    assert_run_is_whole(&jdk_home().join("bin/java"), "installed", false);
    for major in [11, 25] {
        match fetched_java(major) {
            Some(java) => assert_run_is_whole(&java, &major.to_string(), true),
            None => common::skip(&format!("needs JDK {major} (cargo xtask setup --tests)")),
        }
    }
}

#[test]
fn a_program_outlives_a_recorder_that_is_killed() {
    let Some(_turn) = common::privileged() else { return };
    let mut java = Command::new(jdk_home().join("bin/java"));
    let recorder = Recorder::launch("launch-killed", java.arg("-version"));
    // Nobody answers when it stops itself.
    recorder.signal(Signal::STOP);
    let pid = recorder.launched_pid();
    wait_for("it stands still", || all_threads_are(pid, 'T'));
    recorder.signal(Signal::KILL);
    let process = format!("/proc/{pid}");
    // Its new parent may not collect it.
    wait_for("it ends by itself", || matches!(state(Path::new(&process)), None | Some('Z')));
    assert_eq!(recorder.wait().status.code(), None, "the recorder was killed");
}

#[test]
fn a_program_that_aborts_is_read_before_it_is_gone() {
    let Some(_turn) = common::privileged() else { return };
    let recording = Recorder::launch("launch-aborts", &mut Command::new(c_program("aborts"))).wait();
    assert_eq!(recording.status.code(), Some(128 + 6), "as a shell has it: {}", recording.stderr);
    let report = recording.report();
    assert_sound(&report);
    assert_eq!(Totals::of(&report["totals"]).live_bytes, 50_000_009, "{:#}", report["totals"]);
    let parts = rows(&report["memory"], "parts");
    let live = parts.iter().find(|part| part["id"] == "malloc-live").expect("what is live");
    assert!(number(live, "resident_bytes") >= 50_000_009, "{parts:#?}");
}

/// What executes another program is recorded until then, and nothing of the other one is taken for it.
#[test]
fn a_program_that_becomes_another_one_is_left_alone() {
    let Some(_turn) = common::privileged() else { return };
    let script = "kept=$(head -c 20000000 /dev/zero | tr '\\0' x); echo ready; read line; exec cat";
    let (mut process, mut stdout, _stderr) = Process::start(Command::new("bash").args(["-c", script]));
    stdout.until("ready");
    let recorder = Recorder::attach(process.pid(), "launch-exec", &[]);
    thread::sleep(Duration::from_millis(1_500));
    process.tell("go on");
    let recording = recorder.wait();
    assert_eq!(recording.status.code(), Some(0), "{}", recording.stderr);
    process.tell("still here");
    assert_eq!(stdout.next(), "still here");
    assert_text_untouched(process.pid());
    process.close_stdin();
    assert_eq!(process.wait().code(), Some(0));

    assert!(recording.stdout.contains("target became another program"), "{}", recording.stdout);
    let report = recording.report();
    assert_sound(&report);
    // `cat` has not as much.
    assert!(number(&report["memory"], "rss_bytes") > 20_000_000, "{:#}", report["memory"]);
    assert!(report["census"]["end"]["census"].is_null(), "{:#}", report["census"]["end"]);
}
