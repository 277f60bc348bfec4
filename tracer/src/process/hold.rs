//! A process held still for a moment, with the registers of its threads: by ptrace, never by a signal.
//!
//! Takes a pid and the longest time; gives each thread's registers, and lets all threads go when it is dropped,
//! when the time is up, and when the tracer dies (the kernel detaches what a dead tracer held). One thread of its
//! own does every ptrace call, because only the thread that attached may. Parents, shells and supervisors of the
//! target see no stop. Reads no memory and changes nothing.
//! Source: ptrace(2); Linux, `kernel/ptrace.c`, `arch/x86/kernel/ptrace.c`.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Pid;
use super::Tid;
use super::urgent::{self, Urgent};
use crate::arch::register_sets;

/// Threads of one process.
const MAX_THREADS: usize = 1 << 16;
/// Control groups that freeze processes, version 1.
const FREEZER: &str = "/sys/fs/cgroup/freezer";
/// Time between two looks at a thread that does not stop yet.
const POLL: Duration = Duration::from_micros(50);

/// Reason why a process cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    #[error("process {pid} has ended")]
    Ended { pid: Pid },
    #[error("process {pid} is held by another debugger (process {tracer})")]
    Debugged { pid: Pid, tracer: u32 },
    #[error("not permitted to hold process {pid}")]
    NotPermitted { pid: Pid },
    #[error("threads of process {pid} did not stop in {} ms", limit.as_millis())]
    Late { pid: Pid, limit: Duration },
    #[error("process {pid} is frozen by its control group, and cannot be stopped before it is thawed")]
    Frozen { pid: Pid },
    #[error("process {pid} cannot be held: {source}")]
    Io { pid: Pid, source: io::Error },
}

/// A thread's registers, as words that may be references.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadRegisters {
    pub stack_pointer: u64,
    pub general: Vec<u64>,
    /// Vector registers, with whatever else is in their set.
    pub vector: Vec<u64>,
}

impl ThreadRegisters {
    /// Takes the set of general registers and that of vector registers.
    pub fn new(general: Vec<u64>, vector: &[u8]) -> Self {
        let vector = vector.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        Self { stack_pointer: register_sets::stack_pointer(&general).unwrap_or(0), general, vector }
    }
}

/// Account of a hold that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// Time from the first thread that was interrupted to the last that was let go.
    pub held: Duration,
    /// Whether it was let go when asked to; false if the time was up before, so what was read is of no one moment.
    pub in_time: bool,
}

/// A process that is held.
#[derive(Debug)]
pub struct Hold {
    threads: Vec<ThreadRegisters>,
    release: Option<SyncSender<()>>,
    worker: Option<JoinHandle<Released>>,
}

impl Hold {
    /// Holds every thread of process `pid`, for `limit` at most.
    ///
    /// # Errors
    /// See [`HoldError`]; nothing is held then.
    pub fn begin(pid: Pid, limit: Duration) -> Result<Self, HoldError> {
        let (release, released) = mpsc::sync_channel(1);
        let (tell, told) = mpsc::sync_channel(1);
        let worker = thread::Builder::new()
            .name("hold".to_owned())
            .spawn(move || hold(pid, limit, &tell, &released))
            .map_err(|source| HoldError::Io { pid, source })?;
        let gone = || HoldError::Io { pid, source: io::Error::other("the thread that holds it has ended") };
        let threads = told.recv().unwrap_or_else(|_| Err(gone()))?;
        Ok(Self { threads, release: Some(release), worker: Some(worker) })
    }

    /// Registers of all threads.
    pub fn threads(&self) -> &[ThreadRegisters] {
        &self.threads
    }

    /// Lets it go.
    pub fn release(mut self) -> Released {
        self.end()
    }

    fn end(&mut self) -> Released {
        drop(self.release.take());
        let ended = self.worker.take().and_then(|worker| worker.join().ok());
        ended.unwrap_or(Released { held: Duration::ZERO, in_time: false })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.end();
    }
}

/// The life of the thread that holds.
fn hold(
    pid: Pid,
    limit: Duration,
    tell: &SyncSender<Result<Vec<ThreadRegisters>, HoldError>>,
    release: &Receiver<()>,
) -> Released {
    let _urgent = Urgent::begin(urgent::KEEPS_TIME);
    let begin = Instant::now();
    let mut stopped = Stopped { pid, threads: Vec::new() };
    let registers = stopped.stop_all(begin + limit, limit);
    let was_stopped = registers.is_ok();
    let heard = tell.send(registers).is_ok();
    let mut in_time = was_stopped && heard;
    if in_time {
        let left = limit.saturating_sub(begin.elapsed());
        // The other end is dropped to let go.
        in_time = release.recv_timeout(left) != Err(RecvTimeoutError::Timeout);
    }
    drop(stopped);
    // Only what came to an end within the limit counts.
    Released { held: begin.elapsed(), in_time }
}

/// Threads that were seized; all are let go when this is dropped.
struct Stopped {
    pid: Pid,
    /// Threads with the signal that each was about to receive, which it gets when it is let go.
    threads: Vec<(Tid, usize)>,
}

impl Stopped {
    fn stop_all(&mut self, deadline: Instant, limit: Duration) -> Result<Vec<ThreadRegisters>, HoldError> {
        let pid = self.pid;
        let mut seen = HashSet::new();
        // A thread that still runs may start another: until a listing shows nothing new.
        loop {
            let tids = pid.threads().map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => HoldError::Ended { pid },
                _ => HoldError::Io { pid, source },
            })?;
            let new: Vec<Tid> = tids.filter(|tid| seen.insert(*tid)).collect();
            if new.is_empty() {
                break;
            }
            if seen.len() > MAX_THREADS {
                return Err(HoldError::Io { pid, source: io::Error::other("too many threads") });
            }
            let mut interrupted = Vec::with_capacity(new.len());
            for tid in new {
                match seize(tid) {
                    Ok(()) => {
                        self.threads.push((tid, 0));
                        interrupted.push(self.threads.len() - 1);
                    }
                    // It has ended, or is a leader that waits for its threads to end.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) || has_ended(pid, tid) => {}
                    Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                        return Err(match tracer_of(pid, tid) {
                            0 => HoldError::NotPermitted { pid },
                            tracer => HoldError::Debugged { pid, tracer },
                        });
                    }
                    Err(source) => return Err(HoldError::Io { pid, source }),
                }
            }
            for index in interrupted {
                let Some((tid, signal)) = self.threads.get_mut(index) else { continue };
                *signal = wait_stopped(*tid, deadline).map_err(|late| match late {
                    None if is_frozen(pid) => HoldError::Frozen { pid },
                    None => HoldError::Late { pid, limit },
                    Some(source) => HoldError::Io { pid, source },
                })?;
            }
        }
        let registers = self.threads.iter().filter_map(|(tid, _)| registers(*tid));
        let registers: Vec<_> = registers.collect();
        if registers.is_empty() { Err(HoldError::Ended { pid }) } else { Ok(registers) }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for (tid, signal) in &self.threads {
            // It may have been killed meanwhile. One that has not stopped is let go by the end of this thread.
            let _ = ptrace(libc::PTRACE_DETACH, *tid, 0, *signal);
        }
    }
}

fn seize(tid: Tid) -> io::Result<()> {
    ptrace(libc::PTRACE_SEIZE, tid, 0, 0)?;
    match ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0) {
        // It ends: the wait will tell.
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Waits until a seized thread has stopped; gives the signal that it was about to receive, or 0.
///
/// # Errors
/// `None` if it was not done before the deadline.
fn wait_stopped(tid: Tid, deadline: Instant) -> Result<usize, Option<io::Error>> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is written to and outlives the call.
        let waited = unsafe { libc::waitpid(tid.raw(), &raw mut status, libc::__WALL | libc::WNOHANG) };
        match waited {
            0 if Instant::now() >= deadline => return Err(None),
            0 => thread::sleep(POLL),
            -1 => {
                let error = io::Error::last_os_error();
                return match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::ECHILD) => Ok(0),
                    _ => Err(Some(error)),
                };
            }
            _ if libc::WIFSTOPPED(status) => {
                // A stop of ptrace's own has an event above the signal; else a signal is about to be delivered.
                let is_event = status >> 16 != 0;
                let signal = libc::WSTOPSIG(status);
                return Ok(if is_event { 0 } else { usize::try_from(signal).unwrap_or(0) });
            }
            // It has ended.
            _ => return Ok(0),
        }
    }
}

fn registers(tid: Tid) -> Option<ThreadRegisters> {
    let mut general = vec![0_u64; register_sets::GENERAL_WORDS];
    let length = size_of_val(general.as_slice());
    let bytes = register_set(tid, register_sets::GENERAL, general.as_mut_ptr().cast(), length).ok()?;
    general.truncate(bytes / 8);
    let mut vector = vec![0_u8; register_sets::MAX_VECTOR_BYTES];
    let length = vector.len();
    let bytes = register_set(tid, register_sets::VECTOR, vector.as_mut_ptr(), length).unwrap_or(0);
    Some(ThreadRegisters::new(general, vector.get(..bytes).unwrap_or_default()))
}

/// Fills the memory at `buffer` with a set of registers; gives how many bytes were written.
fn register_set(tid: Tid, set: u32, buffer: *mut u8, bytes: usize) -> io::Result<usize> {
    let mut vector = libc::iovec { iov_base: buffer.cast(), iov_len: bytes };
    // SAFETY: the kernel writes at most `bytes` to `buffer`, which the caller owns, and the length to `vector`.
    let done = unsafe { libc::ptrace(libc::PTRACE_GETREGSET, tid.raw(), set, &raw mut vector) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(vector.iov_len.min(bytes)) }
}

fn ptrace(request: libc::c_uint, tid: Tid, address: usize, data: usize) -> io::Result<()> {
    // SAFETY: these requests read and write no memory of ours.
    let done = unsafe { libc::ptrace(request, tid.raw(), address, data) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn has_ended(pid: Pid, tid: Tid) -> bool {
    let stat = fs::read_to_string(pid.thread_path(tid, "stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_none_or(|state| matches!(state, 'Z' | 'X' | 'x'))
}

/// Is the process frozen by a control group of version 1, as far as that is mounted where it usually is? (Version 2 lets
/// a frozen process be stopped.)
fn is_frozen(pid: Pid) -> bool {
    let groups = fs::read_to_string(pid.path("cgroup")).unwrap_or_default();
    let path = groups.lines().find_map(|line| line.split_once(":freezer:/")).map(|(_, path)| path);
    let state = path.map(|path| Path::new(FREEZER).join(path).join("freezer.state"));
    state.and_then(|file| fs::read_to_string(file).ok()).is_some_and(|state| !state.starts_with("THAWED"))
}

/// Process that traces this thread; 0 if none does.
fn tracer_of(pid: Pid, tid: Tid) -> u32 {
    let status = fs::read_to_string(pid.thread_path(tid, "status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn pid(child: &std::process::Child) -> Pid {
        Pid(child.id())
    }

    /// The state of a process: `S`, `t` while traced and stopped.
    fn state(pid: Pid) -> char {
        let stat = fs::read_to_string(pid.path("stat")).expect("a process");
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).expect("a state")
    }

    fn sleeper() -> std::process::Child {
        let child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep");
        while state(pid(&child)) != 'S' {
            thread::yield_now();
        }
        child
    }

    #[test]
    fn a_process_is_held_and_let_go() {
        let mut child = sleeper();
        let hold = Hold::begin(pid(&child), Duration::from_secs(10)).expect("ours to hold");
        assert_eq!(state(pid(&child)), 't');
        let [thread] = hold.threads() else { panic!("one thread") };
        assert_eq!(thread.general.len(), register_sets::GENERAL_WORDS);
        assert!(thread.stack_pointer > 1 << 46 && !thread.vector.is_empty());
        let second = Hold::begin(pid(&child), Duration::from_secs(10));
        assert!(matches!(second, Err(HoldError::Debugged { .. })), "{second:?}");
        assert!(hold.release().in_time);
        assert_ne!(state(pid(&child)), 't');
        child.kill().expect("killed");
        child.wait().expect("waited");
    }

    #[test]
    fn the_time_is_kept_whatever_the_holder_does() {
        let mut child = sleeper();
        let hold = Hold::begin(pid(&child), Duration::from_millis(20)).expect("ours to hold");
        let begin = Instant::now();
        while state(pid(&child)) == 't' {
            assert!(begin.elapsed() < Duration::from_secs(10), "it is never let go");
            thread::yield_now();
        }
        let released = hold.release();
        assert!(!released.in_time && released.held >= Duration::from_millis(20), "{released:?}");
        child.kill().expect("killed");
        child.wait().expect("waited");
    }

    #[test]
    fn a_process_that_dies_while_held() {
        let mut child = sleeper();
        let hold = Hold::begin(pid(&child), Duration::from_secs(10)).expect("ours to hold");
        child.kill().expect("killed");
        drop(hold);
        child.wait().expect("waited");
        assert!(matches!(Hold::begin(pid(&child), Duration::from_secs(1)), Err(HoldError::Ended { .. })));
    }

    /// Needs version 1 of the freezer: that of version 2 lets a frozen process be stopped.
    #[test]
    fn a_frozen_process_is_said_to_be() {
        let group = Path::new(FREEZER).join(format!("tracer-{}", Pid::own()));
        if fs::create_dir(&group).is_err() {
            eprintln!("skipped: needs root and version 1 of the freezer");
            return;
        }
        let mut child = sleeper();
        let write = |file: &str, text: &str| fs::write(group.join(file), text).expect("a control group");
        write("cgroup.procs", &child.id().to_string());
        write("freezer.state", "FROZEN");
        while !fs::read_to_string(group.join("freezer.state")).expect("a state").starts_with("FROZEN") {
            thread::yield_now();
        }
        let held = Hold::begin(pid(&child), Duration::from_millis(200)).map(|_| ());
        write("freezer.state", "THAWED");
        child.kill().expect("killed");
        child.wait().expect("waited");
        fs::remove_dir(&group).expect("an empty group");
        assert!(matches!(held, Err(HoldError::Frozen { .. })), "{held:?}");
    }
}
