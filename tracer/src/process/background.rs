//! Work that gives way: reading a process must not take the processors from its own threads.
//!
//! A thread in the background comes after all others of usual rank, never takes a processor from one that runs, and
//! leaves its own as soon as one of them wakes up. It is not idle work, which may get no turn at all: a look at a busy
//! process ends all the same, and a thread that holds a lock of the process's memory is not left without a processor.
//!
//! The kernel may put a thread that wakes up behind one in the background, though another processor is about to be
//! free. So work that had to wait for a processor pauses now and then, until nobody else wants it.
//! Source: sched(7), sched_setattr(2).

use std::{
    cell::Cell,
    io, panic, thread,
    time::{Duration, Instant},
};

use super::clock::thread_cpu;

/// How far a thread in the background steps back, of 19: beside a busy thread of usual rank it has a quarter of the processor.
const NICENESS: i32 = 5;
/// Time for which such a thread keeps a processor that another one wants, the shortest that there is. Kernels before 6.12
/// have one time for all threads, some milliseconds, and ignore it.
const SLICE: Duration = Duration::from_micros(100);
/// CPU time after which such a thread looks whether it had to wait, and pauses if so.
const PIECE: Duration = Duration::from_micros(500);
/// A longer wait is one for a processor.
const WAIT: Duration = Duration::from_micros(20);
/// CPU time for which the thread pauses between pieces, once it had to wait.
const PACED: Duration = Duration::from_millis(20);
/// Pauses, as a multiple of the piece before, and the longest.
const PAUSE_TIMES: u32 = 2;
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

thread_local! {
    /// The pace of this thread, if it is in the background.
    static PACE: Cell<Option<Pace>> = const { Cell::new(None) };
}

/// The piece of work that a thread is at.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// CPU time of the thread, and the moment, at which it began.
    begun_cpu: Duration,
    begun: Instant,
    /// CPU time until which it pauses between pieces.
    paced_until: Duration,
}

impl Pace {
    fn begin(cpu: Duration, now: Instant) -> Self {
        Self { begun_cpu: cpu, begun: now, paced_until: Duration::ZERO }
    }

    /// The pause that is due. `None`: the piece goes on.
    fn pause(&mut self, cpu: Duration, now: Instant) -> Option<Duration> {
        let worked = cpu.saturating_sub(self.begun_cpu);
        if worked < PIECE {
            return None;
        }
        let waited = now.saturating_duration_since(self.begun).saturating_sub(worked);
        if waited > WAIT {
            self.paced_until = cpu + PACED;
        }
        let is_paced = cpu < self.paced_until;
        Some(if is_paced { (worked * PAUSE_TIMES).min(LONGEST_PAUSE) } else { Duration::ZERO })
    }
}

/// Puts the calling thread, and threads that it starts from now on, into the background. This needs no capability;
/// where the kernel refuses it, the thread goes on as it was.
pub fn enter() {
    give_way(NICENESS);
    PACE.set(Some(Pace::begin(thread_cpu(), Instant::now())));
}

/// Begins work of the calling thread anew: what it waited for until now was no processor.
pub fn begin_anew() {
    if PACE.get().is_some() {
        PACE.set(Some(Pace::begin(thread_cpu(), Instant::now())));
    }
}

/// Lets others have the processor for a while, if the calling thread is in the background and had to wait. To be called
/// between two reads of a process.
pub fn pace() {
    let Some(mut pace) = PACE.get() else { return };
    let cpu = thread_cpu();
    if let Some(pause) = pace.pause(cpu, Instant::now()) {
        thread::sleep(pause);
        (pace.begun_cpu, pace.begun) = (cpu, Instant::now());
        PACE.set(Some(pace));
    }
}

/// The same for work that must keep up with the process: the thread has as much of the processors as others have, but
/// waits until it is its turn.
pub fn wait_turns() {
    give_way(0);
}

fn give_way(niceness: i32) {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_BATCH as u32,
        sched_flags: 0,
        sched_nice: niceness.max(rustix::process::getpriority_process(None).unwrap_or(0)),
        sched_priority: 0,
        sched_runtime: SLICE.as_nanos() as u64,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: `attributes` outlives the call, which changes the calling thread alone.
    let status = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if status < 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "a thread stays at its rank");
    }
}

/// Does `work` in the background, and waits for it.
pub fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let in_background = || {
        enter();
        work()
    };
    thread::scope(|scope| match scope.spawn(in_background).join() {
        Ok(done) => done,
        Err(panicked) => panic::resume_unwind(panicked),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank() -> (i32, i32) {
        // SAFETY: asks about the calling thread.
        let policy = unsafe { libc::sched_getscheduler(0) };
        (policy, rustix::process::getpriority_process(None).expect("of this thread"))
    }

    #[test]
    fn work_steps_back_and_its_caller_does_not() {
        let before = rank();
        let (in_work, in_its_threads) =
            run(|| (rank(), thread::scope(|scope| scope.spawn(rank).join().ok())));
        assert_eq!(in_work, (libc::SCHED_BATCH, NICENESS.max(before.1)));
        assert_eq!(in_its_threads, Some(in_work));
        assert_eq!(rank(), before);
    }

    #[test]
    fn who_had_to_wait_pauses_for_a_while() {
        let us = Duration::from_micros;
        let begun = Instant::now();
        let mut pace = Pace::begin(us(1_000), begun);
        assert_eq!(pace.pause(us(1_400), begun + us(900)), None, "the piece is not done");
        assert_eq!(pace.pause(us(1_600), begun + us(610)), Some(us(0)), "nobody else wanted the processor");
        assert_eq!(pace.pause(us(1_600), begun + us(700)), Some(us(1_200)));
        // The next pieces had one for themselves.
        (pace.begun_cpu, pace.begun) = (us(1_600), begun);
        assert_eq!(pace.pause(us(2_100), begun + us(500)), Some(us(1_000)));
        (pace.begun_cpu, pace.begun) = (us(21_500), begun);
        assert_eq!(pace.pause(us(22_000), begun + us(500)), Some(us(0)));
        assert_eq!(pace.pause(us(90_000), begun + us(90_000)), Some(LONGEST_PAUSE));
    }

    #[test]
    fn only_threads_in_the_background_pause() {
        begin_anew();
        assert!(PACE.get().is_none());
        assert!(run(|| PACE.get().is_some()));
        let waits_turns = || {
            wait_turns();
            PACE.get().is_some()
        };
        assert_eq!(thread::scope(|scope| scope.spawn(waits_turns).join().ok()), Some(false));
    }

    #[test]
    fn who_waits_turns_keeps_its_share() {
        let before = rank();
        let waiting = thread::scope(|scope| {
            let waiting = || {
                wait_turns();
                rank()
            };
            scope.spawn(waiting).join().ok()
        });
        assert_eq!(waiting, Some((libc::SCHED_BATCH, before.1.max(0))));
    }
}
