//! `cargo xtask bench`: builds what is measured and what measures, optimized, and hands over to `bench/`; or, for
//! `verdicts`, to the test of the stories.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{build, jdk, plan, setup, shell, verdicts};

#[derive(Args)]
pub(crate) struct Options {
    /// Measurement, and its options: `cost`, `streams`, `pair`, `recorder`, `neighbours`, `report`, `census`, `server`, `--help`
    /// (`cost --peers` first installs what it compares with); or `verdicts`: precision and recall over all programs
    /// of tracer/tests/stories, or those of some JDKs, collectors, sets or names (`verdicts --help`)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "WHAT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let verdicts_of = options.arguments.split_first().filter(|(what, _)| *what == "verdicts");
    if verdicts_of.is_some_and(|(_, words)| words.iter().any(|word| word == "--help" || word == "-h")) {
        print!("{}", verdicts::usage());
        return Ok(());
    }
    if !shell::is_root() {
        bail!("the benchmark attaches eBPF probes, which needs root\nhelp: sudo -E cargo xtask bench");
    }
    if let Some((_, words)) = verdicts_of {
        verdicts::filters(words)?;
    }
    let home = jdk::home().context("no JDK with a compiler\nhelp: cargo xtask setup")?;
    let what = options.arguments.first().and_then(|what| what.to_str()).unwrap_or_default();
    let (peers, arguments): (Vec<_>, Vec<_>) =
        options.arguments.iter().partition(|argument| *argument == "--peers");
    setup::install(plan::for_bench(what, !peers.is_empty(), |file| Path::new(file).exists()))?;
    build::run(&build::Options { release: true })?;
    if let Some((_, words)) = verdicts_of {
        return verdicts::run(words);
    }
    shell::run(shell::cargo().args(["build", "--release", "--package", "tracer-bench"]))?;
    let bench = build::binary(true).with_file_name("tracer-bench");
    shell::run(Command::new(bench).args(arguments).env("JAVA_HOME", home))
}
