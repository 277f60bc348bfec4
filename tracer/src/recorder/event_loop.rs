//! The event loop of a recording: the order in which timers, events of the target and the caller's requests get their
//! turn.

use std::{io, os::fd::OwnedFd, time::Duration};

use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep},
};

use super::{
    Control, EndReason, Notice, Notify, RecordError, capture::Capture, control::Request, monotonic_ns,
    progress::ProgressMeter,
};

/// Time between two writes of what changed.
const TICK: Duration = Duration::from_secs(1);

/// Time between two measurements of the overhead, and the length of one.
const METER: Duration = Duration::from_millis(500);
const WINDOW: Duration = Duration::from_millis(100);

/// Time between two looks at a JVM that starts: can it be understood by now?
const JVM_POLL: Duration = Duration::from_millis(2);

/// The end of a recording without a duration, for a timer: longer than any process runs.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Runs the capture until its time is up, it is stopped, or the target ends; tells which.
///
/// # Errors
/// The kernel refuses, or the recording cannot be written.
pub(super) fn run(
    capture: &mut Capture,
    notify: &mut Notify,
    duration: Option<Duration>,
    exit: OwnedFd,
    control: &mut Control,
) -> Result<EndReason, RecordError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unwaitable)?;
    runtime.block_on(async {
        let events = readable(capture.events_fd().map_err(unwaitable)?).map_err(unwaitable)?;
        let exit = readable(exit).map_err(unwaitable)?;
        if let Some(duration) = duration {
            capture.end_in(duration);
        }
        let deadline = sleep(duration.unwrap_or(NEVER));
        tokio::pin!(deadline);
        let mut ticks = every(TICK);
        let mut windows = every(METER);
        let mut jvm_polls = every(JVM_POLL);
        let window_ends = sleep(WINDOW);
        tokio::pin!(window_ends);
        let mut in_window = false;
        let mut progress = ProgressMeter::new(duration);
        let began = Instant::now();
        loop {
            tokio::select! {
                biased;
                request = control.next() => match request {
                    Request::Stop => return Ok(EndReason::Interrupted),
                    Request::Write => {
                        capture.tick(monotonic_ns())?;
                        notify(Notice::Written);
                    }
                },
                () = &mut deadline => return Ok(EndReason::Duration),
                ready = exit.readable() => {
                    drop(ready.map_err(unwaitable)?);
                    return Ok(EndReason::TargetExited);
                }
                _ = windows.tick(), if capture.is_metered() => {
                    capture.open_window(monotonic_ns());
                    window_ends.as_mut().reset(Instant::now() + WINDOW);
                    in_window = true;
                }
                () = &mut window_ends, if in_window => {
                    in_window = false;
                    if capture.close_window(notify)? {
                        return Ok(EndReason::Overhead);
                    }
                }
                _ = ticks.tick() => {
                    capture.tick(monotonic_ns())?;
                    notify(Notice::Progress(progress.observe(began.elapsed(), capture.numbers())));
                }
                _ = jvm_polls.tick(), if capture.awaits_jvm() => capture.poll_jvm()?,
                ready = events.readable() => {
                    let mut ready = ready.map_err(unwaitable)?;
                    ready.clear_ready();
                    while capture.drain()? {
                        tokio::task::yield_now().await;
                    }
                    capture.tick_for_collection(monotonic_ns())?;
                }
            }
            // Whichever of these took the events in.
            capture.resume_target()?;
            if let Some(reason) = capture.end_of_events() {
                return Ok(reason);
            }
        }
    })
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, and neither replaced nor closed while it is registered.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE)? })
}

fn unwaitable(error: io::Error) -> RecordError {
    RecordError::failed(format!("cannot wait for events: {error}"))
}
