//! The recorder: attaches to a process, or starts a program, and keeps what is seen of it in a file.
//!
//! Takes typed [`Options`]; gives [`Notice`]s while it works, and [`Finished`] at its end. It prints nothing, ends no
//! process, installs no signal handler and knows no flag: all of that is its caller's. Everything that it learns is in
//! the file within a second, so that a recorder that is killed leaves a recording.

mod attach;
mod budget_steps;
mod capture;
mod census;
mod confine;
mod control;
mod error;
mod event_loop;
mod expected;
mod holders;
mod inflate_windows;
mod intake;
mod jvm;
mod launch;
mod lifecycle;
mod live_resident;
mod live_summary;
mod memory;
mod memory_sampler;
mod memory_snapshot;
mod meter;
mod notice;
mod options;
mod pending;
mod progress;
mod quality;
mod session_rows;
mod stacks;
mod stopped;
mod symbolizer;
mod totals;
mod unwinder;

use std::{
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::{PidfdFlags, pidfd_open};

use self::{capture::Capture, census::Censuses, launch::Launched, symbolizer::SymbolizerThread};
pub use self::{
    confine::allowed_calls,
    control::{Control, Controller, control},
    error::{ErrorKind, RecordError},
    notice::{EndReason, Notice, NoticedTarget, Notify},
    options::{Looks, Memo, Options, OutputFile, Subject},
    progress::{Numbers, Progress},
};
use crate::{
    probe::{
        btf::Btf,
        kernel::{Features, Status},
        plan,
        probes::Detaching,
    },
    process::{self, Pid, Target, background, clock::monotonic_ns},
    recording::{Header, JvmInfo, SessionInfo, TargetInfo, Writer},
};

/// A recording under way.
pub struct Recorder {
    // Before `launched`: the probes are gone when the program is let go.
    capture: Capture,
    notify: Notify,
    file: PathBuf,
    duration: Option<Duration>,
    holders_pause: Option<Duration>,
    started_ns: u64,
    exit: OwnedFd,
    launched: Option<Launched>,
    /// The notice that [`Self::run`] begins with: what the caller does between the two is done when it is given.
    ready: Notice,
}

/// A recording that is closed.
pub struct Finished {
    /// The recording.
    pub file: PathBuf,
    /// Events, stacks and allocations that were lost.
    pub lost_count: u64,
    pub reason: EndReason,
    // Before `launched`: it stands still at its end until this is dropped.
    detaching: Option<Detaching>,
    launched: Option<Launched>,
}

impl Recorder {
    /// Attaches to the target, and begins to record. The threads that this starts end with the recorder. To be called
    /// in the thread that calls [`Self::run`]: a program that the recorder starts is bound to it.
    ///
    /// # Errors
    /// The host, the target or the file is not fit for it. A program that was started has ended then.
    pub fn start(options: &Options, mut notify: Notify) -> Result<Self, RecordError> {
        let mut launched = match &options.subject {
            Subject::Command(command) => Some(Launched::start(command)?),
            Subject::Process(_) => None,
        };
        let pid = match (&options.subject, &launched) {
            (Subject::Process(pid), _) => *pid,
            (_, launched) => launched.as_ref().map(Launched::pid).unwrap_or_default(),
        };
        // Kept until all is attached: several ask for them.
        let _kernel_types = Btf::of_kernel();
        let features = Features::read();
        require_host(&features)?;
        let target = process::inspect(pid)?;
        let memory = plan::memory_requirement(&target);
        if memory.status == Status::Missing {
            return Err(memory.into());
        }
        if let Some(lacking) = plan::seccomp_requirement(&target, &features) {
            return Err(lacking.into());
        }
        let file = options.output.path_for(&target, SystemTime::now());
        notify(Notice::Attaching { target: noticed(&target), file: file.clone() });
        let begun = Instant::now();
        let writer = Writer::create(&file, options.output.replace, &header(&target, options))?;
        // Taken while the probes are attached: memory that is there before the session is not what its first moments
        // add.
        let censuses = Censuses::start(pid, options.looks.takes_censuses, launched.is_some());
        let attached = attach::attach(&target, options, launched.is_some())
            .map_err(|error| reason_of_target(&target).unwrap_or(error))?;
        let symbolizer = SymbolizerThread::start(pid, target.modules.clone())
            .map_err(|error| RecordError::failed(format!("cannot start a thread: {error}")))?;
        let exit = watch_exit(pid)?;
        let mut capture = Capture::begin(&target, options, attached, symbolizer, censuses, writer)?;
        let started_ns = monotonic_ns();
        capture.started(&wall_clock(), started_ns)?;
        if let Some(launched) = &mut launched {
            launched.release().map_err(|error| RecordError::failed(format!("pid {pid}: {error}")))?;
        }
        let probe_count = capture.probe_count();
        let ready = Notice::Ready { target: noticed(&target), probe_count, took: begun.elapsed() };
        release_memory();
        let (duration, holders_pause) = (options.duration, options.looks.holders_pause);
        Ok(Self { capture, notify, file, duration, holders_pause, started_ns, exit, launched, ready })
    }

    /// Confines this process and all of its threads, for good, to the system calls and the capabilities that recording
    /// needs from here on. To be called in the thread that calls [`Self::run`].
    ///
    /// # Errors
    /// The kernel was built without seccomp filters, or a thread has a filter of its own.
    pub fn confine(&self) -> io::Result<()> {
        confine::confine(&confine::Tasks {
            holds: self.holders_pause.is_some(),
            launched: self.launched.is_some(),
            uses_perf_events: self.capture.uses_perf_events(),
            writes_for_other: self.capture.writes_for_other(),
        })
    }

    /// Records until the time is up, the target ends or `control` stops it; then closes the recording.
    ///
    /// # Errors
    /// The kernel refuses, or the recording cannot be written.
    pub fn run(self, control: &mut Control) -> Result<Finished, RecordError> {
        let Self {
            mut capture,
            mut notify,
            file,
            duration,
            holders_pause,
            started_ns,
            exit,
            launched,
            ready,
        } = self;
        notify(ready);
        background::wait_turns();
        let reason = event_loop::run(&mut capture, &mut notify, duration, exit, control)?;
        notify(Notice::Ending(reason));
        let (lost_count, detaching) = capture.finish(started_ns, reason, holders_pause, &mut notify)?;
        Ok(Finished { file, lost_count, reason, detaching: Some(detaching), launched })
    }
}

impl Finished {
    /// Waits until every probe is gone. Gives the pid of the program that the recorder started, if it still runs.
    pub fn wait_detached(&mut self) -> Option<Pid> {
        drop(self.detaching.take());
        self.launched.as_mut().and_then(Launched::running_pid)
    }

    /// Waits until every probe is gone and, for a program that the recorder started, until it has ended; gives its exit
    /// status, as a shell would.
    ///
    /// # Errors
    /// The program cannot be waited for.
    pub fn wait(mut self) -> Result<Option<u8>, RecordError> {
        drop(self.detaching.take());
        let Some(launched) = self.launched else { return Ok(None) };
        let pid = launched.pid();
        let status = launched.wait();
        status.map(Some).map_err(|error| RecordError::failed(format!("pid {pid}: {error}")))
    }
}

/// Checks what every recording needs of this host, before the target is touched.
fn require_host(features: &Features) -> Result<(), RecordError> {
    let lacking = features.requirements().into_iter().find(|one| one.status == Status::Missing);
    lacking.map_or(Ok(()), |lacking| Err(lacking.into()))
}

fn noticed(target: &Target) -> NoticedTarget {
    NoticedTarget { pid: target.pid, comm: target.comm.clone(), is_jvm: target.jvm.is_some() }
}

/// The target's own reason why attaching to it failed, if it has one: it ended, or executed another program.
fn reason_of_target(target: &Target) -> Option<RecordError> {
    let Target { pid, comm, .. } = target;
    if !target.is_alive() {
        let ended = RecordError::failed(format!("pid {pid} ({comm}) ended while it was being attached to"));
        return Some(ended.with_help("start the program again; `tracer list` shows the JVMs that run"));
    }
    // Another program, or the same again, which is hardly ever loaded at the same address.
    let place = |target: &Target| target.executable().map(|module| (module.path.clone(), module.load_bias));
    let now = process::inspect(*pid).ok()?;
    (place(target) != place(&now)).then(|| {
        RecordError::failed(format!(
            "pid {pid} ({comm}) became another program ({}) while it was being attached to",
            now.comm
        ))
        .with_help(format!("tracer record -p {pid} records that one"))
    })
}

fn header(target: &Target, options: &Options) -> Header {
    Header {
        target: TargetInfo {
            pid: target.pid,
            comm: target.comm.raw().to_owned(),
            command: target.command.clone(),
            exe: target.exe.clone(),
            container: target.container.clone(),
            jvm: target.jvm.as_ref().map(|jvm| JvmInfo {
                version: jvm.version.clone(),
                vendor: jvm.vendor.clone(),
                gc: None,
                java_home: jvm.java_home.clone(),
            }),
        },
        session: SessionInfo {
            started: wall_clock(),
            started_ns: monotonic_ns(),
            probes: options.probes_name().to_owned(),
            sample_bytes: options.sample_bytes.map(u64::from),
            gc_probes: false,
            max_overhead_percent: options.max_overhead_percent,
            ..SessionInfo::default()
        },
    }
}

/// A descriptor that is readable when the process has ended.
fn watch_exit(pid: Pid) -> Result<OwnedFd, RecordError> {
    let failure = |error: rustix::io::Errno| match error {
        rustix::io::Errno::SRCH => {
            RecordError::failed(format!("pid {pid} ended while it was being attached to"))
        }
        error => RecordError::failed(format!("cannot watch pid {pid}: {error}")),
    };
    let pid = rustix::process::Pid::from_raw(pid.raw()).ok_or_else(|| failure(rustix::io::Errno::SRCH))?;
    pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(failure)
}

/// Gives back to the kernel what attaching needed and recording does not. malloc would keep most of it.
fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: there is nothing that it asks of the caller.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Now, RFC 3339.
fn wall_clock() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
