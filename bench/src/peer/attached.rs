//! async-profiler, switched on and off in a running JVM.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::inside;
use crate::workload::{Java, Workload};

/// A workload in which it works when it is told to.
pub(crate) struct Attached<'a> {
    java: &'a Java,
    library: PathBuf,
    pub(crate) workload: Workload,
}

impl<'a> Attached<'a> {
    pub(crate) fn new(java: &'a Java, library: &Path, workload: Workload) -> Self {
        Self { java, library: library.to_owned(), workload }
    }

    /// Starts its `nativemem`, at every allocation or once in so many bytes.
    pub(crate) fn start(&self, bytes: u64) -> Result<()> {
        let file = self.file()?;
        self.load(&format!("start,quiet,nativemem={bytes},file={}", file.display()))
    }

    /// Gives its recording.
    pub(crate) fn stop(&self) -> Result<PathBuf> {
        let file = self.file()?;
        self.load(&format!("stop,file={}", file.display()))?;
        Ok(file)
    }

    /// Facts that a Java program of `bench/programs` tells of a file.
    pub(crate) fn lines(&self, class: &str, file: &Path) -> Result<String> {
        let output = self.java.command(&[], class).arg(file).output().context("cannot run java")?;
        if !output.status.success() {
            bail!("{class} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn file(&self) -> Result<PathBuf> {
        let folder = inside::folder()?;
        fs::create_dir_all(&folder)?;
        Ok(folder.join("attached.jfr"))
    }

    fn load(&self, options: &str) -> Result<()> {
        // In quotes: jcmd would take it for several arguments of its own.
        let mut jcmd = self.java.tool("jcmd");
        jcmd.arg(self.workload.pid().to_string()).arg("JVMTI.agent_load").arg(&self.library);
        let output = jcmd.arg(format!("\"{options}\"")).output().context("cannot run jcmd")?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !said.lines().any(|line| line == "return code: 0") {
            bail!("async-profiler refuses {options}: {said}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}
