//! Recorder and target killed at random moments, under load: no target is harmed, no breakpoint stays, and every file
//! opens. `cargo xtask kills` runs it; it needs root and an otherwise quiet machine.

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::fixture::c_program;
use common::process::Process;
use common::random::Random;
use common::recorder::{changed_text, tracer, tracer_output};
use common::wait::LIMIT;
use rustix::process::Signal;

/// Time after a kill in which all breakpoints must be gone. It is the kernel that takes them out, when each CPU has
/// been through its scheduler a few times: with more load than CPUs that can take longer, which is told.
const SOON: Duration = Duration::from_secs(5);
/// The longest time from a recorder's start to the kill: to attach takes a second or two of it, more under load.
const MOST_MS: u64 = 8_000;

/// Process that is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Recorder,
    Target,
    Both,
}

/// A program that does nothing but run.
struct Load(Vec<Child>);

impl Load {
    fn start(count: u64) -> Self {
        let busy = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a load");
        Self((0..count).map(|_| busy()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
#[ignore = "takes half an hour: cargo xtask kills"]
fn kills_at_any_moment_harm_nobody() {
    let Some(_turn) = common::privileged() else { return };
    let (count, seed) = (number("TRACER_KILLS", 300), number("TRACER_KILLS_SEED", 1));
    let load = number("TRACER_KILLS_LOAD", 2);
    let _load = Load::start(load);
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = Random::new(seed);
    let (mut cleaned, mut opened, mut without_file) = (Vec::new(), 0, 0);
    for round in 0..count {
        let victim = [Victim::Recorder, Victim::Target, Victim::Both][(random.next() % 3) as usize];
        let after = Duration::from_millis(random.next() % MOST_MS);
        let what = format!("round {round}: {victim:?} after {after:?}");
        let file = folder.path().join(format!("{round}.trec"));
        cleaned.extend(kill(victim, after, &file, &what));
        match opens(&file, &what) {
            true => opened += 1,
            false => without_file += 1,
        }
        for entry in fs::read_dir(folder.path()).expect("the folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // A file that was not whole yet: the next recorder removes it.
            let is_unfinished = victim != Victim::Target && name.starts_with(&format!(".{round}.trec."));
            assert!(is_unfinished || name.starts_with(&format!("{round}.trec")), "{what}: {name} is left");
            fs::remove_file(entry.path()).expect("removed");
        }
    }
    cleaned.sort();
    let late = cleaned.iter().filter(|took| **took > SOON).count();
    let median = cleaned.get(cleaned.len() / 2);
    println!(
        "{count} kills: {opened} files open, {without_file} were not made yet; {} targets ran on, their text as in the file after {median:?}, \
         at most {:?}, {late} after more than {SOON:?}",
        cleaned.len(),
        cleaned.last()
    );
    assert!(late == 0 || load > 0, "without load, too");
}

/// Kills the victim while it records, or attaches. Gives how long breakpoints stayed in the target's text, if it ran
/// on.
fn kill(victim: Victim, after: Duration, file: &Path, what: &str) -> Option<Duration> {
    let (mut target, mut lines, _errors) = Process::start(&mut Command::new(c_program("kills")));
    lines.until("started");
    let errors = file.with_extension("trec.stderr");
    let mut recorder = tracer()
        .args(["record", "-d", "10m", "-p", &target.pid().to_string(), "-o"])
        .arg(file)
        .stdout(Stdio::null())
        .stderr(File::create(&errors).expect("a file"))
        .spawn()
        .expect("a recorder");
    thread::sleep(after);
    if victim != Victim::Target {
        recorder.kill().expect("the recorder is there");
    }
    let killed = Instant::now();
    if victim != Victim::Recorder {
        target.signal(Signal::KILL);
        target.wait();
    }
    // A recorder whose target ended closes its recording, or says why there is none.
    let status = wait(&mut recorder, what);
    let said = fs::read_to_string(&errors).unwrap_or_default();
    if victim == Victim::Target {
        let is_told = status.success() || (status.code() == Some(1) && said.contains("error: "));
        assert!(is_told && !said.contains("panicked"), "{what}: {status}: {said}");
    }
    if victim != Victim::Recorder {
        return None;
    }
    while let Some(place) = changed_text(target.pid()) {
        assert!(killed.elapsed() < LIMIT, "{what}: a breakpoint stays at {place}");
        thread::sleep(Duration::from_millis(5));
    }
    let took = killed.elapsed();
    println!("{what}: text as in the file after {took:?}");
    target.close_stdin();
    assert_eq!(lines.next(), "right", "{what}");
    assert!(target.wait().success(), "{what}");
    Some(took)
}

fn wait(child: &mut Child, what: &str) -> std::process::ExitStatus {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return status;
        }
        assert!(Instant::now() < deadline, "{what}: the recorder does not end");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Is there a file? Then it is reported, or says that nothing was recorded yet.
fn opens(file: &Path, what: &str) -> bool {
    if !file.exists() {
        return false;
    }
    let report = tracer_output(&["report", file.to_str().expect("a path")]);
    let said = String::from_utf8_lossy(&report.stderr).into_owned();
    assert!(
        report.status.success()
            || (report.status.code() == Some(1) && said.contains("nothing was recorded yet")),
        "{what}: {said}"
    );
    true
}
