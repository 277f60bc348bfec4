//! Owner of the keys of the terminal, once a program that the recorder started runs on after its recording.
//!
//! Up to then it is in the recorder's process group, as with perf and strace, and Ctrl-C reaches both. Then the
//! recorder leaves that group and takes the terminal with it, so Ctrl-C ends the recorder alone.

use std::fs::File;

use rustix::process::{self, Pid, WaitOptions};
use rustix::termios;

/// The controlling terminal, if the recorder was in its foreground when it began.
pub(super) struct Foreground(Option<File>);

impl Foreground {
    pub(super) fn now() -> Foreground {
        let terminal = File::options().read(true).write(true).open("/dev/tty").ok();
        let is_ours =
            |terminal: &File| termios::tcgetpgrp(terminal).is_ok_and(|group| group == process::getpgrp());
        Foreground(terminal.filter(is_ours))
    }

    /// Leaves the process group, with the terminal's foreground. Returns false if there is no terminal, or it did not
    /// go.
    pub(super) fn leave_group(&self) -> bool {
        let Some(terminal) = &self.0 else { return false };
        let Some(group) = new_group() else { return false };
        for signal in [libc::SIGTTOU, libc::SIGTSTP] {
            // SAFETY: no handler is set. A process that takes the foreground from the background gets the first, and
            // would stop; after the second, the shell could not resume a process that is not in its job any more.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
        let is_left = process::setpgid(None, Some(group)).is_ok();
        // The group's first process may go now.
        let _ = process::waitpid(Some(group), WaitOptions::empty());
        is_left && termios::tcsetpgrp(terminal, group).is_ok()
    }
}

/// A process group of a process that has ended and was not waited for: it is there as long as that, and whoever is in
/// it. The recorder may lead the group that it is to leave, and cannot lead another one.
fn new_group() -> Option<Pid> {
    // SAFETY: the child makes two system calls and ends.
    match unsafe { libc::fork() } {
        // SAFETY: system calls alone, which take numbers.
        0 => unsafe {
            libc::setpgid(0, 0);
            libc::_exit(0)
        },
        child => {
            let child = Pid::from_raw(child)?;
            // Whoever is first; the child's own call is the same.
            let _ = process::setpgid(Some(child), Some(child));
            Some(child)
        }
    }
}
