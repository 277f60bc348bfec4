//! tracefs, which gives tracepoints their numbers. Where nobody mounted it, it is mounted in a mount
//! namespace of this process's own: the host sees nothing of it, and it ends with the process.

use std::{fs, io, path::Path};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::UnshareFlags,
};

const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Is tracefs there?
pub fn is_mounted() -> bool {
    PLACES.iter().any(|place| Path::new(place).join("events").is_dir())
}

/// The number of a tracepoint.
///
/// # Errors
/// tracefs is not there, or has no such tracepoint.
pub fn tracepoint_id(category: &str, name: &str) -> io::Result<u64> {
    let event = |place: &str| Path::new(place).join("events").join(category).join(name).join("id");
    let text = fs::read_to_string(event(PLACES[0])).or_else(|_| fs::read_to_string(event(PLACES[1])))?;
    text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
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
