//! What the kernel and the tracer's own privileges allow, and what mends what they lack.
//!
//! [`Features::read`] collects facts without attaching or mounting anything; everything after that
//! is a pure judgement of them, so that a test can pose as any kernel.
//! `bpf_loop` (5.17) sets the oldest kernel; attach cookies (5.15), the ring buffer (5.8) and
//! CAP_BPF (5.8) are older.

use std::fs;
use std::path::Path;

/// A requirement, and whether it is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Fixed name, for programs.
    pub id: &'static str,
    /// What is required, for people.
    pub title: &'static str,
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What mends it; given if it is not met.
    pub help: Option<String>,
}

/// Is a requirement met?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Met,
    /// Tracing works, with less to see or at a higher price.
    Warning,
    Missing,
}

impl Requirement {
    /// One that is met.
    pub fn met(id: &'static str, title: &'static str, found: impl Into<String>) -> Self {
        Self { id, title, status: Status::Met, found: found.into(), help: None }
    }

    /// One that is not, with what mends it.
    pub fn lacking(
        id: &'static str,
        title: &'static str,
        status: Status,
        found: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { id, title, status, found: found.into(), help: Some(help.into()) }
    }
}

/// Where tracepoints are described.
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

/// How many CPUs the kernel can have running at once: a BPF program's CPU number is below it.
pub fn cpu_count() -> u32 {
    aya::util::nr_cpus().map_or(1, |count| count as u32)
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
    /// All of the host's users: capabilities count only then.
    pub initial_user_namespace: bool,
    /// All of the host's processes: the pids that the kernel reports are then those of `/proc`.
    pub initial_pid_namespace: bool,
    pub btf: bool,
    pub uprobes: bool,
    pub tracefs: Tracefs,
    /// Kernel lockdown forbids reading the kernel's memory.
    pub lockdown_confidentiality: bool,
}

impl Features {
    /// Collects them. What cannot be read counts as absent.
    pub fn read() -> Self {
        let uname = rustix::system::uname();
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let status = text("/proc/self/status");
        let field = |key: &str| {
            status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim).unwrap_or_default()
        };
        let namespace = |name: &str| {
            fs::read_link(format!("/proc/self/ns/{name}")).map(|link| link.to_string_lossy().into_owned())
        };
        Self {
            machine: uname.machine().to_string_lossy().into_owned(),
            release: uname.release().to_string_lossy().into_owned(),
            user_id: rustix::process::geteuid().as_raw(),
            capabilities: Capabilities(u64::from_str_radix(field("CapEff:"), 16).unwrap_or(0)),
            // Inode numbers of the initial namespaces: include/linux/proc_ns.h.
            initial_user_namespace: namespace("user").is_ok_and(|link| link == "user:[4026531837]"),
            initial_pid_namespace: namespace("pid").is_ok_and(|link| link == "pid:[4026531836]"),
            btf: fs::File::open("/sys/kernel/btf/vmlinux").is_ok(),
            uprobes: Path::new("/sys/bus/event_source/devices/uprobe/type").exists(),
            tracefs: tracefs(&text("/proc/self/mounts"), &text("/proc/filesystems"), |path| {
                fs::read_dir(format!("{path}/events")).is_ok()
            }),
            lockdown_confidentiality: text("/sys/kernel/security/lockdown").contains("[confidentiality]"),
        }
    }

    /// Major, minor and patch number of the kernel; 0 where not told.
    pub fn version(&self) -> (u32, u32, u32) {
        let digits = |part: &str| {
            let end = part.find(|char: char| !char.is_ascii_digit()).unwrap_or(part.len());
            part.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
        };
        let mut parts = self.release.splitn(3, '.').map(digits);
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next())
    }

    /// Everything that recording needs of this host, met or not.
    pub fn requirements(&self) -> Vec<Requirement> {
        vec![
            self.processor(),
            self.kernel(),
            self.privileges(),
            self.namespaces(),
            self.btf_requirement(),
            self.uprobes_requirement(),
            self.tracefs_requirement(),
            self.lockdown(),
        ]
    }

    /// Would a return probe end a process that has a seccomp filter? From 6.11 on the return of a
    /// probed function is a system call of its own, which filters did not know, and killed the
    /// process for; since 6.14 (and 6.12.14, 6.13.3) filters do not see it.
    pub fn return_probe_meets_seccomp(&self) -> bool {
        match self.version() {
            (6, 11, _) => true,
            (6, 12, patch) => patch < 14,
            (6, 13, patch) => patch < 3,
            _ => false,
        }
    }

    fn processor(&self) -> Requirement {
        let (id, title) = ("processor", "an x86-64 processor");
        match self.machine.as_str() {
            "x86_64" => Requirement::met(id, title, "x86_64"),
            other => Requirement::lacking(
                id,
                title,
                Status::Missing,
                other,
                "run tracer on an x86-64 host: no other is supported",
            ),
        }
    }

    fn kernel(&self) -> Requirement {
        let (id, title) = ("kernel", "Linux 5.17 or later");
        let (major, minor, _) = self.version();
        if (major, minor) >= (5, 17) {
            return Requirement::met(id, title, &self.release);
        }
        Requirement::lacking(
            id,
            title,
            Status::Missing,
            &self.release,
            "update the kernel: older ones lack bpf_loop, by which stacks are walked",
        )
    }

    fn privileges(&self) -> Requirement {
        let (id, title) = ("privileges", "root, or its capabilities");
        let who = match self.user_id {
            0 => "root".to_owned(),
            user => format!("user {user}"),
        };
        if !self.initial_user_namespace {
            let found = format!("{who} of a user namespace");
            return Requirement::lacking(
                id,
                title,
                Status::Missing,
                found,
                "run tracer on the host, outside of a user namespace",
            );
        }
        let missing = self.capabilities.missing();
        if missing.is_empty() {
            let found = if self.user_id == 0 { who } else { format!("{who} with the capabilities") };
            return Requirement::met(id, title, found);
        }
        let found = format!("{who} without {}", missing.join(", "));
        let help = match self.user_id {
            0 => format!("give this root {}: in a container, `--privileged`", missing.join(", ")),
            _ => "run as root: `sudo tracer ...`".to_owned(),
        };
        Requirement::lacking(id, title, Status::Missing, found, help)
    }

    fn namespaces(&self) -> Requirement {
        let (id, title) = ("pid-namespace", "the host's process ids");
        match self.initial_pid_namespace {
            true => Requirement::met(id, title, "the initial pid namespace"),
            false => Requirement::lacking(
                id,
                title,
                Status::Missing,
                "tracer runs in a pid namespace of its own",
                "run tracer on the host, or in a container with `--pid=host`",
            ),
        }
    }

    fn btf_requirement(&self) -> Requirement {
        let (id, title) = ("btf", "the kernel's type information (BTF)");
        match self.btf {
            true => Requirement::met(id, title, "/sys/kernel/btf/vmlinux"),
            false => Requirement::lacking(
                id,
                title,
                Status::Missing,
                "/sys/kernel/btf/vmlinux cannot be read",
                "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as distributions' are; in a container, mount /sys",
            ),
        }
    }

    fn uprobes_requirement(&self) -> Requirement {
        let (id, title) = ("uprobes", "probes on user code");
        match self.uprobes {
            true => Requirement::met(id, title, "available"),
            false => Requirement::lacking(
                id,
                title,
                Status::Missing,
                "/sys/bus/event_source/devices/uprobe is not there",
                "use a kernel built with CONFIG_UPROBE_EVENTS=y, as distributions' are; in a container, mount /sys",
            ),
        }
    }

    fn tracefs_requirement(&self) -> Requirement {
        let (id, title) = ("tracefs", "tracepoints (tracefs)");
        let lacking =
            |found: String, help: &str| Requirement::lacking(id, title, Status::Missing, found, help);
        match &self.tracefs {
            Tracefs::Mounted(path) => Requirement::met(id, title, format!("mounted at {path}")),
            Tracefs::NotMounted if self.capabilities.has(Capabilities::SYS_ADMIN) => {
                Requirement::met(id, title, "not mounted: tracer will mount it, visible to itself alone")
            }
            Tracefs::NotMounted => lacking(
                "not mounted, and mounting it needs CAP_SYS_ADMIN".into(),
                "run as root, or mount it: `sudo mount -t tracefs tracefs /sys/kernel/tracing`",
            ),
            Tracefs::Unreadable(path) => {
                lacking(format!("mounted at {path}, but not readable"), "run as root: `sudo tracer ...`")
            }
            Tracefs::Absent => lacking(
                "the kernel has no tracefs".into(),
                "use a kernel built with CONFIG_FTRACE=y, as distributions' are",
            ),
        }
    }

    fn lockdown(&self) -> Requirement {
        let (id, title) = ("lockdown", "no confidentiality lockdown");
        match self.lockdown_confidentiality {
            false => Requirement::met(id, title, "not locked down"),
            true => Requirement::lacking(
                id,
                title,
                Status::Missing,
                "the kernel is locked down to confidentiality",
                "boot without `lockdown=confidentiality`; `lockdown=integrity` is no hindrance",
            ),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Features {
        Features {
            machine: "x86_64".into(),
            release: "6.1.0-31-amd64".into(),
            user_id: 0,
            capabilities: Capabilities(0x1ff_ffff_ffff),
            initial_user_namespace: true,
            initial_pid_namespace: true,
            btf: true,
            uprobes: true,
            tracefs: Tracefs::Mounted("/sys/kernel/tracing".into()),
            lockdown_confidentiality: false,
        }
    }

    fn missing(features: &Features) -> Vec<&'static str> {
        let requirements = features.requirements();
        assert!(
            requirements
                .iter()
                .all(|requirement| (requirement.status == Status::Met) == requirement.help.is_none())
        );
        requirements
            .iter()
            .filter(|requirement| requirement.status == Status::Missing)
            .map(|requirement| requirement.id)
            .collect()
    }

    #[test]
    fn each_lack_is_named_alone() {
        assert!(missing(&good()).is_empty());
        let with = |change: fn(&mut Features)| {
            let mut features = good();
            change(&mut features);
            missing(&features)
        };
        assert_eq!(with(|f| f.machine = "aarch64".into()), ["processor"]);
        assert_eq!(with(|f| f.release = "5.16.20".into()), ["kernel"]);
        assert_eq!(with(|f| f.release = "4.18.0-553.el8".into()), ["kernel"]);
        assert_eq!(with(|f| f.initial_user_namespace = false), ["privileges"]);
        assert_eq!(with(|f| f.initial_pid_namespace = false), ["pid-namespace"]);
        assert_eq!(with(|f| f.btf = false), ["btf"]);
        assert_eq!(with(|f| f.uprobes = false), ["uprobes"]);
        assert_eq!(with(|f| f.tracefs = Tracefs::Absent), ["tracefs"]);
        assert_eq!(with(|f| f.tracefs = Tracefs::Unreadable("/t".into())), ["tracefs"]);
        assert_eq!(with(|f| f.lockdown_confidentiality = true), ["lockdown"]);
        assert!(with(|f| f.tracefs = Tracefs::NotMounted).is_empty());
    }

    #[test]
    fn capabilities_do_for_root() {
        let mut features = good();
        features.user_id = 1000;
        features.capabilities = Capabilities(1 << 39 | 1 << 38 | 1 << 19 | 1 << 40);
        assert!(missing(&features).is_empty());
        features.tracefs = Tracefs::NotMounted;
        assert_eq!(missing(&features), ["tracefs"]);
        // CAP_SYS_ADMIN does for three of them, not for CAP_SYS_PTRACE.
        features.capabilities = Capabilities(1 << 21);
        assert_eq!(features.capabilities.missing(), ["CAP_SYS_PTRACE"]);
        features.capabilities = Capabilities(0);
        assert_eq!(missing(&features), ["privileges", "tracefs"]);
    }

    #[test]
    fn versions() {
        let version = |release: &str| Features { release: release.into(), ..good() }.version();
        assert_eq!(version("6.18.44-fc-v669"), (6, 18, 44));
        assert_eq!(version("5.17"), (5, 17, 0));
        assert_eq!(version("6.12.9+deb13"), (6, 12, 9));
        assert_eq!(version("odd"), (0, 0, 0));
        let meets =
            |release: &str| Features { release: release.into(), ..good() }.return_probe_meets_seccomp();
        assert!(meets("6.11.0") && meets("6.12.13") && meets("6.13.2-generic"));
        assert!(!meets("6.10.14") && !meets("6.12.14") && !meets("6.13.3") && !meets("6.14.0"));
    }

    #[test]
    fn where_tracefs_is() {
        let (own, debug) = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing");
        let mounts = format!(
            "sysfs /sys sysfs rw 0 0\ntracefs {debug} tracefs rw 0 0\ntracefs {own} tracefs rw 0 0\n"
        );
        assert_eq!(tracefs(&mounts, "", |path| path == own), Tracefs::Mounted(own.into()));
        assert_eq!(tracefs(&mounts, "", |_| true), Tracefs::Mounted(debug.into()));
        assert_eq!(tracefs(&mounts, "", |_| false), Tracefs::Unreadable(own.into()));
        assert_eq!(
            tracefs("tracefs /elsewhere tracefs rw 0 0\n", "nodev\ttracefs\n", |_| true),
            Tracefs::NotMounted
        );
        assert_eq!(tracefs("sysfs /sys sysfs rw 0 0\n", "nodev\ttracefs\n", |_| true), Tracefs::NotMounted);
        assert_eq!(tracefs("", "nodev\tsysfs\n", |_| true), Tracefs::Absent);
    }

    #[test]
    fn this_host() {
        let features = Features::read();
        assert!(features.version() > (2, 6, 0), "{features:?}");
        assert_eq!(features.requirements().len(), 8);
    }
}
