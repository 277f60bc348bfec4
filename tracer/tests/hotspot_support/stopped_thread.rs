//! A thread of a child process, held still: its registers.

use tracer_common::walk::State;

/// A thread held by ptrace until dropped, which must be on the thread that made it.
pub(crate) struct StoppedThread {
    tid: i32,
    pub(crate) state: State,
}

impl StoppedThread {
    /// `None` if it has ended, as threads of a JVM do at any time.
    pub(crate) fn new(tid: u32) -> Option<Self> {
        let tid = tid as i32;
        // SAFETY: plain system calls; the structures are as the kernel wants them, and live.
        unsafe {
            let none = std::ptr::null_mut::<libc::c_void>();
            if libc::ptrace(libc::PTRACE_SEIZE, tid, none, none) != 0 {
                let error = std::io::Error::last_os_error();
                assert_eq!(error.raw_os_error(), Some(libc::ESRCH), "seize {tid}: {error}");
                return None;
            }
            // Should it end first, it is waited for all the same.
            libc::ptrace(libc::PTRACE_INTERRUPT, tid, none, none);
            let mut status = 0;
            assert_eq!(libc::waitpid(tid, &raw mut status, libc::__WALL), tid);
            if !libc::WIFSTOPPED(status) {
                return None;
            }
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            assert_eq!(libc::ptrace(libc::PTRACE_GETREGS, tid, none, &raw mut registers), 0);
            Some(Self { tid, state: State::exact(registers.rip, registers.rsp, registers.rbp) })
        }
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            let none = std::ptr::null_mut::<libc::c_void>();
            libc::ptrace(libc::PTRACE_DETACH, self.tid, none, none);
        }
    }
}
