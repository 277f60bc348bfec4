//! `cargo xtask build`: the BPF object, then `tracer` with the object embedded.
//!
//! The object goes to `target/bpf/`, where `tracer/build.rs` looks for it; the file is left alone when the programs
//! did not change, so `tracer` is not compiled again for nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{shell, toolchain};

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Optimized, and without the BPF programs' own log
    #[arg(long)]
    pub(crate) release: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let started = SystemTime::now();
    bpf_object(options.release)?;
    let mut cargo = shell::cargo();
    cargo.args(["build", "--package", "tracer"]);
    if options.release {
        cargo.arg("--release");
    }
    shell::run(&mut cargo)?;
    let binary = binary(options.release);
    let seconds = started.elapsed().unwrap_or_default().as_secs_f64();
    eprintln!("built {} in {seconds:.1} s", binary.display());
    Ok(())
}

/// Path at which cargo puts `tracer`.
pub(crate) fn binary(release: bool) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from);
    target.join(if release { "release" } else { "debug" }).join("tracer")
}

/// Builds the BPF programs; the debug variant carries their log.
pub(crate) fn bpf_object(release: bool) -> Result<()> {
    let Some((toolchain, linker)) = toolchain::find().zip(toolchain::bpf_linker()) else {
        bail!("{}", missing());
    };
    let mut cargo = bpf_command(&toolchain, &toolchain.cargo(), &linker);
    cargo.args(["build", "--release", "--target", TARGET, "-Z", "build-std=core"]);
    if !release {
        cargo.args(["--features", "log"]);
    }
    shell::run(&mut cargo)?;
    let built = build_folder().join(TARGET).join("release/tracer-ebpf");
    keep(&built, &object(release))
}

/// Path at which the compiled BPF programs are kept.
pub(crate) fn object(release: bool) -> PathBuf {
    shell::root().join("target/bpf").join(if release { "tracer-ebpf" } else { "tracer-ebpf-debug" })
}

/// Lints the BPF programs, when their toolchain and its clippy are here. Says so when not.
pub(crate) fn bpf_clippy() -> Result<()> {
    let Some((toolchain, linker)) = toolchain::find().zip(toolchain::bpf_linker()) else {
        eprintln!("skipped: clippy for the BPF programs: {}", missing());
        return Ok(());
    };
    let Some(clippy) = toolchain.clippy() else {
        eprintln!("skipped: clippy for the BPF programs: {} has none", toolchain.name);
        return Ok(());
    };
    let mut cargo = bpf_command(&toolchain, &clippy, &linker);
    cargo.args(["clippy", "--release", "--target", TARGET, "-Z", "build-std=core", "--features", "log"]);
    shell::run(cargo.args(["--", "-D", "warnings"]))
}

/// Whether the BPF programs can be built here.
pub(crate) fn can_build_bpf() -> bool {
    toolchain::find().is_some() && toolchain::bpf_linker().is_some()
}

const TARGET: &str = "bpfel-unknown-none";

fn missing() -> String {
    let what = match (toolchain::find(), toolchain::bpf_linker()) {
        (None, Some(_)) => "no Rust with its library sources",
        (Some(_), None) => "no bpf-linker",
        _ => "no Rust with its library sources, and no bpf-linker",
    };
    format!("the BPF programs cannot be built: {what}\nhelp: cargo xtask setup")
}

fn build_folder() -> PathBuf {
    shell::root().join("target/bpf-build")
}

/// A cargo of the BPF toolchain, in the BPF crate's folder, with its flags.
fn bpf_command(toolchain: &toolchain::Toolchain, program: &Path, linker: &Path) -> std::process::Command {
    let flags = [
        format!("-Clinker={}", linker.display()),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // 32-bit jumps and ALU operations, of every kernel that has what the programs need.
        "-Ctarget-cpu=v3".to_owned(),
        // The programs read the traced process's registers.
        format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
    ];
    let mut command = toolchain.command(program);
    command
        .current_dir(shell::root().join("tracer-ebpf"))
        .env("CARGO_TARGET_DIR", build_folder())
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    command
}

/// Copies the object when it changed, or when it would look older than its sources.
fn keep(built: &Path, kept: &Path) -> Result<()> {
    let object = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    let same = fs::read(kept).is_ok_and(|before| before == object);
    if same && !is_older_than_sources(kept) {
        return Ok(());
    }
    let write = || {
        fs::create_dir_all(kept.parent().unwrap_or(kept))?;
        // Renamed into place: a build script that reads meanwhile sees the old object or the new one.
        let partial = kept.with_extension("partial");
        fs::write(&partial, &object)?;
        fs::rename(&partial, kept)
    };
    write().with_context(|| format!("cannot write {}", kept.display()))
}

fn is_older_than_sources(object: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
    let Some(built) = modified(object) else { return true };
    let mut folders = vec![shell::root().join("tracer-ebpf/src"), shell::root().join("tracer-common/src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if modified(&path).is_none_or(|changed| changed > built) {
                return true;
            }
        }
    }
    false
}
