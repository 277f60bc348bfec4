//! `-- CMD`: a program stopped before its first own instruction, with its libraries mapped.
//!
//! The child runs under ptrace until its dynamic linker is done, which is when the executable's entry
//! point is reached: a debug register stops it there, so nothing of it is changed.

use std::{
    fs, io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus},
};

use rustix::process::{Signal, kill_process};

use super::{ErrorKind, RecordError, stopped::StoppedTarget};
use crate::arch::breakpoint;
use crate::process::Pid;

/// The type of the auxiliary vector's entry point.
const AT_ENTRY: u64 = 9;

/// A program that was started and waits.
pub(super) struct Launched {
    child: Child,
    released: bool,
}

impl Launched {
    /// Starts `command` and stops it at its entry point.
    ///
    /// # Errors
    /// The program cannot be started, or ends before that.
    pub(super) fn start(command: &[String]) -> Result<Self, RecordError> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| RecordError::new(ErrorKind::Usage, "-- : no command is given"))?;
        let mut command = Command::new(program);
        command.args(arguments);
        // SAFETY: ptrace and prctl are async-signal-safe; nothing else happens between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // Were the recorder killed while the program is stopped, it would be so for ever.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT);
                ptrace(libc::PTRACE_TRACEME, Pid::default(), 0, 0)
            });
        }
        let child = command.spawn().map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => ErrorKind::Usage,
                _ => ErrorKind::Failed,
            };
            RecordError::new(kind, format!("cannot start {program}: {error}"))
                .with_help("after --, give a program by its path or its name in PATH, then its arguments")
        })?;
        let mut launched = Self { child, released: false };
        launched.run_to_entry().map_err(|error| {
            let pid = launched.pid();
            RecordError::failed(format!("{program} (pid {pid}) cannot be stopped at its start: {error}"))
        })?;
        Ok(launched)
    }

    /// Process id of the program.
    pub(super) fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// Process id of the program, unless it has ended.
    pub(super) fn running_pid(&mut self) -> Option<Pid> {
        matches!(self.child.try_wait(), Ok(None)).then(|| self.pid())
    }

    /// Runs the program to its entry point, and leaves it stopped as a SIGSTOP does: whoever sends it a SIGCONT lets
    /// it run on, should the recorder not come to that.
    fn run_to_entry(&mut self) -> io::Result<()> {
        let pid = self.pid();
        self.wait_for_trap()?;
        let entry = entry_point(pid)?;
        breakpoint::set(pid.raw(), entry)?;
        ptrace(libc::PTRACE_CONT, pid, 0, 0)?;
        self.wait_for_trap()?;
        breakpoint::clear(pid.raw())?;
        ptrace(libc::PTRACE_DETACH, pid, 0, libc::SIGSTOP as usize)?;
        self.wait_until_stopped()
    }

    fn wait_until_stopped(&mut self) -> io::Result<()> {
        let mut wait_status = 0;
        // SAFETY: waits for the child, which nobody else does; the status is written to a local.
        if unsafe { libc::waitpid(self.pid().raw(), &raw mut wait_status, libc::WUNTRACED) } < 0 {
            return Err(io::Error::last_os_error());
        }
        if libc::WIFSTOPPED(wait_status) { Ok(()) } else { Err(io::Error::other("it ended before that")) }
    }

    fn wait_for_trap(&mut self) -> io::Result<()> {
        loop {
            let mut wait_status = 0;
            // SAFETY: waits for the child, which nobody else does; the status is written to a local.
            if unsafe { libc::waitpid(self.pid().raw(), &raw mut wait_status, 0) } < 0 {
                return Err(io::Error::last_os_error());
            }
            if !libc::WIFSTOPPED(wait_status) {
                self.released = true;
                return Err(io::Error::other("it ended before that"));
            }
            match libc::WSTOPSIG(wait_status) {
                libc::SIGTRAP => return Ok(()),
                signal => ptrace(libc::PTRACE_CONT, self.pid(), 0, signal as usize)?,
            }
        }
    }

    /// Lets it run, on its own.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn release(&mut self) -> io::Result<()> {
        self.released = true;
        let pid = rustix::process::Pid::from_raw(self.pid().raw()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process(pid, Signal::CONT)?)
    }

    /// Waits for its end, and gives its exit status as a shell would. No probe is attached any more: it runs on, if it
    /// was stopped when nobody looked.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(super) fn wait(mut self) -> io::Result<u8> {
        drop(StoppedTarget { pid: self.pid() });
        Ok(exit_code(self.child.wait()?))
    }
}

impl Drop for Launched {
    /// A program that was never let run has done nothing: it ends with us. Another runs on, if it was stopped when
    /// nobody looked; no probe is attached any more.
    fn drop(&mut self) {
        if !self.released {
            let _ = self.child.kill();
            let _ = self.child.wait();
        } else if let Ok(None) = self.child.try_wait() {
            drop(StoppedTarget { pid: self.pid() });
        }
    }
}

fn exit_code(exit: ExitStatus) -> u8 {
    match (exit.code(), exit.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128_u8.wrapping_add(signal as u8),
        (None, None) => 1,
    }
}

fn entry_point(pid: Pid) -> io::Result<u64> {
    let auxv = fs::read(pid.path("auxv"))?;
    let words: Vec<u64> = auxv.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let mut pairs = words.as_chunks::<2>().0.iter();
    pairs
        .find(|[kind, _]| *kind == AT_ENTRY)
        .map(|[_, entry]| *entry)
        .ok_or_else(|| io::Error::other("no entry point in its auxiliary vector"))
}

fn ptrace(request: libc::c_uint, pid: Pid, address: usize, data: usize) -> io::Result<()> {
    // SAFETY: the requests used here read and write no memory of this process.
    if unsafe { libc::ptrace(request, pid.raw(), address, data) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
