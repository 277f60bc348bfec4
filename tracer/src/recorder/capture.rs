//! A capture under way: the attached probes, and the parts that take in what they report and write it to the file.
//!
//! Each part owns its own state; the capture decides which of them gets its turn.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use tracer_common::stack::StackId;

use super::{
    EndReason, Notify, Numbers, Options, RecordError,
    attach::Attached,
    budget_steps::OverheadControl,
    census::Censuses,
    holders::{HoldersLook, Moment, UNTIL_MOMENT},
    intake::Intake,
    memory::MemoryRecord,
    monotonic_ns, quality, session_rows,
    stacks::StackPipeline,
    stopped::TargetState,
    symbolizer::SymbolizerThread,
    totals::Totals,
};
use crate::{
    ingest::event::{Event, EventKind, EventSource},
    probe::{heartbeat::Heartbeat, probes::Detaching},
    process::{Target, mapping},
    recording::{Call, End, Writer},
    session::Session,
    symbolize::{Frame, FrameKind},
};

/// Records taken from the ring buffer before anything else gets its turn.
const DRAIN_RECORDS: usize = 20_000;

/// A capture, from ready to the closed recording.
pub(super) struct Capture {
    attached: Attached,
    session: Session,
    writer: Writer,
    intake: Intake,
    stacks: StackPipeline,
    totals: Totals,
    target: TargetState,
    memory: MemoryRecord,
    censuses: Censuses,
    overhead: OverheadControl,
}

impl Capture {
    /// Switches the attached probes on. Everything that happens from now on is recorded.
    ///
    /// # Errors
    /// The kernel refuses, or the recording cannot be written.
    pub(super) fn begin(
        target: &Target,
        options: &Options,
        mut attached: Attached,
        symbolizer: SymbolizerThread,
        censuses: Censuses,
        mut writer: Writer,
    ) -> Result<Self, RecordError> {
        let pid = target.pid;
        let mut session = Session::default();
        session_rows::add_present_threads(pid, &mut session);
        let mut stacks = StackPipeline::new(target, symbolizer);
        stacks.meet_jvm(&mut attached, &mut session, &mut writer)?;
        for mapping in mapping::read(pid).unwrap_or_default() {
            session.mappings.mapped_before(mapping.start, mapping.end);
            if mapping.path == "[heap]" {
                session.mappings.set_program_break(mapping.end);
            }
        }
        let reserved =
            [(StackId::OVERFLOW, "[stack table full]"), (StackId::NOT_WALKED, "[no room to walk the stack]")];
        for (stack, name) in reserved {
            writer.stack(stack, &[Frame::named(name, FrameKind::Native)], false, "not walked")?;
        }
        let overhead = OverheadControl::new(pid, options, &mut attached.probes);
        write_notes(&mut attached, &mut writer)?;
        let memory = MemoryRecord::start(pid);
        attached.set_enabled(true)?;
        Ok(Self {
            attached,
            session,
            writer,
            intake: Intake::default(),
            stacks,
            totals: Totals::new(pid),
            target: TargetState::new(pid),
            memory,
            censuses,
            overhead,
        })
    }

    /// Number of probes that are attached.
    pub(super) fn probe_count(&self) -> usize {
        self.attached.probes.attached_count()
    }

    /// Are probes that come later perf events?
    pub(super) fn uses_perf_events(&self) -> bool {
        self.attached.probes.uses_perf_events()
    }

    /// Is the file that is written, or its folder, another user's?
    pub(super) fn writes_for_other(&self) -> bool {
        self.writer.writes_for_other()
    }

    /// Notes when recording began: RFC 3339, and `CLOCK_MONOTONIC`, ns.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn started(&mut self, time: &str, time_ns: u64) -> Result<(), RecordError> {
        self.writer.started(time, time_ns)?;
        self.censuses.session_began(time_ns, &mut self.writer)
    }

    /// A descriptor of the ring buffer: readable when there are events.
    ///
    /// # Errors
    /// The process cannot have more descriptors.
    pub(super) fn events_fd(&self) -> io::Result<OwnedFd> {
        self.attached.ring.as_fd().try_clone_to_owned()
    }

    /// Reason why no more events will come, if that is so.
    pub(super) fn end_of_events(&self) -> Option<EndReason> {
        let guard_is_gone = self.attached.probes.heartbeat().is_some_and(Heartbeat::guard_is_gone);
        guard_is_gone.then_some(EndReason::ProbesGone).or_else(|| self.target.end())
    }

    /// Makes the programs end recording by themselves after `duration`, should this process not do it.
    pub(super) fn end_in(&self, duration: Duration) {
        if let Some(heartbeat) = self.attached.probes.heartbeat() {
            heartbeat.end_in(duration);
        }
    }

    /// Is there a JVM of which not everything was understood yet?
    pub(super) fn awaits_jvm(&self) -> bool {
        self.stacks.awaits_jvm()
    }

    /// Opens the JVM if it can be understood by now.
    ///
    /// # Errors
    /// The kernel or the recording refuses.
    pub(super) fn poll_jvm(&mut self) -> Result<(), RecordError> {
        let Self { attached, session, writer, .. } = self;
        if self.stacks.poll_jvm(attached, session, writer)? {
            // At once: these stacks need the target's memory, and a target can end at any time.
            while self.drain()? {}
            self.target.resume(&mut self.attached.tables)?;
            self.stacks.finish_meeting(&mut self.attached, &mut self.writer)?;
        }
        Ok(())
    }

    /// Lets the target run on, if it was stopped because of unknown code: what can be known of that by now is known.
    ///
    /// # Errors
    /// As for [`Self::poll_jvm`].
    pub(super) fn resume_target(&mut self) -> Result<(), RecordError> {
        if self.target.is_stopped() && self.stacks.is_jvm_starting() {
            // A JVM's description counts when it was read twice, and the same.
            self.poll_jvm()?;
            self.poll_jvm()?;
        }
        self.target.resume(&mut self.attached.tables)
    }

    /// Takes in the events that are there. Returns true if there may be more.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn drain(&mut self) -> Result<bool, RecordError> {
        let mut more = true;
        for _ in 0..DRAIN_RECORDS {
            match self.attached.ring.next() {
                None => {
                    more = false;
                    break;
                }
                Some(Ok(event)) => self.take(event),
                Some(Err(error)) => {
                    tracing::debug!(%error, "dropped");
                    self.intake.malformed();
                }
            }
        }
        self.stacks.follow_modules(&mut self.attached);
        self.writer.calls(&self.intake.take_calls())?;
        Ok(more)
    }

    fn take(&mut self, event: Event) {
        self.session.apply(&event);
        match event.kind {
            EventKind::Stack(stack) => self.stacks.take(stack),
            EventKind::Mapping(record) => self.stacks.mapped(&record),
            EventKind::NmethodLoaded(nmethod) => self.stacks.nmethod_loaded(nmethod),
            EventKind::GcBegan { .. } => self.intake.collection_began(),
            EventKind::Stopped { is_exiting } => self.target.stopped(is_exiting),
            EventKind::Exec { .. } => self.target.replaced(),
            EventKind::Allocated(record) => self.intake.call(Call { freed: false, record }),
            EventKind::Freed(record) => self.intake.call(Call { freed: true, record }),
            _ => {}
        }
    }

    /// Writes what changed, if a collection has just begun: what it and the threads that follow it up free shows in the
    /// next samples.
    ///
    /// # Errors
    /// As for [`Self::tick`].
    pub(super) fn tick_for_collection(&mut self, time_ns: u64) -> Result<(), RecordError> {
        if self.intake.is_sample_due(time_ns) { self.tick(time_ns) } else { Ok(()) }
    }

    /// Writes what changed since the last tick.
    ///
    /// # Errors
    /// The recording cannot be written, or the kernel refuses to be read.
    pub(super) fn tick(&mut self, time_ns: u64) -> Result<(), RecordError> {
        self.intake.ticked(time_ns);
        let Self { attached, session, writer, .. } = self;
        attached.probes.flush_log();
        self.stacks.write(writer)?;
        self.totals.write(attached, session, writer, time_ns, false)?;
        session_rows::write_ended(session, writer)?;
        self.totals.write_code(session, writer, time_ns)?;
        let lost_count = self.write_quality()?;
        self.intake.set_lost_count(lost_count);
        let Self { attached, session, writer, .. } = self;
        write_notes(attached, writer)?;
        self.memory.tick(time_ns, attached, session, writer)?;
        self.censuses.write_first(writer)?;
        self.totals.write_touched(attached, session, writer)?;
        writer.tick(time_ns)?;
        Ok(())
    }

    /// Numbers as they were at the last tick.
    pub(super) fn numbers(&self) -> Numbers {
        Numbers {
            live_bytes: self.totals.live_bytes(),
            lost_count: self.intake.lost_count(),
            overhead_percent: self.overhead.percent(),
        }
    }

    /// Is the overhead measured?
    pub(super) fn is_metered(&self) -> bool {
        self.overhead.is_metered()
    }

    /// Opens a window in which the overhead is measured.
    pub(super) fn open_window(&mut self, time_ns: u64) {
        self.overhead.open_window(time_ns, &mut self.attached.probes);
    }

    /// Closes the measuring window. If overhead exceeded the budget for 2 s, lowers the recording level. Returns true
    /// when recording has ended.
    ///
    /// # Errors
    /// The kernel refuses, or the recording cannot be written.
    pub(super) fn close_window(&mut self, notify: &mut Notify) -> Result<bool, RecordError> {
        let mean_bytes = self.totals.mean_bytes();
        self.overhead.close_window(mean_bytes, &mut self.attached, &mut self.writer, notify)
    }

    /// Switches the probes off, writes all that is left, and closes the recording. Gives how much was lost, and the
    /// probes, which may take longer to go.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn finish(
        mut self,
        started_ns: u64,
        reason: EndReason,
        holders_pause: Option<Duration>,
        notify: &mut Notify,
    ) -> Result<(u64, Detaching), RecordError> {
        // Nothing of the recorded program is left to be looked at.
        let is_replaced = reason == EndReason::TargetReplaced;
        let (holders, moment) = match holders_pause {
            Some(max_pause) if !is_replaced => self.look_for_holders(max_pause, notify)?,
            Some(_) => {
                self.writer.note("who holds what was not asked: the target became another program")?;
                (None, None)
            }
            None => (None, None),
        };
        let switched = self.attached.set_enabled(false);
        let end_ns = monotonic_ns();
        drop(moment);
        switched?;
        self.note_deafness(reason)?;
        if is_replaced {
            self.memory.target_replaced();
            self.censuses.target_replaced(end_ns, &mut self.writer)?;
        } else {
            self.memory.ask_last(end_ns);
            self.censuses.session_ended(end_ns);
        }
        let detaching = self.attached.probes.detach();
        let agree = self.attached.tables.settle().map_err(|error| RecordError::unreadable(&error))?;
        if !agree {
            self.writer.note("the totals and the live table do not agree")?;
        }
        while self.drain()? {}
        self.target.resume(&mut self.attached.tables)?;
        self.stacks.give_up_jvm(&mut self.attached);
        let Self { attached, session, writer, totals, .. } = &mut self;
        totals.write(attached, session, writer, end_ns, true)?;
        totals.note_unseen(&mut attached.probes);
        write_notes(attached, writer)?;
        totals.write_live(attached, session, writer, started_ns, end_ns)?;
        session_rows::write_rest(session, writer)?;
        totals.write_code(session, writer, end_ns)?;
        let lost_count = self.write_quality()?;
        let Self { mut attached, mut session, mut writer, stacks, totals, memory, censuses, .. } = self;
        memory.finish(end_ns, &mut attached, &mut session, &mut writer)?;
        session_rows::write_collections(&mut session, &mut writer)?;
        session.touched.place(u64::MAX, |_| None);
        totals.write_touched(&attached, &session, &mut writer)?;
        censuses.finish(&mut writer)?;
        if let Some(holders) = holders {
            holders.finish(notify, &|each| totals.for_each_live(&attached, each), &mut writer)?;
        }
        stacks.finish(&mut writer)?;
        writer.tick(end_ns)?;
        let duration_ns = end_ns.saturating_sub(started_ns);
        writer.finish(&End { duration_ns, reason: reason.as_str().to_owned() })?;
        Ok((lost_count, detaching))
    }

    /// Begins with the look at who keeps what is live, and records until its moment.
    fn look_for_holders(
        &mut self,
        max_pause: Duration,
        notify: &mut Notify,
    ) -> Result<(Option<HoldersLook>, Option<Moment>), RecordError> {
        // The programs would end by themselves.
        self.end_in(UNTIL_MOMENT);
        let mut look = HoldersLook::start(self.target.pid, max_pause);
        let moment = look.moment(notify, || self.drain().map(|_| ()))?;
        Ok((Some(look), moment))
    }

    /// Notes for how long nothing was recorded because this process did not run.
    fn note_deafness(&mut self, reason: EndReason) -> Result<(), RecordError> {
        let deaf = self.attached.probes.heartbeat().map(Heartbeat::deaf).unwrap_or_default();
        if deaf.is_zero() && reason != EndReason::ProbesGone {
            return Ok(());
        }
        if deaf.is_zero() {
            self.writer.note("the guard of the probes was killed or stopped, and the probes went with it")?;
            return Ok(());
        }
        let until = if reason == EndReason::ProbesGone { "; then the probes were taken away" } else { "" };
        self.writer.note(&format!(
            "the recorder did not run (it was stopped, or got no CPU): nothing was recorded for {:.1} s{until}",
            deaf.as_secs_f64()
        ))?;
        Ok(())
    }

    /// Writes how far the numbers can be trusted; gives how much was lost.
    fn write_quality(&mut self) -> Result<u64, RecordError> {
        let counts = quality::Counts {
            malformed: self.intake.malformed_count(),
            completed: self.stacks.completed_count(),
            sample_bytes: self.overhead.sample_bytes(),
        };
        quality::write(&self.attached.tables, &counts, &mut self.writer)
    }
}

/// Writes what the probes cannot see, as far as it was found since.
fn write_notes(attached: &mut Attached, writer: &mut Writer) -> Result<(), RecordError> {
    for note in attached.probes.take_notes() {
        writer.note(&note)?;
    }
    Ok(())
}
