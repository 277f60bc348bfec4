//! tracefs, which gives tracepoints their numbers. Where nobody mounted it, it is mounted in a mount
//! namespace of this process's own: the host sees nothing of it, and it ends with the process.

use std::{io, path::Path};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::UnshareFlags,
};

const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Is tracefs there?
pub fn is_mounted() -> bool {
    PLACES.iter().any(|place| Path::new(place).join("events").is_dir())
}

/// Sees to it that tracefs is there for this thread and those that it starts. To be called before any
/// other thread is.
///
/// # Errors
/// Not permitted (needs CAP_SYS_ADMIN), or a kernel without tracefs.
pub fn ensure() -> io::Result<()> {
    if is_mounted() {
        return Ok(());
    }
    // SAFETY: no file descriptors are unshared, and this is the only thread.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tracefs", PLACES[0], "tracefs", flags, None)?;
    Ok(())
}
