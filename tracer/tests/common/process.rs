//! Child processes whose lines are read with a time limit, and which never outlive their test.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use tracer::process::Pid;

use super::state::{all_threads_are, until_at_rest};
use super::wait::{LIMIT, wait_for};

/// A running child. Killed when dropped, if it still runs.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
}

/// The lines of one of a child's outputs, as they come.
pub(crate) struct Lines {
    name: String,
    receiver: Receiver<String>,
    /// Lines that were read so far.
    pub(crate) seen: Vec<String>,
}

impl Process {
    /// Starts a child with all its standard streams piped.
    pub(crate) fn start(command: &mut Command) -> (Process, Lines, Lines) {
        let name = format!("{:?}", command.get_program());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = Lines::read(format!("stdout of {name}"), child.stdout.take());
        let stderr = Lines::read(format!("stderr of {name}"), child.stderr.take());
        let stdin = child.stdin.take();
        (Process { name, child, stdin }, stdout, stderr)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// Writes one line to its standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        writeln!(stdin, "{line}").unwrap_or_else(|error| panic!("{} does not listen: {error}", self.name));
        stdin.flush().expect("flush a pipe");
    }

    /// Closes its standard input.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// Stops it, and waits until each of its threads is: they stop one by one, and one that is in the kernel ends
    /// what it does there first.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        wait_for(&format!("{} stops", self.name), || self.is_stopped());
    }

    /// Are all of its threads stopped?
    pub(crate) fn is_stopped(&self) -> bool {
        all_threads_are(self.pid(), 'T')
    }

    /// Waits until it rests, as [`until_at_rest`] does.
    pub(crate) fn until_at_rest(&self) {
        until_at_rest(self.pid());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end", self.name);
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may end by itself in between.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Lines {
    fn read(name: String, stream: Option<impl Read + Send + 'static>) -> Lines {
        let stream = stream.expect("the stream is piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Lines { name, receiver, seen: Vec::new() }
    }

    /// The next line.
    pub(crate) fn next(&mut self) -> String {
        match self.receiver.recv_timeout(LIMIT) {
            Ok(line) => {
                self.seen.push(line.clone());
                line
            }
            Err(error) => panic!("{}: {error}, after:\n{}", self.name, self.seen.join("\n")),
        }
    }

    /// The first line from here on that begins with `start`.
    pub(crate) fn until(&mut self, start: &str) -> String {
        loop {
            let line = self.next();
            if line.starts_with(start) {
                return line;
            }
        }
    }

    /// Text up to the stream's end, with what was read before.
    pub(crate) fn rest(&mut self) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return self.seen.join("\n"),
                Err(RecvTimeoutError::Timeout) => panic!("{} stays open", self.name),
            }
        }
    }
}

/// A number of `/proc/PID/status` that is told in kB, in bytes.
pub(crate) fn status_bytes(pid: Pid, field: &str) -> u64 {
    let status = std::fs::read_to_string(pid.path("status")).expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.split_ascii_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
}
