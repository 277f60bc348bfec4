//! A breakpoint in a debug register: it stops a process that this thread traces, and changes nothing of its memory.
//! Source: Intel SDM 3, 17.2; `struct user` in `sys/user.h`.

use std::io;

/// `offsetof(struct user, u_debugreg)`.
const DEBUG_REGISTERS: usize = 848;
/// Register 7 controls the others: break on execution at the address in register 0.
const CONTROL: usize = DEBUG_REGISTERS + 7 * 8;
const ENABLE_FIRST: usize = 1;

/// Stops the traced process `pid` when it gets to `address`.
///
/// # Errors
/// The process is not stopped and traced by the calling thread, or the address cannot be.
pub fn set(pid: i32, address: u64) -> io::Result<()> {
    let address = usize::try_from(address).map_err(io::Error::other)?;
    poke(pid, DEBUG_REGISTERS, address)?;
    poke(pid, CONTROL, ENABLE_FIRST)
}

/// Takes the breakpoint away.
///
/// # Errors
/// The process is not stopped and traced by the calling thread.
pub fn clear(pid: i32) -> io::Result<()> {
    poke(pid, CONTROL, 0)
}

fn poke(pid: i32, offset: usize, word: usize) -> io::Result<()> {
    // SAFETY: the request writes to the traced process's own debug registers, and reads no memory of ours.
    let done = unsafe { libc::ptrace(libc::PTRACE_POKEUSER, pid, offset, word) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
