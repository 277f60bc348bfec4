//! Finds a Rust that can compile the BPF programs: one with its library sources, so that `core` can be built for
//! `bpfel-unknown-none`. Looks only; installs nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// Folder of a toolchain's library sources, below its root.
const CORE_SOURCE: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// Name as a person would say it: `nightly-x86_64-unknown-linux-gnu`, or `/usr`.
    pub(crate) name: String,
    pub(crate) root: PathBuf,
    /// The LLVM that its rustc was built with; bpf-linker must not have an older one.
    pub(crate) llvm_major: u32,
}

impl Toolchain {
    pub(crate) fn cargo(&self) -> PathBuf {
        self.root.join("bin/cargo")
    }

    pub(crate) fn rustc(&self) -> PathBuf {
        self.root.join("bin/rustc")
    }

    /// A command of this toolchain, free of what the outer cargo left in the environment, with unstable flags
    /// allowed (`-Z build-std` on a stable release).
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        shell::forget_outer_cargo(&mut command);
        command.env("CARGO", self.cargo()).env("RUSTC", self.rustc()).env("RUSTC_BOOTSTRAP", "1");
        command
    }

    /// The toolchain's own clippy, if it is installed. Called by its path: `cargo clippy` would prefer the one in
    /// cargo's folder, which belongs to rustup.
    pub(crate) fn clippy(&self) -> Option<PathBuf> {
        let clippy = self.root.join("bin/cargo-clippy");
        (shell::is_executable(&clippy) && shell::is_executable(&self.root.join("bin/clippy-driver")))
            .then_some(clippy)
    }
}

/// The first of: a rustup nightly, any other rustup toolchain, the distribution's Rust, that has library sources
/// and is new enough.
pub(crate) fn find() -> Option<Toolchain> {
    let rustup = shell::rustup_home().map(|home| home.join("toolchains"));
    let mut roots: Vec<PathBuf> = rustup
        .and_then(|folder| fs::read_dir(folder).ok())
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    roots.sort_by_key(|root| (!name_of(root).starts_with("nightly"), root.clone()));
    roots.push(PathBuf::from("/usr"));
    roots.into_iter().find_map(|root| inspect(&root).ok().flatten())
}

/// `None` when the toolchain has no sources or is too old.
fn inspect(root: &Path) -> Result<Option<Toolchain>> {
    let rustc = root.join("bin/rustc");
    if !root.join(CORE_SOURCE).is_file() || !shell::is_executable(&root.join("bin/cargo")) {
        return Ok(None);
    }
    let mut command = Command::new(&rustc);
    shell::forget_outer_cargo(&mut command);
    let about = shell::output(command.arg("-vV"))?;
    let (release, llvm_major) =
        parse_version(&about).with_context(|| format!("{} -vV printed no versions", rustc.display()))?;
    let needed = parse_release(env!("CARGO_PKG_RUST_VERSION")).unwrap_or_default();
    let name = if root == Path::new("/usr") { "/usr".to_owned() } else { name_of(root) };
    Ok((release >= needed).then(|| Toolchain { name, root: root.to_path_buf(), llvm_major }))
}

fn name_of(root: &Path) -> String {
    root.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// (release, LLVM's major version) from what `rustc -vV` prints.
fn parse_version(about: &str) -> Option<((u32, u32), u32)> {
    let field = |key: &str| about.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let release = parse_release(field("release:")?)?;
    let llvm_major = field("LLVM version:")?.split('.').next()?.parse().ok()?;
    Some((release, llvm_major))
}

fn parse_release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// bpf-linker, wherever cargo or a person put it.
pub(crate) fn bpf_linker() -> Option<PathBuf> {
    shell::which("bpf-linker")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_rustc_says_about_itself() {
        let about = "rustc 1.97.0-nightly (1b2 2026-05-01)\nbinary: rustc\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(parse_version(about), Some(((1, 97), 22)));
        assert_eq!(parse_version("rustc 1.63.0\nrelease: 1.63.0\n"), None);
    }

    #[test]
    fn a_folder_without_library_sources_is_no_bpf_toolchain() {
        assert_eq!(inspect(Path::new("/nonexistent")).expect("looking is no error"), None);
    }

    #[test]
    fn releases_compare_by_number() {
        assert!(parse_release("1.100.0") > parse_release("1.95"));
    }
}
