//! The live allocations, as the BPF programs keep them: in sets by address, and in a hash map what found no
//! place there.

use std::{io, mem::offset_of, os::fd::AsFd};

use aya::maps::MapData;
use tracer_common::table::{Allocation, BEING_WRITTEN, LIVE_WAYS, LiveSet};

use super::{batch, mapped::Mapped};
use crate::probe::ProbeError;

pub(super) struct LiveTable {
    sets: Mapped<LiveSet>,
    rest: MapData,
}

impl LiveTable {
    /// # Errors
    /// The sets cannot be mapped.
    pub(super) fn new(sets: &MapData, rest: MapData) -> Result<Self, ProbeError> {
        Ok(Self { sets: Mapped::new(sets)?, rest })
    }

    /// Every allocation with its address. Such as come and go meanwhile may or may not be among them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn for_each(&self, mut each: impl FnMut(u64, Allocation)) -> io::Result<()> {
        for set in 0..self.sets.count() {
            for way in 0..LIVE_WAYS {
                if let Some((address, allocation)) = self.at(set, way) {
                    each(address, allocation);
                }
            }
        }
        batch::for_each(self.rest.fd().as_fd(), each)
    }

    /// The allocation in one place.
    fn at(&self, set: usize, way: usize) -> Option<(u64, Allocation)> {
        let address_offset = offset_of!(LiveSet, addresses) + way * size_of::<u64>();
        let offset = offset_of!(LiveSet, allocations) + way * size_of::<Allocation>();
        let address: u64 = self.sets.read(set, address_offset)?;
        if address <= BEING_WRITTEN {
            return None;
        }
        let allocation = self.sets.read(set, offset)?;
        // It may have been freed meanwhile, and the place used again.
        (self.sets.read(set, address_offset) == Some(address)).then_some((address, allocation))
    }
}
