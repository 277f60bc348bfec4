//! A BPF array that programs write, read through a mapping: without a system call, and without a copy of it.

use std::{fs::File, io, marker::PhantomData, os::fd::AsFd};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};
use zerocopy::FromBytes;

use crate::probe::ProbeError;

/// The array; its elements change under the reader's eyes.
pub(super) struct Mapped<T> {
    memory: MmapRaw,
    count: usize,
    elements: PhantomData<T>,
}

impl<T: FromBytes + Copy> Mapped<T> {
    /// Maps `array`, which the programs must have declared as one that can be (`BPF_F_MMAPABLE`).
    ///
    /// # Errors
    /// It cannot be, or has other elements.
    pub(super) fn new(array: &MapData) -> Result<Self, ProbeError> {
        const { assert!(size_of::<T>().is_multiple_of(8), "the kernel's spacing is the type's") };
        let info = array.info()?;
        let count = info.max_entries() as usize;
        let unmapped =
            |source| ProbeError::Io { what: "cannot map a table of the BPF programs".to_owned(), source };
        if info.value_size() as usize != size_of::<T>() {
            return Err(unmapped(io::Error::from(io::ErrorKind::InvalidData)));
        }
        let file = array.fd().as_fd().try_clone_to_owned().map(File::from).map_err(unmapped)?;
        let memory =
            MmapOptions::new().len(count * size_of::<T>()).map_raw_read_only(&file).map_err(unmapped)?;
        Ok(Self { memory, count, elements: PhantomData })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The element `index`, which may be half written.
    pub(super) fn get(&self, index: usize) -> Option<T> {
        self.read(index, 0)
    }

    /// What is `offset` bytes into the element `index`; a word in one go.
    pub(super) fn read<V: FromBytes + Copy>(&self, index: usize, offset: usize) -> Option<V> {
        const { assert!(align_of::<V>() <= 8) };
        let is_within = offset.checked_add(size_of::<V>()).is_some_and(|end| end <= size_of::<T>());
        if index >= self.count || !is_within || !offset.is_multiple_of(align_of::<V>()) {
            return None;
        }
        // SAFETY: within the mapping, and aligned, as elements are to 8 bytes. Any bytes are a value, whoever
        // writes them meanwhile.
        Some(unsafe { self.memory.as_ptr().add(index * size_of::<T>() + offset).cast::<V>().read_volatile() })
    }
}
