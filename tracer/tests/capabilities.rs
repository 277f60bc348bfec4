//! `check` and `record` agree for what capabilities this process has, a recorder keeps only those that it needs until its
//! end, and docs/requirements.md has the tables of both. Needs root; it takes capabilities away from root, as a container
//! does.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::fixture::c_program;
use common::process::Process;
use common::recorder::{Recorder, tracer};
use rustix::process::Signal;
use tracer::probe::kernel::{Features, Version};
use tracer::process::privilege::{self, Capability, READING};

const NEEDED: [&str; 5] = ["bpf", "perfmon", "sys_ptrace", "dac_read_search", "checkpoint_restore"];

/// Runs `tracer` with these capabilities alone, where tracefs is mounted.
fn with(capabilities: &[&str], arguments: &[&str]) -> Output {
    let set: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let tracer = tracer();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c"]);
    command.arg(
        "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; set=$1; shift; \
         exec setpriv --bounding-set=\"$set\" \"$@\"",
    );
    command.arg("sh").arg(format!("-all{set}")).arg(tracer.get_program()).args(arguments);
    command.env("NO_COLOR", "1").output().expect("run setpriv (util-linux)")
}

/// The row of the table in docs/requirements.md: what is left out, and what both commands do then.
fn row(left_out: &str, status: Option<i32>) -> String {
    let left_out = if left_out.is_empty() {
        "none of these".to_owned()
    } else {
        format!("`CAP_{}`", left_out.to_uppercase())
    };
    format!("| {left_out} | {} |", status.map_or("a signal".to_owned(), |status| status.to_string()))
}

#[test]
fn check_and_record_agree() {
    let Some(_turn) = common::privileged() else { return };
    // A process of another user: its memory is not root's by ownership.
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--clear-groups"]).arg(c_program("malloc"));
    let (program, mut lines, _errors) = Process::start(&mut command);
    lines.until("started");
    let pid = program.pid().to_string();
    let file = std::env::temp_dir().join(format!("tracer-capabilities-{pid}.trec"));
    let page =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("docs/requirements.md");
    let page = fs::read_to_string(page).expect("read the page");
    let mut rows = Vec::new();
    for left_out in NEEDED.into_iter().chain([""]) {
        let kept: Vec<&str> = NEEDED.into_iter().filter(|name| *name != left_out).collect();
        let checked = with(&kept, &["check", "-p", &pid]);
        let output = file.to_str().expect("a path");
        let recorded = with(&kept, &["record", "-p", &pid, "-d", "1s", "--force", "-o", output]);
        let text = |output: &Output| {
            String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
        };
        assert_eq!(
            checked.status.code(),
            recorded.status.code(),
            "without {left_out}:\n{}\n{}",
            text(&checked),
            text(&recorded)
        );
        rows.push(row(left_out, recorded.status.code()));
    }
    let _ = fs::remove_file(&file);
    program.signal(Signal::KILL);
    assert!(
        page.contains(&rows.join("\n")),
        "docs/requirements.md has another table than:\n{}",
        rows.join("\n")
    );
}

/// Capabilities of a process or thread. `None` if it has ended.
fn effective(folder: &Path) -> Option<u64> {
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"))?;
    u64::from_str_radix(set, 16).ok()
}

/// Rights that the recorder has left once its probes are attached.
#[test]
fn a_recorder_is_confined() {
    let Some(_turn) = common::privileged() else { return };
    let (program, mut lines, _errors) = Process::start(&mut Command::new(c_program("malloc")));
    lines.until("started");
    let recorder = Recorder::attach(program.pid(), "confined", &["--max-overhead", "10"]);
    let own = format!("/proc/{}", recorder.pid());
    let main = effective(Path::new(&own)).expect("its capabilities");
    // What kernels before 5.19 want for tables, and perf events, is left where they are older.
    let older = privilege::set_of(&[Capability::Bpf, Capability::Perfmon]);
    assert_eq!(main & !older, privilege::set_of(&READING), "those that it needs until its end");
    let Version { major, minor, .. } = Features::read().version();
    assert!((major, minor) < (6, 10) || main & older == 0, "{main:x} on Linux {major}.{minor}");
    for thread in fs::read_dir(format!("{own}/task")).expect("its threads").flatten() {
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let Some(set) = effective(&thread.path()) else { continue };
        assert_eq!(set & !main, 0, "thread {name:?} has {set:x}, of {main:x}");
    }
    for thread in fs::read_dir(format!("{own}/task")).expect("its threads").flatten() {
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(line), "{line}: {status}");
        }
    }
    let status =
        fs::read_to_string(format!("/proc/{}/status", recorder.guard())).expect("its guard's status");
    for line in ["CapPrm:\t0000000000200020", "CapEff:\t0000000000200020", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "the guard can do more than resume and count: {line}: {status}");
    }
    assert_eq!(recorder.stop().status.code(), Some(0));

    let recorder = Recorder::launch("confined-launched", Command::new("sleep").arg("2"));
    let status = fs::read_to_string(format!("/proc/{}/status", recorder.launched_pid())).expect("its status");
    for line in ["NoNewPrivs:\t0", "Seccomp:\t0"] {
        assert!(status.contains(line), "the program is confined, too: {status}");
    }
    assert_eq!(recorder.wait().status.code(), Some(0));
}
