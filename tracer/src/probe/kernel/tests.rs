use super::*;

fn good() -> Features {
    Features {
        machine: "x86_64".into(),
        release: "6.1.0-31-amd64".into(),
        user_id: 0,
        capabilities: Capabilities(0x1ff_ffff_ffff),
        initial_user_namespace: true,
        initial_pid_namespace: true,
        bpf: Bpf { lacks: Some(Vec::new()), refused: None },
        uprobes: true,
        mapping_calls: SeenAt::Tracepoints,
        tracefs: Tracefs::Mounted("/sys/kernel/tracing".into()),
        lockdown_confidentiality: false,
        open_files: 1024,
        address_space_bytes: u64::MAX,
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
    assert_eq!(with(|f| f.bpf.lacks = Some(vec!["BPF_FUNC_loop"])), ["kernel"]);
    assert_eq!(with(|f| f.bpf.refused = Some("bpf(2): Operation not permitted".into())), ["bpf"]);
    assert_eq!(with(|f| f.initial_user_namespace = false), ["privileges"]);
    assert_eq!(with(|f| f.initial_pid_namespace = false), ["pid-namespace"]);
    assert_eq!(with(|f| f.bpf.lacks = None), ["btf"]);
    assert_eq!(with(|f| f.uprobes = false), ["uprobes"]);
    assert_eq!(with(|f| f.tracefs = Tracefs::Absent), ["tracefs"]);
    assert_eq!(with(|f| f.tracefs = Tracefs::Unreadable("/t".into())), ["tracefs"]);
    assert_eq!(with(|f| f.lockdown_confidentiality = true), ["lockdown"]);
    assert_eq!(with(|f| f.open_files = 255), ["open-files"]);
    assert_eq!(with(|f| f.address_space_bytes = 600_000 << 10), ["address-space"]);
    assert!(with(|f| f.address_space_bytes = 1 << 30).is_empty());
    assert!(with(|f| f.tracefs = Tracefs::NotMounted).is_empty());
    let traced = |f: &mut Features| (f.mapping_calls, f.tracefs) = (SeenAt::Functions, Tracefs::Absent);
    assert!(with(traced).is_empty());
}

/// A feature that a distribution took into an older kernel counts as it does in a newer.
#[test]
fn the_thing_counts_and_not_the_version() {
    for release in ["4.18.0-553.el8", "5.14.0-427.el9", "5.16.20"] {
        let old = Features { release: release.into(), ..good() };
        assert!(missing(&old).is_empty(), "{release}");
        let blind = Bpf { lacks: None, refused: None };
        assert_eq!(missing(&Features { bpf: blind, ..old }), ["kernel", "btf"], "{release}");
    }
    let bare = Bpf { lacks: Some(Bpf::NEEDED.to_vec()), refused: None };
    let new = Features { release: "6.18.0".into(), bpf: bare, ..good() };
    let kernel = new.requirements().into_iter().find(|one| one.id == "kernel").expect("kernel");
    assert!(kernel.found.starts_with("Linux 6.18.0 without BPF_FUNC_loop, "), "{}", kernel.found);
}

#[test]
fn capabilities_do_for_root() {
    let mut features = good();
    features.user_id = 1000;
    features.capabilities = Capabilities(1 << 39 | 1 << 38 | 1 << 19 | 1 << 40);
    assert!(missing(&features).is_empty());
    let requirements = features.requirements();
    let warned: Vec<_> = requirements.iter().filter(|one| one.status == Status::Warning).collect();
    assert_eq!(warned.iter().map(|one| one.id).collect::<Vec<_>>(), ["measurement"]);
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
    let numbers = |major, minor, patch| Version { major, minor, patch };
    assert_eq!(version("6.18.44-fc-v669"), numbers(6, 18, 44));
    assert_eq!(version("5.17"), numbers(5, 17, 0));
    assert_eq!(version("6.12.9+deb13"), numbers(6, 12, 9));
    assert_eq!(version("odd"), Version::default());
    let meets = |release: &str| Features { release: release.into(), ..good() }.return_probe_meets_seccomp();
    assert!(meets("6.11.0") && meets("6.12.13") && meets("6.13.2-generic"));
    assert!(!meets("6.10.14") && !meets("6.12.14") && !meets("6.13.3") && !meets("6.14.0"));
}

#[test]
fn where_tracefs_is() {
    let (own, debug) = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing");
    let mounts =
        format!("sysfs /sys sysfs rw 0 0\ntracefs {debug} tracefs rw 0 0\ntracefs {own} tracefs rw 0 0\n");
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
    assert!(features.version().major > 2, "{features:?}");
    assert_eq!(features.requirements().len(), 12);
}
