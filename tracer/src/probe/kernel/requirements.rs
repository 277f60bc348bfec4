//! The requirements of recording on a host, judged from its [`Features`]: met or not, and what mends it.

use super::{Capabilities, Features, Tracefs, Version};
use crate::arch;
use crate::probe::mapping_calls::SeenAt;
use crate::units;

/// A requirement, and whether it is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Fixed name, for programs.
    pub id: &'static str,
    /// The requirement, for people.
    pub title: &'static str,
    pub status: Status,
    /// The finding.
    pub found: String,
    /// The way to meet it; given if it is not met.
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
    /// A requirement that is met.
    pub fn met(id: &'static str, title: &'static str, found: impl Into<String>) -> Self {
        Self { id, title, status: Status::Met, found: found.into(), help: None }
    }

    /// A requirement that is not met, with its remedy.
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

impl Features {
    /// Requirements of recording on this host, met or not.
    pub fn requirements(&self) -> Vec<Requirement> {
        vec![
            self.processor(),
            self.kernel(),
            self.privileges(),
            self.bpf_calls(),
            self.namespaces(),
            self.btf_requirement(),
            self.uprobes_requirement(),
            self.tracefs_requirement(),
            self.lockdown(),
            self.descriptors(),
            self.address_space(),
            self.measurement(),
        ]
    }

    fn processor(&self) -> Requirement {
        let (id, title) = ("processor", "an x86-64 processor");
        match self.machine.as_str() {
            arch::MACHINE => Requirement::met(id, title, arch::MACHINE),
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
        let (id, title) = ("kernel", "a kernel with bpf_loop");
        let lacks = match &self.bpf.lacks {
            Some(lacks) => lacks.join(", "),
            // Its types would tell; its version does until then.
            None => {
                let Version { major, minor, .. } = self.version();
                if (major, minor) >= (5, 17) {
                    String::new()
                } else {
                    "BPF_FUNC_loop (by its version)".to_owned()
                }
            }
        };
        if lacks.is_empty() {
            return Requirement::met(id, title, format!("Linux {}", self.release));
        }
        Requirement::lacking(
            id,
            title,
            Status::Missing,
            format!("Linux {} without {lacks}", self.release),
            "update the kernel: Linux 5.17 and later have all that is needed",
        )
    }

    fn bpf_calls(&self) -> Requirement {
        let (id, title) = ("bpf", "leave to use BPF and perf events");
        match &self.bpf.refused {
            None => Requirement::met(id, title, "given"),
            Some(refused) => Requirement::lacking(
                id,
                title,
                Status::Missing,
                refused,
                "a seccomp filter or a security module forbids it: start the container with \
                 `--security-opt seccomp=unconfined`, or `--privileged`",
            ),
        }
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
        match self.bpf.lacks.is_some() {
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
            _ if self.mapping_calls == SeenAt::Functions => {
                Requirement::met(id, title, "not needed: the kernel's functions are traced")
            }
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

    fn measurement(&self) -> Requirement {
        let (id, title) = ("measurement", "measuring what recording takes");
        if self.capabilities.has(Capabilities::SYS_ADMIN) {
            return Requirement::met(id, title, "permitted");
        }
        Requirement::lacking(
            id,
            title,
            Status::Warning,
            "CAP_SYS_ADMIN is missing: --max-overhead is not kept to",
            "give tracer CAP_SYS_ADMIN, or bound the recording by `-d` and `--sample-bytes`",
        )
    }

    fn descriptors(&self) -> Requirement {
        const NEEDED: u64 = 256;
        let (id, title) = ("open-files", "leave to open some hundred files");
        let found = format!("{} files may be open", self.open_files);
        match self.open_files {
            NEEDED.. => Requirement::met(id, title, found),
            _ => {
                Requirement::lacking(id, title, Status::Missing, found, "raise the limit: `ulimit -Hn 1024`")
            }
        }
    }

    /// Memory that is refused in the middle would abort this process.
    fn address_space(&self) -> Requirement {
        // A recording of a small JVM was seen to need between 500 and 600 MB: tables, threads, the target's libraries.
        const NEEDED_BYTES: u64 = 1 << 30;
        let (id, title) = ("address-space", "a gigabyte of address space");
        match self.address_space_bytes {
            u64::MAX => Requirement::met(id, title, "unlimited"),
            limit @ NEEDED_BYTES.. => Requirement::met(id, title, units::bytes(limit)),
            limit => {
                let found = format!("{} for this process", units::bytes(limit));
                Requirement::lacking(
                    id,
                    title,
                    Status::Missing,
                    found,
                    "raise the limit: `ulimit -v unlimited`",
                )
            }
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
