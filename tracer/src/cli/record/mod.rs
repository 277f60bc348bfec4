//! `tracer record`: flags, notices on stderr, the answer on stdout, and the exit status. The recorder does the rest.

mod args;
mod console;
mod foreground;
mod pusher;
mod signals;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
    time::Duration,
};

pub use self::args::Args;
pub(super) use self::pusher::file_from_stdin;
use self::{console::Console, foreground::Foreground, pusher::Pusher, signals::Signals};
use super::failure::{Failure, status};
use crate::process::Pid;
use crate::{
    cli::report,
    output::{clean, holders, units},
    recorder::{self, EndReason, ErrorKind, Notice, NoticedTarget, Progress, RecordError, Recorder, Subject},
};

/// Records, and tells of it: progress on stderr, the categories on stdout.
///
/// # Errors
/// The recording cannot be made, or not be finished.
pub fn run(args: &Args) -> Result<u8, Failure> {
    args.check()?;
    let subject = match &args.pid {
        Some(name) => Subject::Process(name.pid()?),
        None => Subject::Command(args.command.clone()),
    };
    let console = Arc::new(Console::new(!args.quiet));
    let foreground = Foreground::now();
    // The recorder may not start programs or open connections later.
    let pusher = args.push.as_deref().map(|url| Pusher::start(url, args)).transpose()?;
    let (controller, mut control) = recorder::control();
    let signals = Signals::start(controller, Arc::clone(&console))?;
    let teller =
        Arc::new(Teller { console: Arc::clone(&console), duration: args.duration(), ..Teller::default() });
    let (set_file, telling) = (signals.file_setter(), Arc::clone(&teller));
    let notify = Box::new(move |notice| {
        if let Notice::Attaching { file, .. } = &notice {
            set_file(file.clone());
        }
        telling.tell(&notice);
    });
    let outcome = Recorder::start(&args.options(subject), notify).and_then(|recorder| {
        if let Err(error) = recorder.confine() {
            tracing::warn!("this process is not confined: {error}");
        }
        recorder.run(&mut control)
    });
    console.clear();
    let mut finished = outcome?;
    signals.closed();
    if !args.quiet {
        teller.answer(&finished.file)?;
    }
    let is_lossy = finished.lost_count > 0;
    let mut own = if args.strict && is_lossy { status::INCOMPLETE } else { status::DONE };
    if let Some(pusher) = pusher {
        console.status("sending it");
        let is_sent = pusher.push(&finished.file);
        console.clear();
        own = if is_sent { own } else { status::FAILED };
    }
    console.status("detaching");
    let running = finished.wait_detached();
    console.clear();
    if let Some(pid) = running.filter(|_| finished.reason != EndReason::TargetExited) {
        signals.waiting();
        let program = args.command.first().map(String::as_str).unwrap_or_default();
        console.line(&format!(
            "waiting: {} (pid {pid}) runs on, and is not recorded any more; {} ends tracer alone",
            clean(program),
            if foreground.leave_group() {
                "Ctrl-C".to_owned()
            } else {
                format!("a signal to tracer (pid {})", Pid::own())
            }
        ));
    }
    Ok(finished.wait()?.unwrap_or(own))
}

/// Tells of a recording.
#[derive(Default)]
struct Teller {
    console: Arc<Console>,
    /// `None` if it records to its end.
    duration: Option<Duration>,
    target: OnceLock<(String, PathBuf, Pid)>,
    /// Lock for answers on stdout.
    answering: Mutex<()>,
}

impl Teller {
    fn tell(self: &Arc<Self>, notice: &Notice) {
        match notice {
            Notice::Attaching { target, file } => {
                let _ = self.target.set((named(target), file.clone(), target.pid));
                self.console.status(&format!("attaching to {}", named(target)));
            }
            Notice::Ready { target, probe_count, took } => {
                self.console.line(&ready(target, self.duration, *probe_count, *took));
            }
            Notice::BudgetStep { text } => self.console.line(&format!("budget: {text}")),
            Notice::Progress(progress) => {
                let target = self.target.get().map(|(target, ..)| target.as_str()).unwrap_or_default();
                self.console.status(&status_line(target, progress));
            }
            Notice::Written => {
                let teller = Arc::clone(self);
                // Recording goes on meanwhile.
                let answer = move || {
                    let answered = teller.target.get().map_or(Ok(()), |(_, file, _)| teller.answer(file));
                    if let Err(failure) = answered {
                        teller.console.line(&failure.to_string());
                    }
                };
                if let Err(error) = thread::Builder::new().name("answer".to_owned()).spawn(answer) {
                    self.console.line(&format!("cannot start a thread: {error}"));
                }
            }
            Notice::Holders(notice) => {
                let pid = self.target.get().map(|(_, _, pid)| *pid).unwrap_or_default();
                if let Some(text) = holders::notice(notice, pid) {
                    self.console.line(&text);
                }
            }
            Notice::Ending(_) => self.console.status("taking the last census, and writing what is left"),
        }
    }

    /// Prints the categories of the recording.
    fn answer(&self, file: &std::path::Path) -> Result<(), Failure> {
        let _turn = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        self.console.clear();
        report::summary(file)
    }
}

fn named(target: &NoticedTarget) -> String {
    format!("{} (pid {})", target.comm, target.pid)
}

fn ready(target: &NoticedTarget, duration: Option<Duration>, probe_count: usize, took: Duration) -> String {
    let kind = if target.is_jvm { "" } else { ", which is not a JVM (yet): native frames only" };
    let end = match duration {
        Some(duration) => format!("for {}", humantime::format_duration(duration)),
        None => "to its end".to_owned(),
    };
    format!(
        "ready: recording {} (pid {}{kind}) {end}; {probe_count} probes attached in {} ms; Ctrl-C ends it sooner",
        target.comm,
        target.pid,
        took.as_millis()
    )
}

/// `java (pid 12): 42 s left, 12.3 MiB not freed, +1.2 MiB/s, nothing lost, cost 3.1 %`.
fn status_line(target: &str, progress: &Progress) -> String {
    let time = match progress.left {
        // Shown as what is left of a whole second.
        Some(left) => format!("{} s left", left.as_secs_f64().ceil() as u64),
        None => format!("{} s so far", progress.elapsed.as_secs()),
    };
    let numbers = &progress.numbers;
    let mut parts = vec![time, format!("{} not freed", units::bytes(numbers.live_bytes))];
    parts.extend(progress.growth_bytes_per_s.map(units::rate));
    parts.push(match numbers.lost_count {
        0 => "nothing lost".to_owned(),
        lost => format!("{} lost", units::count(lost)),
    });
    parts.extend(numbers.overhead_percent.map(|percent| format!("cost {percent:.1} %")));
    format!("{target}: {}", parts.join(", "))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::Numbers;

    #[test]
    fn the_status_line_has_what_is_known() {
        let numbers = Numbers { live_bytes: 3 << 20, lost_count: 0, overhead_percent: Some(3.1) };
        let progress = Progress {
            elapsed: Duration::from_secs(3),
            left: Some(Duration::from_millis(57_001)),
            numbers,
            growth_bytes_per_s: Some(-2_048),
        };
        let text = status_line("java (pid 7)", &progress);
        assert_eq!(text, "java (pid 7): 58 s left, 3.0 MiB not freed, -2.0 KiB/s, nothing lost, cost 3.1 %");
        let numbers = Numbers { lost_count: 1_234, overhead_percent: None, ..numbers };
        let progress = Progress { left: None, growth_bytes_per_s: None, numbers, ..progress };
        let text = status_line("java (pid 7)", &progress);
        assert_eq!(text, "java (pid 7): 3 s so far, 3.0 MiB not freed, 1,234 lost");
    }
}
