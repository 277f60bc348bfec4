//! Confinement of the recorder, once its probes are attached: from then on it needs few system calls, and no new
//! privileges, whatever a target's hostile memory makes of it.
//!
//! It holds for the whole process and for good, so it is its owner's to ask for: `tracer record` does. A program that
//! the recorder started is not confined: it was executed before.

use std::io;

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long, sock_filter, sock_fprog};

use crate::arch::system_calls;

/// Offsets in `struct seccomp_data` at which the filter finds the processor and the number.
const PROCESSOR_AT: u32 = 4;
const NUMBER_AT: u32 = 0;

/// The system calls that are allowed, by purpose. Everything else fails with EPERM: among it executing a program,
/// sockets to anywhere, tracing and writing to other processes' memory, mounts, modules, and users and capabilities.
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
    // Itself.
    &[
        libc::SYS_capget,
        libc::SYS_getegid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_getrandom,
        libc::SYS_getrusage,
        libc::SYS_gettid,
        libc::SYS_getuid,
        libc::SYS_prlimit64,
        libc::SYS_sched_getparam,
        libc::SYS_sched_getscheduler,
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

/// The low half of the first argument, in `struct seccomp_data`.
const ARGUMENT_AT: u32 = 16;
/// Requests of ptrace by which a process is held and its registers are read. Nothing of it can be changed by them.
const HOLDING: [libc::c_uint; 4] =
    [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT, libc::PTRACE_GETREGSET, libc::PTRACE_DETACH];

/// Confines this process, all of its threads, and every program that it would execute. `holds`: it may still hold a
/// process and read its registers.
///
/// # Errors
/// The kernel was built without seccomp filters, or a thread has a filter of its own.
pub fn confine(holds: bool) -> io::Result<()> {
    let filter = filter(holds);
    let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
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
            thread => Err(io::Error::other(format!("thread {thread} has a filter of its own"))),
        }
    }
}

fn filter(holds: bool) -> Vec<sock_filter> {
    const RETURN: u32 = BPF_RET | BPF_K;
    let statement = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let if_equal =
        |k: u32, jt: u8, jf: u8| sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt, jf, k };
    let refuse = statement(RETURN, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    let load = |at: u32| statement(BPF_LD | BPF_W | BPF_ABS, at);
    let mut filter =
        vec![load(PROCESSOR_AT), if_equal(system_calls::SECCOMP_PROCESSOR, 1, 0), refuse, load(NUMBER_AT)];
    for number in ALLOWED.iter().copied().flatten() {
        filter.extend([if_equal(*number as u32, 0, 1), statement(RETURN, libc::SECCOMP_RET_ALLOW)]);
    }
    if holds {
        let requests = u8::try_from(HOLDING.len()).unwrap_or(u8::MAX);
        filter.extend([if_equal(libc::SYS_ptrace as u32, 0, 2 * requests + 1), load(ARGUMENT_AT)]);
        for request in HOLDING {
            filter.extend([if_equal(request, 0, 1), statement(RETURN, libc::SECCOMP_RET_ALLOW)]);
        }
    }
    filter.push(refuse);
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
            libc::SYS_capset,
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
            confine(true).unwrap();
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
