//! The BPF programs' tables: counters, totals by stack, live allocations.

use std::{collections::HashMap, io, thread, time::Duration};

use aya::maps::{Array, Map, MapData, MapError, PerCpuArray};
use tracer_common::{
    counter::Counter,
    sampling::{self, HeaviestSample},
    stack::{StackId, StackIndex},
    table::{Allocation, Control, Range, StackEntry, StackTotals},
    unwind::Stop,
};

use super::{
    live::LiveTable,
    mapped::{MappableArray, Mapped},
};
use crate::probe::{ProbeError, probes::Probes};

/// Comparisons of the tables at the end, and the time between two. Programs run for microseconds; one that was
/// preempted, for as long as the target waits for a CPU.
const SETTLE_TRIES: u32 = 100;
const SETTLE_PAUSE: Duration = Duration::from_millis(20);

/// The tables of a running recording.
pub struct Tables {
    control: Array<MapData, Control>,
    java_heap: Array<MapData, Range>,
    sampling: Array<MapData, u32>,
    sampled_room: Array<MapData, u64>,
    counters: PerCpuArray<MapData, u64>,
    stops: PerCpuArray<MapData, u64>,
    stacks: MappableArray<StackEntry>,
    stack_count: Array<MapData, u64>,
    live: LiveTable,
}

/// The counters, summed over the CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    pub(crate) values: [u64; Counter::COUNT],
    /// Walks by the number of the [`Stop`] that ended them.
    pub stops: [u64; Stop::COUNT],
    /// Walks to the thread's entry whose frames are in the ring buffer, or were.
    pub sent_complete: u64,
}

impl Counters {
    /// The value of `counter`.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values.get(counter as usize).copied().unwrap_or_default()
    }

    /// Walks that ended for this reason.
    pub fn stop(&self, stop: Stop) -> u64 {
        self.stops.get(stop as usize).copied().unwrap_or_default()
    }
}

impl Tables {
    /// Takes the tables of `probes`.
    ///
    /// # Errors
    /// They were taken before.
    pub fn take(probes: &mut Probes) -> Result<Self, ProbeError> {
        let mut array = |name| match probes.take_map(name)? {
            Map::Array(data) => Ok(data),
            _ => Err(ProbeError::MissingMap(name)),
        };
        let (stacks, sets) = (array("STACKS")?, array("LIVE")?);
        let Map::HashMap(rest) = probes.take_map("LIVE_OVERFLOW")? else {
            return Err(ProbeError::MissingMap("LIVE_OVERFLOW"));
        };
        Ok(Self {
            control: probes.take_map("CONTROL")?.try_into()?,
            java_heap: probes.take_map("JAVA_HEAP")?.try_into()?,
            sampling: probes.take_map("SAMPLING")?.try_into()?,
            sampled_room: probes.take_map("SAMPLED_ROOM")?.try_into()?,
            counters: probes.take_map("COUNTERS")?.try_into()?,
            stops: probes.take_map("STOPS")?.try_into()?,
            stacks: MappableArray::new(&stacks)?,
            stack_count: probes.take_map("STACK_COUNT")?.try_into()?,
            live: LiveTable::new(&sets, rest)?,
        })
    }

    /// Switches all probes on or off at once.
    ///
    /// # Errors
    /// The map operation failed.
    pub fn set_enabled(&mut self, enabled: bool) -> Result<(), MapError> {
        let control = Control { enabled: enabled.into(), ..self.control.get(&0, 0)? };
        self.control.set(0, control, 0)
    }

    /// Lets the target be stopped once, at one of [`may_stop`](tracer_common::table::may_stop). To be called while it
    /// does not run.
    ///
    /// # Errors
    /// The map operation failed.
    pub fn allow_stop(&mut self, may_stop: u32) -> Result<(), MapError> {
        let control = Control { may_stop, ..self.control.get(&0, 0)? };
        self.control.set(0, control, 0)
    }

    /// Tells where the Java heap is: page faults in it are counted alone.
    ///
    /// # Errors
    /// The map operation failed.
    pub fn set_java_heap(&mut self, low: u64, high: u64) -> Result<(), MapError> {
        self.java_heap.set(0, Range { low, high }, 0)
    }

    /// Records from now on one allocation in about so many bytes; 0: all.
    ///
    /// # Errors
    /// The map operation failed.
    pub fn set_sampling(&mut self, interval_bytes: u32) -> Result<(), MapError> {
        self.sampling.set(0, interval_bytes, 0)
    }

    /// The heaviest sample, if this is the interval.
    ///
    /// # Errors
    /// The map operation failed.
    pub fn heaviest_sample(&self, interval_bytes: u32) -> io::Result<HeaviestSample> {
        let room = self.sampled_room.get(&0, 0).map_err(io::Error::other)?;
        Ok(sampling::heaviest_sample(room, interval_bytes))
    }

    /// Waits until the tables agree: a program that was running when the probes were switched off may
    /// have written one of them and not yet the other. Returns false if they do not agree in reasonable time.
    ///
    /// # Errors
    /// A map operation failed.
    pub fn settle(&self) -> io::Result<bool> {
        for _ in 0..SETTLE_TRIES {
            if self.agree()? {
                return Ok(true);
            }
            thread::sleep(SETTLE_PAUSE);
        }
        Ok(false)
    }

    /// Is of each stack just so much live as was allocated from it and not freed?
    fn agree(&self) -> io::Result<bool> {
        let mut live: HashMap<StackId, (u64, u64)> = HashMap::new();
        self.for_each_live(|_, stack, allocation| {
            let (bytes, count) = live.entry(stack).or_default();
            *bytes += allocation.weighed().bytes();
            *count += allocation.weighed().count();
        })?;
        let mut agree = true;
        self.for_each_stack(|stack, totals| {
            let bytes = totals.allocated_bytes.wrapping_sub(totals.freed_bytes);
            let count = totals.allocated_count.wrapping_sub(totals.freed_count);
            agree &= live.remove(&stack).unwrap_or_default() == (bytes, count);
        })?;
        Ok(agree && live.is_empty())
    }

    /// One of the counters now.
    ///
    /// # Errors
    /// A map operation failed.
    pub fn counter(&self, counter: Counter) -> io::Result<u64> {
        sum(&self.counters, counter as usize)
    }

    /// The counters now.
    ///
    /// # Errors
    /// A map operation failed.
    pub fn counters(&self) -> io::Result<Counters> {
        let mut counters =
            Counters { values: [0; Counter::COUNT], stops: [0; Stop::COUNT], sent_complete: 0 };
        for (i, value) in counters.values.iter_mut().enumerate() {
            *value = sum(&self.counters, i)?;
        }
        for (i, value) in counters.stops.iter_mut().enumerate() {
            *value = sum(&self.stops, i)?;
        }
        // Most walks are counted at their stacks.
        for entry in self.entries()?.skip(StackIndex::FIRST_WALKED.0 as usize) {
            if let Some(stop) = counters.stops.get_mut(entry.stop as usize) {
                *stop += entry.walk_count;
            }
            if entry.stop == Stop::Complete as u32 && entry.sent != 0 {
                counters.sent_complete += entry.walk_count;
            }
        }
        Ok(counters)
    }

    /// The totals of every stack.
    ///
    /// # Errors
    /// A map operation failed.
    pub fn for_each_stack(&self, mut each: impl FnMut(StackId, StackTotals)) -> io::Result<()> {
        self.entries()?
            .filter(|entry| entry.id != StackId::ABSENT)
            .for_each(|entry| each(entry.id, entry.totals));
        Ok(())
    }

    /// Every live allocation: its address, the id of its stack, and itself.
    ///
    /// # Errors
    /// A map operation failed.
    pub fn for_each_live(&self, mut each: impl FnMut(u64, StackId, Allocation)) -> io::Result<()> {
        let mut stacks = self.used_stacks()?;
        self.live.for_each(|address, allocation| {
            let index = allocation.stack.0 as usize;
            // Does the entry belong to a stack that was seen first since then?
            if !stacks.range().contains(&index)
                && let Ok(now) = self.used_stacks()
            {
                stacks = now;
            }
            each(address, stacks.get(index).map_or(StackId::ABSENT, |entry| entry.id), allocation);
        })
    }

    /// The entries of all stacks, by index; some may be unused.
    fn entries(&self) -> io::Result<impl Iterator<Item = StackEntry>> {
        let stacks = self.used_stacks()?;
        Ok(stacks.range().filter_map(move |index| stacks.get(index)))
    }

    /// The entries that are in use by now.
    fn used_stacks(&self) -> io::Result<Mapped<StackEntry>> {
        let count = self.stack_count.get(&0, 0).map_err(io::Error::other)?;
        self.stacks.map(0..(count as usize).saturating_add(StackIndex::FIRST_WALKED.0 as usize))
    }
}

/// The sum over the CPUs of one element.
fn sum(map: &PerCpuArray<MapData, u64>, index: usize) -> io::Result<u64> {
    Ok(map.get(&(index as u32), 0).map_err(io::Error::other)?.iter().sum())
}
