//! Debian's kernels of several suites. Kept in `target/kernels/SUITE`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Kernel;
use crate::debian::{Apt, find};
use crate::setup::persist;
use crate::shell;

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
        persist(|| fetch(suite, &home))
            .with_context(|| format!("cannot fetch the kernel of Debian {suite}"))?;
    }
    let release = fs::read_to_string(&about).with_context(|| format!("cannot read {}", about.display()))?;
    Ok(Kernel { suite: suite.to_owned(), release: release.trim().to_owned(), image })
}

fn fetch(suite: &str, home: &Path) -> Result<()> {
    eprintln!("fetching the kernel of Debian {suite}");
    let apt = Apt::updated(suite, home)?;
    let depends = shell::output(apt.command("apt-cache").args(["depends", NEWEST]))?;
    let release = release(&depends).with_context(|| format!("{NEWEST} depends on no kernel"))?;
    // Since 7.x the image proper is in a package of its own.
    let binary = format!("linux-binary-{release}");
    let split = shell::output(apt.command("apt-cache").args(["show", &binary])).is_ok();
    let package = if split { binary } else { format!("linux-image-{release}") };

    let partial = home.join("partial");
    let tree = apt.unpack(&[&package], &partial)?;
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
