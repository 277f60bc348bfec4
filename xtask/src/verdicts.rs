//! `cargo xtask bench verdicts`: fetches what the programs with a known truth need (libraries, and JDKs that the test
//! matrix does not have), and runs the test that records and judges them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian::{self, Apt};
use crate::plan::Package;
use crate::{build, jdk, setup, shell, test};

const JDKS: [&str; 5] = ["11", "17", "21", "25", "27"];
const COLLECTORS: [&str; 5] = ["Serial", "Parallel", "G1", "Shenandoah", "ZGC"];
const SETS: [&str; 3] = ["stories", "cases", "libraries"];
const USAGE: &str = "cargo xtask bench verdicts [JDK,...] [COLLECTOR,...] [SET,...] [PROGRAM,...]";

/// Debian's packages of libraries, by a file of each.
const PACKAGES: [(&str, &str); 20] = [
    ("/usr/share/java/jna.jar", "libjna-java"),
    ("/usr/share/java/netty-handler.jar", "libnetty-java"),
    (TCNATIVE, "libnetty-tcnative-java"),
    ("/usr/share/java/xerial-sqlite-jdbc.jar", "libxerial-sqlite-jdbc-java"),
    ("/usr/share/java/groovy-all.jar", "groovy"),
    ("/usr/share/java/byte-buddy.jar", "libbyte-buddy-java"),
    ("/usr/share/java/lucene-core-8.7.0.jar", "liblucene8-java"),
    ("/usr/share/java/tomcat10-catalina.jar", "libtomcat10-java"),
    ("/usr/share/java/asm.jar", "libasm-java"),
    ("/usr/share/java/antlr.jar", "libantlr-java"),
    ("/usr/share/java/js.jar", "librhino-java"),
    ("/usr/share/java/mvel2.jar", "libmvel-java"),
    ("/usr/share/java/derby.jar", "libderby-java"),
    ("/usr/share/java/lz4-java.jar", "liblz4-java"),
    ("/usr/share/java/jnr-ffi.jar", "libjnr-ffi-java"),
    ("/usr/share/java/jnr-x86asm.jar", "libjnr-x86asm-java"),
    ("/usr/share/java/commons-compress.jar", "libcommons-compress-java"),
    ("/usr/share/java/jetty9-server.jar", "libjetty9-java"),
    ("/usr/share/java/servlet-api.jar", "libservlet-api-java"),
    ("/usr/share/java/h2.jar", "libh2-java"),
];
const TCNATIVE: &str = "/usr/lib/x86_64-linux-gnu/jni/libnetty-tcnative.so";

/// The package of PyPI that has RocksDB, zstd-jni, a recent Netty and Janino inside.
const SPARK: &str = "pyspark==3.5.3";
/// Libraries that are taken of it.
const SPARK_JARS: [&str; 5] = ["rocksdbjni-", "zstd-jni-", "netty-", "janino-", "commons-compiler-"];

/// The newest JDKs, with the C library and what else they need, in a tree of their own: they do not run with an older
/// one.
const SID_PACKAGES: [&str; 22] = [
    "openjdk-26-jre-headless",
    "openjdk-27-jre-headless",
    "openjdk-28-jre-headless",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "zlib1g",
    "libjpeg62-turbo",
    "liblcms2-2",
    "libpcsclite1",
    "libfreetype6",
    "libharfbuzz0b",
    "libpng16-16t64",
    "libbrotli1",
    "libbz2-1.0",
    "libglib2.0-0t64",
    "libgraphite2-3",
    "libpcre2-8-0",
    "libnss3",
    "libnspr4",
    "dash",
    "coreutils",
];

/// Runs what the words name: JDKs, collectors, sets or single programs, separated by blanks or commas; all without any.
pub(crate) fn run(words: &[OsString]) -> Result<()> {
    let filters = filters(words)?;
    prepare()?;
    // The test itself is not optimized, and runs only if it has programs of its own.
    build::bpf_object(false)?;
    let mut test = test::alone("verdicts", &["all_stories"], &[]);
    test.env("TRACER_ALL_VERDICTS", "1");
    test.env("TRACER_BINARY", build::binary(true));
    test.envs(filters.iter().map(|(name, values)| (name, values.join(","))));
    shell::run(&mut test)
}

/// Text of `bench verdicts --help`.
pub(crate) fn usage() -> String {
    let [jdks, collectors, sets] = [&JDKS[..], &COLLECTORS, &SETS].map(|words| words.join(","));
    format!(
        "Records programs whose truth is known, and says how often category, line and verdict are right.\n\n\
         Usage: {USAGE}\n\n\
         Without words all programs run, on all JDKs and collectors of theirs. Words of one kind add up, words of \
         several\nkinds must all hold:\n  \
         JDK        {jdks}\n  \
         COLLECTOR  {collectors}\n  \
         SET        {sets}\n  \
         PROGRAM    a name in tracer/tests/stories/programs.toml or tracer/tests/verdicts/stories.rs\n\n\
         For example: cargo xtask bench verdicts 17,21 ZGC libraries\n"
    )
}

/// The variables that tell the test which programs to run, and their values.
pub(crate) fn filters(words: &[OsString]) -> Result<Vec<(&'static str, Vec<String>)>> {
    let mut filters: Vec<(&str, Vec<String>)> = Vec::new();
    let words = words.join(OsStr::new(",")).to_string_lossy().into_owned();
    let names = names()?;
    for word in words.split(',').filter(|_| !words.is_empty()) {
        let kinds = [
            ("TRACER_VERDICT_JDKS", JDKS.contains(&word)),
            ("TRACER_VERDICT_COLLECTORS", COLLECTORS.contains(&word)),
            ("TRACER_VERDICT_SETS", SETS.contains(&word)),
            ("TRACER_VERDICT_STORIES", names.iter().any(|name| name == word)),
        ];
        let Some((kind, _)) = kinds.into_iter().find(|(_, holds)| *holds) else {
            bail!(
                "bench verdicts: no JDK, collector, set or program is called {word:?}\nhelp: cargo xtask bench \
                 verdicts --help"
            );
        };
        match filters.iter_mut().find(|(name, _)| *name == kind) {
            Some((_, values)) => values.push(word.to_owned()),
            None => filters.push((kind, vec![word.to_owned()])),
        }
    }
    Ok(filters)
}

/// Names of all programs, as the tables of the tests have them.
fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (file, start) in [("stories/programs.toml", "name = \""), ("verdicts/stories.rs", "Story { mode: \"")]
    {
        let file = shell::root().join("tracer/tests").join(file);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let named = text.lines().filter_map(|line| line.trim().strip_prefix(start)?.split('"').next());
        names.extend(named.map(str::to_owned));
    }
    Ok(names)
}

/// Installs and fetches the JDKs of the tests, the newest ones, and the libraries of the programs.
pub(crate) fn prepare() -> Result<()> {
    setup::run(&setup::Options { tests: true, check: false })?;
    let missing = PACKAGES.into_iter().filter(|(file, _)| !Path::new(file).exists());
    setup::install(
        missing
            .map(|(_, name)| Package { name: name.to_owned(), why: "a library of the programs" })
            .collect(),
    )?;
    let jars = shell::root().join("target/jars");
    if !jars.join("rocksdbjni-8.3.2.jar").exists() {
        setup::persist(|| fetch_jars(&jars))?;
    }
    // Netty looks for it by another name than Debian's, and it insists on its own.
    fs::copy(TCNATIVE, jars.join("libnetty_tcnative.so")).context("cannot copy netty-tcnative")?;
    let tree = jdk::folder("sid");
    if !tree.join("usr/lib/jvm/java-27-openjdk-amd64/bin/java").exists() {
        setup::persist(|| fetch_newest(&tree))?;
    }
    Ok(())
}

/// Takes the libraries out of Spark's package; whole or not at all.
fn fetch_jars(jars: &Path) -> Result<()> {
    eprintln!("setup: fetching {SPARK} (317 MB), for RocksDB, zstd, Netty and Janino");
    let partial = emptied(&jars.with_extension("partial"))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"]);
    shell::run(pip.arg(&partial).arg(SPARK))?;
    let Some(archive) = debian::find(&partial, |name| name.ends_with(".tar.gz")) else {
        bail!("pip left no archive of {SPARK}")
    };
    let mut tar = Command::new("tar");
    tar.arg("--extract")
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(&partial)
        .args(["--wildcards", "--strip-components=3"]);
    shell::run(tar.args(SPARK_JARS.map(|name| format!("*/deps/jars/{name}*"))))?;
    fs::remove_file(archive)?;
    let _ = fs::remove_dir_all(jars);
    fs::rename(&partial, jars).with_context(|| format!("cannot make {}", jars.display()))
}

fn fetch_newest(tree: &Path) -> Result<()> {
    eprintln!("setup: fetching JDK 26 to 28 with their C library, of Debian sid (187 MB)");
    let partial = emptied(&tree.with_extension("partial"))?;
    let apt = Apt::updated("sid", &partial)?;
    let made = apt.unpack(&SID_PACKAGES, &partial.join("packages"))?;
    for name in ["bin", "lib", "lib64", "sbin"] {
        if !made.join(name).exists() {
            std::os::unix::fs::symlink(Path::new("usr").join(name), made.join(name))?;
        }
    }
    let _ = fs::remove_dir_all(tree);
    fs::rename(&made, tree).with_context(|| format!("cannot make {}", tree.display()))?;
    Ok(fs::remove_dir_all(partial)?)
}

fn emptied(folder: &Path) -> Result<PathBuf> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_what_is_run() {
        let filters = |words: &[&str]| filters(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(filters(&[]).unwrap(), []);
        let values = |kind, values: &[&str]| (kind, values.iter().map(|&value| value.to_owned()).collect());
        assert_eq!(filters(&["17,27"]).unwrap(), [values("TRACER_VERDICT_JDKS", &["17", "27"])]);
        assert_eq!(
            filters(&["ZGC", "zstd-archive", "warm-up", "cases"]).unwrap(),
            [
                values("TRACER_VERDICT_COLLECTORS", &["ZGC"]),
                values("TRACER_VERDICT_STORIES", &["zstd-archive", "warm-up"]),
                values("TRACER_VERDICT_SETS", &["cases"]),
            ]
        );
        for wrong in [&["--all"][..], &["8"], &["17", "nothing"], &["17,"]] {
            assert!(filters(wrong).unwrap_err().to_string().contains("help: cargo xtask bench verdicts"));
        }
        for known in JDKS.iter().chain(&COLLECTORS).chain(&SETS) {
            assert!(usage().contains(known), "{known}");
        }
    }
}
