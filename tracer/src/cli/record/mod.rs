//! `tracer record`: flags, notices on stderr, the answer on stdout, and the exit status. The recorder does the rest.

mod args;
mod signals;

pub use self::args::Args;
use self::signals::Signals;
use super::failure::{Failure, status};
use crate::{
    cli::report,
    recorder::{self, ErrorKind, Notice, RecordError, Recorder},
};

/// Records, and tells of it: progress on stderr, the categories on stdout.
///
/// # Errors
/// The recording cannot be made, or not be finished.
pub fn run(args: &Args) -> Result<u8, Failure> {
    args.check()?;
    let (controller, mut control) = recorder::control();
    let signals = Signals::start(controller)?;
    let (duration, file) = (args.duration, signals.file());
    let notify = Box::new(move |notice| {
        if let Notice::Attaching { file: path, .. } = &notice {
            let _ = file.set(path.clone());
        }
        tell(&notice, duration);
    });
    let recorder = Recorder::start(&args.options(), notify)?;
    if let Err(error) = recorder::confine() {
        tracing::warn!("this process keeps every system call: {error}");
    }
    let finished = recorder.run(&mut control)?;
    signals.finished();
    report::summary(&finished.file)?;
    let is_lossy = finished.lost_count > 0;
    let own = if args.strict && is_lossy { status::INCOMPLETE } else { status::DONE };
    Ok(finished.wait()?.unwrap_or(own))
}

fn tell(notice: &Notice, duration: std::time::Duration) {
    match notice {
        Notice::Ready { target, probe_count, took } => {
            let kind = if target.is_jvm { "" } else { ", which is not a JVM (yet): native frames only" };
            eprintln!(
                "ready: recording {} (pid {}{kind}) for {}; {probe_count} probes attached in {} ms; Ctrl-C ends it \
                 sooner",
                target.comm,
                target.pid,
                humantime::format_duration(duration),
                took.as_millis()
            );
        }
        Notice::BudgetStep { text } => eprintln!("budget: {text}"),
        Notice::Attaching { .. } | Notice::Ending(_) => {}
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        let status = match error.kind {
            ErrorKind::Usage => status::USAGE,
            ErrorKind::Lacking => status::LACKING,
            ErrorKind::Failed => status::FAILED,
        };
        let failure = Self::new(status, &error);
        match error.help() {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}
