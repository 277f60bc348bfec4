//! What a capture writes into the recording at each tick: only what changed.

use std::collections::HashMap;

use tracer_common::{counter::Counter, table::StackTotals, unwind::Stop};

use super::{Capture, unreadable};
use crate::cli::record::{memory::Look, resolver::NamedStack, trust};
use crate::{
    cli::failure::{Failure, status},
    recording::{self, CodeSample, HeaviestSample, Touched, TouchedBy, Writer},
    session::{
        code::CodeTotals, collections::Collection, mappings::MappingKind, survey::Survey, touched::Touches,
    },
};

/// What was last written, so that only changes are.
#[derive(Default)]
pub(super) struct Written {
    stacks: HashMap<u64, StackTotals>,
    mappings: HashMap<(u64, MappingKind), StackTotals>,
    code: CodeTotals,
}

impl Written {
    /// What was asked for in an allocation, on average.
    pub(super) fn mean_bytes(&self) -> u64 {
        let sum = self.stacks.values().fold((0_u64, 0_u64), |(bytes, count), totals| {
            (bytes.saturating_add(totals.allocated_bytes), count.saturating_add(totals.allocated_count))
        });
        sum.0.checked_div(sum.1).unwrap_or(0)
    }
}

impl Capture {
    pub(super) fn write_memory(&mut self, mut look: Look) -> Result<(), Failure> {
        if let Some(code) = look.take_code() {
            // Thousands of methods: written once, at the end.
            self.code = Some(code);
        }
        if self.attached.probes.samples_faults() {
            self.session.touched.place(look.time_ns(), |address| look.owner_at(address));
            if let Some(heap) = look.java_heap() {
                let set = self.attached.tables.set_java_heap(heap.start, heap.end);
                set.map_err(|error| Failure::caused(status::FAILED, &error))?;
            }
        }
        self.writer.memory(look.time_ns(), &look.memory(&self.session.mappings))?;
        self.writer.thread_stacks(&look.thread_stacks())?;
        self.looked = true;
        Ok(())
    }

    pub(super) fn write_stacks(&mut self) -> Result<(), Failure> {
        while let Some(stack) = self.resolver.try_next() {
            write_stack(&mut self.writer, &stack)?;
        }
        Ok(())
    }

    pub(super) fn write_totals(&mut self, time_ns: u64, is_end: bool) -> Result<(), Failure> {
        let windows = match self.attached.probes.watches_held() {
            true => self.windows.look(&self.attached.tables, time_ns, is_end),
            false => Ok(HashMap::new()),
        };
        let windows = windows.map_err(|error| unreadable(&error))?;
        let mut changed = Vec::new();
        let written = &mut self.written.stacks;
        self.attached
            .tables
            .for_each_stack(|stack, mut totals| {
                totals.allocated_bytes += windows.get(&stack).unwrap_or(&0);
                if totals.allocated_count > 0 && written.insert(stack, totals) != Some(totals) {
                    changed.push((stack, totals));
                }
            })
            .map_err(|error| unreadable(&error))?;
        self.writer.allocator_totals(time_ns, &changed)?;

        let mut changed = Vec::new();
        for (&(stack, kind), &totals) in self.session.mappings.totals() {
            if self.written.mappings.insert((stack, kind), totals) != Some(totals) {
                changed.push((stack, kind.as_str(), totals));
            }
        }
        self.writer.mapping_totals(time_ns, &changed)?;
        Ok(())
    }

    pub(super) fn write_code(&mut self, time_ns: u64) -> Result<(), Failure> {
        let code = self.session.code.totals();
        if code != self.written.code {
            self.written.code = code;
            let CodeTotals { loaded_bytes, loaded_count, unloaded_bytes, unloaded_count } = code;
            let sample = CodeSample { time_ns, loaded_bytes, loaded_count, unloaded_bytes, unloaded_count };
            self.writer.code_sample(sample)?;
        }
        Ok(())
    }

    pub(super) fn write_collections(&mut self) -> Result<(), Failure> {
        let collections = &mut self.session.collections;
        for &Collection { begin_ns, end_ns, full } in collections.take_ended() {
            self.writer.gc(recording::Collection { begin_ns, end_ns, full })?;
        }
        Ok(())
    }

    /// Writes what was found since that is not seen.
    pub(super) fn write_notes(&mut self) -> Result<(), Failure> {
        for note in self.attached.probes.take_notes() {
            self.writer.note(&note)?;
        }
        Ok(())
    }

    /// Writes how far the numbers can be trusted, and gives how much was lost.
    pub(super) fn write_trust(&mut self) -> Result<u64, Failure> {
        let counters = self.attached.tables.counters().map_err(|error| unreadable(&error))?;
        let lost = trust::lost(&counters, self.malformed_count);
        self.writer.lost(&lost)?;
        let heaviest_sample = match self.sample_bytes {
            None => None,
            Some(interval) => {
                let heaviest = self.attached.tables.heaviest_sample(interval);
                let (bytes, count) = heaviest.map_err(|error| unreadable(&error))?;
                Some(HeaviestSample { bytes, count })
            }
        };
        let trust = trust::trust(&counters, self.waiting.completed_count, heaviest_sample);
        self.writer.quality(&trust)?;
        Ok(lost.iter().map(|(_, count)| count).sum())
    }

    /// Writes what was touched for the first time, if that was watched.
    pub(super) fn write_touched(&mut self) -> Result<(), Failure> {
        if !self.attached.probes.samples_faults() {
            return Ok(());
        }
        let counters = self.attached.tables.counters().map_err(|error| unreadable(&error))?;
        let by = |(&(stack, owner), touches): (&(u64, &'static str), &Touches)| TouchedBy {
            stack,
            owner: owner.to_owned(),
            sample_count: touches.sample_count,
            fault_count: touches.fault_count,
            variance: touches.variance,
        };
        let touched = Touched {
            fault_count: counters.get(Counter::WriteFaults),
            java_heap_fault_count: counters.get(Counter::HeapWriteFaults),
            by: self.session.touched.touches().iter().map(by).collect(),
        };
        self.writer.touched(&touched)?;
        Ok(())
    }

    pub(super) fn write_live(&mut self, started_ns: u64, end_ns: u64) -> Result<(), Failure> {
        let mut live = Survey::new(started_ns, end_ns, self.session.collections.ended_count());
        self.attached
            .tables
            .for_each_live(|address, stack, mut allocation| {
                allocation.weighed += self.windows.of(address, &allocation);
                live.add(stack, &allocation);
            })
            .map_err(|error| unreadable(&error))?;
        self.writer.live_by_thread(&live.by_thread())?;
        self.writer.survivors(&live.survivors())?;
        Ok(())
    }
}

/// Writes a stack with its names.
pub(super) fn write_stack(writer: &mut Writer, stack: &NamedStack) -> Result<(), Failure> {
    let complete = stack.stop == Stop::Complete as u32;
    writer.stack(stack.id, &stack.frames, complete, trust::stop_name(stack.stop))?;
    Ok(())
}
