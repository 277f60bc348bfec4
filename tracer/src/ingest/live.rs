//! The live allocations, as the BPF programs keep them: in sets by address, and in a hash map what found no
//! place there.

use std::{io, mem::offset_of, os::fd::AsFd};

use aya::maps::MapData;
use tracer_common::table::{Allocation, BEING_WRITTEN, LIVE_WAYS, LiveSet};

use super::{
    batch,
    mapped::{MappableArray, Mapped},
};
use crate::probe::ProbeError;

/// Sets that are mapped at once: a little more than a megabyte.
const MAPPED_SETS: usize = 4096;

pub(super) struct LiveTable {
    sets: MappableArray<LiveSet>,
    rest: MapData,
}

impl LiveTable {
    /// # Errors
    /// The sets cannot be mapped.
    pub(super) fn new(sets: &MapData, rest: MapData) -> Result<Self, ProbeError> {
        Ok(Self { sets: MappableArray::new(sets)?, rest })
    }

    /// Every allocation with its address. Such as come and go meanwhile may or may not be among them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn for_each(&self, mut each: impl FnMut(u64, Allocation)) -> io::Result<()> {
        let mut has_overflow = false;
        for first in (0..self.sets.count()).step_by(MAPPED_SETS) {
            let sets = self.sets.map(first..first + MAPPED_SETS)?;
            has_overflow |= sets.range().any(|set| overflow_count(&sets, set) != 0);
            let places = sets.range().flat_map(|set| (0..LIVE_WAYS).map(move |way| (set, way)));
            places
                .filter_map(|(set, way)| at(&sets, set, way))
                .for_each(|(address, allocation)| each(address, allocation));
        }
        // The kernel goes through every bucket of an empty map, which takes longer than all sets.
        if has_overflow { batch::for_each(self.rest.fd().as_fd(), each) } else { Ok(()) }
    }
}

/// Allocations of this set that are in the hash map.
fn overflow_count(sets: &Mapped<LiveSet>, set: usize) -> u64 {
    sets.read(set, offset_of!(LiveSet, overflow_count)).unwrap_or(u64::MAX)
}

/// The allocation in one place.
fn at(sets: &Mapped<LiveSet>, set: usize, way: usize) -> Option<(u64, Allocation)> {
    let address_offset = offset_of!(LiveSet, addresses) + way * size_of::<u64>();
    let offset = offset_of!(LiveSet, allocations) + way * size_of::<Allocation>();
    let address: u64 = sets.read(set, address_offset)?;
    if address <= BEING_WRITTEN {
        return None;
    }
    let allocation = sets.read(set, offset)?;
    // It may have been freed meanwhile, and the place used again.
    (sets.read(set, address_offset) == Some(address)).then_some((address, allocation))
}
