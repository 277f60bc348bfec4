//! A thread of a child process, held still: its registers.

use tracer_common::walk::State;

/// A thread held by ptrace until dropped, which must be on the thread that made it.
pub(crate) struct Held {
    tid: i32,
    pub(crate) state: State,
}

impl Held {
    pub(crate) fn new(tid: u32) -> Self {
        let tid = tid as i32;
        // SAFETY: plain system calls; the structures are as the kernel wants them, and live.
        unsafe {
            let none = std::ptr::null_mut::<libc::c_void>();
            assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, tid, none, none), 0, "seize {tid}");
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, tid, none, none), 0);
            let mut status = 0;
            assert_eq!(libc::waitpid(tid, &raw mut status, libc::__WALL), tid);
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            assert_eq!(libc::ptrace(libc::PTRACE_GETREGS, tid, none, &raw mut registers), 0);
            Self { tid, state: State::exact(registers.rip, registers.rsp, registers.rbp) }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            let none = std::ptr::null_mut::<libc::c_void>();
            libc::ptrace(libc::PTRACE_DETACH, self.tid, none, none);
        }
    }
}
