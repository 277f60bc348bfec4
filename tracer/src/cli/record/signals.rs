//! Ctrl-C and SIGTERM: the first ends the session in order, a second one leaves at once.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::cli::failure::{Failure, status};

/// Signals to this process, watched in a thread of its own: closing a recording takes a moment in
/// which nothing else runs.
pub(super) struct Signals {
    first: watch::Receiver<bool>,
    finished: Arc<AtomicBool>,
}

impl Signals {
    /// Begins to watch. A second signal says that `file` was left unfinished.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(file: &Path) -> Result<Self, Failure> {
        let (sender, first) = watch::channel(false);
        let finished = Arc::new(AtomicBool::new(false));
        let (file, is_finished) = (file.to_owned(), Arc::clone(&finished));
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || serve(&sender, &file, &is_finished))
            .map_err(|error| Failure::new(status::FAILED, format!("cannot start a thread: {error}")))?;
        Ok(Self { first, finished })
    }

    /// Returns when the first signal has come.
    pub(super) async fn first(&self) {
        let mut first = self.first.clone();
        if first.wait_for(|came| *came).await.is_err() {
            // Signals cannot be watched: the session ends by its time.
            std::future::pending::<()>().await;
        }
    }

    /// The recording is closed: a signal has nothing to lose any more.
    pub(super) fn finished(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }
}

fn serve(sender: &watch::Sender<bool>, file: &Path, finished: &AtomicBool) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let (Ok(mut interrupts), Ok(mut terminations)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        loop {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            if *sender.borrow() {
                if !finished.load(Ordering::Relaxed) {
                    eprintln!("error: interrupted twice: {} is left unfinished", file.display());
                    eprintln!("help: tracer report {} shows what was recorded", file.display());
                }
                std::process::exit(status::FAILED.into());
            }
            if sender.send(true).is_err() {
                return;
            }
        }
    });
}
