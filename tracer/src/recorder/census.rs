//! The censuses at the start and at the end of a session: memory that was there before it, and that it leaves. Each is
//! taken in a thread of its own, so that nothing that is recorded waits for it.

use std::{
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use super::{EndReason, RecordError, monotonic_ns};
use crate::process::{
    Pid, background,
    privilege::{self, READING},
};
use crate::{
    census::{self, Census},
    recording::{BEGAN_WITH_SESSION, CensusMoment, RecordedCensus, Writer},
};

/// Time that one census may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The censuses of a session.
pub(super) struct Censuses {
    pid: Pid,
    /// Are censuses taken at all?
    wanted: bool,
    /// `None` if the program began with the session.
    first: Option<PendingCensus>,
    last: Option<PendingCensus>,
}

impl Censuses {
    /// Begins with the first census of process `pid`, unless the recorder `started` the program.
    pub(super) fn start(pid: Pid, wanted: bool, started: bool) -> Self {
        let start = || PendingCensus::start(pid, CensusMoment::Begin, monotonic_ns());
        Self { pid, wanted, first: (wanted && !started).then(start), last: None }
    }

    /// The session began: if there is no first census, notes why.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn session_began(&self, time_ns: u64, writer: &mut Writer) -> Result<(), RecordError> {
        if self.first.is_none() && self.wanted {
            let census = Err(BEGAN_WITH_SESSION.to_owned());
            writer.census(&RecordedCensus { moment: CensusMoment::Begin, time_ns, census })?;
        }
        Ok(())
    }

    /// Writes the first census once it is there.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn write_first(&mut self, writer: &mut Writer) -> Result<(), RecordError> {
        match self.first.as_mut().and_then(PendingCensus::try_give) {
            Some(census) => Ok(writer.census(&census)?),
            None => Ok(()),
        }
    }

    /// Begins with the last census.
    pub(super) fn session_ended(&mut self, time_ns: u64) {
        let start = || PendingCensus::start(self.pid, CensusMoment::End, time_ns);
        self.last = self.wanted.then(start);
    }

    /// The target became another program, which the last census would be of: notes that there is none.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn target_replaced(&self, time_ns: u64, writer: &mut Writer) -> Result<(), RecordError> {
        if self.wanted {
            let census = Err(EndReason::TargetReplaced.as_str().to_owned());
            writer.census(&RecordedCensus { moment: CensusMoment::End, time_ns, census })?;
        }
        Ok(())
    }

    /// Writes every census that is not written, and waits for it where necessary.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn finish(self, writer: &mut Writer) -> Result<(), RecordError> {
        for mut pending in self.first.into_iter().chain(self.last) {
            pending.wait().map_or(Ok(()), |census| writer.census(&census))?;
        }
        Ok(())
    }
}

/// A census that is being taken.
struct PendingCensus {
    moment: CensusMoment,
    time_ns: u64,
    deadline: Instant,
    taken: Receiver<Result<Box<Census>, String>>,
    is_given: bool,
}

impl PendingCensus {
    fn start(pid: Pid, moment: CensusMoment, time_ns: u64) -> Self {
        let deadline = Instant::now() + PATIENCE;
        let (sender, taken) = mpsc::channel();
        let failed = sender.clone();
        let take = move || sender.send(take(pid, deadline));
        if let Err(error) = privilege::start_thread("census", &READING, take) {
            let _ = failed.send(Err(format!("cannot start a thread: {error}")));
        }
        Self { moment, time_ns, deadline, taken, is_given: false }
    }

    /// The census, once, if it is there by now.
    fn try_give(&mut self) -> Option<RecordedCensus> {
        let census = self.taken.try_recv().ok().filter(|_| !self.is_given)?;
        Some(self.give(census))
    }

    /// The census, once, as soon as it is there or has taken too long.
    fn wait(&mut self) -> Option<RecordedCensus> {
        if self.is_given {
            return None;
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        let census = self.taken.recv_timeout(left);
        let late = |_| Err(format!("it was not through in {} s", PATIENCE.as_secs()));
        Some(self.give(census.unwrap_or_else(late)))
    }

    fn give(&mut self, census: Result<Box<Census>, String>) -> RecordedCensus {
        self.is_given = true;
        RecordedCensus { moment: self.moment, time_ns: self.time_ns, census }
    }
}

fn take(pid: Pid, deadline: Instant) -> Result<Box<Census>, String> {
    background::enter();
    census::by_deadline(pid, deadline).map(Box::new).map_err(|error| error.to_string())
}
