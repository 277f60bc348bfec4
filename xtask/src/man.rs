//! `cargo xtask man`: man pages and docs/cli.md, made by the program itself from the definition of its flags.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Folder for man pages.
const FOLDER: &str = "target/man";

#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(_options: &Options) -> Result<()> {
    let tracer = Path::new("target/debug/tracer");
    shell::run(shell::cargo().args(["build", "--package", "tracer"]))?;
    shell::run(Command::new(tracer).args(["manual", FOLDER]))?;
    let reference = Command::new(tracer).arg("manual").output().context("cannot run tracer")?;
    if !reference.status.success() {
        bail!("tracer manual failed: {}", String::from_utf8_lossy(&reference.stderr));
    }
    std::fs::write("docs/cli.md", reference.stdout).context("cannot write docs/cli.md")?;
    println!("{FOLDER}/tracer.1 and one for each command, and docs/cli.md");
    Ok(())
}
