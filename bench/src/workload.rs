//! The measured programs: compiled from `bench/programs`, started, told what to do by lines on stdin.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Folder for compiled programs and recordings.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = root().join("target/bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The workspace.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name)
}

/// Runs a compiler.
fn compile(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{program} failed ({status})");
    }
    Ok(())
}

/// The C workload, without frame pointers.
pub(crate) fn compile_pairs() -> Result<PathBuf> {
    compile_c("pairs", &["-fomit-frame-pointer", "-pthread"])
}

/// A C program of `bench/programs`.
pub(crate) fn compile_c(name: &str, flags: &[&str]) -> Result<PathBuf> {
    let program = folder()?.join(name);
    let mut cc = Command::new("cc");
    cc.arg("-O2").args(flags).arg("-o").arg(&program).arg(source(&format!("{name}.c")));
    compile(&mut cc)?;
    Ok(program)
}

/// A folder with `count` small libraries.
pub(crate) fn compile_libraries(count: usize) -> Result<PathBuf> {
    let libraries = folder()?.join("libraries");
    fs::create_dir_all(&libraries)?;
    for number in 0..count {
        let library = libraries.join(format!("libsmall{number:02}.so"));
        if !library.exists() {
            let mut cc = Command::new("cc");
            cc.args(["-O2", "-shared", "-fPIC", &format!("-DNUMBER={number}"), "-o"]).arg(&library);
            compile(cc.arg(source("library.c")))?;
        }
    }
    Ok(libraries)
}

/// Flags of a JVM that does little.
pub(crate) const SMALL: [&str; 2] = ["-Xmx128m", "-XX:+UseSerialGC"];

/// A JDK's `java`, ready to run the classes of `bench/programs`.
pub(crate) struct Java {
    java: PathBuf,
    class_path: OsString,
    /// Version as the JDK states it: `openjdk 17.0.15 ...`.
    pub(crate) version: String,
}

impl Java {
    /// Compiles the Java programs that need nothing but a JDK, with the one that `JAVA_HOME` names;
    /// `cargo xtask bench` sets it.
    pub(crate) fn compile() -> Result<Self> {
        Self::compile_all(&["Pairs.java", "Libraries.java", "Streams.java", "HeldBlocks.java"], &[])
    }

    /// Compiles a Java program that needs these libraries.
    pub(crate) fn compile_with(program: &str, libraries: &[PathBuf]) -> Result<Self> {
        Self::compile_all(&[program], libraries)
    }

    fn compile_all(programs: &[&str], libraries: &[PathBuf]) -> Result<Self> {
        let home = std::env::var_os("JAVA_HOME").map(PathBuf::from);
        let home = home.context("JAVA_HOME names no JDK\nhelp: run this as `cargo xtask bench`")?;
        let classes = folder()?.join("classes");
        let class_path = std::env::join_paths(libraries.iter().chain([&classes]))?;
        let mut javac = Command::new(home.join("bin/javac"));
        javac.args(["-nowarn", "-XDignore.symbol.file", "-Xlint:-deprecation", "-d"]).arg(&classes);
        javac.arg("-cp").arg(&class_path).args(programs.iter().map(|program| source(program)));
        compile(&mut javac)?;
        let java = home.join("bin/java");
        let about = Command::new(&java).arg("--version").output().context("cannot run java")?;
        let about = String::from_utf8_lossy(&about.stdout);
        Ok(Self { java, class_path, version: about.lines().next().unwrap_or("unknown").to_owned() })
    }

    /// `java FLAGS -cp ... CLASS`.
    pub(crate) fn command(&self, flags: &[&str], class: &str) -> Command {
        let mut command = Command::new(&self.java);
        command.args(flags).arg("-cp").arg(&self.class_path).arg(class);
        command
    }

    /// A command for another program of the JDK.
    pub(crate) fn tool(&self, name: &str) -> Command {
        Command::new(self.java.with_file_name(name))
    }
}

/// A running program that answers lines with lines; stopped when dropped.
pub(crate) struct Workload {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// Text that followed the word `ready`.
    pub(crate) greeting: String,
}

impl Workload {
    /// Starts the program, and waits until it is ready.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().context("a child without stdout")?);
        let mut workload = Self { child, stdin, stdout, greeting: String::new() };
        let line = workload.line()?;
        let Some(greeting) = line.strip_prefix("ready") else { bail!("{name} is not ready: {line}") };
        workload.greeting = greeting.trim().to_owned();
        Ok(workload)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives a command without waiting for its answer.
    pub(crate) fn tell(&mut self, command: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the workload's stdin is closed")?;
        writeln!(stdin, "{command}").context("the workload does not listen")
    }

    /// Waits for an answer.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("the workload ended ({})", self.child.wait()?);
        }
        Ok(line.trim().to_owned())
    }

    /// ns that a pair takes below `depth` frames. The number of pairs is chosen so that they take some 150 ms.
    pub(crate) fn pair_ns(&mut self, depth: u32) -> Result<f64> {
        const TRIAL: u64 = 2_000;
        const ROUND_NS: f64 = 150e6;
        let trial_ns = self.pairs(depth, TRIAL)?;
        let count = (ROUND_NS / (trial_ns / TRIAL as f64).max(1.0)).max(TRIAL as f64) as u64;
        Ok(self.pairs(depth, count)? / count as f64)
    }

    /// ns that `count` pairs take.
    pub(crate) fn pairs(&mut self, depth: u32, count: u64) -> Result<f64> {
        self.ask(&format!("pairs {depth} {count}"))
    }

    /// ns that something takes.
    pub(crate) fn ask(&mut self, command: &str) -> Result<f64> {
        self.tell(command)?;
        let answer = self.line()?;
        answer.parse().with_context(|| format!("not a time: {answer}"))
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // It leaves when its stdin closes; it may be in the middle of something.
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
