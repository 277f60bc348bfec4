//! The calls of bpf(2) that aya does not make as they are needed here (`include/uapi/linux/bpf.h`).

use std::{
    ffi::{CStr, c_int, c_long},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use aya_obj::{Function, generated::bpf_prog_info};

use crate::process::elf::until_zero;

const MAP_CREATE: c_int = 0;
const PROG_LOAD: c_int = 5;
const OBJ_GET_INFO_BY_FD: c_int = 15;
const RAW_TRACEPOINT_OPEN: c_int = 17;
const BTF_LOAD: c_int = 18;
const LINK_CREATE: c_int = 28;

const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_KPROBE: u32 = 2;
const PROG_TYPE_TRACING: u32 = 26;
const TRACE_FEXIT: u32 = 25;
const PERF_EVENT: u32 = 41;
const TRACE_UPROBE_MULTI: u32 = 48;
/// Flag for probes at the functions' returns (`BPF_F_UPROBE_MULTI_RETURN`).
const AT_RETURN: u32 = 1;

/// Bytes of the verifier's log that are kept: its end, which tells why it refuses.
const LOG_BYTES: usize = 1 << 20;
/// Log level at which the verifier says what it does, and sums up (`BPF_LOG_LEVEL1`, `BPF_LOG_STATS`).
const LOG_LEVEL: u32 = 1 | 4;
/// The verifier gives up when a signal comes, which says nothing of the program.
const ATTEMPTS: u32 = 5;

/// Attributes of `BPF_MAP_CREATE`, up to what is used of it.
#[repr(C)]
struct MapAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// Attributes of `BPF_PROG_LOAD`, up to what is used of it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct LoadAttr {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface_index: u32,
    expected_attach_type: u32,
    btf: u32,
    function_size: u32,
    functions: u64,
    function_count: u32,
    line_size: u32,
    lines: u64,
    line_count: u32,
    attach_btf_id: u32,
}

/// Attributes of `BPF_BTF_LOAD`.
#[repr(C)]
#[derive(Default)]
struct TypesAttr {
    types: u64,
    log: u64,
    size: u32,
    log_size: u32,
    log_level: u32,
    padding: u32,
}

/// Attributes of `BPF_LINK_CREATE`, of uprobes.
#[repr(C)]
#[derive(Default)]
struct LinkAttr {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    counter_offsets: u64,
    cookies: u64,
    count: u32,
    uprobe_flags: u32,
    pid: i32,
    padding: u32,
}

/// Attributes of `BPF_LINK_CREATE`, of a perf event.
#[repr(C)]
struct EventLinkAttr {
    program: u32,
    event: u32,
    attach_type: u32,
    flags: u32,
    cookie: u64,
}

/// Attributes of `BPF_RAW_TRACEPOINT_OPEN`. Without a name: of a program that was loaded for one function.
#[repr(C)]
struct TracepointAttr {
    name: u64,
    program: u32,
    padding: u32,
    cookie: u64,
}

/// Attributes of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoAttr {
    descriptor: u32,
    size: u32,
    info: u64,
}

/// Gives what the call returns.
///
/// # Safety
/// `attr` is laid out as the kernel has it for `command`, and every address in it is good for what the kernel does
/// there, until this returns.
unsafe fn bpf<T>(command: c_int, attr: &mut T) -> io::Result<c_long> {
    // SAFETY: see above; the kernel is told the size of `attr`.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// # Safety
/// As for [`bpf`], of a command that makes a descriptor.
unsafe fn bpf_descriptor<T>(command: c_int, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's.
    let descriptor = unsafe { bpf(command, attr)? };
    let descriptor = i32::try_from(descriptor).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: it is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Makes an array of one number.
///
/// # Errors
/// bpf(2) is refused.
pub(super) fn small_map() -> io::Result<OwnedFd> {
    let mut attr = MapAttr { map_type: MAP_TYPE_ARRAY, key_size: 4, value_size: 4, max_entries: 1 };
    // SAFETY: the kernel reads the attribute alone.
    unsafe { bpf_descriptor(MAP_CREATE, &mut attr) }
}

/// Loads type information in the format BTF.
pub(super) fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let size = u32::try_from(types.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut attr = TypesAttr { types: types.as_ptr() as u64, size, ..TypesAttr::default() };
    // SAFETY: the kernel reads `size` bytes of `types`, and writes no log.
    unsafe { bpf_descriptor(BTF_LOAD, &mut attr) }
}

/// Loads a program of uprobes that one link attaches to many places.
///
/// # Errors
/// With what the verifier said.
pub(super) fn load(
    name: &str,
    license: &CStr,
    function: &Function,
    types: BorrowedFd<'_>,
) -> Result<OwnedFd, (io::Error, String)> {
    let functions = function.func_info.func_info_bytes();
    let lines = function.line_info.line_info_bytes();
    let mut attr = LoadAttr {
        program_type: PROG_TYPE_KPROBE,
        expected_attach_type: TRACE_UPROBE_MULTI,
        instruction_count: function.instructions.len() as u32,
        instructions: function.instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        btf: types.as_raw_fd() as u32,
        function_size: function.func_info_rec_size as u32,
        functions: functions.as_ptr() as u64,
        function_count: function.func_info.len() as u32,
        line_size: function.line_info_rec_size as u32,
        lines: lines.as_ptr() as u64,
        line_count: function.line_info.len() as u32,
        ..LoadAttr::default()
    };
    // The last byte stays zero.
    attr.name[..15].iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    // SAFETY: all of it is borrowed or owned here.
    unsafe { load_as(attr) }.or_else(|error| {
        // Once more, for what it says: a log takes time, and is seldom read.
        let mut log = vec![0; LOG_BYTES];
        attr.log_level = LOG_LEVEL;
        attr.log_size = LOG_BYTES as u32;
        attr.log = log.as_mut_ptr() as u64;
        // SAFETY: as before, and so is the log.
        unsafe { load_as(attr) }.map_err(|_| (error, String::from_utf8_lossy(until_zero(&log)).into_owned()))
    })
}

/// # Safety
/// The memory that `attr` has addresses of lives until after the call, in the sizes that are told. The log is written.
unsafe fn load_as(attr: LoadAttr) -> io::Result<OwnedFd> {
    let mut attempts = 1..ATTEMPTS;
    loop {
        // SAFETY: the caller's; all but the log is only read.
        let loaded = unsafe { bpf_descriptor(PROG_LOAD, &mut { attr }) };
        match loaded {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempts.next().is_some() => {}
            loaded => return loaded,
        }
    }
}

/// A place in a file at which a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    pub file_offset: u64,
    /// The program is told this there (`bpf_get_attach_cookie`).
    pub cookie: u64,
}

/// Attaches a program to sites of a file. `pid` 0: in all processes.
pub(super) fn link(
    program: BorrowedFd<'_>,
    path: &CStr,
    sites: &[Site],
    at_return: bool,
    pid: i32,
) -> io::Result<OwnedFd> {
    let (offsets, cookies): (Vec<u64>, Vec<u64>) =
        sites.iter().map(|site| (site.file_offset, site.cookie)).unzip();
    let mut attr = LinkAttr {
        program: program.as_raw_fd() as u32,
        attach_type: TRACE_UPROBE_MULTI,
        path: path.as_ptr() as u64,
        offsets: offsets.as_ptr() as u64,
        cookies: cookies.as_ptr() as u64,
        count: sites.len() as u32,
        uprobe_flags: if at_return { AT_RETURN } else { 0 },
        pid,
        ..LinkAttr::default()
    };
    // SAFETY: the kernel reads the path up to its zero, and `count` offsets and cookies.
    unsafe { bpf_descriptor(LINK_CREATE, &mut attr) }
}

/// Attaches a program to a perf event, which is kept as long as the link. The program is told `cookie`.
pub(super) fn link_to_event(
    program: BorrowedFd<'_>,
    event: BorrowedFd<'_>,
    cookie: u64,
) -> io::Result<OwnedFd> {
    let mut attr = EventLinkAttr {
        program: program.as_raw_fd() as u32,
        event: event.as_raw_fd() as u32,
        attach_type: PERF_EVENT,
        flags: 0,
        cookie,
    };
    // SAFETY: numbers alone.
    unsafe { bpf_descriptor(LINK_CREATE, &mut attr) }
}

/// Attaches a program to a tracepoint of the kernel, by its name; or, without one, to the function of the kernel that it
/// was loaded for.
///
/// # Errors
/// The kernel has no such tracepoint, or refuses.
pub(super) fn link_to_kernel(program: BorrowedFd<'_>, tracepoint: Option<&CStr>) -> io::Result<OwnedFd> {
    let mut attr = TracepointAttr {
        name: tracepoint.map_or(0, |name| name.as_ptr() as u64),
        program: program.as_raw_fd() as u32,
        padding: 0,
        cookie: 0,
    };
    // SAFETY: the name lives until after the call.
    unsafe { bpf_descriptor(RAW_TRACEPOINT_OPEN, &mut attr) }
}

/// The kernel's information about a program.
pub(super) fn info(program: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    // SAFETY: integers, for which zeros are values.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attr = InfoAttr {
        descriptor: program.as_raw_fd() as u32,
        size: size_of::<bpf_prog_info>() as u32,
        info: &raw mut info as u64,
    };
    // SAFETY: the kernel writes at most `size` bytes of `info`, and where its addresses lead: they are zero.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attr)? };
    Ok(info)
}

/// Loads a program that does nothing, of a type that runs where it is attached to, for the function of the kernel with
/// the BTF id `function` if it is of functions; 0 otherwise.
fn load_nothing(program_type: u32, expected_attach_type: u32, function: u32) -> io::Result<OwnedFd> {
    /// `r0 = 0`, `exit`.
    const INSTRUCTIONS: [u64; 2] = [0xb7, 0x95];
    let attr = LoadAttr {
        program_type,
        expected_attach_type,
        attach_btf_id: function,
        instruction_count: INSTRUCTIONS.len() as u32,
        instructions: INSTRUCTIONS.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..LoadAttr::default()
    };
    // SAFETY: the addresses of constants.
    unsafe { load_as(attr) }
}

/// Tries whether the kernel takes a program for the return of its function with this BTF id.
///
/// # Errors
/// It does not.
pub(super) fn try_function_return(function: u32) -> io::Result<()> {
    load_nothing(PROG_TYPE_TRACING, TRACE_FEXIT, function).map(drop)
}

/// Has the kernel such links, and are those to a process to all of its threads? At first they were to one thread alone;
/// that was mended in Linux 6.10, and in later ones of the 6.6 series.
pub(super) fn has_links_for_processes() -> bool {
    let Ok(program) = load_nothing(PROG_TYPE_KPROBE, TRACE_UPROBE_MULTI, 0) else { return false };
    // A kernel that has them finds that this is no file; one that knows processes refuses a number that is none before.
    let refusal = |pid| {
        link(program.as_fd(), c"/", &[Site { file_offset: 0, cookie: 0 }], false, pid).err()?.raw_os_error()
    };
    refusal(0) == Some(libc::EBADF) && refusal(-1) == Some(libc::EINVAL)
}
