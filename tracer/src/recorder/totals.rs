//! The totals that go into the recording at each tick: of every stack, mapping and the code cache, only what changed.

use std::collections::HashMap;

use tracer_common::{
    counter::Counter,
    stack::StackId,
    table::{Allocation, StackTotals},
};

use super::{
    RecordError, attach::Attached, inflate_windows::InflateWindows, live_resident::ResidentSums,
    live_summary::LiveSummary,
};
use crate::process::Pid;
use crate::{
    probe::probes::Probes,
    recording::{CodeSample, FirstTouches, TouchedBy, Writer},
    session::{Session, code::CodeTotals, first_touches::Touches, mappings::MappingKind},
};

/// The totals as they were written last, so that only changes are.
pub(super) struct Totals {
    stacks: HashMap<StackId, StackTotals>,
    mappings: HashMap<(StackId, MappingKind), StackTotals>,
    code: CodeTotals,
    windows: InflateWindows,
    pid: Pid,
}

impl Totals {
    /// Totals of process `pid`.
    pub(super) fn new(pid: Pid) -> Self {
        Self {
            stacks: HashMap::new(),
            mappings: HashMap::new(),
            code: CodeTotals::default(),
            windows: InflateWindows::new(pid),
            pid,
        }
    }

    /// Size of an allocation as it was asked for, on average.
    pub(super) fn mean_bytes(&self) -> u64 {
        let sum = self.stacks.values().fold((0_u64, 0_u64), |(bytes, count), totals| {
            (bytes.saturating_add(totals.allocated_bytes), count.saturating_add(totals.allocated_count))
        });
        sum.0.checked_div(sum.1).unwrap_or(0)
    }

    /// Bytes that were allocated in the session and are not freed.
    pub(super) fn live_bytes(&self) -> u64 {
        let sum = |sum: u64, totals: &StackTotals| {
            sum.saturating_add(totals.allocated_bytes.saturating_sub(totals.freed_bytes))
        };
        self.stacks.values().fold(0, sum)
    }

    /// Writes the totals of allocations and mappings.
    ///
    /// # Errors
    /// The recording cannot be written, or the kernel refuses to be read.
    pub(super) fn write(
        &mut self,
        attached: &Attached,
        session: &Session,
        writer: &mut Writer,
        time_ns: u64,
        is_end: bool,
    ) -> Result<(), RecordError> {
        let windows = match attached.probes.watches_lifecycle() {
            true => Some(self.windows.look(&attached.tables, time_ns, is_end)),
            false => None,
        };
        let windows = windows.transpose().map_err(|error| RecordError::unreadable(&error))?;
        let mut changed = Vec::new();
        let written = &mut self.stacks;
        attached
            .tables
            .for_each_stack(|stack, mut totals| {
                totals.allocated_bytes += windows.and_then(|windows| windows.get(&stack)).unwrap_or(&0);
                if totals.allocated_count > 0 && written.insert(stack, totals) != Some(totals) {
                    changed.push((stack, totals));
                }
            })
            .map_err(|error| RecordError::unreadable(&error))?;
        writer.allocator_totals(time_ns, &changed)?;

        let mut changed = Vec::new();
        for (&(stack, kind), &totals) in session.mappings.totals() {
            if self.mappings.insert((stack, kind), totals) != Some(totals) {
                changed.push((stack, kind.as_str(), totals));
            }
        }
        writer.mapping_totals(time_ns, &changed)?;
        Ok(())
    }

    /// Writes the totals of compiled code.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn write_code(
        &mut self,
        session: &Session,
        writer: &mut Writer,
        time_ns: u64,
    ) -> Result<(), RecordError> {
        let code = session.code.totals();
        if code != self.code {
            self.code = code;
            let CodeTotals { loaded_bytes, loaded_count, unloaded_bytes, unloaded_count } = code;
            let sample = CodeSample { time_ns, loaded_bytes, loaded_count, unloaded_bytes, unloaded_count };
            writer.code_sample(sample)?;
        }
        Ok(())
    }

    /// Writes memory that was touched for the first time, if that was watched.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub(super) fn write_touched(
        &self,
        attached: &Attached,
        session: &Session,
        writer: &mut Writer,
    ) -> Result<(), RecordError> {
        if !attached.probes.samples_faults() {
            return Ok(());
        }
        let counters = attached.tables.counters().map_err(|error| RecordError::unreadable(&error))?;
        let by = |(&(stack, owner), touches): (&(StackId, &'static str), &Touches)| TouchedBy {
            stack,
            owner: owner.to_owned(),
            sample_count: touches.sample_count,
            fault_count: touches.fault_count,
            variance: touches.variance,
        };
        let touched = FirstTouches {
            fault_count: counters.get(Counter::WriteFaults),
            java_heap_fault_count: counters.get(Counter::HeapWriteFaults),
            by: session.touched.touches().iter().map(by).collect(),
        };
        writer.touched(&touched)?;
        Ok(())
    }

    /// Writes the allocations that are live at the end.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub(super) fn write_live(
        &self,
        attached: &Attached,
        session: &Session,
        writer: &mut Writer,
        started_ns: u64,
        end_ns: u64,
    ) -> Result<(), RecordError> {
        let mut live = LiveSummary::new(started_ns, end_ns, session.collections.ended_count());
        // Streams and blocks behind other calls are known by other keys than addresses.
        let mut resident = ResidentSums::new(!attached.probes.watches_lifecycle());
        self.for_each_live(attached, &mut |address, stack, allocation| {
            live.add(stack, &allocation);
            resident.add(address, stack, &allocation);
        })?;
        writer.live_by_thread(&live.by_thread())?;
        writer.survivors(&live.survivors())?;
        writer.live_by_size(&live.by_size())?;
        if let Some(resident) = resident.by_stack(self.pid) {
            writer.live_resident(&resident)?;
        }
        Ok(())
    }

    /// Calls `each` with every live allocation: its key in the table, its stack, and itself with all that it has.
    ///
    /// # Errors
    /// The kernel refuses to be read.
    pub(super) fn for_each_live(
        &self,
        attached: &Attached,
        each: &mut dyn FnMut(u64, StackId, Allocation),
    ) -> Result<(), RecordError> {
        attached
            .tables
            .for_each_live(|address, stack, mut allocation| {
                allocation.weighed += self.windows.of(address, &allocation);
                each(address, stack, allocation);
            })
            .map_err(|error| RecordError::unreadable(&error))
    }

    /// Notes live streams that nobody looked at.
    pub(super) fn note_unseen(&self, probes: &mut Probes) {
        if let Some(note) = self.windows.unseen() {
            probes.note(&note);
        }
    }
}
