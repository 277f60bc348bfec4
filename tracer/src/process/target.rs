//! A process: who it is, and whether it can be read at all.
//!
//! `inspect` is the way in: it tells apart a pid that does not exist, one of a thread, of a kernel
//! thread, of a process that has ended, and one that may not be read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use thiserror::Error;

use super::jvm::{self, JvmInfo};
use super::mapping::{self, Mapping};
use super::module::{self, Module};
use super::{ForeignText, InnerTid, Pid, Tid, container, root};

/// The most read of a file of `/proc/PID`, bytes. A command line can be 2 MiB and more.
const MAX_PROC_BYTES: u64 = 4 << 20;

/// Reason why a process cannot be looked at.
#[derive(Debug, Error)]
pub enum TargetError {
    #[error("no process with pid {pid}")]
    NoSuchProcess { pid: Pid },
    #[error("{tid} is a thread of process {pid}, not a process")]
    IsThread { tid: Tid, pid: Pid },
    #[error("process {pid} ({comm}) is a kernel thread")]
    KernelThread { pid: Pid, comm: ForeignText },
    #[error("process {pid} ({comm}) has ended; its parent has not yet collected it")]
    Ended { pid: Pid, comm: ForeignText },
    /// Data of a process that ended on the way is not whole.
    #[error("process {pid} ({comm}) ended while it was read")]
    EndedMeanwhile { pid: Pid, comm: ForeignText },
    #[error("not permitted to read process {pid} ({comm})")]
    NotPermitted { pid: Pid, comm: ForeignText },
    #[error(
        "process {pid} ({comm}) runs 32-bit or foreign code; only {} can be traced",
        tracer_common::arch::NAME
    )]
    OtherMachine { pid: Pid, comm: ForeignText },
    #[error("process {pid}: {source}")]
    Io { pid: Pid, source: io::Error },
}

impl TargetError {
    /// The remedy, for the line `help: ...`.
    pub fn help(&self) -> String {
        match self {
            Self::NoSuchProcess { .. } => "`tracer list` shows the JVMs of this host".into(),
            Self::IsThread { pid, .. } => format!("use -p {pid}"),
            Self::KernelThread { .. } => {
                "name a process that runs a program; `tracer list` shows the JVMs".into()
            }
            Self::Ended { .. } => "start the program again; `tracer list` shows the JVMs that run".into(),
            Self::EndedMeanwhile { .. } => "`tracer list` shows the JVMs that run".into(),
            Self::NotPermitted { .. } if rustix::process::geteuid().is_root() => {
                "this root lacks a capability that the process has, or a security module forbids it: run tracer on the host itself".into()
            }
            Self::NotPermitted { .. } => "run as root: `sudo tracer ...`".into(),
            Self::OtherMachine { .. } => "trace a 64-bit x86 build of the program".into(),
            Self::Io { .. } => "see whether the process still runs, and try again".into(),
        }
    }

    /// Does the machine lack a permission or support for this process?
    pub fn is_lacking(&self) -> bool {
        matches!(self, Self::NotPermitted { .. } | Self::OtherMachine { .. })
    }
}

/// A process, as it was when looked at.
#[derive(Clone, Debug)]
pub struct Target {
    /// Process id in the tracer's pid namespace.
    pub pid: Pid,
    /// Process id in each nested pid namespace, outermost (the tracer's) first.
    pub namespace_pids: Vec<u32>,
    /// Start in clock ticks after boot: tells it from a later process with the same pid.
    pub start_time_ticks: u64,
    pub comm: ForeignText,
    pub command: Vec<String>,
    /// Path of the program in its own root; with ` (deleted)` if it was replaced.
    pub exe: Option<String>,
    pub uid: u32,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Seccomp mode: 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
    pub container: Option<String>,
    pub jvm: Option<JvmInfo>,
    pub mappings: Vec<Mapping>,
    pub modules: Vec<Module>,
}

impl Target {
    /// The module of its own executable.
    pub fn executable(&self) -> Option<&Module> {
        let exe = self.exe.as_deref()?;
        self.modules.iter().find(|module| module.path == exe)
    }

    /// The reason for which a part of this process cannot be read.
    pub fn unreadable(&self, error: io::Error) -> TargetError {
        let (pid, comm) = (self.pid, self.comm.clone());
        match error.kind() {
            io::ErrorKind::PermissionDenied => TargetError::NotPermitted { pid, comm },
            _ if !self.is_alive() => TargetError::EndedMeanwhile { pid, comm },
            _ => TargetError::Io { pid, source: error },
        }
    }

    /// Does the process still exist that was looked at? If this process cannot see it (it has too many files open,
    /// say), nothing says that it ended.
    pub fn is_alive(&self) -> bool {
        match Stat::read(self.pid) {
            Ok(stat) => stat.start_time_ticks == self.start_time_ticks && !stat.has_ended(),
            Err(error) => !is_gone(&error),
        }
    }
}

/// Looks at process `pid`.
///
/// # Errors
/// See [`TargetError`].
pub fn inspect(pid: Pid) -> Result<Target, TargetError> {
    let stat = Stat::read(pid).map_err(|source| match is_gone(&source) {
        true => TargetError::NoSuchProcess { pid },
        false => TargetError::Io { pid, source },
    })?;
    let status = Status::read(pid.leader()).map_err(|source| TargetError::Io { pid, source })?;
    let comm = stat.comm.clone();
    if status.tgid != pid {
        return Err(TargetError::IsThread { tid: pid.leader(), pid: status.tgid });
    }
    if stat.has_ended() {
        return Err(TargetError::Ended { pid, comm });
    }
    if stat.is_kernel_thread() {
        return Err(TargetError::KernelThread { pid, comm });
    }
    let mappings = mapping::read(pid).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => TargetError::NotPermitted { pid, comm: comm.clone() },
        _ if Stat::read(pid).is_err_and(|error| is_gone(&error)) => TargetError::NoSuchProcess { pid },
        _ => TargetError::Io { pid, source },
    })?;
    let modules = module::modules(pid, &mappings);
    let exe = fs::read_link(pid.path("exe")).ok().map(|path| path.to_string_lossy().into_owned());
    if modules.is_empty() {
        // Reading `maps` may be allowed where reading the mapped files is not.
        let readable = mappings.iter().filter(|mapping| mapping.is_file() && mapping.executable);
        let refused = readable.filter_map(|mapping| root::mapped_file(pid, mapping).err());
        let refused = refused.map(|error| error.kind()).any(|kind| kind == io::ErrorKind::PermissionDenied);
        return Err(match refused {
            true => TargetError::NotPermitted { pid, comm },
            // A process that ends gives its memory back first.
            false if mappings.is_empty() || Stat::read(pid).map_or(true, |stat| stat.has_ended()) => {
                TargetError::Ended { pid, comm }
            }
            false => TargetError::OtherMachine { pid, comm },
        });
    }
    let command = command(pid);
    Ok(Target {
        pid,
        namespace_pids: status.namespace_pids,
        start_time_ticks: stat.start_time_ticks,
        comm: stat.comm,
        command,
        exe,
        uid: status.uid,
        rss_bytes: status.rss_bytes,
        seccomp: status.seccomp,
        container: container::of(pid),
        jvm: jvm::find(pid, &modules),
        mappings,
        modules,
    })
}

/// Does the error of a file of `/proc/PID` say that there is no such process?
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// The command line of process `pid`; empty if it has none, or it cannot be read.
pub fn command(pid: Pid) -> Vec<String> {
    let bytes = read_bounded(&pid.path("cmdline")).unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}

/// The used fields of `/proc/PID/stat` (proc(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    pub comm: ForeignText,
    state: char,
    flags: u64,
    pub start_time_ticks: u64,
}

impl Stat {
    /// Reads it for process `pid`, which may turn out to be a thread.
    ///
    /// # Errors
    /// No such process.
    pub fn read(pid: Pid) -> io::Result<Self> {
        let text = String::from_utf8_lossy(&read_bounded(&pid.path("stat"))?).into_owned();
        Self::parse(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat is not well-formed"))
    }

    /// Takes the text of the file. `None` if it is not well-formed.
    pub fn parse(text: &str) -> Option<Self> {
        // The comm may hold spaces and parentheses: its end is the last one.
        let (head, tail) = text.rsplit_once(')')?;
        let comm = ForeignText::from(head.split_once('(')?.1);
        let mut fields = tail.split_ascii_whitespace();
        // Fields 3 (state), 9 (flags) and 22 (start time), counted from 1.
        let state = fields.next()?.chars().next()?;
        let flags = fields.nth(5)?.parse().ok()?;
        let start_time_ticks = fields.nth(12)?.parse().ok()?;
        Some(Self { comm, state, flags, start_time_ticks })
    }

    /// Has it ended, or is it about to, without memory?
    fn has_ended(&self) -> bool {
        const PF_EXITING: u64 = 0x4;
        matches!(self.state, 'Z' | 'X' | 'x') || self.flags & PF_EXITING != 0
    }

    fn is_kernel_thread(&self) -> bool {
        const PF_KTHREAD: u64 = 0x0020_0000;
        self.flags & PF_KTHREAD != 0
    }
}

/// The used fields of `/proc/PID/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub tgid: Pid,
    /// Effective user id.
    pub uid: u32,
    pub rss_bytes: u64,
    pub seccomp: u32,
    pub namespace_pids: Vec<u32>,
}

impl Status {
    /// Reads it for thread `tid`; the first one's is that of the process.
    ///
    /// # Errors
    /// No such thread.
    pub fn read(tid: Tid) -> io::Result<Self> {
        Ok(Self::parse(&String::from_utf8_lossy(&read_bounded(&tid.path("status"))?)))
    }

    /// The number of thread `tid`, whose status this is, in its process's own pid namespace.
    pub fn inner_tid(&self, tid: Tid) -> InnerTid {
        InnerTid(self.namespace_pids.last().copied().unwrap_or(tid.0))
    }

    /// Takes the text of the file; what it does not have is 0.
    pub fn parse(text: &str) -> Self {
        let mut status = Self::default();
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let mut words = value.split_ascii_whitespace();
            match key {
                "Tgid" => status.tgid = Pid(number(words.next()).unwrap_or(0)),
                "Uid" => status.uid = number(words.nth(1)).unwrap_or(0),
                "VmRSS" => status.rss_bytes = u64::from(number(words.next()).unwrap_or(0)) << 10,
                "Seccomp" => status.seccomp = number(words.next()).unwrap_or(0),
                "NSpid" => status.namespace_pids = words.filter_map(|word| word.parse().ok()).collect(),
                _ => {}
            }
        }
        status
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_PROC_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_may_not_be_read_or_cannot_be_understood_lacks_something() {
        let (pid, comm) = (Pid(7), ForeignText::from("java"));
        let target = inspect(Pid::own()).expect("this process");
        let denied = target.unreadable(io::ErrorKind::PermissionDenied.into());
        assert!(denied.is_lacking() && TargetError::OtherMachine { pid, comm }.is_lacking());
        let gone = Target { start_time_ticks: 1, ..target.clone() };
        for (error, is_as_expected) in [
            (target.unreadable(io::ErrorKind::NotFound.into()), true),
            (gone.unreadable(io::ErrorKind::NotFound.into()), false),
        ] {
            assert!(!error.is_lacking());
            assert_eq!(matches!(error, TargetError::Io { .. }), is_as_expected, "{error}");
            assert_eq!(matches!(error, TargetError::EndedMeanwhile { .. }), !is_as_expected, "{error}");
        }
    }

    #[test]
    fn a_comm_with_parentheses_and_spaces() {
        let text =
            "7 (a) b (c)) S 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0 18446744073709551615 1 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.comm.raw(), stat.start_time_ticks), ("a) b (c)", 98765));
        assert!(!stat.is_kernel_thread() && !stat.has_ended());
        assert_eq!(Stat::parse("7 (x) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn its_status_lines() {
        let text = "Name:\tjava\nTgid:\t70\nUid:\t1\t2\t3\t4\nVmRSS:\t   12 kB\nSeccomp:\t2\nNSpid:\t70\t1\n";
        let status = Status::parse(text);
        let expected =
            Status { tgid: Pid(70), uid: 2, rss_bytes: 12 << 10, seccomp: 2, namespace_pids: vec![70, 1] };
        assert_eq!(status, expected);
    }

    #[test]
    fn a_process_of_its_own() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        // Until its exec, the child's program is this test; when it sleeps, all of it is there.
        let asleep = |stat: Stat| stat.comm.raw() == "sleep" && stat.state == 'S';
        while !Stat::read(Pid(child.id())).is_ok_and(asleep) {
            std::thread::yield_now();
        }
        let target = inspect(Pid(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        let target = target.unwrap();
        assert_eq!(target.command, ["sleep", "60"]);
        assert_eq!(target.comm.raw(), "sleep");
        assert!(target.jvm.is_none() && target.start_time_ticks > 0 && target.rss_bytes > 0);
        assert!(
            target
                .executable()
                .is_some_and(|module| module.name() == "sleep" || module.name() == "coreutils")
        );
        assert!(!target.is_alive());
        assert!(matches!(inspect(Pid(child.id())), Err(TargetError::NoSuchProcess { .. })));
    }

    #[test]
    fn a_thread_is_not_a_process() {
        let (send, receive) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            send.send(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()).unwrap();
            let _ = stopped.recv();
        });
        let tid = receive.recv().unwrap();
        assert!(matches!(inspect(Pid(tid)), Err(TargetError::IsThread { pid, .. }) if pid == Pid::own()));
        drop(stop);
        thread.join().unwrap();
    }

    #[test]
    fn ended_but_not_collected() {
        let mut child = Command::new("true").spawn().unwrap();
        while !Stat::read(Pid(child.id())).unwrap().has_ended() {
            std::thread::yield_now();
        }
        let result = inspect(Pid(child.id()));
        child.wait().unwrap();
        assert!(matches!(result, Err(TargetError::Ended { .. })), "{result:?}");
    }
}
