//! The look at the heap of a live process while it is held: hold, copy, let go. How long that will take: `prediction`.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use tracer_common::arch::PAGE_BYTES;

use super::prediction::{Kept, Prediction};
use super::{HoldersError, Notice};
use crate::hotspot::heap::{
    HeapAccess, HeapCopy, HeapError, LargeArrays, Roots, Space, SpaceKind, Spaces, used_bytes,
};
use crate::process::Pid;
use crate::process::address_ranges::without;
use crate::process::cpu_time::{self, Waits};
use crate::process::hold::Hold;
use crate::process::memory::BulkMemory;
use crate::process::pagemap::{PageState, Residency, ResidentMemory};
use crate::process::target::Status;
use crate::process::urgent::{self, Urgent};

/// A collection that stops the program is waited for so long, looking this often.
const COLLECTION: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(20);
/// The next young collection is waited for so long at most: after it, there is least to copy.
const YOUNG: Duration = Duration::from_secs(8);
const YOUNG_POLL: Duration = Duration::from_millis(1);
/// Time over which it is seen how fast the program allocates.
const RATE: Duration = Duration::from_millis(100);
/// Time below which waiting for a collection is not worth it.
const SHORT: Duration = Duration::from_millis(30);
/// Tries to read something of a process that runs.
const UNHELD_TRIES: u32 = 10;
/// Rounds in which the kernel gives the pages for what the program has allocated since, and what is too little for
/// another one.
const POPULATE_ROUNDS: u32 = 8;
const FEW_BYTES: u64 = 8 << 20;
/// Copy and roots of one moment.
pub(super) struct Snapshot {
    pub(super) copy: HeapCopy,
    pub(super) roots: Roots,
    pub(super) held: Duration,
    pub(super) retries: u64,
}

impl Snapshot {
    /// Used bytes of the heap at that moment.
    pub(super) fn used_bytes(&self) -> u64 {
        used_bytes(self.copy.spaces())
    }
}

/// A heap may be said to use so many times what the process has in memory, and so much more: threads' buffers are used
/// space that nobody has touched yet, in all of a young generation if the process has only begun.
const USED_OF_PRESENT: u64 = 4;
const UNTOUCHED_BYTES: u64 = 256 << 20;

/// Refuses heaps of which something is swapped out.
pub(super) fn refuse_swapped(residency: &dyn Residency, spaces: &[Space]) -> Result<(), HoldersError> {
    let swapped = count_pages(residency, spaces, PageState::Swapped)?;
    if swapped > 0 {
        return Err(HoldersError::Swapped { kib: swapped * PAGE_BYTES / 1024 });
    }
    Ok(())
}

/// Refuses heaps that are said to use far more than the process has, of any memory, `rss_bytes`: a copy would take
/// memory of tracer's own that nothing stands for.
pub(super) fn refuse_absent(
    residency: &dyn Residency,
    spaces: &[Space],
    rss_bytes: u64,
) -> Result<(), HoldersError> {
    let is_likely = |bytes: u64| {
        used_bytes(spaces) <= bytes.saturating_mul(USED_OF_PRESENT).saturating_add(UNTOUCHED_BYTES)
    };
    // Huge pages are not counted as resident.
    if is_likely(rss_bytes) || is_likely(count_pages(residency, spaces, PageState::Resident)? * PAGE_BYTES) {
        return Ok(());
    }
    Err(HoldersError::Refused(format!(
        "the heap is said to use {} MiB, which are not in memory: its description is damaged",
        used_bytes(spaces) >> 20
    )))
}

fn count_pages(residency: &dyn Residency, spaces: &[Space], wanted: PageState) -> Result<u64, HoldersError> {
    let mut states = [PageState::Absent; 512];
    let mut found = 0;
    for space in spaces {
        let mut next = space.bottom - space.bottom % PAGE_BYTES;
        while next < space.top {
            let count = (space.top - next).div_ceil(PAGE_BYTES).min(512) as usize;
            let states = states.get_mut(..count).unwrap_or_default();
            residency.pages(next, states).map_err(|error| HoldersError::Refused(error.to_string()))?;
            found += states.iter().filter(|state| **state == wanted).count() as u64;
            next += count as u64 * PAGE_BYTES;
        }
    }
    Ok(found)
}

/// Spaces that are made ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinds {
    /// Those that stay as they are: a collection that is waited for empties the others.
    Old,
    All,
}

/// The process that is looked at.
pub(super) struct Stopper<'a> {
    pub(super) pid: Pid,
    pub(super) access: &'a HeapAccess<'a>,
    pub(super) residency: &'a dyn Residency,
    pub(super) max_pause: Duration,
    /// Arrays that need no copy if they are still there.
    pub(super) arrays: LargeArrays,
    /// Handles of loaders that were counted.
    pub(super) handles: u64,
    /// Tracer's own memory when the look began.
    pub(super) own_bytes: u64,
    /// What its threads had waited for a CPU when the look began.
    pub(super) waits: Waits,
}

impl Stopper<'_> {
    /// Notes the arrays that need no copy, while the process runs.
    pub(super) fn note_arrays(&mut self, spaces: &[Space]) {
        let memory = BulkMemory::new(self.pid);
        self.arrays = self.access.large_arrays(&ResidentMemory::new(&memory, self.residency), spaces);
    }

    /// The parts of `spaces` that are copied.
    pub(super) fn copied(&self, spaces: &[Space]) -> Vec<Space> {
        let skipped = self.access.uncopied(spaces, &self.arrays);
        let parts = |space: &Space| {
            let kind = space.kind;
            let parts = without(space.bottom..space.top, &skipped);
            parts.into_iter().map(move |part| Space { bottom: part.start, top: part.end, kind })
        };
        spaces.iter().flat_map(parts).collect()
    }

    /// Makes the pages of `copy` ready for all that is used now, so that nothing but copying is done while the process is
    /// held. The program allocates meanwhile, so it is done until there is little to add.
    pub(super) fn make_ready(&self, copy: &mut HeapCopy, kinds: Kinds) -> Result<Spaces, HoldersError> {
        let mut round = 0;
        loop {
            let spaces = unheld(|| self.access.spaces())?;
            copy.make_room_for(&spaces).map_err(|error| HoldersError::Refused(error.to_string()))?;
            let mut parts = self.copied(&spaces.used);
            parts.retain(|part| kinds == Kinds::All || part.kind != SpaceKind::Young);
            let fresh = copy.populate(&parts);
            round += 1;
            if fresh < FEW_BYTES || round == POPULATE_ROUNDS {
                return Ok(spaces);
            }
        }
    }

    /// Bytes of tracer's own memory for a look at these spaces.
    pub(super) fn memory_bytes(&self, spaces: &[Space]) -> u64 {
        let copied_bytes = used_bytes(&self.copied(spaces));
        self.own_bytes + self.kept(copied_bytes).bytes_with_copy(copied_bytes)
    }

    /// What is kept beside a copy of so many bytes.
    pub(super) fn kept(&self, copied_bytes: u64) -> Kept {
        let objects = self.arrays.objects_in(copied_bytes);
        Kept { objects, threads: self.thread_count(), handles: self.handles }
    }

    pub(super) fn thread_count(&self) -> u64 {
        self.pid.threads().map_or(0, |tids| tids.count() as u64)
    }

    /// Counts the handles of loaders, while the process runs.
    pub(super) fn count_handles(&mut self) -> Result<(), HoldersError> {
        self.handles = unheld(|| self.access.roots(&[], &NoPages))?.handle_count() as u64;
        Ok(())
    }

    /// Waits for the end of the next young collection if it will come soon and is worth it.
    pub(super) fn await_young_collection(&mut self, prediction: Prediction) -> Result<(), HoldersError> {
        if prediction.pause < SHORT {
            return Ok(());
        }
        let young = |spaces: &Spaces| {
            let young = spaces.used.iter().filter(|space| space.kind == SpaceKind::Young);
            young.map(Space::bytes).sum::<u64>()
        };
        let spaces = || unheld(|| self.access.spaces());
        let (before, total) = (young(&spaces()?), self.access.collections()?.total);
        thread::sleep(RATE);
        let after = young(&spaces()?);
        let grows =
            after.saturating_sub(before).saturating_mul(YOUNG.as_nanos() as u64 / RATE.as_nanos() as u64);
        // A collection comes when eden is full; how large it is allowed to be is not asked: twice what there is.
        let is_near = self.access.collections()?.total != total || grows >= after.max(16 << 20);
        if after * 4 < prediction.used_bytes || !is_near {
            return Ok(());
        }
        let deadline = Instant::now() + YOUNG;
        while Instant::now() < deadline {
            let now = self.access.collections()?;
            if now.total != total && !now.active {
                self.access.forget_moved(&mut self.arrays);
                break;
            }
            thread::sleep(YOUNG_POLL);
        }
        Ok(())
    }

    /// Holds the process, copies its heap and roots, and lets it go.
    pub(super) fn take(
        &self,
        mut copy: HeapCopy,
        notice: &mut dyn FnMut(&Notice),
    ) -> Result<Snapshot, HoldersError> {
        let deadline = Instant::now() + COLLECTION;
        let mut retries = 0;
        loop {
            // Until it is let go, it waits for this thread.
            let urgent = Urgent::begin(urgent::COPIES);
            let begin = Instant::now();
            let hold = Hold::begin(self.pid, self.max_pause)
                .map_err(|error| HoldersError::Refused(error.to_string()))?;
            let taken = self.copy_held(&hold, &mut copy, begin);
            if matches!(taken, Ok(Some(_))) {
                notice(&Notice::Moment);
            }
            let released = hold.release();
            drop(urgent);
            match taken {
                Ok(Some(roots)) if released.in_time => {
                    notice(&Notice::Held { held: released.held });
                    let copied_bytes = used_bytes(&self.copied(copy.spaces()));
                    tracing::debug!(held = ?released.held, copied_bytes, "let go");
                    return Ok(Snapshot { copy, roots, held: released.held, retries });
                }
                // A collection is under way.
                Ok(None) if Instant::now() < deadline => {
                    retries += 1;
                    thread::sleep(RETRY);
                    // What is skipped the next time must not be there from this time.
                    if copy.is_filled() {
                        copy = copy.emptied().map_err(|error| HoldersError::Refused(error.to_string()))?;
                    }
                    self.make_ready(&mut copy, Kinds::All)?;
                }
                Ok(None) => {
                    return Err(HoldersError::Refused(format!(
                        "a collection of process {} does not end in {} s",
                        self.pid,
                        COLLECTION.as_secs()
                    )));
                }
                Ok(Some(_)) => return Err(self.late()),
                Err(HoldersError::Late) => return Err(self.late()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Refuses what [`refuse_absent`] does, by what the process has now.
    pub(super) fn refuse_absent(&self, spaces: &[Space]) -> Result<(), HoldersError> {
        let rss_bytes = Status::read(self.pid.leader()).map_or(0, |status| status.rss_bytes);
        refuse_absent(self.residency, spaces, rss_bytes)
    }

    fn late(&self) -> HoldersError {
        HoldersError::Refused(format!(
            "the heap was not copied in {} ms, and process {} was let go",
            self.max_pause.as_millis(),
            self.pid
        ))
    }

    /// `None` if a collection is under way.
    fn copy_held(
        &self,
        hold: &Hold,
        copy: &mut HeapCopy,
        begin: Instant,
    ) -> Result<Option<Roots>, HoldersError> {
        let stopped = begin.elapsed();
        let before = self.access.collections()?;
        if before.active {
            return Ok(None);
        }
        let spaces = self.access.spaces()?;
        self.refuse_absent(&spaces.used)?;
        copy.make_room_for(&spaces).map_err(|error| HoldersError::Refused(error.to_string()))?;
        let read = begin.elapsed();
        let cpu_before = cpu_time::of_process(Pid::own());
        let max_pause = self.max_pause;
        let go_on = || begin.elapsed() < max_pause;
        self.access.fill(copy, &BulkMemory::new(self.pid), &spaces.used, &self.arrays, &go_on).map_err(
            |error| match error.kind() {
                io::ErrorKind::TimedOut => HoldersError::Late,
                _ => unreadable(error),
            },
        )?;
        let copied = begin.elapsed();
        let cpu = cpu_time::of_process(Pid::own()).zip(cpu_before).map(|(after, before)| after - before);
        let roots = self.access.roots(hold.threads(), self.residency)?;
        let with_roots = begin.elapsed();
        // Less CPU time than the threads that copy would take is what a busy host had of it.
        tracing::debug!(?stopped, ?read, ?copied, ?with_roots, copy_cpu_ns = cpu, "held");
        let after = self.access.collections()?;
        Ok((before == after).then_some(roots))
    }
}

/// Reads what changes meanwhile: what makes no sense is read again.
pub(super) fn unheld<T>(read: impl Fn() -> Result<T, HeapError>) -> Result<T, HeapError> {
    for _ in 1..UNHELD_TRIES {
        match read() {
            Err(HeapError::Unreadable(why)) => tracing::debug!(why, "read again"),
            other => return other,
        }
        thread::sleep(RETRY);
    }
    read()
}

fn unreadable(error: io::Error) -> HoldersError {
    HoldersError::Refused(format!("the Java heap cannot be read: {error}"))
}

/// No page is in memory.
pub(super) struct NoPages;

impl Residency for NoPages {
    fn pages(&self, _address: u64, states: &mut [PageState]) -> io::Result<()> {
        states.fill(PageState::Absent);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::pagemap::{AllResident, AllSwapped};

    #[test]
    fn what_nothing_stands_for_is_refused() {
        let space = |top: u64| Space { bottom: 1 << 32, top: (1 << 32) + top, kind: SpaceKind::Old };
        let huge = [space(4 << 30)];
        assert!(refuse_absent(&NoPages, &[space(200 << 20)], 0).is_ok());
        assert!(refuse_absent(&NoPages, &huge, 1 << 30).is_ok());
        let refused = refuse_absent(&NoPages, &huge, 100 << 20).expect_err("refused").to_string();
        assert!(refused.contains("4096 MiB"), "{refused}");
        assert!(refuse_absent(&AllResident, &huge, 100 << 20).is_ok());
        assert!(refuse_swapped(&AllSwapped, &[space(1 << 20)]).is_err());
        assert!(refuse_swapped(&AllResident, &huge).is_ok());
    }
}
