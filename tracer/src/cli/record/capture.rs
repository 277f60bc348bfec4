//! A capture under way: attached probes, what they told so far, and the file that keeps it.

mod budget;
mod halt;
mod waiting;
mod write;

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use tracer_common::{
    record::mapping_call,
    table::{NO_STACK, OVERFLOW_STACK},
    unwind::Stop,
};

use self::{
    waiting::Waiting,
    write::{Written, write_stack},
};
use super::{
    census::Taking, held::Windows, jvm::JvmWatch, launch::Halt, memory::MemoryWatch, resolver::Resolver,
    setup::Attached,
};
use crate::{
    cli::failure::{Failure, status},
    ingest::event::{Event, EventKind, EventSource},
    probe::probes::Detaching,
    process::{Target, mapping, target::Status},
    recording::{self, BEGAN_WITH_SESSION, Call, CensusMoment, End, KeptCensus, Memory, Step, Writer},
    session::{Session, collections::Collection},
    symbolize::{Frame, FrameKind},
};

const PROT_EXEC: u32 = 4;
/// Records taken from the ring buffer before anything else gets its turn.
const DRAIN_RECORDS: usize = 20_000;
/// Beside the ticks, a sample is taken when a collection begins, unless one is as new as this.
const COLLECTION_SAMPLE_NS: u64 = 200_000_000;

/// A capture, from ready to the closed recording.
pub(super) struct Capture {
    pid: u32,
    attached: Attached,
    session: Session,
    resolver: Resolver,
    writer: Writer,
    jvm: JvmWatch,
    written: Written,
    waiting: Waiting,
    /// The target stands still until it is known what it met, or if it is about to end.
    halt: Option<Halt>,
    is_leaving: bool,
    /// How often it was let run on.
    halt_count: u32,
    /// The target became another program.
    replaced: bool,
    malformed_count: u64,
    rss_bytes: Option<u64>,
    memory: MemoryWatch,
    windows: Windows,
    /// As it was walked last.
    code: Option<recording::CodeCache>,
    /// Was the memory looked at?
    looked: bool,
    /// The census at the start, while it is being taken.
    first_census: Option<Taking>,
    ticked_ns: u64,
    /// A collection began after the last tick.
    collection_began: bool,
    /// Allocations and frees, with `--events`, not yet written.
    calls: Vec<Call>,
    /// None: every allocation was recorded so far.
    sample_bytes: Option<u32>,
    /// To keep within the budget.
    steps: Vec<Step>,
}

impl Capture {
    /// Switches the attached probes on. What happens from now on is recorded.
    ///
    /// # Errors
    /// The kernel refuses, or the recording cannot be written.
    pub(super) fn begin(
        target: &Target,
        mut attached: Attached,
        resolver: Resolver,
        mut writer: Writer,
    ) -> Result<Self, Failure> {
        let mut session = Session::default();
        for (tid, comm) in threads(target.pid) {
            session.threads.present(tid, comm);
        }
        let mut jvm = JvmWatch::new(target);
        jvm.poll(&mut attached, &resolver, &mut session, &mut writer)?;
        jvm.settle(&mut attached, &mut writer)?;
        for mapping in mapping::read(target.pid).unwrap_or_default() {
            session.mappings.mapped_before(mapping.start, mapping.end);
            if mapping.path == "[heap]" {
                session.mappings.set_program_break(mapping.end);
            }
        }
        let reserved = [(OVERFLOW_STACK, "[stack table full]"), (NO_STACK, "[no room to walk the stack]")];
        for (stack, name) in reserved {
            writer.stack(stack, &[Frame::named(name, FrameKind::Native)], false, "not walked")?;
        }
        for note in attached.probes.take_notes() {
            writer.note(&note)?;
        }
        let memory = MemoryWatch::start(target.pid);
        let sample_bytes = attached.sample_bytes;
        attached.tables.set_enabled(true).map_err(|error| Failure::caused(status::FAILED, &error))?;
        Ok(Self {
            pid: target.pid,
            attached,
            session,
            resolver,
            writer,
            jvm,
            written: Written::default(),
            waiting: Waiting::default(),
            halt: None,
            is_leaving: false,
            halt_count: 0,
            replaced: false,
            malformed_count: 0,
            rss_bytes: None,
            memory,
            windows: Windows::new(target.pid),
            code: None,
            looked: false,
            first_census: None,
            ticked_ns: 0,
            collection_began: false,
            calls: Vec::new(),
            sample_bytes,
            steps: Vec::new(),
        })
    }

    /// How many probes are attached.
    pub(super) fn probe_count(&self) -> usize {
        self.attached.probes.attached_count()
    }

    /// Notes when recording began: RFC 3339, and `CLOCK_MONOTONIC`.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn started(&mut self, time: &str, time_ns: u64) -> Result<(), Failure> {
        Ok(self.writer.started(time, time_ns)?)
    }

    /// The census of what there was before the session will come. None: nothing was.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn expect_census(&mut self, taking: Option<Taking>, started_ns: u64) -> Result<(), Failure> {
        if taking.is_none() {
            let census = Err(BEGAN_WITH_SESSION.to_owned());
            self.writer.census(&KeptCensus { moment: CensusMoment::Begin, time_ns: started_ns, census })?;
        }
        self.first_census = taking;
        Ok(())
    }

    /// A descriptor of the ring buffer: readable when there are events.
    ///
    /// # Errors
    /// No more descriptors can be had.
    pub(super) fn events_fd(&self) -> io::Result<OwnedFd> {
        self.attached.ring.as_fd().try_clone_to_owned()
    }

    /// Why there is nothing more to come of the target: it became another program, and nothing of the old one is
    /// left, or it is about to end, and stands still.
    pub(super) fn end_of_target(&self) -> Option<&'static str> {
        if self.is_leaving {
            Some("target exited")
        } else {
            self.replaced.then_some("target became another program")
        }
    }

    /// Is there a JVM of which not all was understood yet?
    pub(super) fn awaits_jvm(&self) -> bool {
        self.jvm.is_unsettled()
    }

    /// Opens the JVM if it can be understood by now.
    ///
    /// # Errors
    /// The kernel or the recording refuses.
    pub(super) fn poll_jvm(&mut self) -> Result<(), Failure> {
        let was_starting = self.jvm.is_starting();
        self.jvm.poll(&mut self.attached, &self.resolver, &mut self.session, &mut self.writer)?;
        if was_starting && !self.jvm.is_starting() {
            // At once: they need the target's memory, and a target can end at any time.
            self.release_held();
            while self.drain()? {}
            self.run_on()?;
            self.jvm.settle(&mut self.attached, &mut self.writer)?;
        }
        Ok(())
    }

    /// Takes in the events that are there. True: there may be more.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn drain(&mut self) -> Result<bool, Failure> {
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
                    self.malformed_count += 1;
                }
            }
        }
        self.follow_modules();
        self.writer.calls(&std::mem::take(&mut self.calls))?;
        Ok(more)
    }

    fn take(&mut self, event: Event) {
        self.session.apply(&event);
        match event.kind {
            EventKind::Stack(stack) => {
                self.waiting.modules_changed |= stack.stop == Stop::NoMapping as u32;
                if stack.rest.is_some() {
                    self.waiting.unfinished.push(stack);
                } else {
                    self.resolver.resolve(stack);
                }
            }
            EventKind::Mapping(record) => {
                let maps = matches!(record.call, mapping_call::MMAP | mapping_call::MPROTECT);
                self.waiting.modules_changed |= maps && record.protection & PROT_EXEC != 0;
            }
            EventKind::NmethodLoaded(nmethod) => self.resolver.nmethod_loaded(nmethod),
            EventKind::GcBegan { .. } => self.collection_began = true,
            EventKind::Halted { leaving } => self.halted(leaving),
            EventKind::Exec { .. } => self.replaced = true,
            EventKind::Allocated(record) => self.calls.push(Call { freed: false, record }),
            EventKind::Freed(record) => self.calls.push(Call { freed: true, record }),
            _ => {}
        }
    }

    /// Writes what changed, if a collection has just begun: what it and the threads that follow it up
    /// free shows in the next samples.
    ///
    /// # Errors
    /// As for [`Capture::tick`].
    pub(super) fn tick_for_collection(&mut self, time_ns: u64) -> Result<(), Failure> {
        let due = time_ns.saturating_sub(self.ticked_ns) >= COLLECTION_SAMPLE_NS;
        if self.collection_began && due { self.tick(time_ns) } else { Ok(()) }
    }

    /// Writes what changed since the last tick.
    ///
    /// # Errors
    /// The recording cannot be written, or the kernel refuses to be read.
    pub(super) fn tick(&mut self, time_ns: u64) -> Result<(), Failure> {
        self.ticked_ns = time_ns;
        self.collection_began = false;
        self.attached.probes.flush_log();
        self.write_stacks()?;
        self.write_totals(time_ns, false)?;
        self.write_collections()?;
        self.write_code(time_ns)?;
        self.write_trust()?;
        self.write_notes()?;
        if let Ok(status) = Status::read(self.pid)
            && status.rss_bytes > 0
        {
            self.rss_bytes = Some(status.rss_bytes);
            self.writer.resident(time_ns, status.rss_bytes)?;
        }
        if let Some(look) = self.memory.poll(time_ns) {
            self.write_memory(look)?;
        }
        if let Some(census) = self.first_census.as_mut().and_then(Taking::try_give) {
            self.writer.census(&census)?;
        }
        self.write_touched()?;
        self.writer.tick(time_ns)?;
        Ok(())
    }

    /// Switches the probes off, writes all that is left, and closes the recording. Gives how much was
    /// lost, and the probes, which may take longer to go.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn finish(
        mut self,
        started_ns: u64,
        now_ns: impl Fn() -> u64,
        reason: &str,
    ) -> Result<(u64, Detaching), Failure> {
        let switched = self.attached.tables.set_enabled(false);
        let end_ns = now_ns();
        switched.map_err(|error| Failure::caused(status::FAILED, &error))?;
        self.memory.ask_last(end_ns);
        let last_census = Taking::start(self.pid, CensusMoment::End, end_ns);
        let detaching = self.attached.probes.detach();
        if !self.attached.tables.settle().map_err(|error| unreadable(&error))? {
            self.writer.note("the totals and the live table do not agree")?;
        }
        while self.drain()? {}
        self.run_on()?;
        self.jvm.give_up();
        self.release_held();
        self.follow_modules();
        self.write_totals(end_ns, true)?;
        if let Some(note) = self.windows.unseen() {
            self.attached.probes.note(&note);
        }
        self.write_notes()?;
        self.write_live(started_ns, end_ns)?;
        for (tid, thread) in self.session.threads.iter() {
            let name = Some(thread.name.as_str()).filter(|name| !name.is_empty());
            self.writer.thread(tid, name, thread.started_ns, thread.ended_ns, thread.creator_stack)?;
        }
        self.write_collections()?;
        self.write_code(end_ns)?;
        for &Collection { begin_ns, end_ns, full } in self.session.collections.under_way() {
            self.writer.gc(recording::Collection { begin_ns, end_ns, full })?;
        }
        let lost_count = self.write_trust()?;
        match self.memory.last(end_ns) {
            Some(look) => self.write_memory(look)?,
            None if self.looked => {}
            None => {
                let memory = Memory { rss_bytes: self.rss_bytes, ..Memory::default() };
                self.writer.memory(end_ns, &memory)?;
            }
        }
        self.session.touched.place(u64::MAX, |_| None);
        self.write_touched()?;
        if let Some(code) = self.code.take() {
            self.writer.code_cache(&code)?;
        }
        for mut taking in self.first_census.take().into_iter().chain([last_census]) {
            taking.give_at_last().map_or(Ok(()), |census| self.writer.census(&census))?;
        }
        for stack in self.resolver.finish() {
            write_stack(&mut self.writer, &stack)?;
        }
        self.writer.tick(end_ns)?;
        let duration_ns = end_ns.saturating_sub(started_ns);
        self.writer.finish(&End { duration_ns, reason: reason.to_owned() })?;
        Ok((lost_count, detaching))
    }
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(status::FAILED, format!("cannot read the tables of the BPF programs: {error}"))
}

/// The threads of process `pid` with their names, as the kernel has them.
fn threads(pid: u32) -> Vec<(u32, String)> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let tid = entry.file_name().to_str()?.parse().ok()?;
            let comm = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            Some((tid, comm.trim_end().to_owned()))
        })
        .collect()
}
