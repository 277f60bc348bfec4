//! The commands as a person meets them: what goes to stdout and stderr, exit statuses, and every input that must be
//! answered well. Those that attach probes need root.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use common::control_group::ControlGroup;
use common::fixture::c_program;
use common::process::{Lines, Process};
use common::recorder::{Recorder, tracer, tracer_output};
use common::report::{Totals, assert_balanced};
use common::wait::wait_for;
use rustix::process::Signal;

/// Exit statuses, as documented.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NOT_PERMITTED: i32 = 3;

/// No process has it: above the kernel's highest.
const NO_SUCH_PID: &str = "2147483646";

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts one line `error: ...` with `words` in it, one line `help: ...`, this exit status, and nothing on stdout.
fn assert_refused(output: &Output, status: i32, words: &[&str]) {
    let stderr = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one line of error:\n{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is said:\n{stderr}");
    }
    assert!(stderr.lines().any(|line| line.starts_with("help: ")), "what mends it is said:\n{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(output.stdout.is_empty(), "nothing on stdout");
}

/// A test program that runs and waits for its first line.
fn started(program: &str) -> (Process, Lines) {
    let (target, mut stdout, _stderr) = Process::start(&mut Command::new(c_program(program)));
    stdout.until("started");
    (target, stdout)
}

/// An empty folder of this test's own.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("make a folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}

/// A recording of a small program, in `folder`.
fn recorded(folder: &Path) -> PathBuf {
    let (mut target, mut stdout) = started("malloc");
    let file = folder.join("small.trec");
    let mut command = tracer();
    command.args(["record", "-p", &target.pid().to_string(), "-o", text(&file)]);
    let recorder = Recorder::start(&mut command, file.clone());
    target.tell("go");
    stdout.next();
    let recording = recorder.stop();
    let kept = folder.join("kept.trec");
    fs::copy(&recording.file, &kept).expect("copy the recording");
    kept
}

#[test]
fn help_names_every_command() {
    let output = tracer_output(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).expect("help is UTF-8");
    for command in ["record", "report", "diff", "check", "list"] {
        assert!(help.contains(command), "{command}:\n{help}");
    }
}

#[test]
fn wrong_usage_is_status_2() {
    for wrong in [
        &["record"][..],
        &["record", "--"],
        &["census"],
        &["holders"],
        &["record", "-p", "x"],
        &["record", "-p", "1", "-d", "0s"],
        &["record", "-p", "1", "-d", "0"],
        &["record", "-p", "1", "-d", "-5s"],
        &["record", "-p", "1", "-d", "999999999999999999999y"],
        &["record", "-p", "1", "-d", "soon"],
        &["record", "-p", "1", "--no-such-flag"],
        &["report"],
        &["no-such-command"],
    ] {
        let output = tracer_output(wrong);
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(USAGE), "{wrong:?}: {stderr}");
        assert!(stderr.contains("error: ") && !stderr.contains("panicked"), "{wrong:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_report_needs_a_recording() {
    let folder = folder();
    let missing = folder.path().join("missing.trec");
    assert_refused(&tracer_output(&["report", text(&missing)]), FAILED, &["missing.trec"]);
    let empty = folder.path().join("empty.trec");
    fs::write(&empty, "").expect("write");
    assert_refused(&tracer_output(&["report", text(&empty)]), FAILED, &["empty.trec"]);
    let foreign = folder.path().join("foreign.trec");
    fs::write(&foreign, "a shopping list\n".repeat(1000)).expect("write");
    assert_refused(&tracer_output(&["report", text(&foreign)]), FAILED, &["foreign.trec"]);
    assert_refused(&tracer_output(&["report", text(folder.path())]), FAILED, &[]);
}

#[test]
fn a_damaged_recording_is_told_from_a_foreign_one() {
    let Some(_turn) = common::privileged() else { return };
    let folder = folder();
    let file = recorded(folder.path());
    let whole = fs::read(&file).expect("read the recording");
    let cut = folder.path().join("cut.trec");
    fs::write(&cut, &whole[..whole.len() / 2]).expect("write");
    assert_refused(&tracer_output(&["report", text(&cut)]), FAILED, &["cut.trec"]);
    let mut bytes = whole.clone();
    bytes.iter_mut().skip(4096).for_each(|byte| *byte = 0x5a);
    let garbled = folder.path().join("garbled.trec");
    fs::write(&garbled, bytes).expect("write");
    assert_refused(&tracer_output(&["report", text(&garbled)]), FAILED, &["garbled.trec"]);
}

#[test]
fn a_newer_recording_is_told_from_a_damaged_one() {
    let Some(_turn) = common::privileged() else { return };
    let folder = folder();
    let file = recorded(folder.path());
    let connection = rusqlite::Connection::open(&file).expect("a recording is an SQLite file");
    connection.pragma_update(None, "user_version", 4711).expect("write the version");
    drop(connection);
    assert_refused(&tracer_output(&["report", text(&file)]), FAILED, &["kept.trec", "newer", "4711"]);
}

#[test]
fn closed_stdout_is_no_error() {
    let Some(_turn) = common::privileged() else { return };
    let folder = folder();
    let file = recorded(folder.path());
    for format in ["text", "json", "folded", "flamegraph"] {
        let mut child = tracer()
            .args(["report", text(&file), "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run tracer");
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("read stderr");
        assert_eq!(child.wait().expect("wait").code(), Some(0), "{format}: {stderr}");
        assert!(!stderr.contains("error") && !stderr.contains("panicked"), "{format}: {stderr}");
    }
}

#[test]
fn no_such_process() {
    let Some(_turn) = common::privileged() else { return };
    let folder = folder();
    let file = folder.path().join("none.trec");
    let output = tracer_output(&["record", "-p", NO_SUCH_PID, "-o", text(&file)]);
    assert_refused(&output, FAILED, &[NO_SUCH_PID]);
    assert!(!file.exists(), "no recording of nothing");
    let output = tracer_output(&["check", "-p", NO_SUCH_PID]);
    assert_refused(&output, FAILED, &[NO_SUCH_PID]);
}

#[test]
fn not_root() {
    let Some(_turn) = common::privileged() else { return };
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("open the folder");
    // The build's folder need not be open to everyone.
    let binary = folder.path().join("tracer");
    fs::copy(env!("CARGO_BIN_EXE_tracer"), &binary).expect("copy tracer");
    let (target, _stdout) = started("malloc");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"])
        .arg(&binary)
        .args(["record", "-p", &target.pid().to_string(), "-o", text(&folder.path().join("x.trec"))])
        .output()
        .expect("run setpriv");
    assert_refused(&output, NOT_PERMITTED, &["sudo"]);
    assert!(!folder.path().join("x.trec").exists(), "no recording was begun");
}

#[test]
fn a_process_that_is_no_jvm() {
    let Some(_turn) = common::privileged() else { return };
    let (mut target, mut stdout) = started("malloc");
    let recorder = Recorder::attach(target.pid(), "cli-no-jvm", &[]);
    target.tell("go");
    stdout.next();
    let recording = recorder.stop();
    assert!(recording.stderr.contains("JVM"), "it is said that this is no JVM:\n{}", recording.stderr);
    assert!(recording.report()["target"]["jvm"].is_null());
    let mode = fs::metadata(&recording.file).expect("the recording").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "a recording is its owner's");
    assert!(recording.stdout.lines().count() > 1, "a table on stdout:\n{}", recording.stdout);
    let said = format!("{}{}", recording.stdout, recording.stderr);
    assert!(said.contains("tracer report"), "the next command is told:\n{said}");
}

#[test]
fn nothing_is_overwritten_without_force() {
    let Some(_turn) = common::privileged() else { return };
    let folder = folder();
    let file = folder.path().join("precious.trec");
    fs::write(&file, "precious").expect("write");
    let (target, _stdout) = started("malloc");
    let output = tracer_output(&["record", "-p", &target.pid().to_string(), "-d", "1s", "-o", text(&file)]);
    assert_refused(&output, FAILED, &["precious.trec", "--force"]);
    assert_eq!(fs::read_to_string(&file).expect("read"), "precious");
}

#[test]
fn an_unwritable_file_is_told_at_the_start() {
    let Some(_turn) = common::privileged() else { return };
    let (target, _stdout) = started("malloc");
    let pid = target.pid().to_string();
    for file in ["/nonexistent/folder/x.trec", "/proc/x.trec", "/"] {
        let output = tracer_output(&["record", "-p", &pid, "-d", "60s", "-o", file]);
        assert_refused(&output, FAILED, &[file.trim_end_matches("/x.trec")]);
    }
}

#[test]
fn a_full_disk_is_no_whole_recording() {
    let Some(_turn) = common::privileged() else { return };
    let (target, _stdout) = started("malloc");
    let folder = folder();
    // A file system of its own, which no other process sees, with room for the file's first page.
    let script =
        r#"mount -t tmpfs -o size=16k none "$1" && exec "$2" record -p "$3" -d 2s -o "$1/full.trec""#;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh", text(folder.path()), env!("CARGO_BIN_EXE_tracer")])
        .arg(target.pid().to_string())
        .output()
        .expect("run unshare");
    assert_refused(&output, FAILED, &["full.trec"]);
}

#[test]
fn the_time_is_up() {
    let Some(_turn) = common::privileged() else { return };
    let (mut target, _stdout) = started("malloc");
    let recording = Recorder::attach(target.pid(), "cli-duration", &["-d", "1s"]).wait();
    assert_eq!(recording.status.code(), Some(0), "{}", recording.stderr);
    let duration_ns = recording.report()["session"]["duration_ns"].as_u64().expect("a duration");
    assert!((1_000_000_000..5_000_000_000).contains(&duration_ns), "{duration_ns}");
    target.tell("go");
    target.tell("end");
    assert_eq!(target.wait().code(), Some(23));
}

#[test]
fn interrupted_twice_it_leaves_at_once() {
    let Some(_turn) = common::privileged() else { return };
    let (mut target, _stdout) = started("malloc");
    let recorder = Recorder::attach(target.pid(), "cli-twice", &[]);
    recorder.signal(Signal::INT);
    recorder.signal(Signal::INT);
    // It ends, whichever of the two it was busy with, and leaves no program; the target goes on.
    drop(recorder.wait());
    target.tell("go");
    target.tell("end");
    assert_eq!(target.wait().code(), Some(23));
}

/// A server that refuses the first request, with these words, and takes the second one.
fn refusing_server(words: &'static str) -> (u16, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let served = thread::spawn(move || {
        for status in ["400 Bad Request", "200 OK"] {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut head = BufReader::new(stream.try_clone().expect("a descriptor"));
            let mut length = 0;
            loop {
                let mut line = String::new();
                head.read_line(&mut line).expect("a head");
                if let Some(bytes) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = bytes.trim().parse().expect("a length");
                }
                if line == "\r\n" {
                    break;
                }
            }
            std::io::copy(&mut head.take(length), &mut std::io::sink()).expect("a body");
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{words}", words.len());
            stream.write_all(answer.as_bytes()).expect("answer");
        }
    });
    (port, served)
}

#[test]
fn a_recording_is_kept_whatever_the_server_says() {
    let Some(_turn) = common::privileged() else { return };
    let (target, _stdout) = started("malloc");
    let (port, served) = refusing_server("no such tenant");
    let url = format!("http://127.0.0.1:{port}");
    let recording = Recorder::attach(target.pid(), "cli-push", &["-d", "1s", "--push", &url]).wait();
    assert_eq!(recording.status.code(), Some(FAILED), "{}", recording.stderr);
    for words in ["answered 400: no such tenant", "help: "] {
        assert!(recording.stderr.contains(words), "{words}: {}", recording.stderr);
    }
    assert!(recording.stdout.contains("tracer report"), "the answer is given: {}", recording.stdout);
    let later = tracer_output(&["push", text(&recording.file), "--to", &url]);
    assert_eq!(later.status.code(), Some(0), "{}", stderr(&later));
    assert!(String::from_utf8_lossy(&later.stdout).starts_with("sent "), "{later:?}");
    served.join().expect("served");
}

#[test]
fn what_a_killed_recorder_wrote_is_readable() {
    let Some(_turn) = common::privileged() else { return };
    let (mut target, mut stdout) = started("malloc");
    let recorder = Recorder::attach(target.pid(), "cli-killed", &["-d", "60s"]);
    target.tell("go");
    stdout.next();
    // Written at every tick, and readable from then on.
    wait_for("allocations are written", || {
        let written = tracer::recording::read(recorder.file());
        written.is_ok_and(|written| written.totals.iter().any(|total| total.totals.allocated_count > 0))
    });
    recorder.signal(Signal::KILL);
    let recording = recorder.wait();
    let report = recording.report();
    assert_balanced(&report);
    assert!(Totals::of(&report["totals"]).allocated_count > 0, "what was written before the end is there");
    let text = recording.render(&[]);
    assert!(text.contains("Not finished"), "that the recorder did not finish is said:\n{text}");
    target.tell("end");
    assert_eq!(target.wait().code(), Some(23));
}

#[test]
fn the_target_may_end_first() {
    let Some(_turn) = common::privileged() else { return };
    let (mut target, mut stdout) = started("malloc");
    let recorder = Recorder::attach(target.pid(), "cli-exit", &[]);
    target.tell("go");
    let truth = serde_json::from_str(&stdout.next()).expect("the truth is JSON");
    target.tell("end");
    assert_eq!(target.wait().code(), Some(23));
    let recording = recorder.wait();
    assert_eq!(recording.status.code(), Some(0), "{}", recording.stderr);
    let report = recording.report();
    assert_eq!(Totals::of(&report["totals"]), Totals::of_truth(&truth), "what was recorded is kept");
    let census = &report["census"];
    assert!(census["end"].is_null() && census["unknown"]["end"].is_string(), "it was gone: {census}");
    assert!(recording.render(&[]).contains("exited"), "the report says so");
}

#[test]
fn a_command_is_started_and_its_status_passed_on() {
    let Some(_turn) = common::privileged() else { return };
    let folder = folder();
    let file = folder.path().join("command.trec");
    let script = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); done; exit 7";
    let output = tracer_output(&["record", "-o", text(&file), "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(file.exists());
    let missing = folder.path().join("no-such-program");
    let output = tracer_output(&["record", "--force", "-o", text(&file), "--", text(&missing)]);
    assert_refused(&output, USAGE, &["no-such-program"]);
}

/// Names of control groups as engines and Kubernetes have them.
#[test]
fn a_process_is_named_by_its_container_or_pod() {
    let Some(_turn) = common::privileged() else { return };
    let (target, _stdout) = started("malloc");
    let id = "0a1b2c3d".repeat(8);
    let pod = "kubepods-besteffort-pod6f1c2a7e_0b1d_4f57_9a53_aa11bb22cc33.slice";
    for (path, names) in [
        (format!("docker-{id}.scope"), &[&id[..], &id[..12]][..]),
        (
            format!("kubepods.slice/kubepods-besteffort.slice/{pod}/cri-containerd-{id}.scope"),
            &[&id[..12], "6f1c2a7e-0b1d-4f57-9a53-aa11bb22cc33", "6f1c2a7e"],
        ),
    ] {
        let Some(_group) = ControlGroup::with(target.pid(), &path) else { return };
        for name in names {
            let check = tracer_output(&["check", "-p", name]);
            assert_eq!(check.status.code(), Some(0), "{path}, {name}: {}", stderr(&check));
            let told = String::from_utf8_lossy(&check.stdout).into_owned();
            let process = format!("process {} (malloc), in container {}", target.pid(), &id[..12]);
            assert!(told.contains(&process), "{path}, {name}: {told}");
        }
    }
    let gone = tracer_output(&["check", "-p", &id]);
    assert_refused(&gone, USAGE, &["no process has this main class, container id or pod uid", "tracer list"]);
}

#[test]
fn check_and_list_attach_nothing() {
    let Some(_turn) = common::privileged() else { return };
    let (target, _stdout) = started("malloc");
    let check = tracer_output(&["check", "-p", &target.pid().to_string()]);
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
    assert!(!check.stdout.is_empty());
    let list = tracer_output(&["list", "--format", "json"]);
    assert_eq!(list.status.code(), Some(0), "{}", stderr(&list));
    let list = serde_json::from_slice::<serde_json::Value>(&list.stdout).expect("a list in JSON");
    common::schema::check("list", &list);
    let json = tracer_output(&["check", "-p", &target.pid().to_string(), "--format", "json"]);
    let json = serde_json::from_slice::<serde_json::Value>(&json.stdout).expect("a check in JSON");
    common::schema::check("check", &json);
    common::recorder::assert_text_untouched(target.pid());
}

#[test]
fn recordings_and_censuses_are_compared() {
    let Some(_turn) = common::privileged() else { return };
    let folder = folder();
    let file = recorded(folder.path());
    let output = tracer_output(&["diff", text(&file), text(&file)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Nothing differs."));
    let (mut target, mut stdout) = started("malloc");
    target.tell("go");
    stdout.next();
    let census = |name: &str| {
        let path = folder.path().join(name);
        let output = tracer_output(&["census", "-p", &target.pid().to_string(), "--format", "json"]);
        fs::write(&path, output.stdout).expect("write a census");
        path
    };
    let (base, new) = (census("base.json"), census("new.json"));
    let output = tracer_output(&["diff", text(&base), text(&new), "--format", "json"]);
    let diff: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&diff["schema"], &diff["kind"]), (&"tracer.diff/2".into(), &"censuses".into()));
    let in_use = &diff["census"]["facts"][0];
    assert!(in_use["bytes"]["base"].as_u64() > Some(0) && in_use["bytes"]["difference"] == 0, "{in_use}");
    assert_refused(&tracer_output(&["diff", text(&file), text(&new)]), USAGE, &["cannot be compared"]);
    let missing = folder.path().join("missing.json");
    assert_refused(&tracer_output(&["diff", text(&base), text(&missing)]), FAILED, &["missing.json"]);
}

/// Man pages are checked by mandoc, and completions by the shells, where they are installed.
#[test]
fn man_pages_and_completions_are_well_formed() {
    let folder = folder();
    assert!(tracer_output(&["manual", text(folder.path())]).status.success());
    let is_there = |program: &str| {
        let found = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
        assert!(
            found || std::env::var_os("TRACER_REQUIRE_ROOT").is_none(),
            "{program}: cargo xtask setup --tests"
        );
        found
    };
    if is_there("mandoc") {
        for page in fs::read_dir(folder.path()).expect("pages").flatten() {
            let output =
                Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(page.path()).output();
            let output = output.expect("mandoc");
            assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        }
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = tracer_output(&["completions", shell]);
        assert!(script.status.success() && !script.stdout.is_empty(), "{shell}");
        let file = folder.path().join(shell);
        fs::write(&file, &script.stdout).expect("write");
        if is_there(shell) {
            let output = Command::new(shell).arg("-n").arg(&file).output().expect(shell);
            assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
        }
    }
    // And each completes by it; zsh in a terminal alone.
    let bash = "source \"$1\"; COMP_WORDS=(tracer report --old); COMP_CWORD=2; _tracer tracer --old report; echo ${COMPREPLY[*]}";
    let fish = "source $argv[1]; complete -C 'tracer report --old' | string replace -r '\\t.*' ''";
    let zsh = "zmodload zsh/zpty; zpty shell zsh -f -i
        zpty -w shell \"autoload -U compinit; compinit -u -D; source $1; echo read''y\"; zpty -r shell seen '*ready*'
        zpty -w -n shell $'tracer report --old\\t'; zpty -r shell seen '*--older*' && echo --older; zpty -d shell";
    for (shell, script) in [("bash", bash), ("fish", fish), ("zsh", zsh)] {
        if is_there(shell) {
            let file = folder.path().join(shell);
            let arguments = match shell {
                "fish" => vec!["-c", script],
                _ => vec!["-c", script, shell],
            };
            let output =
                Command::new(shell).args(arguments).arg(&file).env("TERM", "dumb").output().expect(shell);
            let completed = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(completed.trim(), "--older", "{shell}: {output:?}");
        }
    }
}
