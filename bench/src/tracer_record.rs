//! `tracer record`, the release build beside this program, on a running process.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::process::{self, Ended, cpu_time};
use crate::workload;

/// The program.
pub(crate) fn tracer() -> Result<PathBuf> {
    let here = std::env::current_exe().context("cannot find myself")?;
    Ok(here.with_file_name("tracer"))
}

/// Whether `tracer record` has this option.
pub(crate) fn knows(option: &str) -> bool {
    tracer().is_ok_and(|tracer| build_knows(&tracer, option))
}

fn build_knows(tracer: &Path, option: &str) -> bool {
    let help = Command::new(tracer).args(["record", "--help"]).output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains(option))
}

/// A recorder whose probes are attached.
pub(crate) struct Recorder {
    child: Child,
    file: PathBuf,
    /// Time from the start of the process to its line `ready:`.
    pub(crate) attach_time: Duration,
    /// CPU time that it took until then.
    pub(crate) attach_cpu_time: Duration,
    /// Output of the recorder but for its line, read so that it never waits for a reader.
    rest: Option<JoinHandle<String>>,
}

impl Recorder {
    /// Attaches to `pid`, with these options besides.
    pub(crate) fn attach_with(pid: u32, options: &[&str]) -> Result<Self> {
        Self::attach_build(&tracer()?, pid, options)
    }

    /// Attaches this build of `tracer` to `pid`.
    pub(crate) fn attach_build(tracer: &Path, pid: u32, options: &[&str]) -> Result<Self> {
        let file = workload::folder()?.join("bench.trec");
        let begun = Instant::now();
        // The cost of recording is measured here: it must not change meanwhile.
        let unlimited: &[&str] =
            if build_knows(tracer, "--max-overhead") { &["--max-overhead", "none"] } else { &[] };
        let mut child = Command::new(tracer)
            .args(["record", "-d", "1h", "--force", "-p", &pid.to_string(), "-o"])
            .arg(&file)
            .args(unlimited)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run tracer")?;
        let mut stderr = BufReader::new(child.stderr.take().context("a child without stderr")?);
        let mut said = String::new();
        loop {
            let mut line = String::new();
            if stderr.read_line(&mut line)? == 0 {
                bail!("tracer did not attach ({}): {said}", child.wait()?);
            }
            if line.starts_with("ready:") {
                break;
            }
            said += &line;
        }
        let attach_time = begun.elapsed();
        let attach_cpu_time = cpu_time(child.id())?;
        let rest = std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = stderr.read_to_string(&mut rest);
            rest
        });
        Ok(Self { child, file, attach_time, attach_cpu_time, rest: Some(rest) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the recording as Ctrl-C does.
    pub(crate) fn stop(mut self) -> Result<Recording> {
        if let Some(pid) = Pid::from_raw(self.pid() as i32) {
            kill_process(pid, Signal::INT).context("cannot stop tracer")?;
        }
        let Ended { status, time: stop_time, resident_peak_bytes, .. } = process::watch(&mut self.child)?;
        let said = self.rest.take().and_then(|rest| rest.join().ok()).unwrap_or_default();
        if !status.success() {
            bail!("tracer failed ({status}): {said}");
        }
        Ok(Recording { file: self.file.clone(), resident_peak_bytes, stop_time })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Nothing to do for one that ended; otherwise the kernel removes its probes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Files and output that a recorder left.
pub(crate) struct Recording {
    file: PathBuf,
    /// The most memory that the recorder ever held, to within its last milliseconds.
    pub(crate) resident_peak_bytes: u64,
    /// Time from the signal to the end of the process.
    pub(crate) stop_time: Duration,
}

impl Recording {
    /// `tracer report`, whatever was allocated.
    pub(crate) fn report(&self) -> Result<Value> {
        let output = Command::new(tracer()?)
            .args(["report", "--format", "json", "--view", "allocated"])
            .arg(&self.file)
            .output()
            .context("cannot run tracer")?;
        let mut report: Value = serde_json::from_slice(&output.stdout).context("the report is not JSON")?;
        // Sites have indices into a table of frames.
        let table = report["frames"].as_array().cloned().unwrap_or_default();
        for site in report["sites"].as_array_mut().into_iter().flatten() {
            for frame in site["frames"].as_array_mut().into_iter().flatten() {
                let at = frame.as_u64().and_then(|at| usize::try_from(at).ok());
                if let Some(known) = at.and_then(|at| table.get(at)) {
                    *frame = known.clone();
                }
            }
        }
        Ok(report)
    }

    /// Frames of the stack that allocated most often.
    pub(crate) fn hottest_frame_count(&self) -> Result<usize> {
        let report = self.report()?;
        let sites = report["sites"].as_array().context("a report without sites")?;
        let hottest = sites.iter().max_by_key(|site| site["allocated_count"].as_u64());
        Ok(hottest.and_then(|site| site["frames"].as_array()).map_or(0, Vec::len))
    }

    /// (call paths, losses of all kinds).
    pub(crate) fn sites_and_losses(&self) -> Result<(usize, u64)> {
        let report = self.report()?;
        let sites = report["sites"].as_array().map_or(0, Vec::len);
        let lost = report["trust"]["lost"].as_object().context("a report without losses")?;
        Ok((sites, lost.values().filter_map(Value::as_u64).sum()))
    }
}

/// Kernel memory of the process's BPF maps, by the kernel's account.
pub(crate) fn map_bytes(pid: u32) -> Result<u64> {
    Ok(descriptors(pid, "map_id:")?.map(|(_, text)| field(&text, "memlock:").unwrap_or(0)).sum())
}

/// Ids of the process's BPF maps.
pub(crate) fn map_ids(pid: u32) -> Result<Vec<u32>> {
    Ok(descriptors(pid, "map_id:")?.map(|(id, _)| id as u32).collect())
}

/// Ids of the process's BPF programs.
pub(crate) fn program_ids(pid: u32) -> Result<Vec<u32>> {
    let ids = descriptors(pid, "prog_id:")?;
    Ok(ids.filter_map(|(id, text)| field(&text, "prog_jited:").map(|_| id as u32)).collect())
}

/// The process's descriptors that have a line `key`, each id once: (id, /proc/PID/fdinfo/FD).
fn descriptors(pid: u32, key: &'static str) -> Result<impl Iterator<Item = (u64, String)>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(Path::new(&folder)).context("the recorder is gone")?;
    let mut seen = std::collections::HashSet::new();
    Ok(entries.flatten().filter_map(move |entry| {
        let text = fs::read_to_string(entry.path()).ok()?;
        let id = field(&text, key)?;
        // Links name their program too.
        let is_new = text.contains("link_id:") || seen.insert(id);
        is_new.then_some((id, text))
    }))
}

fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}
