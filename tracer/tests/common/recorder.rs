//! `tracer record` on a running target, and what it left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::fixture::target_folder;
use super::process::{Lines, Process};
use super::report::with_frames;
use super::wait::LIMIT;
use tracer::process::Pid;

/// The `tracer` of this build, or the one that `TRACER_BINARY` names.
pub(crate) fn tracer() -> Command {
    let other = std::env::var_os("TRACER_BINARY");
    let mut command = Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_tracer").into()));
    command.env("NO_COLOR", "1");
    command
}

/// Runs `tracer` to its end.
pub(crate) fn tracer_output(arguments: &[&str]) -> Output {
    tracer().args(arguments).output().expect("run tracer")
}

/// The time for which a recorder is to record. `None` means to the end of its program.
fn duration(recorder: &Command) -> Option<Duration> {
    let mut arguments = recorder.get_args().take_while(|argument| *argument != "--");
    arguments.find(|argument| *argument == "-d")?;
    let text = arguments.next()?.to_str().expect("UTF-8");
    Some(humantime::parse_duration(text).expect("a duration"))
}

/// Path of the recording of this name.
fn recording_file(name: &str) -> PathBuf {
    let folder = target_folder().join("test-recordings");
    fs::create_dir_all(&folder).expect("make the folder of recordings");
    folder.join(format!("{name}.trec"))
}

/// A recorder whose probes are attached.
pub(crate) struct Recorder {
    pub(crate) process: Process,
    pub(crate) stdout: Lines,
    stderr: Lines,
    file: PathBuf,
    /// Ids of the BPF programs that it loaded.
    programs: Vec<u32>,
}

/// Files and output that a recorder left.
pub(crate) struct Recording {
    pub(crate) file: PathBuf,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Recorder {
    /// Starts a recorder on `pid` and returns when it is ready. `name` names the recording.
    pub(crate) fn attach(pid: Pid, name: &str, arguments: &[&str]) -> Recorder {
        let file = recording_file(name);
        let mut command = tracer();
        command.args(["record", "-p", &pid.to_string(), "--force", "-o"]).arg(&file);
        if !arguments.contains(&"-d") {
            // Longer than any test waits.
            command.args(["-d", "10m"]);
        }
        if !arguments.contains(&"--max-overhead") {
            // Programs here do nothing but allocate, and their totals are to be exact.
            command.args(["--max-overhead", "none"]);
        }
        command.args(arguments);
        Recorder::start(&mut command, file)
    }

    /// Starts a recorder that starts `command` itself, and returns when that runs. `name` names the recording.
    pub(crate) fn launch(name: &str, command: &mut Command) -> Recorder {
        let file = recording_file(name);
        let mut recorder = tracer();
        recorder.args(["record", "--max-overhead", "none", "-d", "10m", "--force", "-o"]).arg(&file);
        recorder.arg("--").arg(command.get_program()).args(command.get_args());
        Recorder::start(&mut recorder, file)
    }

    /// The process id of the program that it started.
    pub(crate) fn launched_pid(&self) -> Pid {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid()));
        let children = children.expect("the recorder's children");
        let guard = self.guard().to_string();
        let mut others = children.split_ascii_whitespace().filter(|child| *child != guard);
        others.next().and_then(|child| child.parse().ok()).unwrap_or_else(|| panic!("no child: {children:?}"))
    }

    /// Starts the recorder that `command` describes, which writes to `file`.
    pub(crate) fn start(command: &mut Command, file: PathBuf) -> Recorder {
        let (process, stdout, mut stderr) = Process::start(command);
        stderr.until("ready:");
        let programs = program_ids(process.pid());
        // One that ends by itself meanwhile has no programs any more.
        let may_be_over = duration(command).is_some_and(|duration| duration < LIMIT);
        assert!(may_be_over || !programs.is_empty(), "a ready recorder has loaded BPF programs");
        Recorder { process, stdout, stderr, file, programs }
    }

    /// Waits for a line that begins with `start`.
    pub(crate) fn until(&mut self, start: &str) -> String {
        self.stderr.until(start)
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// The recording, which is being written.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The kinds of its links between programs and what runs them. Its guard alone has them.
    pub(crate) fn links(&self) -> Vec<String> {
        assert_eq!(
            fdinfo(self.pid(), "link_type:"),
            [] as [String; 0],
            "links that the guard does not own alone"
        );
        fdinfo(self.guard(), "link_type:")
    }

    /// The process that owns its links.
    pub(crate) fn guard(&self) -> Pid {
        let parent = format!("PPid:\t{}\n", self.pid());
        let is_guard = |pid: &Pid| {
            fs::read_to_string(format!("/proc/{pid}/status"))
                .is_ok_and(|status| status.starts_with("Name:\ttracer-guard\n") && status.contains(&parent))
        };
        let processes = fs::read_dir("/proc").expect("list the processes").flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(is_guard).expect("a guard of the recorder")
    }

    /// Ends the recording as Ctrl-C does.
    pub(crate) fn stop(self) -> Recording {
        self.signal(Signal::INT);
        self.wait()
    }

    /// Waits until the recorder ends; then none of its BPF programs may be left.
    pub(crate) fn wait(mut self) -> Recording {
        let status = self.process.wait();
        let (stdout, stderr) = (self.stdout.rest(), self.stderr.rest());
        assert_programs_gone(&self.programs);
        Recording { file: self.file, status, stdout, stderr }
    }
}

impl Recording {
    /// The JSON report.
    pub(crate) fn report(&self) -> Value {
        let text = self.render(&["--format", "json"]);
        let report = serde_json::from_str(&text);
        with_frames(report.unwrap_or_else(|error| panic!("the report is not JSON: {error}\n{text}")))
    }

    /// Output of `tracer report` for it.
    pub(crate) fn render(&self, arguments: &[&str]) -> String {
        let output = tracer().arg("report").arg(&self.file).args(arguments).output().expect("run tracer");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tracer report {arguments:?} failed:\n{stderr}");
        String::from_utf8(output.stdout).expect("a report is UTF-8")
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the recording is kept: {}", self.file.display());
            eprintln!("the recorder said ({}):\n{}", self.status, self.stderr);
        } else {
            // It may not exist: not every recorder gets that far.
            let _ = fs::remove_file(&self.file);
        }
    }
}

/// The BPF programs that a process has open.
fn program_ids(pid: Pid) -> Vec<u32> {
    let mut ids: Vec<u32> = fdinfo(pid, "prog_id:").iter().filter_map(|id| id.parse().ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Values that the kernel tells, after `key`, of the files that a process has open.
fn fdinfo(pid: Pid, key: &str) -> Vec<String> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let about = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let values = |about: String| {
        let values = about.lines().filter_map(|line| line.strip_prefix(key));
        values.map(|value| value.trim().to_owned()).collect::<Vec<_>>()
    };
    about.flat_map(values).collect()
}

/// The kernel frees a program some time after its last user is gone.
fn assert_programs_gone(programs: &[u32]) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let loaded = aya::programs::loaded_programs().flatten().map(|program| program.id());
        let left: Vec<_> = loaded.filter(|id| programs.contains(id)).collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "BPF programs are left on the system: {left:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Every instruction of the target's libraries that can hold probes is as in its file: no breakpoint is left.
pub(crate) fn assert_text_untouched(pid: Pid) {
    assert_eq!(changed_text(pid), None, "a library of process {pid} is changed in its memory");
}

/// The first instruction of a process's libraries that can hold probes that is not as in its file: where.
pub(crate) fn changed_text(pid: Pid) -> Option<String> {
    use std::os::unix::fs::FileExt;
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("open the target's memory");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("read the target's mappings");
    let mut compared = 0;
    for line in maps.lines() {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [range, permissions, offset, _, _, path] = fields[..] else { continue };
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        if !permissions.contains('x')
            || !["libc.", "libjvm.", "libz."].iter().any(|start| name.starts_with(start))
        {
            continue;
        }
        let hex = |text: &str| u64::from_str_radix(text, 16).expect("maps are in hex");
        let (start, end) = range.split_once('-').map(|(start, end)| (hex(start), hex(end))).expect("a range");
        let length = usize::try_from(end - start).expect("a length");
        let (mut live, mut file) = (vec![0; length], vec![0; length]);
        memory.read_exact_at(&mut live, start).expect("read the target's text");
        let library = fs::File::open(path).expect("open the library");
        // The last page reaches past the end of the file.
        let in_file = library.read_at(&mut file, hex(offset)).expect("read the library");
        let differs = live.iter().zip(&file).take(in_file).position(|(live, file)| live != file);
        if let Some(at) = differs {
            return Some(format!("{path}+{:#x}", hex(offset) + at as u64));
        }
        compared += 1;
    }
    assert!(compared > 0, "the process maps no library that can hold probes");
    None
}
