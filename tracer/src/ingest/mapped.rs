//! A BPF array that programs write, read through a mapping: without a system call for each element, and without a
//! copy. Mapped pages count as the reader's memory: they are mapped as far and as long as they are read.

use std::{fs::File, io, marker::PhantomData, ops::Range, os::fd::AsFd};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};
use zerocopy::FromBytes;

use crate::probe::ProbeError;

/// The array.
pub(super) struct MappableArray<T> {
    file: File,
    count: usize,
    elements: PhantomData<T>,
}

/// Elements of a table, mapped; they change under the reader's eyes.
pub(super) struct Mapped<T> {
    memory: MmapRaw,
    range: Range<usize>,
    elements: PhantomData<T>,
}

impl<T: FromBytes + Copy> MappableArray<T> {
    /// Takes `array`, which the programs must have declared as one that can be mapped (`BPF_F_MMAPABLE`).
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
        let array = Self { file, count, elements: PhantomData };
        array.map(0..1).map_err(unmapped)?;
        Ok(array)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Maps the elements `range`, as far as there are such.
    ///
    /// # Errors
    /// There are none, or the kernel refuses.
    pub(super) fn map(&self, range: Range<usize>) -> io::Result<Mapped<T>> {
        let range = range.start..range.end.min(self.count);
        let memory = MmapOptions::new()
            .offset((range.start * size_of::<T>()) as u64)
            .len(range.len() * size_of::<T>())
            .map_raw_read_only(&self.file)?;
        Ok(Mapped { memory, range, elements: PhantomData })
    }
}

impl<T: FromBytes + Copy> Mapped<T> {
    /// The indices in the array of what is mapped.
    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The array's element `index`, which may be half written. `None` if it is not mapped.
    pub(super) fn get(&self, index: usize) -> Option<T> {
        self.read(index, 0)
    }

    /// The field `offset` bytes into the element `index`; a word in one go.
    pub(super) fn read<V: FromBytes + Copy>(&self, index: usize, offset: usize) -> Option<V> {
        const { assert!(align_of::<V>() <= 8) };
        let is_within = offset.checked_add(size_of::<V>()).is_some_and(|end| end <= size_of::<T>());
        if !self.range.contains(&index) || !is_within || !offset.is_multiple_of(align_of::<V>()) {
            return None;
        }
        let at = (index - self.range.start) * size_of::<T>() + offset;
        // SAFETY: within the mapping, and aligned, as elements are to 8 bytes. Any bytes are a value, whoever
        // writes them meanwhile.
        Some(unsafe { self.memory.as_ptr().add(at).cast::<V>().read_volatile() })
    }
}
