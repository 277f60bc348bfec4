//! `cargo xtask setup`: looks at what is there, says what is missing and why, and installs it. Done in well under
//! a second when nothing is missing.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::plan::{self, BPF_LINKER_VERSION, Found, Package, Step};
use crate::{jdk, shell, toolchain};

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Tell only what is missing; exit with 1 if something is
    #[arg(long)]
    pub(crate) check: bool,
    /// Install also what only the tests need: the JDKs of the test matrix, a linter for the BPF programs, an emulator
    #[arg(long)]
    pub(crate) tests: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let found = look();
    let steps = plan::steps(&found, options.tests);
    if steps.is_empty() {
        eprintln!("setup: everything needed is here");
        return Ok(());
    }
    eprintln!("setup: missing");
    for (name, why) in steps.iter().flat_map(Step::reasons) {
        eprintln!("  {name:<22} {why}");
    }
    if options.check {
        bail!("something is missing\nhelp: cargo xtask setup{}", if options.tests { " --tests" } else { "" });
    }

    let mut undone = Vec::new();
    for step in &steps {
        let outcome = match step.obstacle(&found) {
            Some(obstacle) => Err(anyhow::anyhow!(obstacle)),
            None => carry_out(step),
        };
        if let Err(error) = outcome {
            eprintln!("setup: {error:#}");
            undone.push((step, error));
        }
    }
    if undone.is_empty() {
        eprintln!("setup: done");
        return Ok(());
    }
    eprintln!("\nsetup could not do everything. By hand{}:", if found.root { "" } else { ", as root" });
    for (step, _) in &undone {
        for line in step.by_hand().lines() {
            eprintln!("    {line}");
        }
    }
    if undone.iter().any(|(step, _)| matches!(step, Step::Packages(_))) && found.bpf_llvm_major.is_none() {
        eprintln!(
            "or, for the BPF programs, with rustup: rustup toolchain install nightly --component rust-src"
        );
    }
    let reasons: Vec<_> = undone.iter().map(|(_, error)| format!("{error:#}")).collect();
    bail!("setup is not complete: {}", reasons.join("; "));
}

/// Installs what one task needs besides; says what and why first.
pub(crate) fn install(packages: Vec<Package>) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let step = Step::Packages(packages);
    eprintln!("setup: missing");
    for (name, why) in step.reasons() {
        eprintln!("  {name:<22} {why}");
    }
    let found = Found { root: shell::is_root(), apt: shell::which("apt-get").is_some(), ..Found::default() };
    match step.obstacle(&found) {
        Some(obstacle) => bail!("{obstacle}\nhelp: {}", step.by_hand()),
        None => carry_out(&step),
    }
}

fn look() -> Found {
    let toolchain = toolchain::find();
    let llvm_major = toolchain.as_ref().map(|toolchain| toolchain.llvm_major);
    Found {
        bpf_llvm_major: llvm_major,
        bpf_from_distribution: toolchain
            .as_ref()
            .is_some_and(|toolchain| toolchain.root == Path::new("/usr")),
        bpf_clippy: toolchain.as_ref().is_some_and(|toolchain| toolchain.clippy().is_some()),
        bpf_linker: toolchain::bpf_linker().is_some(),
        llvm_dev: llvm_major
            .is_some_and(|major| Path::new(&format!("/usr/lib/llvm-{major}/include/llvm-c")).exists()),
        c_compiler: shell::which("cc").is_some() && Path::new("/usr/include/stdio.h").exists(),
        javac: jdk::home().is_some(),
        qemu: shell::which("qemu-system-x86_64").is_some(),
        busybox: shell::which("busybox").is_some(),
        gdb: shell::which("gdb").is_some(),
        strace: shell::which("strace").is_some(),
        jsonschema: has_jsonschema(),
        musl: shell::which("musl-gcc").is_some(),
        runc: shell::which("runc").is_some(),
        jemalloc: Path::new("/usr/lib/x86_64-linux-gnu/libjemalloc_pic.a").exists(),
        mandoc: shell::which("mandoc").is_some(),
        zsh: shell::which("zsh").is_some(),
        fish: shell::which("fish").is_some(),
        cpio: shell::which("cpio").is_some(),
        jdks: jdk::fetched(),
        jdk_8: jdk::has_jdk_8(),
        root: shell::is_root(),
        apt: shell::which("apt-get").is_some(),
    }
}

fn carry_out(step: &Step) -> Result<()> {
    match step {
        Step::Packages(packages) => {
            persist(|| shell::run(apt_get().arg("update")))?;
            persist(|| {
                let names = packages.iter().map(|package| &package.name);
                shell::run(apt_get().args(["install", "-y", "--no-install-recommends"]).args(names))
            })
        }
        Step::BpfLinker { llvm_major } => {
            let features = format!("llvm-{llvm_major}");
            persist(|| {
                let mut cargo = shell::cargo();
                // A target folder shared with the workspace would rebuild the workspace's own dependencies.
                cargo.env_remove("CARGO_TARGET_DIR");
                cargo.env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm_major}"));
                cargo.args([
                    "install",
                    "bpf-linker",
                    "--version",
                    BPF_LINKER_VERSION,
                    "--no-default-features",
                ]);
                shell::run(cargo.args(["--features", &features]))
            })
        }
        Step::Jdks(versions) => versions.iter().try_for_each(|version| persist(|| jdk::fetch(version))),
        Step::Jdk8 => persist(jdk::fetch_jdk_8),
    }
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["-q", "-o", "Acquire::Retries=3", "-o", "Dpkg::Use-Pty=0"]);
    command
}

/// Mirrors fail now and then: three attempts, some seconds apart.
pub(crate) fn persist(mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    for pause_s in [2, 8] {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) => eprintln!("{error:#}; once more in {pause_s} s"),
        }
        thread::sleep(Duration::from_secs(pause_s));
    }
    attempt()
}

/// Does Python have the validator of JSON Schema?
fn has_jsonschema() -> bool {
    let output = Command::new("python3").args(["-c", "import jsonschema"]).output();
    output.is_ok_and(|output| output.status.success())
}
