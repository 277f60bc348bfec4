//! `tracer record` as a person has it: in a terminal, stopped by keys and signals, with stderr that is gone. Needs
//! root.

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use common::fixture::c_program;
use common::process::{Lines, Process};
use common::recorder::{Recorder, tracer};
use common::wait::LIMIT;
use rustix::process::Signal;
use tracer::process::Pid;

/// A C program that waits to be told.
fn started() -> (Process, Lines) {
    let (target, mut stdout, _stderr) = Process::start(&mut Command::new(c_program("malloc")));
    stdout.until("started");
    (target, stdout)
}

/// A `tracer` whose controlling terminal is one of ours.
struct Terminal {
    child: Child,
    keys: File,
    bytes: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn start(command: &mut Command) -> Terminal {
        let size = libc::winsize { ws_row: 24, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut main, mut other) = (-1, -1);
        // SAFETY: it writes two descriptors, and reads the size; the name and the settings are left out.
        let opened = unsafe {
            libc::openpty(
                &raw mut main,
                &raw mut other,
                std::ptr::null_mut(),
                std::ptr::null(),
                &raw const size,
            )
        };
        assert_eq!(opened, 0, "a pseudo-terminal");
        // A program that another test starts meanwhile is not to hold the terminal open.
        for descriptor in [main, other] {
            // SAFETY: it sets a flag of a descriptor of ours.
            unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        // SAFETY: both were just opened, and are nobody else's.
        let (main, other) = unsafe { (File::from_raw_fd(main), OwnedFd::from_raw_fd(other)) };
        let another = || Stdio::from(other.try_clone().expect("a descriptor"));
        command.stdin(another()).stdout(another()).stderr(another());
        // SAFETY: both calls are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().expect("start tracer");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(other);
        let (sender, bytes) = mpsc::channel();
        let mut reader = main.try_clone().expect("a descriptor");
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It fails when the last process that has the terminal open is gone.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { child, keys: main, bytes, seen: String::new() }
    }

    fn until(&mut self, text: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("{error}: no {text:?} in {:?}", self.seen),
            }
        }
    }

    /// The first status line, after so many bytes, that ends at the edge of a terminal of 30 columns.
    fn until_narrow(&mut self, after: usize) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let rest = self.seen.get(after..).unwrap_or_default();
            // The first part may be the end of a line that was being written.
            let mut parts = rest.split('\r').skip(1).filter_map(|part| part.strip_suffix("\x1b[K"));
            let narrow = parts.find(|part| part.trim_start_matches("\x1b[J").chars().count() < 30);
            if let Some(narrow) = narrow {
                return narrow.trim_start_matches("\x1b[J").to_owned();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("{error}: no narrow line in {:?}", self.seen),
            }
        }
    }

    fn resize(&mut self, columns: u16) {
        let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the request reads a `winsize`, and that is what it is given.
        let told = unsafe { libc::ioctl(self.keys.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(told, 0, "resize the terminal");
    }

    fn press_ctrl_c(&mut self) {
        self.keys.write_all(b"\x03").expect("press a key");
    }

    /// The lines that are on the screen when it has ended, and its exit status.
    fn end(mut self) -> (String, Vec<String>, Option<i32>) {
        let status = self.child.wait().expect("wait").code();
        while let Ok(bytes) = self.bytes.recv_timeout(LIMIT) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        let lines = screen(&self.seen);
        (self.seen, lines, status)
    }
}

/// Lines that a terminal shows after these characters.
fn screen(text: &str) -> Vec<String> {
    let (mut lines, mut column) = (vec![Vec::new()], 0);
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        let line: &mut Vec<char> = lines.last_mut().expect("a line");
        match char {
            '\r' => column = 0,
            '\n' => {
                lines.push(Vec::new());
                column = 0;
            }
            '\x1b' => {
                let code: String =
                    std::iter::from_fn(|| rest.next_if(|char| !char.is_ascii_alphabetic())).collect();
                match (code.as_str(), rest.next()) {
                    // Nothing is below the last line.
                    ("[", Some('K' | 'J')) => line.truncate(column),
                    (_, Some('m')) => {}
                    other => panic!("{other:?} in {text:?}"),
                }
            }
            char => {
                line.resize(line.len().max(column + 1), ' ');
                line[column] = char;
                column += 1;
            }
        }
    }
    lines.into_iter().map(|line| line.into_iter().collect()).collect()
}

fn record(pid: Pid, file: &std::path::Path) -> Command {
    let mut command = tracer();
    command.args(["record", "-p", &pid.to_string(), "-o"]).arg(file).env("TERM", "xterm");
    command
}

#[test]
fn a_status_line_leaves_no_trace() {
    let Some(_turn) = common::privileged() else { return };
    let (target, _stdout) = started();
    let folder = tempfile::tempdir().expect("a folder");
    let mut terminal = Terminal::start(&mut record(target.pid(), &folder.path().join("a.trec")));
    terminal.until(" s left, ");
    // Narrower: the next line is no wider than that.
    terminal.resize(30);
    let wide = terminal.seen.len();
    let narrow = terminal.until_narrow(wide);
    terminal.press_ctrl_c();
    let (seen, lines, status) = terminal.end();
    assert_eq!(status, Some(0), "{seen}");
    assert!(narrow.starts_with("malloc (pid ") && narrow.chars().count() == 29, "{narrow:?}");
    assert!(seen.contains("attaching to malloc"), "{seen}");
    let ready = lines.iter().position(|line| line.starts_with("ready: ")).expect("a line of its own");
    assert!(lines[ready].starts_with("ready: recording malloc (pid "), "{lines:#?}");
    for line in &lines {
        assert!(!line.contains(" s left, ") && !line.contains("attaching"), "left: {line:?} in {lines:#?}");
    }
    assert_eq!(
        lines.last().map(String::as_str),
        Some(""),
        "the cursor is at the start of a line: {lines:#?}"
    );
    // The terminal has 60 columns, and no status line goes on in the next.
    let parts = seen.split(['\r', '\n']).filter(|part| part.contains(" s left, "));
    let mut status_lines = parts.map(|part| part.replace("\x1b[J", "").replace("\x1b[K", ""));
    assert!(status_lines.all(|line| line.chars().count() < 60), "{seen:?}");
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let Some(_turn) = common::privileged() else { return };
    let (target, _stdout) = started();
    let folder = tempfile::tempdir().expect("a folder");
    let mut terminal = Terminal::start(&mut record(target.pid(), &folder.path().join("a.trec")));
    terminal.until(" s left, ");
    terminal.press_ctrl_c();
    terminal.until("writing what is left");
    terminal.press_ctrl_c();
    let (seen, lines, status) = terminal.end();
    // Unless it was faster.
    if status != Some(0) {
        assert_eq!(status, Some(1), "{seen}");
        assert!(lines.iter().any(|line| line.contains("interrupted twice")) || lines.len() > 5, "{lines:#?}");
    }
    assert!(lines.iter().all(|line| !line.contains("what is left")), "{lines:#?}");
}

#[test]
fn a_dumb_terminal_and_a_quiet_recorder_have_no_status_line() {
    let Some(_turn) = common::privileged() else { return };
    let (target, _stdout) = started();
    let folder = tempfile::tempdir().expect("a folder");
    for (name, term, flags) in [("dumb", "dumb", &["-d", "2s"][..]), ("quiet", "xterm", &["-q", "-d", "2s"])]
    {
        let mut command = record(target.pid(), &folder.path().join(name));
        let (seen, lines, status) = Terminal::start(command.args(flags).env("TERM", term)).end();
        assert_eq!(status, Some(0), "{seen}");
        assert!(!seen.contains('\x1b') && !seen.contains("s left"), "{name}: {seen:?}");
        assert_eq!(lines.iter().filter(|line| !line.is_empty()).count() == 1, name == "quiet", "{lines:#?}");
    }
}

#[test]
fn the_answer_so_far_is_given_when_asked_for() {
    let Some(_turn) = common::privileged() else { return };
    let (mut target, mut stdout) = started();
    let mut recorder = Recorder::attach(target.pid(), "terminal-answer", &[]);
    target.tell("go");
    stdout.next();
    recorder.signal(Signal::USR1);
    recorder.stdout.until("Next:");
    let first = recorder.stdout.seen.len();
    // A terminal that is closed ends the recording in order.
    recorder.signal(Signal::HUP);
    let recording = recorder.wait();
    assert_eq!(recording.status.code(), Some(0), "{}", recording.stderr);
    assert!(recording.stdout.lines().count() > first, "and one at the end:\n{}", recording.stdout);
    assert_eq!(recording.report()["session"]["ended"], "interrupted");
    assert!(!recording.stderr.contains('\r'), "no status line in a pipe: {:?}", recording.stderr);
}

#[test]
fn a_full_stderr_ends_no_recording_and_sudo_s_user_has_the_file() {
    let Some(_turn) = common::privileged() else { return };
    let (target, _stdout) = started();
    let folder = tempfile::tempdir().expect("a folder");
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let pid = target.pid().to_string();
    let output = tracer()
        .args(["record", "-p", &pid, "-d", "1s"])
        .current_dir(folder.path())
        .env("SUDO_UID", "4711")
        .env("SUDO_GID", "4712")
        .stderr(full)
        .output()
        .expect("run tracer");
    assert_eq!(output.status.code(), Some(0));
    let files: Vec<_> = fs::read_dir(folder.path()).expect("the folder").flatten().collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let name = file.file_name().to_string_lossy().into_owned();
    assert!(name.starts_with(&format!("tracer-malloc-{pid}-20")) && name.ends_with(".trec"), "{name}");
    let metadata = file.metadata().expect("the recording");
    assert_eq!((metadata.uid(), metadata.gid()), (4711, 4712));
}

#[test]
fn a_command_runs_on_after_its_time_and_has_the_exit_status() {
    let Some(_turn) = common::privileged() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let start = |name: &str, script: &str| {
        let file = folder.path().join(name);
        let mut command = tracer();
        command.args(["record", "-d", "1s", "-o"]).arg(&file).args(["--", "sh", "-c", script]);
        Recorder::start(&mut command, file)
    };
    let mut recorder = start("status.trec", "sleep 4; exit 7");
    recorder.until("waiting: sh (pid ");
    let recording = recorder.wait();
    assert_eq!(recording.status.code(), Some(7), "{}", recording.stderr);
    assert_eq!(recording.report()["session"]["ended"], "duration");

    let mut recorder = start("alone.trec", "exec sleep 1000 </dev/null >/dev/null 2>&1");
    let line = recorder.until("waiting: sh (pid ");
    let pid = line.split(['(', ')']).nth(1).and_then(|told| told.strip_prefix("pid ")?.parse().ok());
    let pid = pid.and_then(rustix::process::Pid::from_raw).unwrap_or_else(|| panic!("no pid: {line}"));
    recorder.signal(Signal::INT);
    let recording = recorder.wait();
    assert_eq!(recording.status.code(), Some(0), "tracer ends alone: {}", recording.stderr);
    rustix::process::kill_process(pid, Signal::KILL).expect("the command runs on");
}

/// Ctrl-C reaches both with perf and strace, too.
#[test]
fn ctrl_c_reaches_a_command_while_it_is_recorded_and_not_when_it_runs_on() {
    let Some(_turn) = common::privileged() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let start = |name: &str, flags: &[&str], script: &str| {
        let mut command = tracer();
        command.args(["record", "-o"]).arg(folder.path().join(name)).args(flags).env("TERM", "xterm");
        command.args(["--", "sh", "-c", script]);
        // As from a shell: who leads the session cannot leave its group.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "trap : INT; \"$@\"; exit $?", "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        Terminal::start(shell.env("TERM", "xterm"))
    };
    let mut terminal = start("both.trec", &[], "trap 'exit 9' INT; echo up; while :; do sleep 0.1; done");
    terminal.until("ready: ");
    terminal.until("up");
    terminal.press_ctrl_c();
    let (seen, _, status) = terminal.end();
    assert_eq!(status, Some(9), "the command's own status: {seen}");

    let mut terminal = start("alone.trec", &["-d", "1s"], "echo pid $$; exec sleep 1000");
    terminal.until("Ctrl-C ends tracer alone");
    let pid = terminal.seen.split("pid ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let pid: i32 = terminal
        .seen
        .split("waiting: sh (pid ")
        .nth(1)
        .and_then(|rest| rest.split(')').next())
        .or(pid)
        .and_then(|pid| pid.parse().ok())
        .expect("a pid");
    terminal.press_ctrl_c();
    let status = terminal.child.wait().expect("wait").code();
    let command = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(command, Signal::KILL).expect("the command runs on");
    assert_eq!(status, Some(0), "{}", terminal.seen);
}
