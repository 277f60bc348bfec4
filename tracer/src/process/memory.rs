//! Reading the target's memory: a live process, or a saved image of one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tracer_common::arch::PAGE_BYTES;

use super::Pid;
use super::read_budget::ReadBudget;

/// Memory of a process, addressed by its virtual addresses. Reads never stop or change the target.
pub trait ProcessMemory {
    /// Fills `buffer` from `address`.
    ///
    /// # Errors
    /// If any byte of the range cannot be read; `buffer` is then unspecified.
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Counts a read that a copy of this memory answered: going through copies takes time, too.
    ///
    /// # Errors
    /// `TimedOut`: the budget for this memory is spent.
    fn count_read(&self, _bytes: usize) -> io::Result<()> {
        Ok(())
    }

    /// Allows for marking a copied Java heap of so many bytes, which takes longer than reading.
    fn allow_marking(&self, _bytes: u64) {}

    /// Allows for so much more memory of tracer's own.
    fn allow_memory(&self, _bytes: u64) {}

    /// The little-endian u64 at `address`.
    fn read_u64(&self, address: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The little-endian u32 at `address`.
    fn read_u32(&self, address: u64) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// The little-endian u16 at `address`.
    fn read_u16(&self, address: u64) -> io::Result<u16> {
        let mut bytes = [0; 2];
        self.read(address, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// The byte at `address`.
    fn read_u8(&self, address: u64) -> io::Result<u8> {
        let mut bytes = [0; 1];
        self.read(address, &mut bytes)?;
        Ok(bytes[0])
    }
}

impl<T: ProcessMemory + ?Sized> ProcessMemory for Arc<T> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read(address, buffer)
    }

    fn count_read(&self, bytes: usize) -> io::Result<()> {
        (**self).count_read(bytes)
    }

    fn allow_marking(&self, bytes: u64) {
        (**self).allow_marking(bytes);
    }

    fn allow_memory(&self, bytes: u64) {
        (**self).allow_memory(bytes);
    }
}

/// A live process, through `/proc/PID/mem`: one descriptor, valid for that process alone even when
/// its pid is used again.
///
/// There the kernel takes the lock of the process's memory for each page. So what is longer is read by [`BulkMemory`],
/// which takes it once for a thousand: threads that map and unmap wait for it.
#[derive(Debug)]
pub struct LiveMemory {
    file: File,
    bulk: BulkMemory,
    budget: ReadBudget,
}

impl LiveMemory {
    /// Opens the memory of process `pid` for reading.
    ///
    /// # Errors
    /// No such process, or not permitted (needs CAP_SYS_PTRACE).
    pub fn open(pid: Pid) -> io::Result<Self> {
        let file = File::open(pid.path("mem"))?;
        Ok(Self { file, bulk: BulkMemory::new(pid), budget: ReadBudget::default() })
    }

    /// Takes every read from `budget`; when that is spent, each fails.
    #[must_use]
    pub fn within(self, budget: &ReadBudget) -> Self {
        Self { budget: budget.clone(), ..self }
    }

    /// Reads several pages with one lock.
    fn read_in_bulk(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.bulk.read(address, buffer)?;
        // If the process's memory is still there, its pid was not another's, and it executed no other program.
        let last = address.checked_add(buffer.len() as u64 - 1).ok_or(io::ErrorKind::InvalidInput)?;
        self.file.read_exact_at(&mut [0], last)
    }
}

impl ProcessMemory for LiveMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.budget.read(buffer.len())?;
        if buffer.len() > PAGE_BYTES as usize && self.read_in_bulk(address, buffer).is_ok() {
            return Ok(());
        }
        self.file.read_exact_at(buffer, address)
    }

    fn count_read(&self, bytes: usize) -> io::Result<()> {
        self.budget.read(bytes)
    }

    fn allow_marking(&self, bytes: u64) {
        self.budget.allow_marking(bytes);
    }

    fn allow_memory(&self, bytes: u64) {
        self.budget.allow_memory(bytes);
    }
}

/// A live process, read by `process_vm_readv`: faster than [`LiveMemory`] for long ranges. It names the process by its
/// pid, so it is for a process that is known to live (because it is held, say).
#[derive(Clone, Copy, Debug)]
pub struct BulkMemory {
    pid: Pid,
}

impl BulkMemory {
    /// The memory of process `pid`.
    pub fn new(pid: Pid) -> Self {
        Self { pid }
    }
}

impl ProcessMemory for BulkMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let from = address.checked_add(done as u64).ok_or(io::ErrorKind::InvalidInput)?;
            let from = usize::try_from(from).map_err(|_| io::ErrorKind::InvalidInput)?;
            let local = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
            let remote = libc::iovec { iov_base: from as *mut libc::c_void, iov_len: rest.len() };
            // SAFETY: the kernel writes at most `rest.len()` bytes to `rest`; the other address is the target's.
            let read = unsafe {
                libc::process_vm_readv(self.pid.raw(), &raw const local, 1, &raw const remote, 1, 0)
            };
            match usize::try_from(read) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => done += length,
                Err(_) => return Err(io::Error::last_os_error()),
            }
        }
        Ok(())
    }
}

/// A saved image: ranges of memory with their contents.
#[derive(Debug, Default)]
pub struct ImageMemory {
    /// Sorted by start, not overlapping.
    ranges: Vec<(u64, Vec<u8>)>,
}

impl ImageMemory {
    /// Takes ranges as (start address, bytes), in any order; the bytes of an earlier range win
    /// where two overlap.
    pub fn new(mut ranges: Vec<(u64, Vec<u8>)>) -> Self {
        ranges.sort_by_key(|(start, _)| *start);
        Self { ranges }
    }
}

impl ProcessMemory for ImageMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        let missing = || io::Error::new(io::ErrorKind::UnexpectedEof, "not in the image");
        let index = self.ranges.partition_point(|(start, _)| *start <= address);
        let (start, bytes) =
            index.checked_sub(1).and_then(|before| self.ranges.get(before)).ok_or_else(missing)?;
        let offset = usize::try_from(address - start).map_err(|_| missing())?;
        let end = offset.checked_add(buffer.len()).ok_or_else(missing)?;
        buffer.copy_from_slice(bytes.get(offset..end).ok_or_else(missing)?);
        Ok(())
    }
}
