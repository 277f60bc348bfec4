//! Signals to `tracer record`: Ctrl-C, SIGTERM and SIGHUP end the recording in order, a second one leaves at once; SIGUSR1
//! asks for the answer so far.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::console::Console;
use crate::{
    cli::failure::{Failure, status},
    process::privilege,
    recorder::Controller,
};

/// Signals to this process, watched in a thread of its own: closing a recording takes a moment in which nothing else
/// runs.
pub(super) struct Signals(Arc<Shared>);

struct Shared {
    controller: Controller,
    console: Arc<Console>,
    file: OnceLock<PathBuf>,
    phase: AtomicU8,
}

/// The recording is closed: a signal has nothing to lose any more.
const CLOSED: u8 = 1;
/// State in which everything is told, and a program that the recorder started is waited for.
const WAITING: u8 = 2;

impl Signals {
    /// Begins to watch.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(controller: Controller, console: Arc<Console>) -> Result<Self, Failure> {
        let shared = Shared { controller, console, file: OnceLock::new(), phase: AtomicU8::new(0) };
        let shared = Arc::new(shared);
        let (watched, ready) = std::sync::mpsc::channel();
        let theirs = Arc::clone(&shared);
        privilege::start_thread("signals", &[], move || serve(&theirs, &watched))
            .map_err(|error| Failure::new(status::FAILED, format!("cannot start a thread: {error}")))?;
        // Until they are watched, a signal would end this process.
        let _ = ready.recv();
        Ok(Self(shared))
    }

    /// A function that tells the file which a second signal leaves unfinished.
    pub(super) fn file_setter(&self) -> impl Fn(PathBuf) + use<> {
        let shared = Arc::clone(&self.0);
        move |file| {
            let _ = shared.file.set(file);
        }
    }

    /// The recording is closed.
    pub(super) fn closed(&self) {
        self.0.phase.store(CLOSED, Ordering::Relaxed);
    }

    /// A program that the recorder started is waited for: from here on, a signal ends tracer alone.
    pub(super) fn waiting(&self) {
        self.0.phase.store(WAITING, Ordering::Relaxed);
    }
}

/// The signals that are watched.
struct Watched {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    answer: Signal,
    /// A file would be larger than allowed: with a handler, the write fails in place of ending the process.
    file_size: Signal,
}

impl Watched {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            answer: signal(SignalKind::user_defined1())?,
            file_size: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }
}

fn serve(shared: &Shared, watched: &std::sync::mpsc::Sender<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let Ok(mut signals) = Watched::new() else {
            return;
        };
        let _ = watched.send(());
        let mut is_stopping = false;
        loop {
            tokio::select! {
                _ = signals.interrupt.recv() => {}
                _ = signals.terminate.recv() => {}
                _ = signals.hang_up.recv() => {}
                _ = signals.answer.recv() => {
                    shared.controller.write();
                    continue;
                }
                _ = signals.file_size.recv() => continue,
            }
            match shared.phase.load(Ordering::Relaxed) {
                WAITING => std::process::exit(status::DONE.into()),
                phase if is_stopping => {
                    if let (true, Some(file)) = (phase < CLOSED, shared.file.get()) {
                        let file = file.display().to_string();
                        let file = crate::output::clean(&file);
                        shared.console.line(&format!(
                            "error: interrupted twice: {file} is left unfinished\nhelp: tracer report {file} shows \
                             what was recorded"
                        ));
                    }
                    shared.console.clear();
                    std::process::exit(status::FAILED.into());
                }
                _ => {
                    is_stopping = true;
                    shared.controller.stop();
                }
            }
        }
    });
}
