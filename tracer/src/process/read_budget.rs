//! The budget of a command, or of one look of the recorder, for everything that it reads of a foreign process.
//!
//! Structures of a process may be damaged, or made to keep their reader busy. Each walk has bounds of its own; this is
//! the bound of all of them together. When it is spent, every read fails, so all walks end, and what they give is not
//! whole.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// CPU time that any process may take, and more for each GiB that it really has in memory.
const FIXED_NS: u64 = 2_000_000_000;
const NS_PER_GIB: u64 = 500_000_000;
/// Reads between two looks at the clock. Each takes at least a system call; a long one, and what is made of its bytes,
/// counts as several.
const READS_PER_LOOK: u64 = 16;
const BYTES_PER_READ: u64 = 16 << 10;

/// A budget, shared by all who read for one command.
#[derive(Clone, Debug, Default)]
pub struct ReadBudget(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    limit: Limit,
    reads: AtomicU64,
    is_spent: AtomicBool,
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

impl ReadBudget {
    /// A budget of which nothing is read any more from `deadline` on.
    pub fn until(deadline: Instant) -> Self {
        Self::new(Limit::Moment(deadline))
    }

    /// The budget for a process of which `bytes` are really there: 2 s of the calling thread's CPU time, and half a
    /// second for each GiB. A census takes some 0.1 s for each.
    pub fn for_bytes(bytes: u64) -> Self {
        let allowed = allowed_ns(bytes);
        let end = AtomicU64::new(thread_cpu_ns().saturating_add(allowed));
        Self::new(Limit::CpuNs { allowed: AtomicU64::new(allowed), end })
    }

    /// Begins another look at the same process, by the calling thread: a recorder's reader lives as long as its
    /// recording.
    pub fn renew(&self, bytes: u64) {
        if let Some(shared) = &self.0
            && let Limit::CpuNs { allowed, end } = &shared.limit
        {
            allowed.store(allowed_ns(bytes), Ordering::Relaxed);
            end.store(thread_cpu_ns().saturating_add(allowed_ns(bytes)), Ordering::Relaxed);
            shared.is_spent.store(false, Ordering::Relaxed);
        }
    }

    /// Budget as of [`Self::for_bytes`], for one who marks a heap of so many bytes between reads: 30 s, and 16 s for
    /// each GiB, which is many times what it takes.
    pub fn for_marking(bytes: u64) -> Self {
        Self::for_bytes(marked(bytes))
    }

    fn new(limit: Limit) -> Self {
        Self(Some(Arc::new(Shared { limit, reads: AtomicU64::new(0), is_spent: AtomicBool::new(false) })))
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
            let is_over = match &shared.limit {
                Limit::Moment(deadline) => Instant::now() >= *deadline,
                Limit::CpuNs { end, .. } => thread_cpu_ns() >= end.load(Ordering::Relaxed),
            };
            if !is_over {
                return Ok(());
            }
            shared.is_spent.store(true, Ordering::Relaxed);
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Reason why what was read is not whole. `None` if it was read to the end.
    pub fn cut_short(&self) -> Option<String> {
        let shared = self.0.as_ref().filter(|_| self.is_spent())?;
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

/// Bytes of a process that may take as long as marking a heap of `bytes`.
fn marked(bytes: u64) -> u64 {
    bytes.saturating_mul(32).saturating_add(56 << 30)
}

/// CPU time for a process of which `bytes` are really there, ns.
fn allowed_ns(bytes: u64) -> u64 {
    FIXED_NS.saturating_add(((bytes >> 20).saturating_mul(NS_PER_GIB)) >> 10)
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_stays_spent() {
        let none = ReadBudget::default();
        assert!(none.read(8).is_ok() && !none.is_spent());
        let over = ReadBudget::until(Instant::now());
        let other = over.clone();
        assert!(over.read(8).is_err_and(|error| error.kind() == io::ErrorKind::TimedOut));
        assert!(other.is_spent() && other.read(8).is_err());
        // A long read looks at the clock at once.
        let late =
            ReadBudget::new(Limit::CpuNs { allowed: AtomicU64::new(0), end: AtomicU64::new(u64::MAX) });
        assert!(late.read(8).is_ok());
        if let Some(Shared { limit: Limit::CpuNs { end, .. }, .. }) = late.0.as_deref() {
            end.store(0, Ordering::Relaxed);
        }
        assert!(late.read(8).is_ok() && late.read(1 << 20).is_err());
        assert!((0..100).all(|_| ReadBudget::for_bytes(0).read(8).is_ok()));
        assert_eq!(allowed_ns(0), 2_000_000_000);
        assert_eq!(allowed_ns(3 << 30), 3_500_000_000);
        assert_eq!(allowed_ns(marked(2 << 30)), 62_000_000_000);
        assert!(allowed_ns(u64::MAX) > 1 << 40);
    }

    #[test]
    fn a_reader_without_an_end_comes_to_one() {
        let budget = ReadBudget::new(Limit::CpuNs {
            allowed: AtomicU64::new(5_000_000),
            end: AtomicU64::new(thread_cpu_ns() + 5_000_000),
        });
        assert_eq!(budget.cut_short(), None);
        let before = thread_cpu_ns();
        while budget.read(8).is_ok() {
            std::hint::black_box(std::fs::metadata("/proc/self").is_ok());
        }
        assert!((5_000_000..500_000_000).contains(&(thread_cpu_ns() - before)));
        assert!(budget.is_spent() && budget.cut_short().is_some_and(|why| why.contains("after 0.0 s")));
        budget.renew(0);
        assert!(!budget.is_spent() && budget.read(8).is_ok());
    }
}
