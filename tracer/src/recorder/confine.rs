//! Confinement of the recorder, once its probes are attached: from then on it needs few system calls, and no new
//! privileges, whatever a target's hostile memory makes of it.
//!
//! It holds for the whole process and for good, so it is its owner's to ask for: `tracer record` does. A program that
//! the recorder started is not confined: it was executed before.

use std::io;

use libc::{c_long, sock_filter};

use crate::{
    arch::system_calls,
    probe::kernel,
    process::privilege::{self, Capability, PROLOGUE, READING, REFUSE, allow, allow_argument, by_argument},
};

/// The system calls that are allowed, by purpose. Everything else fails with EPERM: among it executing a program,
/// sockets to anywhere, tracing and writing to other processes' memory, mounts, modules, and users.
const ALLOWED: [&[c_long]; 9] = [
    // Memory and threads.
    &[
        libc::SYS_brk,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_mincore,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_msync,
        libc::SYS_munmap,
        libc::SYS_prctl,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
        libc::SYS_sigaltstack,
    ],
    // Files: what it reads of the target and of libraries, and the recording.
    &[
        libc::SYS_close,
        libc::SYS_copy_file_range,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_fallocate,
        libc::SYS_fchmod,
        libc::SYS_fchown,
        libc::SYS_fcntl,
        libc::SYS_fdatasync,
        libc::SYS_flock,
        libc::SYS_fstat,
        libc::SYS_fstatfs,
        libc::SYS_fsync,
        libc::SYS_ftruncate,
        libc::SYS_getcwd,
        libc::SYS_getdents64,
        libc::SYS_ioctl,
        libc::SYS_linkat,
        libc::SYS_lseek,
        libc::SYS_memfd_create,
        libc::SYS_newfstatat,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_pipe2,
        libc::SYS_pread64,
        libc::SYS_preadv,
        libc::SYS_pwrite64,
        libc::SYS_read,
        libc::SYS_readlinkat,
        libc::SYS_readv,
        libc::SYS_renameat,
        libc::SYS_renameat2,
        libc::SYS_sendfile,
        libc::SYS_statfs,
        libc::SYS_statx,
        libc::SYS_umask,
        libc::SYS_unlinkat,
        libc::SYS_utimensat,
        libc::SYS_write,
        libc::SYS_writev,
    ],
    system_calls::LEGACY_FILES,
    // Waiting, and time.
    &[
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_eventfd2,
        libc::SYS_gettimeofday,
        libc::SYS_nanosleep,
        libc::SYS_ppoll,
        libc::SYS_pselect6,
        libc::SYS_timerfd_create,
        libc::SYS_timerfd_settime,
    ],
    system_calls::LEGACY_WAITS,
    // Itself. Of its capabilities a thread can only give up some.
    &[
        libc::SYS_capget,
        libc::SYS_capset,
        libc::SYS_getegid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_getpriority,
        libc::SYS_getrandom,
        libc::SYS_getrusage,
        libc::SYS_gettid,
        libc::SYS_getuid,
        libc::SYS_prlimit64,
        libc::SYS_sched_getparam,
        libc::SYS_sched_getscheduler,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setscheduler,
        libc::SYS_sysinfo,
        libc::SYS_uname,
    ],
    // Signals, and the program that it started.
    &[
        libc::SYS_kill,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_send_signal,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigpending,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_setpgid,
        libc::SYS_tgkill,
        libc::SYS_wait4,
        libc::SYS_waitid,
    ],
    // Probes: tables are read all the time, and libraries that are loaded later get probes.
    &[libc::SYS_bpf, libc::SYS_perf_event_open],
    // The guard, by a socket that both have; and the target's memory, which is only read.
    &[
        libc::SYS_process_vm_readv,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
        libc::SYS_sendto,
        libc::SYS_shutdown,
        libc::SYS_socketpair,
    ],
];

/// Requests of ptrace by which a process is held and its registers are read. Nothing of it can be changed by them.
const HOLDING: [libc::c_uint; 4] =
    [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT, libc::PTRACE_GETREGSET, libc::PTRACE_DETACH];

/// Numbers of the system calls that a confined recorder has, beside those by which it holds a process.
pub fn allowed_calls() -> impl Iterator<Item = c_long> {
    ALLOWED.iter().copied().flatten().copied()
}

/// Work that a recorder still has to do, by which it is confined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tasks {
    /// It holds a process, and reads its registers.
    pub(super) holds: bool,
    /// It started the program that it records.
    pub(super) launched: bool,
    /// Probes on libraries that are loaded later are perf events.
    pub(super) uses_perf_events: bool,
    /// The file that it writes, or its folder, is another user's.
    pub(super) writes_for_other: bool,
}

/// Confines this process, all of its threads, and every program that it would execute, to what `tasks` need. The
/// capabilities are given up by the calling thread; threads that the recorder started before have fewer already.
///
/// # Errors
/// The kernel was built without seccomp filters, or a thread has a filter of its own.
pub(super) fn confine(tasks: &Tasks) -> io::Result<()> {
    privilege::keep_only(&needed(tasks))?;
    privilege::filter_calls(&filter(tasks.holds))
}

/// Capabilities that a recorder needs until its end; docs/requirements.md has what each is for.
fn needed(tasks: &Tasks) -> Vec<Capability> {
    let mut needed = READING.to_vec();
    needed.extend_from_slice(kernel::for_tables());
    if tasks.uses_perf_events {
        needed.push(Capability::Perfmon);
    }
    if tasks.holds {
        needed.push(Capability::SysNice);
    }
    if tasks.launched {
        needed.push(Capability::Kill);
    }
    if tasks.writes_for_other {
        needed.extend([Capability::Chown, Capability::DacOverride, Capability::Fowner]);
    }
    needed
}

fn filter(holds: bool) -> Vec<sock_filter> {
    let mut filter = PROLOGUE.to_vec();
    for number in ALLOWED.iter().copied().flatten() {
        filter.extend(allow(*number));
    }
    if holds {
        let requests = u8::try_from(HOLDING.len()).unwrap_or(u8::MAX);
        filter.extend(by_argument(libc::SYS_ptrace, requests));
        for request in HOLDING {
            filter.extend(allow_argument(request));
        }
    }
    filter.push(REFUSE);
    filter
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn nothing_dangerous_is_allowed() {
        let allowed: BTreeSet<c_long> = ALLOWED.iter().copied().flatten().copied().collect();
        assert_eq!(
            allowed.len(),
            ALLOWED.iter().map(|group| group.len()).sum::<usize>(),
            "a call is listed twice"
        );
        for refused in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_process_vm_writev,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_mount,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_kexec_load,
            libc::SYS_setuid,
            libc::SYS_chroot,
            libc::SYS_reboot,
        ] {
            assert!(!allowed.contains(&refused), "{refused}");
        }
    }

    /// A confined process executes nothing. In a process of its own: confinement is for good.
    #[test]
    fn a_confined_process_executes_nothing() {
        const IN_CHILD: &str = "TRACER_TEST_CONFINED";
        if std::env::var_os(IN_CHILD).is_some() {
            privilege::filter_calls(&filter(true)).unwrap();
            let refused = Command::new("/bin/true").status().unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
            assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
            let parent = std::os::unix::process::parent_id();
            let trace = |request: libc::c_uint| {
                // SAFETY: these requests read and write no memory of ours.
                let done = unsafe { libc::ptrace(request, parent as libc::pid_t, 0, 0) };
                (done, io::Error::last_os_error().raw_os_error())
            };
            assert_eq!(trace(libc::PTRACE_POKEDATA), (-1, Some(libc::EPERM)));
            assert_eq!(trace(libc::PTRACE_ATTACH), (-1, Some(libc::EPERM)));
            // It is not held, which the kernel itself says.
            assert_eq!(trace(libc::PTRACE_DETACH), (-1, Some(libc::ESRCH)));
            // Everything that it does all the time works, in old and in new threads.
            std::thread::spawn(|| std::fs::read("/proc/self/status").unwrap()).join().unwrap();
            return;
        }
        let own = std::env::current_exe().unwrap();
        let name = "recorder::confine::tests::a_confined_process_executes_nothing";
        let status = Command::new(own)
            .args([name, "--exact"])
            .env(IN_CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
    }
}
