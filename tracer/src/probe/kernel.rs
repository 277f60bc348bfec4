//! The kernel's features and the tracer's own privileges, and the way to get those that are missing.
//!
//! [`Features::read`] collects facts without attaching or mounting anything (a map and a perf event that do nothing are
//! made, to see whether they may be); everything after that is a pure judgement of them, so that a test can pose as any
//! kernel. In Linux as it is released, `bpf_loop` (5.17) sets the oldest; attach cookies and links of perf events
//! (5.15), the ring buffer (5.8) and CAP_BPF (5.8) are older. Distributions take some of it into older kernels, so what
//! is looked for is the thing itself, by its name in the kernel's own types.

mod requirements;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

pub use requirements::{Requirement, Status};

use super::bpf::small_map;
use super::btf::Btf;
use super::mapping_calls::SeenAt;
use super::perf_event;
use crate::process::privilege::Capability;

/// State of the folder in which tracepoints are described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracefs {
    /// Mounted there, and readable.
    Mounted(String),
    /// Mounted there, but not readable.
    Unreadable(String),
    /// The kernel has it, but it is not mounted: the tracer mounts it for itself alone.
    NotMounted,
    /// The kernel was built without.
    Absent,
}

/// Bits of a capability set (`include/uapi/linux/capability.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    const SYS_PTRACE: u32 = 19;
    const SYS_ADMIN: u32 = 21;
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;
    const CHECKPOINT_RESTORE: u32 = 40;

    fn has(self, bit: u32) -> bool {
        self.0 >> bit & 1 != 0
    }

    fn missing(self) -> Vec<&'static str> {
        // CAP_SYS_ADMIN includes those that were split off from it, not CAP_SYS_PTRACE.
        let mut missing = Vec::new();
        let needs = [
            (Self::BPF, "CAP_BPF"),
            (Self::PERFMON, "CAP_PERFMON"),
            (Self::CHECKPOINT_RESTORE, "CAP_CHECKPOINT_RESTORE"),
        ];
        missing.extend(
            needs
                .iter()
                .filter(|(bit, _)| !self.has(*bit) && !self.has(Self::SYS_ADMIN))
                .map(|(_, name)| *name),
        );
        if !self.has(Self::SYS_PTRACE) {
            missing.push("CAP_SYS_PTRACE");
        }
        missing
    }
}

/// Number of CPUs that the kernel can have running at once: a BPF program's CPU number is below it.
pub fn cpu_count() -> u32 {
    aya::util::nr_cpus().map_or(1, |count| count as u32)
}

/// Capability that the kernel wants for reading and writing tables that were made: none since Linux 5.19.
/// Source: Linux, `kernel/bpf/syscall.c` (c8644cd0efe7).
pub fn for_tables() -> &'static [Capability] {
    let uname = rustix::system::uname();
    let Version { major, minor, .. } = Version::of_release(&uname.release().to_string_lossy());
    if (major, minor) < (5, 19) { &[Capability::Bpf] } else { &[] }
}

/// BPF as the kernel has it, and lets this process have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bpf {
    /// Names of [`Bpf::NEEDED`] that the kernel does not have. `None` if its types (BTF) cannot be read.
    pub lacks: Option<Vec<&'static str>>,
    /// The system call that is refused to this process though it has the capabilities.
    pub refused: Option<String>,
}

impl Bpf {
    /// Functions and kinds of links that recording uses, by names in `enum bpf_func_id` and `enum bpf_link_type`.
    pub const NEEDED: [&str; 6] = [
        "BPF_FUNC_loop",
        "BPF_FUNC_get_attach_cookie",
        "BPF_FUNC_ringbuf_output",
        "BPF_FUNC_task_pt_regs",
        "BPF_FUNC_send_signal",
        "BPF_LINK_TYPE_PERF_EVENT",
    ];

    fn read(capabilities: Capabilities) -> Self {
        let lacks = Btf::of_kernel().ok().map(|btf| btf.lacking(&Self::NEEDED));
        let refused =
            |call: &str, made: io::Result<OwnedFd>| made.err().map(|error| format!("{call}: {error}"));
        // Without them it is refused anyway.
        let refused = capabilities.missing().is_empty().then(|| {
            refused("bpf(2)", small_map()).or_else(|| refused("perf_event_open(2)", perf_event::dummy()))
        });
        Self { lacks, refused: refused.flatten() }
    }
}

/// Facts about the running kernel and this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// `x86_64`, ...
    pub machine: String,
    /// `6.18.0-1-amd64`, ...
    pub release: String,
    pub user_id: u32,
    /// The effective set.
    pub capabilities: Capabilities,
    /// User namespace of the host's users: capabilities count only there.
    pub initial_user_namespace: bool,
    /// Pid namespace of the host's processes: the pids that the kernel reports are then those of `/proc`.
    pub initial_pid_namespace: bool,
    pub bpf: Bpf,
    pub uprobes: bool,
    /// Place at which the kernel lets mapping calls be seen: only tracepoints need tracefs.
    pub mapping_calls: SeenAt,
    pub tracefs: Tracefs,
    /// Kernel lockdown forbids reading the kernel's memory.
    pub lockdown_confidentiality: bool,
    /// Files that this process may have open, if it raises its limit as far as it can.
    pub open_files: u64,
    /// Address space that this process may have, bytes.
    pub address_space_bytes: u64,
}

/// The version of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    fn of_release(release: &str) -> Self {
        let digits = |part: &str| {
            let end = part.find(|char: char| !char.is_ascii_digit()).unwrap_or(part.len());
            part.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
        };
        let mut parts = release.splitn(3, '.').map(digits);
        let mut next = || parts.next().unwrap_or(0);
        Version { major: next(), minor: next(), patch: next() }
    }
}

impl Features {
    /// Collects them. A feature that cannot be read counts as absent. This process's limit of open files is raised by
    /// it; programs that it started before keep theirs.
    pub fn read() -> Self {
        let open_files = raise_open_files();
        let uname = rustix::system::uname();
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let status = text("/proc/self/status");
        let field = |key: &str| {
            status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim).unwrap_or_default()
        };
        let capabilities = Capabilities(u64::from_str_radix(field("CapEff:"), 16).unwrap_or(0));
        let namespace = |name: &str| {
            fs::read_link(format!("/proc/self/ns/{name}")).map(|link| link.to_string_lossy().into_owned())
        };
        Self {
            machine: uname.machine().to_string_lossy().into_owned(),
            release: uname.release().to_string_lossy().into_owned(),
            user_id: rustix::process::geteuid().as_raw(),
            capabilities,
            // Inode numbers of the initial namespaces: include/linux/proc_ns.h.
            initial_user_namespace: namespace("user").is_ok_and(|link| link == "user:[4026531837]"),
            initial_pid_namespace: namespace("pid").is_ok_and(|link| link == "pid:[4026531836]"),
            bpf: Bpf::read(capabilities),
            uprobes: Path::new("/sys/bus/event_source/devices/uprobe/type").exists(),
            mapping_calls: SeenAt::of_kernel(),
            tracefs: tracefs(&text("/proc/self/mounts"), &text("/proc/filesystems"), |path| {
                fs::read_dir(format!("{path}/events")).is_ok()
            }),
            lockdown_confidentiality: text("/sys/kernel/security/lockdown").contains("[confidentiality]"),
            open_files,
            address_space_bytes: address_space_bytes(),
        }
    }

    /// The version that the release names; 0 where it does not.
    pub fn version(&self) -> Version {
        Version::of_release(&self.release)
    }

    /// Would a return probe end a process that has a seccomp filter? From 6.11 on the return of a
    /// probed function is a system call of its own, which filters did not know, and killed the
    /// process for; since 6.14 (and 6.12.14, 6.13.3) filters do not see it.
    pub fn return_probe_meets_seccomp(&self) -> bool {
        let Version { major, minor, patch } = self.version();
        match (major, minor) {
            (6, 11) => true,
            (6, 12) => patch < 14,
            (6, 13) => patch < 3,
            _ => false,
        }
    }
}

/// Raises this process's limit of open files as far as it can without privileges, and gives what it is then: programs,
/// tables, and the libraries of a process are some hundred.
fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    limit.unwrap_or(u64::MAX)
}

/// Address space that this process may have, bytes. It is not raised: a program that is started would have it, too.
fn address_space_bytes() -> u64 {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::As).current.unwrap_or(u64::MAX)
}

/// Judges `/proc/self/mounts` and `/proc/filesystems`.
fn tracefs(mounts: &str, filesystems: &str, readable: impl Fn(&str) -> bool) -> Tracefs {
    // Where it is looked for when probes are attached.
    const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let path = words.next().filter(|path| PLACES.contains(path))?;
        (words.next()? == "tracefs").then_some(path)
    });
    let mut unreadable = None;
    for path in mounted {
        if readable(path) {
            return Tracefs::Mounted(path.to_owned());
        }
        unreadable = Some(Tracefs::Unreadable(path.to_owned()));
    }
    let known = filesystems.lines().any(|line| line.split_whitespace().next_back() == Some("tracefs"));
    unreadable.unwrap_or(if known { Tracefs::NotMounted } else { Tracefs::Absent })
}
