//! Closing of links side by side: for each, the kernel waits until no CPU can be in its program, and one after the other
//! that takes seconds on a busy machine.
//!
//! The guard shares no libc with threads (see the parent), so its threads are made by clone(2) alone, on stacks that it
//! mapped when it began. They make system calls and nothing else.

use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// Threads beside the guard's own, and the memory of each one's stack.
const THREADS: usize = 31;
const STACK_BYTES: usize = 32 << 10;

/// Flags by which a thread is made. The guard's filter allows clone(2) with these alone.
pub(super) const THREAD: u32 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM) as u32;

/// Time between two looks at whether all threads are done, ns.
const LOOK_NS: libc::c_long = 1_000_000;

/// Stacks of the threads.
pub(super) struct Stacks(*mut libc::c_void);

impl Stacks {
    /// Maps them. If the kernel refuses, there will be no threads.
    pub(super) fn map() -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        Self(unsafe { libc::mmap(ptr::null_mut(), THREADS * STACK_BYTES, access, flags, -1, 0) })
    }
}

/// Descriptors that are to be closed: each thread takes the next one.
struct Work<'a> {
    /// Not 0: the descriptor with this number is to be closed.
    wanted: &'a [u8],
    next: AtomicI32,
    threads: AtomicU32,
}

/// Closes the descriptors whose entry in `wanted` is not 0, and returns when the kernel is done with each.
pub(super) fn close(wanted: &[u8], stacks: &Stacks) {
    let count = wanted.iter().filter(|entry| **entry != 0).count();
    let work = Work { wanted, next: AtomicI32::new(0), threads: AtomicU32::new(0) };
    let threads = if stacks.0 == libc::MAP_FAILED { 0 } else { count.saturating_sub(1).min(THREADS) };
    for thread in 1..=threads {
        work.threads.fetch_add(1, Ordering::AcqRel);
        // SAFETY: the top of a stack of its own, which grows down, and work that this function outlives.
        let made = unsafe {
            let top = stacks.0.cast::<u8>().add(thread * STACK_BYTES).cast();
            libc::clone(run, top, THREAD as libc::c_int, (&raw const work).cast_mut().cast())
        };
        if made < 0 {
            work.threads.fetch_sub(1, Ordering::AcqRel);
            break;
        }
    }
    close_all(&work);
    while work.threads.load(Ordering::Acquire) > 0 {
        let pause = libc::timespec { tv_sec: 0, tv_nsec: LOOK_NS };
        // SAFETY: no entries, and a local.
        unsafe {
            libc::syscall(libc::SYS_ppoll, ptr::null::<u8>(), 0, &raw const pause, ptr::null::<u8>(), 0)
        };
    }
}

extern "C" fn run(work: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `close` waits until no thread has it any more.
    let work = unsafe { &*work.cast::<Work<'_>>() };
    close_all(work);
    work.threads.fetch_sub(1, Ordering::AcqRel);
    0
}

fn close_all(work: &Work<'_>) {
    loop {
        let descriptor: RawFd = work.next.fetch_add(1, Ordering::Relaxed);
        let Some(entry) = usize::try_from(descriptor).ok().and_then(|at| work.wanted.get(at)) else { return };
        if *entry != 0 {
            // SAFETY: a descriptor that the guard received, and that this thread alone took. Not by libc's function,
            // which has state of a thread.
            unsafe { libc::syscall(libc::SYS_close, descriptor) };
        }
    }
}
