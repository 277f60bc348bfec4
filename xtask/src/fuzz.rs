//! `cargo xtask fuzz`: parsers of foreign bytes under libFuzzer, with overflow checks.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Flags of instrumentation, as cargo-fuzz has them: counters at edges, and comparisons.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";
/// Target triple that is named, so that build scripts and macros are built without those flags.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// A folder of fuzz/seeds; without it, each in turn
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// No input may take more memory than this, MiB
    #[arg(long, default_value_t = 1_024)]
    memory: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let seeds = shell::root().join("fuzz/seeds");
    let mut targets: Vec<String> = fs::read_dir(&seeds)
        .context("fuzz/seeds")?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    targets.sort();
    if let Some(target) = &options.target {
        if !targets.contains(target) {
            bail!("no target {target}: there are {}", targets.join(", "));
        }
        targets = vec![target.clone()];
    }
    let build = ["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/fuzz"];
    shell::run(shell::cargo().args(build).args(["--target", TRIPLE]).env("RUSTFLAGS", FLAGS))?;
    let program = Path::new("target/fuzz").join(TRIPLE).join("release/tracer-fuzz");
    for target in targets {
        let corpus = Path::new("target/fuzz/corpus").join(&target);
        let found = Path::new("target/fuzz/found").join(&target);
        fs::create_dir_all(&corpus).and_then(|()| fs::create_dir_all(&found)).context("target/fuzz")?;
        let mut command = Command::new(&program);
        command.env("TRACER_FUZZ_TARGET", &target).args([&corpus, &seeds.join(&target)]);
        command.arg(format!("-artifact_prefix={}/", found.display()));
        command.arg(format!("-max_total_time={}", options.seconds));
        command.arg(format!("-rss_limit_mb={}", options.memory));
        command.args(["-timeout=10", "-print_final_stats=1", "-verbosity=0"]);
        shell::run(&mut command).with_context(|| {
            format!("{target}: what it found is in {}; mend it, and keep it in fuzz/seeds", found.display())
        })?;
    }
    Ok(())
}
