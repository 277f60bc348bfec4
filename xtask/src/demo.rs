//! `cargo xtask demo`: the main job, end to end, on a sample service that leaks native memory in three ways.
//!
//! The sample is a small web shop (`demo/`). It is a process of its own and is stopped by its pid when the demo ends,
//! however it ends; should this process be killed, the sample sees its standard input close and leaves by itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{build, jdk, setup, shell};

#[derive(Args)]
pub(crate) struct Options {
    /// Length of the recording
    #[arg(short = 'd', long, default_value = "10s")]
    duration: String,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !shell::is_root() {
        bail!("the demo attaches eBPF probes, which needs root\nhelp: sudo -E cargo xtask demo");
    }
    setup::run(&setup::Options::default())?;
    build::run(&build::Options { release: true })?;
    let tracer = build::binary(true);
    let folder = shell::root().join("target/demo");
    let classes = compile(&folder)?;

    // Ctrl-C reaches the recorder too, which then stops early and still tells what it saw: outlive it.
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupted))?;

    let shop = Shop::start(&classes)?;
    let pid = shop.pid();
    eprintln!("\na sample web shop runs as pid {pid}; it serves requests and loses native memory\n");

    let recording = folder.join("shop.trec");
    let page = folder.join("shop.html");
    shell::run(
        Command::new(&tracer)
            .args([
                "record",
                "--pid",
                &pid.to_string(),
                "--duration",
                &options.duration,
                // Every leak to the byte, however slow the machine.
                "--max-overhead",
                "none",
                // Holders of what each line allocated.
                "--holders",
                "--force",
                "--output",
            ])
            .arg(&recording),
    )?;
    shell::run(Command::new(&tracer).arg("report").arg(&recording).args(["--force", "-o"]).arg(&page))?;
    shop.stop()?;
    if interrupted.load(Ordering::Relaxed) {
        eprintln!("interrupted: recorded less than {}", options.duration);
    }

    eprintln!("\nthe leaks, as they were written:     demo/shop/");
    eprintln!("the call paths as text:              {} report {} -v", short(&tracer), short(&recording));
    eprintln!("the page, open it in a browser:      file://{}", page.display());
    Ok(())
}

/// Relative to where the person is, when that is shorter.
fn short(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

fn compile(folder: &Path) -> Result<PathBuf> {
    let home = jdk::home().context("no JDK with a compiler\nhelp: cargo xtask setup")?;
    let classes = folder.join("classes");
    fs::create_dir_all(&classes).with_context(|| format!("cannot make {}", classes.display()))?;
    let sources = shell::root().join("demo");
    shell::run(
        Command::new(home.join("bin/javac"))
            .args(["-g", "-d"])
            .arg(&classes)
            .arg("-sourcepath")
            .arg(&sources)
            .arg(sources.join("shop/Main.java")),
    )?;
    Ok(classes)
}

/// The running sample; stopped when dropped.
struct Shop {
    jvm: Child,
    stopped: bool,
}

impl Shop {
    /// Starts the sample and waits until it serves.
    fn start(classes: &Path) -> Result<Shop> {
        let home = jdk::home().context("no JDK\nhelp: cargo xtask setup")?;
        let mut command = Command::new(home.join("bin/java"));
        // A fixed heap, so that what grows is what leaks.
        command.args(["-Xms64m", "-Xmx64m", "-cp"]).arg(classes).arg("shop.Main");
        // In a group of its own: Ctrl-C is for the recorder.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let jvm = command.spawn().context("cannot start the sample JVM")?;
        let mut shop = Shop { jvm, stopped: false };
        let stdout = shop.jvm.stdout.take().context("the sample JVM has no stdout")?;
        for line in BufReader::new(stdout).lines() {
            if line?.starts_with("ready") {
                return Ok(shop);
            }
        }
        let status = shop.jvm.wait()?;
        shop.stopped = true;
        bail!("the sample JVM ended before it was ready ({status})");
    }

    fn pid(&self) -> u32 {
        self.jvm.id()
    }

    /// Asks the sample to leave (its standard input closes), and sees that it left in good health.
    fn stop(mut self) -> Result<()> {
        drop(self.jvm.stdin.take());
        let status = self.jvm.wait()?;
        self.stopped = true;
        if !status.success() {
            bail!("the sample JVM did not end well ({status})");
        }
        Ok(())
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if !self.stopped {
            // Nothing more can be done about a failure here; the child sees its stdin close in any case.
            let _ = self.jvm.kill();
            let _ = self.jvm.wait();
        }
    }
}
