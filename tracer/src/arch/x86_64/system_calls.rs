//! System calls, as a filter of seccomp sees them.

use libc::c_long;

/// The processor's number in `struct seccomp_data` (`AUDIT_ARCH_X86_64`). 32-bit system calls have another.
pub const SECCOMP_PROCESSOR: u32 = 0xc000_003e;

/// System calls on files that newer processors do not have: each does less than one that all have.
pub const LEGACY_FILES: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_dup2,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_stat,
    libc::SYS_unlink,
];

/// System calls for waiting and time that newer processors do not have.
pub const LEGACY_WAITS: &[c_long] = &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_select, libc::SYS_time];
