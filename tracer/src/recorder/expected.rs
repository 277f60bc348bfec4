//! Libraries that a target will probably map while it is recorded: those of its JVM, loaded or not.
//!
//! Their tables are compiled before the target runs on, so that a stack through a library can be
//! walked milliseconds after the library is mapped, and libjvm's own probe points are attached to: what
//! is left to do when it is mapped must not take longer than a JVM may live.

use std::{
    fs::{self, File, Metadata},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use crate::{
    hotspot::Symbols,
    probe::probes::{Probes, SeenOfJvm},
    process::{Pid, Target, root},
};

/// Files looked at.
const MAX_FILES: usize = 100;
/// Size above which libraries other than libjvm are not worth the wait.
const MAX_BYTES: u64 = 4 << 20;
/// Folders of a runtime's libraries: from JDK 9 on, in a JRE 8, and in a JDK 8.
const FOLDERS: [&str; 7] = [
    "lib/server",
    "lib",
    "lib/jli",
    "lib/amd64/server",
    "lib/amd64",
    "jre/lib/amd64/server",
    "jre/lib/amd64",
];
/// Folders of its launcher's own library: from JDK 12 on, from 9 on, and before.
const LAUNCHER_FOLDERS: [&str; 4] = ["lib", "lib/jli", "lib/amd64/jli", "jre/lib/amd64/jli"];
/// Libraries that libjvm needs, beside the C library, and libzip where it has no zlib of its own.
const NEEDED: [&str; 4] = ["libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libz.so.1"];

/// The files, opened, by their paths in the target's root.
pub(super) fn libraries(target: &Target) -> Vec<(File, String)> {
    let mut paths = Vec::new();
    if let Some(home) = home(target) {
        for folder in FOLDERS {
            paths.extend(shared_objects(target.pid, &home.join(folder)));
        }
        let mut mapped = target.modules.iter().map(|module| Path::new(&module.path));
        let c_library = mapped.find(|path| path.ends_with("libc.so.6"));
        if let Some(folder) = c_library.and_then(Path::parent) {
            paths.extend(NEEDED.map(|name| folder.join(name)));
        }
    }
    paths.into_iter().take(MAX_FILES).filter_map(|path| opened(target.pid, &path)).collect()
}

/// The libjvm that a target will probably load: what can be known of it, and done, before.
pub(super) struct ExpectedJvm {
    /// Keeps the inode from being another file's.
    file: File,
    symbols: Symbols,
    /// Parts of the JVM to whose own probe points is attached already.
    seen: SeenOfJvm,
}

impl ExpectedJvm {
    /// Reads one of [`libraries`], if it is a libjvm.
    pub(super) fn of(file: &File, path: &str) -> Option<Self> {
        if !path.ends_with("/libjvm.so") {
            return None;
        }
        let file = file.try_clone().ok()?;
        let symbols = Symbols::of(file.try_clone().ok()?, 0).ok()?;
        Some(Self { file, symbols, seen: SeenOfJvm::default() })
    }

    /// Attaches to its own probe points: the kernel sets them when the target maps it.
    pub(super) fn attach(&mut self, probes: &mut Probes) {
        self.seen = probes.attach_usdt(&opened_path(&self.file));
    }

    /// Facts that its own probe points tell.
    pub(super) fn seen(&self) -> SeenOfJvm {
        self.seen
    }

    /// The symbols, as if it were loaded at 0.
    pub(super) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Is `libjvm` this one?
    pub(super) fn is(&self, libjvm: &Path) -> bool {
        let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let theirs = fs::metadata(libjvm).map(id);
        theirs.is_ok_and(|theirs| self.file.metadata().is_ok_and(|ours| id(ours) == theirs))
    }
}

/// Path by which this process, and the kernel for it, can open a file that it has open.
pub(super) fn opened_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Folder of the JVM's files: of one that is mapped, or beside a program that starts one.
fn home(target: &Target) -> Option<PathBuf> {
    if let Some(home) = target.jvm.as_ref().and_then(|jvm| jvm.java_home.as_ref()) {
        return Some(PathBuf::from(home));
    }
    let home = Path::new(target.exe.as_deref()?).parent()?.parent()?;
    let starts_one = LAUNCHER_FOLDERS.iter().any(|folder| {
        let objects = shared_objects(target.pid, &home.join(folder));
        objects.iter().any(|path| path.ends_with("libjli.so"))
    });
    starts_one.then(|| home.to_owned())
}

/// Shared objects of a folder of the target's root, by their paths there.
fn shared_objects(pid: Pid, folder: &Path) -> Vec<PathBuf> {
    let Ok(inside) = folder.strip_prefix("/") else {
        return Vec::new();
    };
    let entries = fs::read_dir(pid.path("root").join(inside)).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| folder.join(entry.file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "so"))
        .take(MAX_FILES)
        .collect();
    paths.sort();
    paths
}

fn opened(pid: Pid, path: &Path) -> Option<(File, String)> {
    let name = path.to_str()?;
    let file = root::open(pid, name).ok()?;
    let small = file.metadata().is_ok_and(|metadata| metadata.len() <= MAX_BYTES);
    (small || path.ends_with("libjvm.so")).then(|| (file, name.to_owned()))
}
