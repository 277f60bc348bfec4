//! The heartbeat: tells the BPF programs and the guard that the recorder runs.
//!
//! A thread of its own renews the programs' deadline and sends the guard a beat, twice a second. If the recorder is
//! stopped or gets no CPU, the programs return at once from [`LIFETIME`] after the last renewal on, and stop nobody;
//! the guard detaches the probes some seconds later.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use aya::maps::{Array, MapData};
use tracer_common::table::Deadline;

use super::{guard, kernel};
use crate::process::{clock::monotonic_ns, privilege};

/// The programs record for so long after a renewal.
pub const LIFETIME: Duration = Duration::from_secs(3);
const INTERVAL: Duration = Duration::from_millis(500);
/// Recording ends by itself so long after its planned end, should user space not have ended it.
const GRACE: Duration = Duration::from_secs(1);

/// The recorder's heartbeat. Dropped, it ends: the programs return at once some seconds later.
#[derive(Debug)]
pub struct Heartbeat {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: Mutex<bool>,
    ended: Condvar,
    /// `CLOCK_MONOTONIC`, ns; 0: there is no planned end.
    end_ns: AtomicU64,
    deaf_ns: AtomicU64,
    guard_is_gone: AtomicBool,
}

impl Heartbeat {
    /// Starts it. When this returns, the first renewal was made.
    ///
    /// # Errors
    /// The map cannot be written, or there is no thread to be had.
    pub(super) fn start(deadline: Array<MapData, Deadline>, guard: OwnedFd) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut beating = Beating { deadline, guard, shared: Arc::clone(&shared), last_ns: monotonic_ns() };
        beating.beat()?;
        let thread = privilege::start_thread("heartbeat", kernel::for_tables(), move || beating.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Makes the programs end recording by themselves shortly after `duration` from now, if nobody does before.
    pub fn end_in(&self, duration: Duration) {
        let until = duration.saturating_add(GRACE);
        self.shared.end_ns.store(monotonic_ns().saturating_add(ns(until)), Ordering::Relaxed);
    }

    /// Time in which nothing was recorded since the recorder did not run: it was stopped, or got no CPU.
    pub fn deaf(&self) -> Duration {
        Duration::from_nanos(self.shared.deaf_ns.load(Ordering::Relaxed))
    }

    /// Has the guard ended, and with it every probe? It does when the recorder did not run for
    /// [`SILENCE`](guard::SILENCE).
    pub fn guard_is_gone(&self) -> bool {
        self.shared.guard_is_gone.load(Ordering::Relaxed)
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        *self.shared.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.ended.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's own part.
struct Beating {
    deadline: Array<MapData, Deadline>,
    guard: OwnedFd,
    shared: Arc<Shared>,
    last_ns: u64,
}

impl Beating {
    fn run(mut self) {
        loop {
            let over = self.shared.is_over.lock().unwrap_or_else(PoisonError::into_inner);
            let (over, _) =
                self.shared.ended.wait_timeout(over, INTERVAL).unwrap_or_else(PoisonError::into_inner);
            if *over {
                return;
            }
            drop(over);
            if let Err(error) = self.beat() {
                tracing::debug!(%error, "no deadline for the programs");
                return;
            }
            if self.shared.guard_is_gone.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn beat(&mut self) -> io::Result<()> {
        let now_ns = monotonic_ns();
        let silent_ns = now_ns.saturating_sub(self.last_ns);
        self.last_ns = now_ns;
        self.shared.deaf_ns.fetch_add(silent_ns.saturating_sub(ns(LIFETIME)), Ordering::Relaxed);
        let deadline = Deadline {
            silent_from_ns: now_ns.saturating_add(ns(LIFETIME)),
            end_ns: self.shared.end_ns.load(Ordering::Relaxed),
            checked_until_jiffies: 0,
        };
        self.deadline.set(0, deadline, 0).map_err(io::Error::other)?;
        if guard::beat(&self.guard).is_err() {
            self.shared.guard_is_gone.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
