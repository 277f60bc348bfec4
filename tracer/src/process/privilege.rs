//! Privileges of this process, given up: capabilities, thread by thread, and system calls.
//!
//! Giving up makes system calls alone, and takes no memory: a forked child may do it.
//! Source: capabilities(7), capset(2), seccomp(2); Linux, `include/uapi/linux/{capability,seccomp}.h`.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog};

use crate::arch::system_calls;

/// `_LINUX_CAPABILITY_VERSION_3`: sets of 64 bits.
const CAPABILITIES_VERSION_3: u32 = 0x2008_0522;

/// Offset of the system call's number in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
/// Offset of the processor in `struct seccomp_data`.
const PROCESSOR_AT: u32 = 4;
/// Offset of the low half of the first argument in `struct seccomp_data`.
const ARGUMENT_AT: u32 = 16;

/// Capabilities that tracer has a use for, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Capability {
    Chown = 0,
    DacOverride = 1,
    DacReadSearch = 2,
    Fowner = 3,
    Kill = 5,
    SysPtrace = 19,
    SysAdmin = 21,
    SysNice = 23,
    Perfmon = 38,
    Bpf = 39,
    CheckpointRestore = 40,
}

/// Capabilities by which a process of another user is read: its memory and the files that it has mapped.
pub const READING: [Capability; 3] =
    [Capability::SysPtrace, Capability::DacReadSearch, Capability::CheckpointRestore];

/// Capabilities that were split off from CAP_SYS_ADMIN, which includes them.
const SPLIT_OFF: [Capability; 3] = [Capability::Perfmon, Capability::Bpf, Capability::CheckpointRestore];

/// Capabilities that are given up though they are asked for.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Gives `capability` up wherever it would be kept, from now on: to measure what it is needed for.
#[doc(hidden)]
pub fn leave_out(capability: Capability) {
    LEFT_OUT.fetch_or(set_of(&[capability]), Ordering::Relaxed);
}

/// Set of capabilities, a bit for each.
pub fn set_of(capabilities: &[Capability]) -> u64 {
    capabilities.iter().fold(0, |set, capability| set | 1 << *capability as u8)
}

/// Gives up, for good and for the calling thread and threads that it starts, every capability but these. It gains
/// none: those that it does not have are left out. CAP_SYS_ADMIN stays in place of one that was split off from it and
/// that the thread does not have by itself.
///
/// # Errors
/// The kernel refuses; the thread has then what it had.
pub fn keep_only(capabilities: &[Capability]) -> io::Result<()> {
    let header = [CAPABILITIES_VERSION_3, 0];
    // Effective, permitted, inheritable; the low halves, then the high.
    let mut sets = [0_u32; 6];
    // SAFETY: the kernel reads the header, and writes six words to a local that has six.
    if unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut kept = set_of(capabilities) & !LEFT_OUT.load(Ordering::Relaxed);
    let [_, low, _, _, high, _] = sets;
    let permitted = u64::from(low) | u64::from(high) << 32;
    if kept & set_of(&SPLIT_OFF) & !permitted != 0 {
        kept |= set_of(&[Capability::SysAdmin]);
    }
    let halves = [kept as u32, (kept >> 32) as u32];
    for (set, half) in sets.chunks_exact_mut(3).zip(halves) {
        if let [effective, permitted, inheritable] = set {
            *permitted &= half;
            *effective = *permitted;
            *inheritable = 0;
        }
    }
    // SAFETY: the kernel reads two locals, as large as it wants them.
    match unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Starts a thread that keeps only these capabilities. When this returns, it has given up the others: a filter that
/// [`filter_calls`] installs may forbid that.
///
/// # Errors
/// There is no thread to be had. What `work` owns is dropped then.
pub fn start_thread<T: Send + 'static>(
    name: &str,
    capabilities: &'static [Capability],
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let (done, is_done) = mpsc::channel::<()>();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Err(error) = keep_only(capabilities) {
            tracing::debug!(%error, "a thread keeps every capability");
        }
        drop(done);
        work()
    })?;
    let _ = is_done.recv();
    Ok(thread)
}

/// Statement of a filter.
pub const fn statement(code: u32, operand: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k: operand }
}

/// Statement that skips so many statements if the loaded word is this one, and so many if not.
const fn if_equal(word: u32, then_skip: u8, else_skip: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt: then_skip, jf: else_skip, k: word }
}

/// Statement that loads a word of `struct seccomp_data`.
const fn load(at: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, at)
}

/// Statement that allows the call.
const ALLOW: sock_filter = statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW);
/// Statement that makes the call fail with EPERM.
pub const REFUSE: sock_filter = statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);

/// The statements that every filter begins with: after them, the system call's number is loaded.
pub const PROLOGUE: [sock_filter; 4] =
    [load(PROCESSOR_AT), if_equal(system_calls::SECCOMP_PROCESSOR, 1, 0), REFUSE, load(NUMBER_AT)];

/// Statements that allow the system call `number`.
pub const fn allow(number: libc::c_long) -> [sock_filter; 2] {
    [if_equal(number as u32, 0, 1), ALLOW]
}

/// Statements that begin those for the first argument of the system call `number`: `count` pairs of [`allow_argument`]
/// follow, and then nothing but [`REFUSE`].
pub const fn by_argument(number: libc::c_long, count: u8) -> [sock_filter; 2] {
    [if_equal(number as u32, 0, 2 * count + 1), load(ARGUMENT_AT)]
}

/// Statements that allow a call whose first argument is `value`.
pub const fn allow_argument(value: u32) -> [sock_filter; 2] {
    [if_equal(value, 0, 1), ALLOW]
}

/// Subjects the whole process to `filter`, for good, and every program that it would execute; it gains no privileges by
/// executing one any more.
///
/// # Errors
/// The kernel was built without seccomp filters, or a thread has a filter of its own.
pub fn filter_calls(filter: &[sock_filter]) -> io::Result<()> {
    let length = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel reads the program, which lives until after the calls, and its filter.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
            return Err(io::Error::last_os_error());
        }
        let set = libc::SECCOMP_SET_MODE_FILTER;
        match libc::syscall(libc::SYS_seccomp, set, libc::SECCOMP_FILTER_FLAG_TSYNC, &raw const program) {
            0 => Ok(()),
            -1 => Err(io::Error::last_os_error()),
            // A thread that has a filter of its own.
            _ => Err(io::ErrorKind::ResourceBusy.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
        u64::from_str_radix(line, 16).unwrap()
    }

    #[test]
    fn a_thread_gives_up_its_own_alone() {
        let before = effective();
        let kept = [Capability::SysPtrace, Capability::CheckpointRestore];
        let (during, inherited) = std::thread::spawn(move || {
            keep_only(&kept).unwrap();
            (effective(), std::thread::spawn(effective).join().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((during, inherited), (before & set_of(&kept), before & set_of(&kept)));
        assert_eq!(set_of(&kept), 1 << 19 | 1 << 40);
        assert_eq!(effective(), before, "another thread lost its own");
    }
}
