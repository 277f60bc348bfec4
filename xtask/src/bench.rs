//! `cargo xtask bench`: builds what is measured and what measures, optimized, and hands over to `bench/`.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{build, jdk, shell};

#[derive(Args)]
pub(crate) struct Options {
    /// What to measure, and how: `cost`, `recorder`, `--help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "WHAT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !shell::is_root() {
        bail!("the benchmark attaches eBPF probes, which needs root\nhelp: sudo -E cargo xtask bench");
    }
    let home = jdk::home().context("no JDK with a compiler\nhelp: cargo xtask setup")?;
    build::run(&build::Options { release: true })?;
    shell::run(shell::cargo().args(["build", "--release", "--package", "tracer-bench"]))?;
    let bench = build::binary(true).with_file_name("tracer-bench");
    shell::run(Command::new(bench).args(&options.arguments).env("JAVA_HOME", home))
}
