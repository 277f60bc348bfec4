//! The census at the start and at the end of a session: what was there before it, and what it leaves.
//! Each is taken in a thread of its own, so that nothing that is recorded waits for it.

use std::{
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use crate::{
    census::{self, Census},
    recording::{CensusMoment, KeptCensus},
};

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A census that is being taken.
pub(super) struct Taking {
    moment: CensusMoment,
    time_ns: u64,
    deadline: Instant,
    taken: Receiver<Result<Box<Census>, String>>,
    is_given: bool,
}

impl Taking {
    /// Begins with the census of process `pid`.
    pub(super) fn start(pid: u32, moment: CensusMoment, time_ns: u64) -> Self {
        let deadline = Instant::now() + PATIENCE;
        let (sender, taken) = mpsc::channel();
        thread::spawn(move || sender.send(take(pid, deadline)));
        Self { moment, time_ns, deadline, taken, is_given: false }
    }

    /// The census, once, if it is there by now.
    pub(super) fn try_give(&mut self) -> Option<KeptCensus> {
        let census = self.taken.try_recv().ok().filter(|_| !self.is_given)?;
        Some(self.give(census))
    }

    /// The census, once, as soon as it is there or has taken too long.
    pub(super) fn give_at_last(&mut self) -> Option<KeptCensus> {
        if self.is_given {
            return None;
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        let census = self.taken.recv_timeout(left);
        let late = |_| Err(format!("it was not through in {} s", PATIENCE.as_secs()));
        Some(self.give(census.unwrap_or_else(late)))
    }

    fn give(&mut self, census: Result<Box<Census>, String>) -> KeptCensus {
        self.is_given = true;
        KeptCensus { moment: self.moment, time_ns: self.time_ns, census }
    }
}

fn take(pid: u32, deadline: Instant) -> Result<Box<Census>, String> {
    census::by_deadline(pid, deadline).map(Box::new).map_err(|error| error.to_string())
}
