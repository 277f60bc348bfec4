//! Ctrl-C and SIGTERM: the first ends the recording in order, a second one leaves at once.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::failure::{Failure, status},
    recorder::Controller,
};

/// Signals to this process, watched in a thread of its own: closing a recording takes a moment in which nothing else
/// runs.
pub(super) struct Signals {
    file: Arc<OnceLock<PathBuf>>,
    finished: Arc<AtomicBool>,
}

impl Signals {
    /// Begins to watch. The first signal stops the recording; a second one says which file was left unfinished, if
    /// [`Self::file`] is known by then.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(controller: Controller) -> Result<Self, Failure> {
        let signals = Self { file: Arc::default(), finished: Arc::default() };
        let (file, finished) = (Arc::clone(&signals.file), Arc::clone(&signals.finished));
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || serve(&controller, &file, &finished))
            .map_err(|error| Failure::new(status::FAILED, format!("cannot start a thread: {error}")))?;
        Ok(signals)
    }

    /// Where the file of the recording is to be set.
    pub(super) fn file(&self) -> Arc<OnceLock<PathBuf>> {
        Arc::clone(&self.file)
    }

    /// The recording is closed: a signal has nothing to lose any more.
    pub(super) fn finished(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }
}

fn serve(controller: &Controller, file: &OnceLock<PathBuf>, finished: &AtomicBool) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let (Ok(mut interrupts), Ok(mut terminations)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        let mut is_stopping = false;
        loop {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            if is_stopping {
                if let (false, Some(file)) = (finished.load(Ordering::Relaxed), file.get()) {
                    eprintln!("error: interrupted twice: {} is left unfinished", file.display());
                    eprintln!("help: tracer report {} shows what was recorded", file.display());
                }
                std::process::exit(status::FAILED.into());
            }
            is_stopping = true;
            controller.stop();
        }
    });
}
