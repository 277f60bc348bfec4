//! Capabilities that a recorder keeps once its probes are attached: what is missing without each, as the table in
//! docs/requirements.md has it. Needs root.
//!
//! Each is left out in a process of its own, this test again: what was given up does not come back.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::thread;

use common::fixture::c_program;
use common::process::{Lines, Process};
use tracer::process::privilege::{self, Capability, READING};
use tracer::process::urgent::{self, Urgent};
use tracer::recorder::{self, Options, Recorder, Subject};
use tracer::recording::{self, CensusMoment};

/// A user who is nobody: owner of the target and of the folder of its recording.
const NOBODY: u32 = 65_534;
/// The number of the capability that a process of this test leaves out, the folder that it records in, and the line by
/// which it tells what it saw itself.
const LEFT_OUT: &str = "TRACER_TEST_LEFT_OUT";
const FOLDER: &str = "TRACER_TEST_FOLDER";
const TOLD: &str = "told: ";
const NOT_WRITTEN: &str = "the recording cannot be written";

/// Capabilities that are kept, with their names.
const KEPT: [(Capability, &str); 6] = [
    (Capability::SysPtrace, "CAP_SYS_PTRACE"),
    (Capability::DacReadSearch, "CAP_DAC_READ_SEARCH"),
    (Capability::CheckpointRestore, "CAP_CHECKPOINT_RESTORE"),
    (Capability::DacOverride, "CAP_DAC_OVERRIDE"),
    (Capability::Chown, "CAP_CHOWN"),
    (Capability::Fowner, "CAP_FOWNER"),
];

/// Records a process of another user, in that user's folder, as is done by sudo. Gives what failed.
fn record(folder: &Path) -> Option<String> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--clear-groups"]).arg(c_program("late")).arg(folder.join("liblate.so"));
    let (mut program, mut lines, _errors) = Process::start(&mut command);
    lines.until("started");
    let failed = record_process(&mut program, lines, folder);
    // This process may have no right any more to end it.
    program.close_stdin();
    program.wait();
    failed
}

fn record_process(program: &mut Process, mut lines: Lines, folder: &Path) -> Option<String> {
    let (controller, mut control) = recorder::control();
    let mut options = Options::new(Subject::Process(program.pid()), folder.join("late.trec"));
    // An old file stays in its place until the first second is recorded.
    options.output.replace = true;
    let recorder = match Recorder::start(&options, Box::new(|_| ())) {
        Ok(recorder) => recorder,
        Err(error) => return Some(format!("no recording: {error}")),
    };
    recorder.confine().expect("confined");
    program.tell("go");
    let log = folder.join("late.trec-wal");
    let stopper = thread::spawn(move || {
        lines.next();
        let owner = fs::metadata(log).map(|log| log.uid());
        controller.stop();
        owner
    });
    let outcome = recorder.run(&mut control);
    let owner = stopper.join().expect("a thread that waits");
    match outcome {
        Err(_) => Some(NOT_WRITTEN.to_owned()),
        Ok(_) if owner.is_ok_and(|owner| owner != NOBODY) => Some("the log is root's meanwhile".to_owned()),
        Ok(_) => None,
    }
}

/// A process of [`without`]: leaves one out, and records.
#[test]
#[ignore = "a part of the next test, in a process of its own"]
fn one_is_left_out() {
    let (Ok(left_out), Ok(folder)) = (std::env::var(LEFT_OUT), std::env::var(FOLDER)) else { return };
    let folder = Path::new(&folder);
    let left_out = KEPT.into_iter().find(|(capability, _)| (*capability as u8).to_string() == left_out);
    if let Some((capability, _)) = left_out {
        privilege::leave_out(capability);
    }
    println!("{TOLD}{}", record(folder).unwrap_or_default());
}

/// What is missing if this capability is left out; all that is there without one is there with all.
fn without(left_out: Option<Capability>) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("liblate.so");
    fs::copy("/lib/x86_64-linux-gnu/libz.so.1", &library).expect("a copy of zlib");
    // In which only owners remove what is theirs.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1755)).expect("its mode");
    let file = folder.path().join("late.trec");
    fs::write(&file, "old").expect("an old file");
    for path in [folder.path(), &library, &file] {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
    }
    let number = left_out.map_or(String::new(), |capability| (capability as u8).to_string());
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["one_is_left_out", "--exact", "--ignored", "--nocapture"])
        .envs([("SUDO_UID", NOBODY.to_string()), ("SUDO_GID", NOBODY.to_string()), (LEFT_OUT, number)])
        .env(FOLDER, folder.path())
        .output()
        .expect("this test again");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = said.lines().find_map(|line| line.split_once(TOLD)).map(|(_, told)| told.to_owned());
    let told = told.unwrap_or_else(|| panic!("{said}\n{}", String::from_utf8_lossy(&output.stderr)));
    let mut missing: Vec<String> = [told].into_iter().filter(|told| !told.is_empty()).collect();
    if missing == [NOT_WRITTEN] {
        return missing;
    }
    let recording = recording::read(&file).expect("a recording");
    let named = recording.frames.iter().any(|frame| frame.function.starts_with("deflateInit"));
    let is_last = |moment| moment == CensusMoment::End;
    let has_census = recording.censuses.iter().any(|kept| is_last(kept.moment) && kept.census.is_ok());
    let has_log = fs::exists(folder.path().join("late.trec-wal")).unwrap_or(true);
    for (is_missing, what) in [
        (!named, "no names in a library that was loaded meanwhile and removed"),
        (!has_census, "no census and no balance at the end"),
        (has_log, "the log stays beside the file"),
    ] {
        if is_missing {
            missing.push(what.to_owned());
        }
    }
    missing
}

#[test]
fn each_that_is_kept_is_needed() {
    let Some(_turn) = common::privileged() else { return };
    assert_eq!(without(None), [] as [&str; 0], "with all of them");
    let mut rows = Vec::new();
    for (capability, name) in KEPT {
        let missing = without(Some(capability));
        rows.push(format!("| `{name}` | {} |", missing.join("; ")));
    }
    let page =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("docs/requirements.md");
    let page = fs::read_to_string(page).expect("read the page");
    for row in &rows {
        assert!(page.contains(row), "docs/requirements.md has another table than:\n{}", rows.join("\n"));
    }
}

/// The answer of `ask` in a thread that has the capabilities of a recorder, and `besides`.
fn with<T: Send + 'static>(besides: &[Capability], ask: impl FnOnce() -> T + Send + 'static) -> T {
    let kept = [&READING[..], besides].concat();
    let thread = thread::spawn(move || {
        privilege::keep_only(&kept).expect("given up");
        ask()
    });
    thread.join().expect("a thread that asks")
}

/// `--holders`: who copies while the process is held comes before other programs.
#[test]
fn a_thread_comes_first_with_sys_nice_alone() {
    let Some(_turn) = common::privileged() else { return };
    let policy = || {
        let _urgent = Urgent::begin(urgent::COPIES);
        // SAFETY: asks about the calling thread.
        unsafe { libc::sched_getscheduler(0) }
    };
    assert_eq!(with(&[Capability::SysNice], policy), libc::SCHED_RR);
    assert_eq!(with(&[], policy), libc::SCHED_OTHER);
}

/// `-- CMD`: a program that became another user's, in a session of its own, and stands still. By the recorder's own call
/// and not by a recorder, which would wait for the program for ever.
#[test]
fn a_program_of_another_user_is_resumed_with_kill_alone() {
    let Some(_turn) = common::privileged() else { return };
    let mut command = Command::new("setsid");
    command.args(["setpriv", "--reuid=65534", "--clear-groups"]).arg(c_program("malloc"));
    let (mut program, mut lines, _errors) = Process::start(&mut command);
    lines.until("started");
    program.stop();
    let pid = program.pid().raw();
    // SAFETY: sends a signal, and touches no memory.
    let resume = move || (unsafe { libc::kill(pid, libc::SIGCONT) }, std::io::Error::last_os_error());
    let (done, error) = with(&[], resume);
    assert_eq!((done, error.raw_os_error()), (-1, Some(libc::EPERM)));
    assert!(program.is_stopped());
    assert_eq!(with(&[Capability::Kill], resume).0, 0);
    program.tell("go");
    lines.next();
    program.tell("end");
    assert_eq!(program.wait().code(), Some(23));
}
