//! The budget of a command, or of one look of the recorder, for everything that it reads of a foreign process.
//!
//! Structures of a process may be damaged, or made to keep their reader busy. Each walk has bounds of its own; this is
//! the bound of all of them together, of time and of the memory that readers keep. When it is spent, every read fails,
//! so all walks end, and what they give is not whole.
//!
//! Memory is not counted where it is kept, which one place would forget: it is this process's own, as the kernel counts
//! it, beyond what it was when the look began.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tracer_common::arch::PAGE_BYTES;

use super::background;
use super::clock::thread_cpu_ns;

/// CPU time that any process may take, and more for each GiB that it really has in memory.
const FIXED_NS: u64 = 2_000_000_000;
const NS_PER_GIB: u64 = 500_000_000;
/// CPU time that marking a Java heap may take for each GiB of it.
const MARKING_NS_PER_GIB: u64 = 16_000_000_000;
/// CPU time that the kernel may take to clear memory of tracer's own, for each GiB: 1.4 s were seen where the host of a
/// virtual machine had it not ready.
const CLEARING_NS_PER_GIB: u64 = 2_000_000_000;
/// An unoptimised build takes so many times as long to go through a heap and its blocks.
const SLOWER: u64 = if cfg!(debug_assertions) { 4 } else { 1 };
/// Reads between two looks at the clock. Each takes at least a system call; a long one, and what is made of its bytes,
/// counts as several.
const READS_PER_LOOK: u64 = 16;
const BYTES_PER_READ: u64 = 16 << 10;
/// Memory that may be kept of any process, and more for each GiB that it really has in memory.
const FIXED_KEPT_BYTES: u64 = 128 << 20;
const KEPT_BYTES_PER_GIB: u64 = 64 << 20;
/// CPU time between two looks at this process's memory: little can be filled meanwhile.
const KEPT_LOOK_NS: u64 = 2_000_000;

/// A budget, shared by all who read for one command.
#[derive(Clone, Debug, Default)]
pub struct ReadBudget(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    limit: Limit,
    reads: AtomicU64,
    is_spent: AtomicBool,
    kept: Kept,
}

/// Memory of this process that is kept for the look.
#[derive(Debug)]
struct Kept {
    allowed: AtomicU64,
    /// Size at which there is too much.
    end: AtomicU64,
    /// Time of the thread's CPU at which it is looked at again.
    due_ns: AtomicU64,
    is_too_much: AtomicBool,
}

impl Kept {
    fn new(allowed: u64) -> Self {
        let kept = Self {
            allowed: AtomicU64::new(allowed),
            end: AtomicU64::default(),
            due_ns: AtomicU64::default(),
            is_too_much: AtomicBool::default(),
        };
        kept.renew(allowed);
        kept
    }

    fn renew(&self, allowed: u64) {
        self.allowed.store(allowed, Ordering::Relaxed);
        let end = own_bytes().map_or(u64::MAX, |bytes| bytes.saturating_add(allowed));
        self.end.store(end, Ordering::Relaxed);
        self.due_ns.store(0, Ordering::Relaxed);
        self.is_too_much.store(false, Ordering::Relaxed);
    }

    fn is_spent(&self, now_ns: u64) -> bool {
        if now_ns < self.due_ns.load(Ordering::Relaxed) {
            return false;
        }
        self.due_ns.store(now_ns.saturating_add(KEPT_LOOK_NS), Ordering::Relaxed);
        let is_spent = own_bytes().is_some_and(|bytes| bytes > self.end.load(Ordering::Relaxed));
        self.is_too_much.fetch_or(is_spent, Ordering::Relaxed);
        is_spent
    }
}

#[derive(Debug)]
enum Limit {
    Moment(Instant),
    /// A time of the CPU, of the thread that reads: a busy machine does not make a process look damaged.
    CpuNs {
        allowed: AtomicU64,
        end: AtomicU64,
    },
}

impl Limit {
    /// Adds CPU time.
    fn allow_ns(&self, more: u64) {
        if let Self::CpuNs { allowed, end } = self {
            allowed.fetch_add(more, Ordering::Relaxed);
            end.fetch_add(more, Ordering::Relaxed);
        }
    }
}

impl ReadBudget {
    /// A budget for a process of which `bytes` are really there, of which nothing is read any more from `deadline` on.
    pub fn until(deadline: Instant, bytes: u64) -> Self {
        Self::new(Limit::Moment(deadline), kept_bytes(bytes))
    }

    /// The budget for a process of which `bytes` are really there: 2 s of the calling thread's CPU time, and half a
    /// second for each GiB. A census takes some 0.1 s for each.
    pub fn for_bytes(bytes: u64) -> Self {
        let allowed = allowed_ns(bytes);
        let end = AtomicU64::new(thread_cpu_ns().saturating_add(allowed));
        Self::new(Limit::CpuNs { allowed: AtomicU64::new(allowed), end }, kept_bytes(bytes))
    }

    /// Begins another look at the same process, by the calling thread: a recorder's reader lives as long as its
    /// recording.
    pub fn renew(&self, bytes: u64) {
        if let Some(shared) = &self.0
            && let Limit::CpuNs { allowed, end } = &shared.limit
        {
            allowed.store(allowed_ns(bytes), Ordering::Relaxed);
            end.store(thread_cpu_ns().saturating_add(allowed_ns(bytes)), Ordering::Relaxed);
            shared.kept.renew(kept_bytes(bytes));
            shared.is_spent.store(false, Ordering::Relaxed);
            background::begin_anew();
        }
    }

    /// Budget as of [`Self::for_bytes`], for one who copies the Java heap of a process and keeps its blocks of malloc:
    /// as much memory again as the process has. [`Self::allow_memory`] and [`Self::allow_marking`] add what the heap takes.
    pub fn for_heap(bytes: u64) -> Self {
        let allowed = allowed_ns(bytes).saturating_mul(SLOWER);
        let end = AtomicU64::new(thread_cpu_ns().saturating_add(allowed));
        let kept = kept_bytes(bytes).saturating_add(bytes);
        Self::new(Limit::CpuNs { allowed: AtomicU64::new(allowed), end }, kept)
    }

    /// Adds memory, and the time in which the kernel clears it, for one who has asked whether so much is really there.
    pub fn allow_memory(&self, bytes: u64) {
        let Some(shared) = &self.0 else { return };
        shared.limit.allow_ns(for_each_gib(bytes, CLEARING_NS_PER_GIB));
        shared.kept.allowed.fetch_add(bytes, Ordering::Relaxed);
        let end = shared.kept.end.load(Ordering::Relaxed);
        shared.kept.end.store(end.saturating_add(bytes), Ordering::Relaxed);
    }

    /// Adds the time that it takes to mark a copied heap of `bytes`, of which little is read: 16 s for each GiB, many
    /// times what it takes.
    pub fn allow_marking(&self, bytes: u64) {
        let Some(shared) = &self.0 else { return };
        shared.limit.allow_ns(marking_ns(bytes).saturating_mul(SLOWER));
    }

    fn new(limit: Limit, kept_bytes: u64) -> Self {
        let (reads, is_spent) = (AtomicU64::new(0), AtomicBool::new(false));
        Self(Some(Arc::new(Shared { limit, reads, is_spent, kept: Kept::new(kept_bytes) })))
    }

    /// Counts a read of so many bytes.
    ///
    /// # Errors
    /// `TimedOut`: the budget is spent.
    pub fn read(&self, bytes: usize) -> io::Result<()> {
        let Some(shared) = &self.0 else { return Ok(()) };
        if !shared.is_spent.load(Ordering::Relaxed) {
            let counts = 1 + bytes as u64 / BYTES_PER_READ;
            let before = shared.reads.fetch_add(counts, Ordering::Relaxed);
            // The first read of all looks, too.
            if before > 0 && before / READS_PER_LOOK == before.wrapping_add(counts) / READS_PER_LOOK {
                return Ok(());
            }
            background::pace();
            let now_ns = thread_cpu_ns();
            let is_over = match &shared.limit {
                Limit::Moment(deadline) => Instant::now() >= *deadline,
                Limit::CpuNs { end, .. } => now_ns >= end.load(Ordering::Relaxed),
            };
            if !is_over && !shared.kept.is_spent(now_ns) {
                return Ok(());
            }
            shared.is_spent.store(true, Ordering::Relaxed);
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Reason why what was read is not whole. `None` if it was read to the end.
    pub fn cut_short(&self) -> Option<String> {
        let shared = self.0.as_ref().filter(|_| self.is_spent())?;
        if shared.kept.is_too_much.load(Ordering::Relaxed) {
            let allowed = shared.kept.allowed.load(Ordering::Relaxed) >> 20;
            return Some(format!(
                "reading was stopped when it had taken {allowed} MiB, which is more than such a process takes unless its \
                 structures are damaged"
            ));
        }
        let seconds = match &shared.limit {
            Limit::Moment(_) => return Some("the time was up".to_owned()),
            Limit::CpuNs { allowed, .. } => allowed.load(Ordering::Relaxed) as f64 / 1e9,
        };
        Some(format!(
            "reading was stopped after {seconds:.1} s, which is more than such a process takes unless its structures are \
             damaged"
        ))
    }

    /// Did a read fail because the budget was spent? The result is not whole then.
    pub fn is_spent(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.is_spent.load(Ordering::Relaxed))
    }
}

/// So much for each GiB of `bytes`.
fn for_each_gib(bytes: u64, amount: u64) -> u64 {
    (bytes >> 20).saturating_mul(amount) >> 10
}

/// CPU time for marking a heap of `bytes`, ns.
fn marking_ns(bytes: u64) -> u64 {
    for_each_gib(bytes, MARKING_NS_PER_GIB)
}

/// CPU time for a process of which `bytes` are really there, ns.
fn allowed_ns(bytes: u64) -> u64 {
    FIXED_NS.saturating_add(for_each_gib(bytes, NS_PER_GIB))
}

/// Bytes that may be kept of a process of which `bytes` are really there.
fn kept_bytes(bytes: u64) -> u64 {
    FIXED_KEPT_BYTES.saturating_add(for_each_gib(bytes, KEPT_BYTES_PER_GIB))
}

/// Resident memory of this process that is of no file.
fn own_bytes() -> Option<u64> {
    let mut text = [0; 128];
    let length = File::open("/proc/self/statm").and_then(|mut file| file.read(&mut text)).ok()?;
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    let mut pages = text.split(' ').map(str::parse::<u64>);
    // size resident shared ...
    let (resident, shared) = (pages.nth(1)?.ok()?, pages.next()?.ok()?);
    Some(resident.saturating_sub(shared).saturating_mul(PAGE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_stays_spent() {
        let none = ReadBudget::default();
        assert!(none.read(8).is_ok() && !none.is_spent());
        let over = ReadBudget::until(Instant::now(), 0);
        let other = over.clone();
        assert!(over.read(8).is_err_and(|error| error.kind() == io::ErrorKind::TimedOut));
        assert!(other.is_spent() && other.read(8).is_err());
        // A long read looks at the clock at once.
        let late = ReadBudget::new(
            Limit::CpuNs { allowed: AtomicU64::new(0), end: AtomicU64::new(u64::MAX) },
            u64::MAX,
        );
        assert!(late.read(8).is_ok());
        if let Some(Shared { limit: Limit::CpuNs { end, .. }, .. }) = late.0.as_deref() {
            end.store(0, Ordering::Relaxed);
        }
        assert!(late.read(8).is_ok() && late.read(1 << 20).is_err());
        assert!((0..100).all(|_| ReadBudget::for_bytes(0).read(8).is_ok()));
        assert_eq!(allowed_ns(0), 2_000_000_000);
        assert_eq!(allowed_ns(3 << 30), 3_500_000_000);
        assert_eq!(marking_ns(2 << 30), 32_000_000_000);
        assert!(allowed_ns(u64::MAX) > 1 << 40);
    }

    #[test]
    fn a_reader_without_an_end_comes_to_one() {
        let before = thread_cpu_ns();
        let end = AtomicU64::new(before + 5_000_000);
        let limit = Limit::CpuNs { allowed: AtomicU64::new(5_000_000), end };
        let budget = ReadBudget::new(limit, u64::MAX);
        assert_eq!(budget.cut_short(), None);
        while budget.read(8).is_ok() {
            std::hint::black_box(std::fs::metadata("/proc/self").is_ok());
        }
        assert!((5_000_000..500_000_000).contains(&(thread_cpu_ns() - before)));
        assert!(budget.is_spent() && budget.cut_short().is_some_and(|why| why.contains("after 0.0 s")));
        budget.renew(0);
        assert!(!budget.is_spent() && budget.read(8).is_ok());
    }

    /// A copy of a heap takes time before anything is marked: the kernel clears its pages.
    #[test]
    fn memory_takes_time() {
        let limit = || Limit::CpuNs { allowed: AtomicU64::new(0), end: AtomicU64::new(thread_cpu_ns()) };
        let (budget, other) = (ReadBudget::new(limit(), 0), ReadBudget::new(limit(), 0));
        budget.allow_memory(2 << 30);
        assert!(budget.read(8).is_ok() && other.read(8).is_err());
        let Some(Limit::CpuNs { allowed, .. }) = budget.0.as_ref().map(|shared| &shared.limit) else {
            panic!("a limit of time")
        };
        assert_eq!(allowed.load(Ordering::Relaxed), 4_000_000_000);
    }

    #[test]
    fn one_who_keeps_all_that_it_reads_comes_to_an_end() {
        let before = own_bytes().expect("the size of this process");
        // Half an hour: it is not the time that ends it.
        let budget = ReadBudget::until(Instant::now() + std::time::Duration::from_secs(1800), 0);
        let other = budget.clone();
        let mut kept: Vec<Vec<u8>> = Vec::new();
        while budget.read(4096).is_ok() && kept.len() < 1 << 18 {
            kept.push(vec![1; 4096]);
        }
        assert!(other.is_spent() && other.read(8).is_err());
        let bytes = own_bytes().expect("the size of this process").saturating_sub(before);
        // Other tests run meanwhile.
        assert!(kept.len() < 1 << 18 && bytes < FIXED_KEPT_BYTES + (256 << 20), "{} {bytes}", kept.len());
        assert!(budget.cut_short().is_some_and(|why| why.contains("128 MiB")));
        assert_eq!(kept_bytes(3 << 30), 320 << 20);
        // A copy of a heap.
        drop(kept);
        let budget = ReadBudget::for_heap(0);
        budget.allow_memory(1 << 30);
        let kept = vec![1_u8; 160 << 20];
        assert!((0..100).all(|_| budget.read(1 << 20).is_ok()), "{}", kept.len());
    }
}
