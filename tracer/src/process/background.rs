//! Work that gives way: reading a process must not take the processors from its own threads.
//!
//! A thread in the background comes after all others of usual rank, never takes a processor from one that runs, and
//! leaves its own as soon as one of them wakes up. It is not idle work, which may get no turn at all: a look at a busy
//! process ends all the same.
//! Source: sched(7), sched_setattr(2).

use std::{io, panic, thread, time::Duration};

/// How far a thread in the background steps back, of 19: beside a busy thread of usual rank it has a quarter of the processor.
const NICENESS: i32 = 5;
/// Time for which such a thread keeps a processor that another one wants, the shortest that there is. Kernels before 6.12
/// have one time for all threads, some milliseconds, and ignore it.
const SLICE: Duration = Duration::from_micros(100);

/// Puts the calling thread, and threads that it starts from now on, into the background. This needs no capability;
/// where the kernel refuses it, the thread goes on as it was.
pub fn enter() {
    give_way(NICENESS);
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
