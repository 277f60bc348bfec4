//! Perf events that run a program: of a tracepoint, or of a uprobe (`include/uapi/linux/perf_event.h`).

use std::{
    ffi::{CStr, c_long},
    fs, io,
    os::fd::{FromRawFd, OwnedFd},
};

/// File in which the kernel says which type of event a uprobe is.
const UPROBE_TYPE: &str = "/sys/bus/event_source/devices/uprobe/type";
/// `PERF_TYPE_TRACEPOINT`.
const TRACEPOINT_TYPE: u32 = 2;
/// `PERF_TYPE_SOFTWARE`, and `PERF_COUNT_SW_DUMMY`.
const SOFTWARE_TYPE: u32 = 1;
const SOFTWARE_DUMMY: u64 = 9;
/// Bit in `config` of a uprobe at the function's return (`/sys/bus/event_source/devices/uprobe/format/retprobe`).
const AT_RETURN: u64 = 1;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: c_long = 8;

/// The beginning of `struct perf_event_attr` (`PERF_ATTR_SIZE_VER1`).
#[repr(C)]
#[derive(Default)]
struct EventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint_type: u32,
    /// The path of a uprobe's file, and the offset in it.
    path: u64,
    offset: u64,
}

/// The threads for which a uprobe is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The calling thread.
    ThisThread,
    /// The process, with all of its threads.
    Process(i32),
}

/// Makes the event of the tracepoint with this number.
///
/// # Errors
/// Not permitted, or there is no such tracepoint.
pub(super) fn tracepoint(id: u64) -> io::Result<OwnedFd> {
    let attr = EventAttr { kind: TRACEPOINT_TYPE, config: id, ..EventAttr::default() };
    // A tracepoint's program runs on every CPU, whichever the event is of.
    open(attr, -1, 0)
}

/// Makes an event that counts nothing, of the calling thread.
///
/// # Errors
/// perf_event_open(2) is refused.
pub(super) fn dummy() -> io::Result<OwnedFd> {
    let attr = EventAttr { kind: SOFTWARE_TYPE, config: SOFTWARE_DUMMY, ..EventAttr::default() };
    open(attr, 0, -1)
}

/// Makes the event of a uprobe at `offset` of the file at `path`. While it exists, the file's code has a breakpoint
/// there in the processes of `scope`.
///
/// # Errors
/// Not permitted, or the kernel refuses the place.
pub(super) fn uprobe(path: &CStr, offset: u64, at_return: bool, scope: Scope) -> io::Result<OwnedFd> {
    let kind = fs::read_to_string(UPROBE_TYPE)?;
    let attr = EventAttr {
        kind: kind.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?,
        config: if at_return { AT_RETURN } else { 0 },
        path: path.as_ptr() as u64,
        offset,
        ..EventAttr::default()
    };
    let pid = match scope {
        Scope::ThisThread => 0,
        Scope::Process(pid) => pid,
    };
    open(attr, pid, -1)
}

/// `attr` must have addresses of what lives until after the call.
fn open(attr: EventAttr, pid: i32, cpu: i32) -> io::Result<OwnedFd> {
    let attr = EventAttr { size: size_of::<EventAttr>() as u32, ..attr };
    let (pid, cpu, no_group) = (c_long::from(pid), c_long::from(cpu), -1 as c_long);
    // SAFETY: the attribute, and the path in it, live until after the call, and the kernel only reads them.
    let descriptor = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const attr, pid, cpu, no_group, CLOSE_ON_EXEC)
    };
    match i32::try_from(descriptor) {
        // SAFETY: a new descriptor, which nobody else owns.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
