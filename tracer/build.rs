//! Embeds the BPF object, or an empty stub when there is none.
//!
//! The object is compiled by `cargo xtask build`, with another toolchain for another target. Without it everything
//! still compiles, and the tests that need no root run; recording then says that there are no BPF programs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TRACER_EBPF_OBJECT");
    let object = match env::var_os("TRACER_EBPF_OBJECT").map(PathBuf::from) {
        Some(given) => {
            println!("cargo::rerun-if-changed={}", given.display());
            match fs::read(&given) {
                Ok(object) => object,
                Err(error) => {
                    return println!("cargo::error=TRACER_EBPF_OBJECT={}: {error}", given.display());
                }
            }
        }
        None => built_here(),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("tracer-ebpf");
    if let Err(error) = fs::write(&out, object) {
        println!("cargo::error={}: {error}", out.display());
    }
}

/// The object that `cargo xtask build` left in `target/bpf`; empty when there is nothing, or when it is older than its
/// sources: both sides must agree on every byte of what they share.
fn built_here() -> Vec<u8> {
    // Not as it was when this was compiled: a target folder may have come from another checkout.
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let folder = root.join("target/bpf");
    // Cargo runs this again on every build while a watched path does not exist: make it exist.
    if let Err(error) = fs::create_dir_all(&folder) {
        println!("cargo::warning={}: {error}", folder.display());
        return Vec::new();
    }
    println!("cargo::rerun-if-changed={}", folder.display());
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let file = folder.join(if release { "tracer-ebpf" } else { "tracer-ebpf-debug" });
    let Ok(object) = fs::read(&file) else { return Vec::new() };

    let built = modified(&file);
    for folder in ["tracer-ebpf/src", "tracer-common/src"] {
        let folder = root.join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        if newest(&folder) > built {
            println!(
                "cargo::warning=the BPF object is older than its sources, and left out: cargo xtask build"
            );
            return Vec::new();
        }
    }
    object
}

/// The last change of any file below the folder.
fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .map(|path| if path.is_dir() { newest(&path) } else { modified(&path) })
        .max()?
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}
