//! Debian's kernels, fetched by apt from a suite that this machine need not have: with sources, state and cache
//! folders of their own, so that the system's apt is left alone. Kept in `target/kernels/SUITE`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Kernel;
use crate::shell;

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Depends on the newest kernel of its kind. The cloud kernels are the smallest.
const NEWEST: &str = "linux-image-cloud-amd64";

/// The folder with everything about other kernels.
pub(super) fn folder() -> PathBuf {
    shell::root().join("target/kernels")
}

/// The kernel of a suite: the one fetched before, or (`update`) the newest.
pub(super) fn kernel(suite: &str, update: bool) -> Result<Kernel> {
    let home = folder().join(suite);
    let (image, about) = (home.join("vmlinuz"), home.join("release"));
    if update || !image.is_file() || !about.is_file() {
        fetch(suite, &home).with_context(|| format!("cannot fetch the kernel of Debian {suite}"))?;
    }
    let release = fs::read_to_string(&about).with_context(|| format!("cannot read {}", about.display()))?;
    Ok(Kernel { suite: suite.to_owned(), release: release.trim().to_owned(), image })
}

fn fetch(suite: &str, home: &Path) -> Result<()> {
    if !Path::new(KEYRING).is_file() {
        bail!("there is no {KEYRING}");
    }
    let apt = Apt::new(suite, home)?;
    eprintln!("fetching the kernel of Debian {suite}");
    shell::output(apt.command("apt-get").args(["-q", "update"]))?;
    let depends = shell::output(apt.command("apt-cache").args(["depends", NEWEST]))?;
    let release = release(&depends).with_context(|| format!("{NEWEST} depends on no kernel"))?;
    // Since 7.x the image proper is in a package of its own.
    let binary = format!("linux-binary-{release}");
    let split = shell::output(apt.command("apt-cache").args(["show", &binary])).is_ok();
    let package = if split { binary } else { format!("linux-image-{release}") };

    let partial = home.join("partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial)?;
    shell::output(apt.command("apt-get").args(["-q", "download", &package]).current_dir(&partial))?;
    let deb = find(&partial, |name| name.ends_with(".deb")).context("apt left no package")?;
    let tree = partial.join("tree");
    shell::output(Command::new("dpkg-deb").arg("-x").args([&deb, &tree]))?;
    let image = find(&tree, |name| name.starts_with("vmlinuz")).context("the package has no kernel")?;
    fs::rename(image, home.join("vmlinuz"))?;
    fs::write(home.join("release"), format!("{release}\n"))?;
    fs::remove_dir_all(&partial)?;
    Ok(())
}

/// The release in a dependency on `linux-image-RELEASE`.
fn release(depends: &str) -> Option<&str> {
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: linux-image-"))
        .find(|release| release.starts_with(|c: char| c.is_ascii_digit()))
}

/// The first file below the folder whose name is wanted.
fn find(folder: &Path, wanted: impl Fn(&str) -> bool + Copy) -> Option<PathBuf> {
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    paths.into_iter().find_map(|path| {
        if path.is_dir() && !path.is_symlink() {
            find(&path, wanted)
        } else {
            path.file_name().is_some_and(|name| wanted(&name.to_string_lossy())).then_some(path)
        }
    })
}

/// An apt that knows one suite alone.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(suite: &str, home: &Path) -> Result<Self> {
        let apt = home.join("apt");
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            let folder = apt.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let (sources, status) = (apt.join("sources.list"), apt.join("status"));
        fs::write(&sources, format!("deb [arch=amd64 signed-by={KEYRING}] {MIRROR} {suite} main\n"))?;
        fs::write(&status, "")?;
        let option = |name: &str, path: &Path| format!("{name}={}", path.display());
        let options = vec![
            option("Dir::Etc::sourcelist", &sources),
            "Dir::Etc::sourceparts=-".to_owned(),
            option("Dir::State", &apt.join("state")),
            option("Dir::State::status", &status),
            option("Dir::Cache", &apt.join("cache")),
            "APT::Architecture=amd64".to_owned(),
            // The folders are the caller's, not those of apt's own user.
            "APT::Sandbox::User=".to_owned(),
            "Acquire::Retries=3".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ];
        Ok(Self { options })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_that_a_metapackage_depends_on() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-base-cloud-amd64\n  \
                    Depends: linux-image-7.2.13+deb14-cloud-amd64\n";
        assert_eq!(release(text), Some("7.2.13+deb14-cloud-amd64"));
        assert_eq!(release("linux-image-cloud-amd64\n"), None);
    }
}
