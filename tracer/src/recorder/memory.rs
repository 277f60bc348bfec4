//! The process's memory as it goes into the recording: a sample at each tick for which one is ready, and the last at
//! the end.

use super::{
    ErrorKind, RecordError, attach::Attached, memory_sampler::MemorySampler, memory_snapshot::MemorySnapshot,
};
use crate::{
    process::{Pid, module::file_name, target::Status},
    recording::{CodeCache, Memory, Writer},
    session::Session,
};

/// See the module.
pub(super) struct MemoryRecord {
    pid: Pid,
    sampler: MemorySampler,
    rss_bytes: Option<u64>,
    /// The code cache as it was walked last.
    code: Option<CodeCache>,
    /// Was there a snapshot?
    is_sampled: bool,
}

impl MemoryRecord {
    /// A record of process `pid`.
    pub(super) fn start(pid: Pid) -> Self {
        Self { pid, sampler: MemorySampler::start(pid), rss_bytes: None, code: None, is_sampled: false }
    }

    /// Writes the resident size, and the snapshot that is ready by now.
    ///
    /// # Errors
    /// The recording cannot be written, or the kernel refuses.
    pub(super) fn tick(
        &mut self,
        time_ns: u64,
        attached: &mut Attached,
        session: &mut Session,
        writer: &mut Writer,
    ) -> Result<(), RecordError> {
        if let Ok(status) = Status::read(self.pid.leader())
            && status.rss_bytes > 0
        {
            self.rss_bytes = Some(status.rss_bytes);
            writer.resident(time_ns, status.rss_bytes)?;
        }
        let snapshot = self.sampler.poll(time_ns);
        self.count_pauses(session);
        match snapshot {
            Some(snapshot) => self.write(snapshot, attached, session, writer),
            None => Ok(()),
        }
    }

    /// Asks for the last snapshot, for [`Self::finish`].
    pub(super) fn ask_last(&mut self, time_ns: u64) {
        self.sampler.ask_last(time_ns);
    }

    /// What is under way may be of the program that the target became: it is dropped.
    pub(super) fn target_replaced(&mut self) {
        self.sampler.forget();
    }

    /// Writes the last snapshot, or else what is known without one.
    ///
    /// # Errors
    /// As for [`Self::tick`].
    pub(super) fn finish(
        mut self,
        end_ns: u64,
        attached: &mut Attached,
        session: &mut Session,
        writer: &mut Writer,
    ) -> Result<(), RecordError> {
        let snapshot = self.sampler.last(end_ns);
        self.count_pauses(session);
        match snapshot {
            Some(snapshot) => self.write(snapshot, attached, session, writer)?,
            None if self.is_sampled => {}
            None => {
                let memory = Memory { rss_bytes: self.rss_bytes, ..Memory::default() };
                writer.memory(end_ns, &memory)?;
            }
        }
        if let Some(code) = &self.code {
            writer.code_cache(code)?;
        }
        Ok(())
    }

    /// Tells the session how often a concurrent collector paused.
    fn count_pauses(&self, session: &mut Session) {
        for (time_ns, cycles) in self.sampler.take_cycles() {
            session.collections.paused(time_ns, cycles.pause_count, cycles.pauses_per_cycle);
        }
    }

    fn write(
        &mut self,
        mut snapshot: MemorySnapshot,
        attached: &mut Attached,
        session: &mut Session,
        writer: &mut Writer,
    ) -> Result<(), RecordError> {
        if let Some(code) = snapshot.take_code() {
            // Thousands of methods: written once, at the end.
            self.code = Some(code);
        }
        if attached.probes.samples_faults() {
            session.touched.place(snapshot.time_ns(), |address| snapshot.owner_at(address));
            if let Some(heap) = snapshot.java_heap() {
                let set = attached.tables.set_java_heap(heap.start, heap.end);
                set.map_err(|error| RecordError::caused(ErrorKind::Failed, &error))?;
            }
        }
        for path in std::mem::take(&mut snapshot.own_allocators) {
            if attached.watches_allocator && !attached.own_allocators.contains(&path) {
                writer.note(&format!(
                    "{} was loaded during the recording and has an allocator of its own: the memory that it gives is in \
                     no total",
                    file_name(&path)
                ))?;
                attached.own_allocators.insert(path);
            }
        }
        writer.memory(snapshot.time_ns(), &snapshot.memory(&session.mappings))?;
        writer.thread_stacks(&snapshot.thread_stacks())?;
        self.is_sampled = true;
        Ok(())
    }
}
