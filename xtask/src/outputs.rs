//! `cargo xtask outputs` and `cargo xtask page`: what tracer writes, opened in the programs that it is for.
//!
//! pprof, dh_view and speedscope in a browser, and OpenTelemetry's own decoder show what the JSON report says. They are
//! too large for every run of the tests, which decode the files themselves. The page is driven in two browsers: what it
//! shows, its views, keys and addresses, what names can do, and how fast it is; and its modules are checked against the
//! types in their comments. `outputs` does all of it, `page` the latter.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::shell;

/// Debian's packages of them, by a file of each package.
const PACKAGES: [(&str, &str); 5] = [
    ("/usr/lib/go-1.19/pkg/tool/linux_amd64/pprof", "golang-1.19-go"),
    ("/usr/bin/chromium", "chromium"),
    ("/usr/bin/firefox-esr", "firefox-esr"),
    ("/usr/libexec/valgrind/dh_view.html", "valgrind"),
    ("/usr/bin/node", "nodejs"),
];
const OF_NPM: [&str; 5] =
    ["playwright-core@1", "puppeteer-core@24", "speedscope@1", "axe-core@4", "typescript@7"];
const OF_PYPI: &str = "opentelemetry-proto>=1.40";

#[derive(Args)]
pub(crate) struct Options {
    /// The recording to show
    recording: PathBuf,
}

#[derive(Args)]
pub(crate) struct PageOptions {
    /// The recording to show
    recording: PathBuf,
    /// Writes a picture of the page's beginning here (README.md has that of the demo's recording)
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

/// Compares what viewers show with the report, the page among them.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = prepare()?;
    let [(pprof, _), ..] = PACKAGES;
    shell::run(
        Command::new("node")
            .arg("xtask/outputs/consumers.mjs")
            .arg(tracer()?)
            .arg(&options.recording)
            .args([Path::new(pprof), &folder.join("venv/bin/python"), &folder]),
    )?;
    page(&PageOptions { recording: options.recording.clone(), picture: None })
}

/// Checks the page's modules by their types and pure parts, and drives the page: that of the recording, of what differs, of
/// names that are scripts, and of a very large recording; in Chromium and Firefox.
pub(crate) fn page(options: &PageOptions) -> Result<()> {
    let folder = prepare()?;
    let files = std::fs::read_dir("tracer/src/output/html")?.flatten().map(|entry| entry.path());
    let modules = files.filter(|file| file.extension().is_some_and(|ending| ending == "js"));
    shell::run(
        Command::new("node")
            .arg(folder.join("node_modules/typescript/bin/tsc"))
            .args([
                "--allowJs",
                "--checkJs",
                "--noEmit",
                "--strict",
                "--target",
                "es2023",
                "--module",
                "es2022",
            ])
            .args(["--lib", "es2023,dom,dom.iterable"])
            .args(modules),
    )?;
    shell::run(Command::new("node").args(["--test", "xtask/outputs/units.test.mjs"]))?;
    let drive = |script: &str, recording: &Path| -> Result<Command> {
        let mut command = Command::new("node");
        command.arg(format!("xtask/outputs/{script}")).arg(tracer()?).arg(recording).arg(&folder);
        Ok(command)
    };
    shell::run(drive("page.mjs", &options.recording)?.args(&options.picture))?;
    shell::run(&mut drive("hostile.mjs", &options.recording)?)?;
    shell::run(&mut drive("large.mjs", &large(&folder)?)?)?;
    let made = ["page.html", "page-diff.html", "large.html"].map(|name| folder.join("files").join(name));
    shell::run(Command::new("node").arg("xtask/outputs/firefox.mjs").arg(&folder).args(made))
}

/// A made-up recording of 1,000,000 live allocations on 50,000 call paths, some of them as deep as a recording keeps.
fn large(folder: &Path) -> Result<PathBuf> {
    let file = folder.join("large.trec");
    if !file.is_file() {
        let bench = ["run", "--quiet", "--package", "tracer-bench", "--", "report", "--make"];
        shell::run(shell::cargo().args(bench).arg(&file))?;
    }
    Ok(file)
}

fn tracer() -> Result<PathBuf> {
    let tracer = std::env::current_dir()?.join("target/debug/tracer");
    if !tracer.is_file() {
        bail!("there is no {}\nhelp: cargo xtask build", tracer.display());
    }
    Ok(tracer)
}

/// Gets the programs, once; gives the folder that they are in.
fn prepare() -> Result<PathBuf> {
    let missing = PACKAGES.into_iter().filter(|(file, _)| !Path::new(file).is_file());
    let missing: Vec<&str> = missing.map(|(_, package)| package).collect();
    if !missing.is_empty() {
        bail!("these packages are missing: {0}\nhelp: apt-get install {0}", missing.join(" "));
    }
    let folder = std::env::current_dir()?.join("target/outputs");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let is_there = |package: &str| {
        let name = package.split('@').next().unwrap_or_default();
        folder.join("node_modules").join(name).is_dir()
    };
    if !OF_NPM.iter().all(|package| is_there(package)) {
        shell::run(Command::new("npm").args(["install", "--silent", "--prefix"]).arg(&folder).args(OF_NPM))?;
    }
    if !folder.join("venv/bin/python").is_file() {
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")))?;
        shell::run(Command::new(folder.join("venv/bin/pip")).args(["install", "--quiet", OF_PYPI]))?;
    }
    Ok(folder)
}
