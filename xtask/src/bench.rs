//! `cargo xtask bench`: builds what is measured and what measures, optimized, and hands over to `bench/`; or, for
//! `verdicts`, to the test of the stories.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{build, jdk, plan, setup, shell};

#[derive(Args)]
pub(crate) struct Options {
    /// What to measure, and how: `cost`, `streams`, `pair`, `recorder`, `report`, `census`, `server`, `--help`; `cost
    /// --peers` first installs what it compares with; or `verdicts`, with JDKs or for all: precision and recall over all
    /// stories of tracer/tests/stories
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "WHAT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !shell::is_root() {
        bail!("the benchmark attaches eBPF probes, which needs root\nhelp: sudo -E cargo xtask bench");
    }
    let verdicts_of = options.arguments.split_first().filter(|(what, _)| *what == "verdicts");
    if let Some((_, jdks)) = verdicts_of {
        check_story_jdks(jdks)?;
    }
    let home = jdk::home().context("no JDK with a compiler\nhelp: cargo xtask setup")?;
    let what = options.arguments.first().and_then(|what| what.to_str()).unwrap_or_default();
    let (peers, arguments): (Vec<_>, Vec<_>) =
        options.arguments.iter().partition(|argument| *argument == "--peers");
    setup::install(plan::for_bench(what, !peers.is_empty(), |file| Path::new(file).exists()))?;
    build::run(&build::Options { release: true })?;
    if let Some((_, jdks)) = verdicts_of {
        return verdicts(jdks.first());
    }
    shell::run(shell::cargo().args(["build", "--release", "--package", "tracer-bench"]))?;
    let bench = build::binary(true).with_file_name("tracer-bench");
    shell::run(Command::new(bench).args(arguments).env("JAVA_HOME", home))
}

/// The JDKs that the stories of the verdicts are run on.
const STORY_JDKS: [&str; 3] = ["17", "21", "25"];

fn check_story_jdks(jdks: &[OsString]) -> Result<()> {
    let is_known = |jdks: &OsString| {
        jdks.to_str().is_some_and(|jdks| jdks.split(',').all(|jdk| STORY_JDKS.contains(&jdk)))
    };
    if jdks.len() > 1 || !jdks.iter().all(is_known) {
        bail!(
            "bench verdicts: not JDKs of the stories: {}\nhelp: cargo xtask bench verdicts [{}]",
            jdks.join(OsStr::new(" ")).display(),
            STORY_JDKS.join(",")
        );
    }
    Ok(())
}

/// All stories on these JDKs, or on all; results in target/verdicts.json.
fn verdicts(jdks: Option<&OsString>) -> Result<()> {
    // The test itself is not optimized, and runs only if it has programs of its own.
    build::bpf_object(false)?;
    let mut test = shell::cargo();
    test.args([
        "test",
        "--quiet",
        "--package",
        "tracer",
        "--test",
        "verdicts",
        "all_stories",
        "--",
        "--nocapture",
    ]);
    test.envs([("TRACER_ALL_VERDICTS", "1"), ("TRACER_REQUIRE_ROOT", "1")]);
    test.env("TRACER_BINARY", build::binary(true));
    if let Some(jdks) = jdks {
        test.env("TRACER_VERDICT_JDKS", jdks);
    }
    shell::run(&mut test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stories_are_run_on_jdks_that_they_are_for() {
        let check = |jdks: &[&str]| check_story_jdks(&jdks.iter().map(OsString::from).collect::<Vec<_>>());
        assert!([&[][..], &["17"], &["17,25"]].into_iter().all(|jdks| check(jdks).is_ok()));
        for wrong in [&["--help"][..], &["8"], &["17", "21"], &["17,"]] {
            assert!(check(wrong).unwrap_err().to_string().contains("help: cargo xtask bench verdicts"));
        }
    }
}
