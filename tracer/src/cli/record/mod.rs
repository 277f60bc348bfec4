//! `tracer record`: attach, watch, detach, keep.

pub mod args;
mod capture;
mod census;
mod expected;
mod held;
mod jvm;
mod launch;
mod memory;
mod meter;
mod resolver;
mod setup;
mod signals;
mod trust;

use std::{
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    process::{Pid, PidfdFlags, pidfd_open},
    time::{ClockId, clock_gettime},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::MissedTickBehavior,
};

pub use self::args::Args;
use self::{capture::Capture, census::Taking, launch::Launched, resolver::Resolver, signals::Signals};
use super::failure::{Failure, status};
use crate::{
    probe::{
        kernel::{Features, Requirement, Status},
        survey,
    },
    process::{self, Target, TargetError},
    recording::{CensusMoment, Header, JvmInfo, SessionInfo, TargetInfo, Writer},
};

/// How often what changed is written.
const TICK: Duration = Duration::from_secs(1);

/// How often it is measured what recording takes from the target, and for how long.
const METER: Duration = Duration::from_millis(500);
const WINDOW: Duration = Duration::from_millis(100);

/// How often a JVM that starts is asked whether it can be understood by now.
const JVM_POLL: Duration = Duration::from_millis(2);

/// Records, and tells of it: progress on stderr, the categories on stdout.
///
/// # Errors
/// What was asked cannot be done, or not to the end.
pub fn run(args: &Args) -> Result<u8, Failure> {
    args.check()?;
    let mut launched = (!args.command.is_empty()).then(|| Launched::start(&args.command)).transpose()?;
    let pid = launched.as_ref().map(Launched::pid).or(args.pid).unwrap_or_default();
    let outcome = record(args, pid, launched.as_mut());
    match (outcome, launched) {
        (Ok(_), Some(launched)) => {
            launched.wait().map_err(|error| Failure::new(status::FAILED, format!("pid {pid}: {error}")))
        }
        (outcome, _) => outcome,
    }
}

fn record(args: &Args, pid: u32, launched: Option<&mut Launched>) -> Result<u8, Failure> {
    let features = Features::read();
    require_host(&features)?;
    let target = process::inspect(pid).map_err(inspect_failure)?;
    if let Some(lacking) = survey::seccomp_requirement(&target, &features) {
        return Err(lacking_failure(lacking));
    }
    let file = args.output_for(&target.comm, pid)?;
    let begun = Instant::now();
    let signals = Signals::start(&file)?;
    let writer = Writer::create(&file, args.force, &header(&target, args))?;
    // Meanwhile: what is there before the session is not what its first moments add.
    let first_census = launched.is_none().then(|| Taking::start(pid, CensusMoment::Begin, monotonic_ns()));
    let attached = setup::attach(&target, args, launched.is_some())
        .map_err(|failure| if target.is_alive() { failure } else { ended(&target) })?;
    let resolver = Resolver::start(pid, target.modules.clone())
        .map_err(|error| Failure::new(status::FAILED, format!("cannot start a thread: {error}")))?;
    let exit = watch_exit(pid)?;
    let mut capture = Capture::begin(&target, attached, resolver, writer)?;
    let started_ns = monotonic_ns();
    capture.started(&humantime::format_rfc3339_millis(SystemTime::now()).to_string(), started_ns)?;
    capture.expect_census(first_census, started_ns)?;
    if let Some(launched) = launched {
        launched.release().map_err(|error| Failure::new(status::FAILED, format!("pid {pid}: {error}")))?;
    }
    announce(&target, args, capture.probe_count(), begun.elapsed());
    release_memory();

    let reason = watch(args, &mut capture, &signals, exit)?;
    let (lost_count, detaching) = capture.finish(started_ns, monotonic_ns, reason)?;
    signals.finished();
    summarize(&file)?;
    drop(detaching);
    Ok(if args.strict && lost_count > 0 { status::INCOMPLETE } else { status::DONE })
}

/// Checks what every recording needs of this host, before the target is touched.
fn require_host(features: &Features) -> Result<(), Failure> {
    let lacking = features.requirements().into_iter().find(|one| one.status == Status::Missing);
    lacking.map_or(Ok(()), |lacking| Err(lacking_failure(lacking)))
}

fn lacking_failure(lacking: Requirement) -> Failure {
    Failure::new(status::LACKING, format!("{}: {}", lacking.title, lacking.found))
        .help(lacking.help.unwrap_or_else(|| "tracer check".to_owned()))
}

fn inspect_failure(error: TargetError) -> Failure {
    let status = match error {
        TargetError::NotPermitted { .. } => status::LACKING,
        _ => status::FAILED,
    };
    Failure::caused(status, &error).help(error.help())
}

fn ended(target: &Target) -> Failure {
    Failure::new(
        status::FAILED,
        format!("pid {} ({}) ended while it was being attached to", target.pid, target.comm),
    )
    .help("start the program again; `tracer list` shows the JVMs that run")
}

fn header(target: &Target, args: &Args) -> Header {
    Header {
        target: TargetInfo {
            pid: target.pid,
            comm: target.comm.clone(),
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
            started: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            started_ns: monotonic_ns(),
            probes: args.probes.as_str().to_owned(),
            sample_bytes: args.sample_bytes.map(u64::from),
            gc_probes: false,
            max_overhead_percent: args.max_overhead(),
            ..SessionInfo::default()
        },
    }
}

fn watch_exit(pid: u32) -> Result<OwnedFd, Failure> {
    let failure = |error: rustix::io::Errno| match error {
        rustix::io::Errno::SRCH => {
            Failure::new(status::FAILED, format!("pid {pid} ended while it was being attached to"))
        }
        error => Failure::new(status::FAILED, format!("cannot watch pid {pid}: {error}")),
    };
    let pid = Pid::from_raw(pid as i32).ok_or_else(|| failure(rustix::io::Errno::SRCH))?;
    pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(failure)
}

fn announce(target: &Target, args: &Args, probe_count: usize, took: Duration) {
    let kind = if target.jvm.is_some() { "" } else { ", which is not a JVM (yet): native frames only" };
    eprintln!(
        "ready: recording {} (pid {}{kind}) for {}; {probe_count} probes attached in {} ms; Ctrl-C ends it sooner",
        target.comm,
        target.pid,
        humantime::format_duration(args.duration),
        took.as_millis()
    );
}

/// Gives back to the kernel what attaching needed and recording does not. malloc would keep most of it.
fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: there is nothing that it asks of the caller.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Runs the capture until its time is up, a signal comes, or the target ends; tells which.
fn watch(
    args: &Args,
    capture: &mut Capture,
    signals: &Signals,
    exit: OwnedFd,
) -> Result<&'static str, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(status::FAILED, format!("cannot wait for events: {error}")))?;
    runtime.block_on(async {
        let io =
            |error: std::io::Error| Failure::new(status::FAILED, format!("cannot wait for events: {error}"));
        let events = readable(capture.events_fd().map_err(io)?).map_err(io)?;
        let exit = readable(exit).map_err(io)?;
        let deadline = tokio::time::sleep(args.duration);
        tokio::pin!(deadline);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut windows = tokio::time::interval(METER);
        windows.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let window_ends = tokio::time::sleep(WINDOW);
        tokio::pin!(window_ends);
        let mut in_window = false;
        let mut jvm_polls = tokio::time::interval(JVM_POLL);
        jvm_polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = signals.first() => return Ok("interrupted"),
                () = &mut deadline => return Ok("duration"),
                ready = exit.readable() => {
                    drop(ready.map_err(io)?);
                    return Ok("target exited");
                }
                _ = windows.tick(), if capture.is_metered() => {
                    capture.open_window(monotonic_ns());
                    window_ends.as_mut().reset(tokio::time::Instant::now() + WINDOW);
                    in_window = true;
                }
                () = &mut window_ends, if in_window => {
                    in_window = false;
                    if capture.close_window(monotonic_ns)? {
                        return Ok("recording took too much of the target's CPU time");
                    }
                }
                _ = ticks.tick() => capture.tick(monotonic_ns())?,
                _ = jvm_polls.tick(), if capture.awaits_jvm() => capture.poll_jvm()?,
                ready = events.readable() => {
                    let mut ready = ready.map_err(io)?;
                    ready.clear_ready();
                    while capture.drain()? {
                        tokio::task::yield_now().await;
                    }
                    capture.tick_for_collection(monotonic_ns())?;
                }
            }
            // Whichever of these took the events in.
            capture.resume()?;
            if let Some(reason) = capture.end_of_target() {
                return Ok(reason);
            }
        }
    })
}

fn readable(descriptor: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, and neither replaced nor closed while it is registered.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE)? })
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Prints the categories of the recording and what can be done with it next.
fn summarize(file: &Path) -> Result<(), Failure> {
    super::report::summary(file)
}
