//! The guest: its file system, its first process, and one boot of it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{Kernel, archive};
use crate::{build, shell};

pub(super) const QEMU: &str = "qemu-system-x86_64";
/// The longest that a boot and its tests may take: minutes on an idle machine, because it is emulated, and more beside
/// others.
const LIMIT_S: u32 = 1_800;
/// Memory of a guest: its files, and what verifying takes, which on 7.2 is more than 3 GiB.
const MEMORY: &str = "8G";
/// Boots before a kernel is given up that fails before the tests begin.
const BOOTS: u32 = 4;
/// Said by the guest's first process at the very end, when all has passed.
const PASSED: &str = "guest: all passed";
/// Begins the lines of the log that come before the first process's own.
const STARTED: &str = "guest: started";

/// Contents of the guest's file system, each at the path where it lies here.
pub(super) struct Contents<'a> {
    /// Executables, which get the libraries that they load.
    pub(super) programs: &'a [&'a Path],
    pub(super) files: &'a [&'a Path],
    pub(super) folders: &'a [&'a str],
    /// Commands of the first process, which sets `passed` to something but 1 if they fail.
    pub(super) script: &'a str,
}

/// Makes the guest's file system: an archive that the kernel unpacks into memory.
pub(super) fn image(contents: &Contents<'_>) -> Result<PathBuf> {
    let home = archive::folder();
    let tree = home.join("guest");
    let _ = fs::remove_dir_all(&tree);
    for folder in ["bin", "dev", "proc", "sys", "tmp"] {
        fs::create_dir_all(tree.join(folder)).with_context(|| format!("cannot make {}", tree.display()))?;
    }
    let root = shell::root();
    contents.programs.iter().try_for_each(|program| add_program(&tree, program))?;
    contents.files.iter().try_for_each(|file| add(&tree, file, file))?;
    contents.folders.iter().try_for_each(|folder| add_folder(&tree, &root.join(folder)))?;
    let busybox = shell::which("busybox").context("there is no busybox")?;
    add(&tree, &busybox, Path::new("/bin/busybox"))?;
    add_libraries(&tree, &busybox)?;
    let init = tree.join("init");
    fs::write(&init, first_process(contents.script))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;

    let image = home.join("guest.cpio");
    let names = Command::new("find").arg(".").current_dir(&tree).stdout(Stdio::piped()).spawn()?;
    let status = Command::new("cpio")
        .args(["--quiet", "--create", "--format=newc", "--owner=0:0"])
        .current_dir(&tree)
        .stdin(names.stdout.context("find has no output")?)
        .stdout(File::create(&image)?)
        .status()
        .context("cannot run cpio")?;
    if !status.success() {
        bail!("cpio failed ({status})");
    }
    Ok(image)
}

/// The debug build of `tracer`.
pub(super) fn tracer() -> Result<PathBuf> {
    build::binary(false).canonicalize().context("there is no debug build of tracer")
}

/// The script that the kernel starts.
fn first_process(script: &str) -> String {
    // Standard error is what the tests' words go to; both are the serial line.
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         mount -t devtmpfs dev /dev\n\
         mount -t tracefs tracefs /sys/kernel/tracing\n\
         export TRACER_REQUIRE_ROOT=1 RUST_BACKTRACE=0\n\
         echo '{STARTED}'\n\
         passed=1\n\
         {script}\n\
         [ $passed = 1 ] && echo '{PASSED}'\n\
         poweroff -f\n"
    )
}

/// The commands that run the tests; `release` is the object of the BPF programs without their log.
pub(super) fn tests(verifier: &Path, probes: &Path, probe_tests: &[&str], release: &Path) -> String {
    let (verifier, probes, release) = (verifier.display(), probes.display(), release.display());
    let tests = probe_tests.join(" ");
    format!(
        "export TRACER_RELEASE_OBJECT='{release}'\n\
         '{verifier}' --nocapture || passed=0\n\
         '{probes}' --exact --test-threads=1 {tests} || passed=0"
    )
}

/// Result of a boot.
pub(super) struct Boot {
    /// The tests began.
    started: bool,
    pub(super) passed: bool,
    pub(super) seconds: u64,
    /// Output of the tests and of the kernel.
    pub(super) lines: Vec<String>,
}

/// Boots a kernel and runs the tests in it. Emulated kernels now and then fail in their first seconds, with none of our
/// programs there yet: such a boot is said and tried again.
/// `options` are QEMU's, beside the usual ones.
pub(super) fn boot(kernel: &Kernel, image: &Path, options: &[&str]) -> Result<Boot> {
    for _ in 1..BOOTS {
        let boot = boot_once(kernel, image, options)?;
        if boot.started {
            return Ok(boot);
        }
        eprintln!("kernel {}: failed before the tests began; once more", kernel.release);
    }
    boot_once(kernel, image, options)
}

fn boot_once(kernel: &Kernel, image: &Path, options: &[&str]) -> Result<Boot> {
    let started = Instant::now();
    let log = archive::folder().join(&kernel.suite).join("log");
    let status = Command::new("timeout")
        .args(["--kill-after=10", &LIMIT_S.to_string(), QEMU])
        // One processor: emulating several by threads made kernels fail in their own scheduler. Tasks are preempted
        // in the middle of BPF programs all the same, and more often.
        .args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "1", "-m", MEMORY])
        .args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"])
        .args(options)
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(image)
        // A kernel that fails ends the boot at once, and says why.
        .args(["-append", "console=ttyS0 quiet oops=panic panic=-1 rcupdate.rcu_expedited=1"])
        .stdin(Stdio::null())
        .stdout(File::create(&log).with_context(|| format!("cannot write {}", log.display()))?)
        .status()
        .context("cannot run timeout")?;
    let said = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    let mut lines: Vec<_> = said.lines().map(|line| line.trim_end().to_owned()).collect();
    let passed = status.success() && lines.iter().any(|line| line == PASSED);
    let first = lines.iter().position(|line| line.ends_with(STARTED));
    lines.drain(..first.map_or(0, |at| at + 1));
    if !status.success() {
        lines.push(format!("{QEMU}: {status}; its log: {}", log.display()));
    }
    Ok(Boot { started: first.is_some(), passed, seconds: started.elapsed().as_secs(), lines })
}

/// Adds an executable, without its debug information, and what it is linked with.
fn add_program(tree: &Path, program: &Path) -> Result<()> {
    let place = inside(tree, program)?;
    shell::output(
        Command::new("strip").arg("--strip-debug").arg("-o").args([&place, &program.to_path_buf()]),
    )?;
    add_libraries(tree, program)
}

/// Adds the libraries that a program loads, the loader among them; none for a static one.
fn add_libraries(tree: &Path, program: &Path) -> Result<()> {
    // `ldd` fails for a static program.
    let listed = shell::output(Command::new("ldd").arg(program)).unwrap_or_default();
    for library in listed.split_ascii_whitespace().filter(|word| word.starts_with('/')) {
        add(tree, Path::new(library), Path::new(library))?;
    }
    Ok(())
}

fn add_folder(tree: &Path, folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            add_folder(tree, &path)?;
        } else {
            add(tree, &path, &path)?;
        }
    }
    Ok(())
}

/// Copies a file of this machine to `place` in the guest.
fn add(tree: &Path, file: &Path, place: &Path) -> Result<()> {
    let target = inside(tree, place)?;
    fs::copy(file, &target).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

/// Place of an absolute path in the tree; its folder is made.
fn inside(tree: &Path, path: &Path) -> Result<PathBuf> {
    let place = tree.join(path.strip_prefix("/").with_context(|| format!("{} is relative", path.display()))?);
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_says_that_it_passed_only_if_all_did() {
        let script =
            first_process(&tests(Path::new("/v"), Path::new("/p"), &["one", "two"], Path::new("/o")));
        // Run by a shell, without what only the guest has.
        let run = |verifier: &str, probes: &str| {
            let lines = script.lines().skip_while(|line| !line.starts_with("passed="));
            let script: Vec<_> = lines
                .filter(|line| !line.contains("poweroff"))
                .map(|line| line.replace("'/v' --nocapture", verifier).replace("'/p' --exact", probes))
                .collect();
            shell::output(Command::new("sh").args(["-c", &format!("{}\ntrue", script.join("\n"))]))
                .expect("the script runs")
        };
        assert_eq!(run("true", "true").trim(), PASSED);
        assert_eq!(run("false", "true"), "");
        assert_eq!(run("true", "false"), "");
    }
}
