//! `cargo xtask kernels`: the privileged tests that depend on the kernel, on other kernels than the running one.
//!
//! Debian's kernels boot in QEMU with a file system of their own in memory, which holds this build's `tracer`, its
//! test binaries and the programs that they trace, at the paths where they lie here. In each, every BPF program must
//! load within its budget of verified instructions (`tracer/tests/verifier-budget.toml`), and real processes are
//! traced.

mod archive;
mod guest;
mod neighbours;

use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{build, shell};

/// Debian's suites: the oldest kernel that is supported, the present stable one, the newest, and the one to come.
const SUITES: [&str; 4] = ["bookworm", "trixie", "sid", "experimental"];
/// The one of all the tests, beside the running kernel: newer ones verify twice as many instructions, emulated.
const SUITE_OF_ALL_TESTS: &str = "bookworm";

/// Tests that run in the guest after the verifier's test: exact sums of threads that interrupt each other in the middle
/// of a program (on 7.2 that once took the kernel down), system calls with their call sites named, threads by the kernel's
/// own structure of a task, and that no other process is probed.
const PROBE_TESTS: [&str; 4] =
    ["cross_thread", "mappings", "thread_creation", "another_process_is_left_alone"];

#[derive(Args)]
pub(crate) struct Options {
    /// Suites to run, of bookworm, trixie, sid, experimental; all without it
    pub(crate) suites: Vec<String>,
    /// Look for newer kernels than those fetched before
    #[arg(long)]
    pub(crate) update: bool,
    /// Count what processes pay that nobody records, instead of running tests
    #[arg(long)]
    pub(crate) neighbours: bool,
}

/// A kernel that can be booted.
struct Kernel {
    suite: String,
    /// Answer of `uname -r`.
    release: String,
    image: PathBuf,
}

/// Obstacle: something that is needed and cannot be had, as against a test that fails.
pub(crate) struct Obstacle(anyhow::Error);

pub(crate) fn run(options: &Options) -> Result<()> {
    let kernels = prepare(options).map_err(|Obstacle(error)| error)?;
    build::bpf_object(true)?;
    build::run(&build::Options { release: false })?;
    if options.neighbours { neighbours::count(&kernels) } else { judge(&kernels) }
}

/// The part of it in all the tests, which have built everything. Without QEMU or the network it says that it was
/// skipped, unless nothing may be.
pub(crate) fn run_after_tests(strict: bool) -> Result<()> {
    let suites = Vec::from([SUITE_OF_ALL_TESTS.to_owned()]);
    match prepare(&Options { suites, update: false, neighbours: false }) {
        Ok(kernels) => judge(&kernels),
        Err(Obstacle(error)) if strict => Err(error),
        Err(Obstacle(error)) => {
            eprintln!("skipped: the tests on other kernels: {error:#}");
            Ok(())
        }
    }
}

/// Fetches all that comes from elsewhere.
fn prepare(options: &Options) -> Result<Vec<Kernel>, Obstacle> {
    let needed = [guest::QEMU, "busybox", "cpio", "strip", "ldd"];
    let missing: Vec<_> = needed.into_iter().filter(|program| shell::which(program).is_none()).collect();
    if !missing.is_empty() {
        let error = anyhow::anyhow!("there is no {}\nhelp: cargo xtask setup --tests", missing.join(", no "));
        return Err(Obstacle(error));
    }
    let named = options.suites.iter().map(String::as_str);
    let suites: Vec<_> = if options.suites.is_empty() { SUITES.to_vec() } else { named.collect() };
    if let Some(other) = suites.iter().find(|suite| !SUITES.contains(suite)) {
        return Err(Obstacle(anyhow::anyhow!("{other} is none of {}", SUITES.join(", "))));
    }
    suites
        .into_iter()
        .map(|suite| archive::kernel(suite, options.update))
        .collect::<Result<_>>()
        .map_err(Obstacle)
}

fn judge(kernels: &[Kernel]) -> Result<()> {
    let verifier = test_binary("verifier")?;
    let probes = test_binary("probes")?;
    // Compiles the traced programs: the guests have no compiler.
    shell::run(Command::new(&probes).args(["--exact", "the_programs_compile"]).current_dir(shell::root()))?;
    let (tracer, release) = (guest::tracer()?, build::object(true));
    let image = guest::image(&guest::Contents {
        programs: &[&verifier, &probes, &tracer],
        files: &[&release],
        // The tests look for their programs by the hash of their sources.
        folders: &["tracer/tests/programs", "target/test-programs"],
        script: &guest::tests(&verifier, &probes, &PROBE_TESTS, &release),
    })?;

    let mut failed = Vec::new();
    // All at once: most of the time each waits for its own clock.
    thread::scope(|scope| {
        let boots: Vec<_> =
            kernels.iter().map(|kernel| (kernel, scope.spawn(|| guest::boot(kernel, &image, &[])))).collect();
        for (kernel, boot) in boots {
            let boot = boot.join().map_err(|_| anyhow::anyhow!("a boot panicked"))??;
            let outcome = if boot.passed { "passed" } else { "FAILED" };
            eprintln!("kernel {} ({}): {outcome} in {} s", kernel.release, kernel.suite, boot.seconds);
            for line in &boot.lines {
                eprintln!("  {line}");
            }
            if !boot.passed {
                failed.push(kernel.release.as_str());
            }
        }
        anyhow::Ok(())
    })?;
    if !failed.is_empty() {
        bail!("the tests failed on {}", failed.join(", "));
    }
    Ok(())
}

/// Builds a test of `tracer` and gives its executable.
fn test_binary(name: &str) -> Result<PathBuf> {
    let mut cargo = shell::cargo();
    let output = cargo
        .args(["test", "--package", "tracer", "--no-run", "--test", name])
        .output()
        .context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("the test {name} does not build:\n{text}");
    }
    let path = executable(&text).with_context(|| format!("cargo does not say where the test {name} is"))?;
    shell::root().join(path).canonicalize().with_context(|| format!("there is no {path}"))
}

/// The path in cargo's `Executable tests/NAME.rs (PATH)`.
fn executable(text: &str) -> Option<&str> {
    text.lines()
        .find_map(|line| line.trim_start().strip_prefix("Executable "))
        .and_then(|line| line.split_once('('))
        .and_then(|(_, path)| path.trim_end().strip_suffix(')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_where_a_test_is() {
        let text =
            "    Finished `test` profile\n  Executable tests/probes.rs (target/debug/deps/probes-0f)\n";
        assert_eq!(executable(text), Some("target/debug/deps/probes-0f"));
        assert_eq!(executable("    Finished `test` profile\n"), None);
    }
}
