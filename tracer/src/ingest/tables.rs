//! The BPF programs' tables: counters, totals by stack, live allocations.

use std::{io, os::fd::AsFd};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapError, PerCpuArray},
};
use tracer_common::{
    counter::Counter,
    table::{Allocation, Control, StackTotals},
    unwind::Stop,
};

use super::batch;

/// The tables of a running recording.
pub struct Tables {
    control: Array<MapData, Control>,
    counters: PerCpuArray<MapData, u64>,
    stops: PerCpuArray<MapData, u64>,
    stacks: MapData,
    live: MapData,
}

/// The counters, summed over the CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    values: [u64; Counter::COUNT],
    /// Walks by the number of the [`Stop`] that ended them.
    pub stops: [u64; Stop::COUNT],
}

impl Counters {
    /// The value of `counter`.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }
}

impl Tables {
    /// Takes the tables' maps out of `ebpf`.
    ///
    /// # Errors
    /// One is missing or not of its type.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let mut take =
            |name: &str| ebpf.take_map(name).ok_or(MapError::InvalidName { name: name.to_owned() });
        let hash = |name: &str, map: Map| match map {
            Map::HashMap(data) => Ok(data),
            _ => Err(MapError::InvalidName { name: name.to_owned() }),
        };
        Ok(Self {
            control: take("CONTROL")?.try_into()?,
            counters: take("COUNTERS")?.try_into()?,
            stops: take("STOPS")?.try_into()?,
            stacks: hash("STACKS", take("STACKS")?)?,
            live: hash("LIVE", take("LIVE")?)?,
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

    /// The counters now.
    ///
    /// # Errors
    /// The map operation failed.
    pub fn counters(&self) -> Result<Counters, MapError> {
        let mut counters = Counters { values: [0; Counter::COUNT], stops: [0; Stop::COUNT] };
        for (i, value) in counters.values.iter_mut().enumerate() {
            *value = self.counters.get(&(i as u32), 0)?.iter().sum();
        }
        for (i, value) in counters.stops.iter_mut().enumerate() {
            *value = self.stops.get(&(i as u32), 0)?.iter().sum();
        }
        Ok(counters)
    }

    /// The totals of every stack.
    ///
    /// # Errors
    /// The map operation failed.
    pub fn for_each_stack(&self, each: impl FnMut(u64, StackTotals)) -> io::Result<()> {
        batch::for_each(self.stacks.fd().as_fd(), each)
    }

    /// Every live allocation with its address.
    ///
    /// # Errors
    /// The map operation failed.
    pub fn for_each_live(&self, each: impl FnMut(u64, Allocation)) -> io::Result<()> {
        batch::for_each(self.live.fd().as_fd(), each)
    }
}
