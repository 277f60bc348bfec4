//! Packages of a Debian suite that this machine need not have: fetched by an apt with sources, state and cache folders
//! of its own, so that the system's is left alone, and unpacked, not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The first file below the folder whose name is wanted.
pub(crate) fn find(folder: &Path, wanted: impl Fn(&str) -> bool + Copy) -> Option<PathBuf> {
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
pub(crate) struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// A server with the suite's present lists; all that it keeps is in a folder below `home`.
    pub(crate) fn updated(suite: &str, home: &Path) -> Result<Self> {
        if !Path::new(KEYRING).is_file() {
            bail!("there is no {KEYRING}");
        }
        let apt = Self::new(suite, home)?;
        shell::output(apt.command("apt-get").args(["-q", "update"]))?;
        Ok(apt)
    }

    /// Fetches packages, and unpacks them into one tree in the folder `partial`, which is made anew. Gives the
    /// tree.
    pub(crate) fn unpack(&self, packages: &[&str], partial: &Path) -> Result<PathBuf> {
        let _ = fs::remove_dir_all(partial);
        fs::create_dir_all(partial)?;
        shell::output(self.command("apt-get").args(["-q", "download"]).args(packages).current_dir(partial))?;
        let tree = partial.join("tree");
        for file in fs::read_dir(partial)?.flatten().map(|entry| entry.path()) {
            if file.extension().is_some_and(|extension| extension == "deb") {
                shell::output(Command::new("dpkg-deb").arg("-x").args([&file, &tree]))?;
            }
        }
        Ok(tree)
    }

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

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }
}
