//! The census at the start and at the end of a session: what was there before it, and what it leaves.
//! Each is taken in a thread of its own, so that nothing that is recorded waits for it.

use std::{
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use crate::{
    cli::census,
    output::census::bounded,
    recording::{Census, CensusMoment},
};

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most that is kept of one.
const MAX_BYTES: usize = 1 << 20;

/// A census that is being taken.
pub(super) struct Taking {
    moment: CensusMoment,
    time_ns: u64,
    deadline: Instant,
    json: Receiver<Result<String, String>>,
    is_given: bool,
}

impl Taking {
    /// Begins with the census of process `pid`.
    pub(super) fn start(pid: u32, moment: CensusMoment, time_ns: u64) -> Self {
        let deadline = Instant::now() + PATIENCE;
        let (sender, json) = mpsc::channel();
        thread::spawn(move || sender.send(take(pid, deadline)));
        Self { moment, time_ns, deadline, json, is_given: false }
    }

    /// The census, once, if it is there by now.
    pub(super) fn try_give(&mut self) -> Option<Census> {
        let json = self.json.try_recv().ok().filter(|_| !self.is_given)?;
        Some(self.give(json))
    }

    /// The census, once, as soon as it is there or has taken too long.
    pub(super) fn give_at_last(&mut self) -> Option<Census> {
        if self.is_given {
            return None;
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        let json = self.json.recv_timeout(left);
        let late = |_| Err(format!("it was not through in {} s", PATIENCE.as_secs()));
        Some(self.give(json.unwrap_or_else(late)))
    }

    fn give(&mut self, json: Result<String, String>) -> Census {
        self.is_given = true;
        Census { moment: self.moment, time_ns: self.time_ns, json }
    }
}

fn take(pid: u32, deadline: Instant) -> Result<String, String> {
    let text = bounded(census::json_by(pid, deadline)?).to_string();
    match text.len() {
        0..=MAX_BYTES => Ok(text),
        length => Err(format!("it would take {length} bytes")),
    }
}
