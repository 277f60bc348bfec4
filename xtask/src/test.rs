//! `cargo xtask test`: set-up, then formatting, lints, documentation, and every test.
//!
//! Needs no root and no BPF toolchain to be useful: what cannot run is said to be skipped. With
//! TRACER_REQUIRE_ROOT=1 nothing may be skipped, and what cannot run fails.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{build, kernels, proto, setup, shell, verdicts};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Part to run alone, but all of it
    part: Option<Part>,
}

/// A part of the tests that a run of all of them samples.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Part {
    /// `tracer holders` against every JDK of the matrix with every collector (as root)
    Holders,
}

/// A run of one test file of `tracer` with its output, as root: tests of these names, or all, with these flags.
pub(crate) fn alone(file: &str, names: &[&str], flags: &[&str]) -> Command {
    let mut test = shell::cargo();
    test.args(["test", "--quiet", "--package", "tracer", "--test", file]);
    test.args(names).arg("--").args(flags).arg("--nocapture").env("TRACER_REQUIRE_ROOT", "1");
    test
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match options.part {
        Some(Part::Holders) => {
            verdicts::prepare()?;
            build::bpf_object(false)?;
            let mut tests = alone("holders", &[], &["--include-ignored", "--test-threads", "1"]);
            shell::run(tests.env("TRACER_ALL_HOLDERS", "1"))
        }
        None => all(),
    }
}

fn all() -> Result<()> {
    let strict = shell::is_on("TRACER_REQUIRE_ROOT");
    if strict && !shell::is_root() {
        bail!("TRACER_REQUIRE_ROOT is set, but this is not root\nhelp: sudo -E cargo xtask test");
    }
    if let Err(error) = setup::run(&setup::Options { tests: true, check: false }) {
        if strict {
            return Err(error);
        }
        eprintln!("going on with the tests that can run");
    }

    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    shell::run(shell::cargo().args(["fmt", "--manifest-path", "tracer-ebpf/Cargo.toml", "--check"]))?;
    shell::run(shell::cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    proto::run(&proto::Options { check: true })?;
    // The object first: it is embedded into everything that follows, which is then compiled once.
    let bpf = build::can_build_bpf();
    if bpf {
        build::bpf_object(true)?;
        build::bpf_object(false)?;
    }
    build::bpf_clippy()?;
    shell::run(shell::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    shell::run(shell::cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;

    // It is not of the workspace, and uses what is.
    let fuzz = ["check", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/fuzz-check"];
    shell::run(shell::cargo().args(fuzz))?;

    if !bpf {
        eprintln!("skipped: the privileged tests: no BPF programs (see above)");
    } else if !shell::is_root() {
        eprintln!("skipped: the privileged tests: not root (sudo -E cargo xtask test)");
    }
    let mut tests = shell::cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]);
    if bpf {
        tests.env("TRACER_RELEASE_OBJECT", build::object(true));
    }
    shell::run(&mut tests)?;
    if bpf { kernels::run_after_tests(strict) } else { Ok(()) }
}
