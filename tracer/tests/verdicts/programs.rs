//! Programs of `stories/programs.toml`: those with real libraries, and the cases from the field. How each is built and
//! run, and its truth.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::common::fixture::{
    classes_with, java_command, jdk_home, jni_library_in, story_classes, target_folder,
};

/// Seconds that a program with libraries works, and that a case is watched.
const LIBRARY_SECONDS: u64 = 20;
const CASE_SECONDS: u64 = 26;
/// Time at which the recorder attaches to a case: it has warmed up.
const ATTACH_SECONDS: u64 = 6;

const FOLDER: &str = "tests/stories";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    program: Vec<Program>,
    case: Vec<Program>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Program {
    pub(crate) name: String,
    main: String,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    jars: Vec<String>,
    /// Pairs of JDK and collector.
    pub(crate) on: Vec<String>,
    truth: Option<Truth>,
    #[serde(default)]
    pub(crate) also: Vec<String>,
    #[serde(default)]
    pub(crate) told: String,
    library: Option<String>,
    /// Sources that are compiled into a folder apart, which the program is given.
    apart: Option<String>,
    /// A line of the manifest of the jar by which the program is its own agent.
    agent: Option<String>,
    attach_s: Option<u64>,
    #[serde(default)]
    pub(crate) gc: bool,
    pub(crate) census: Option<String>,
    /// The program works from its start on, and says nothing of its end.
    #[serde(skip)]
    pub(crate) is_case: bool,
}

#[derive(Deserialize)]
struct Truth {
    category: String,
    verdicts: String,
    owner: String,
}

pub(crate) fn programs() -> &'static [Program] {
    static PROGRAMS: OnceLock<Vec<Program>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let Table { mut program, mut case } =
            toml::from_str(include_str!("../stories/programs.toml")).expect("programs.toml");
        case.iter_mut().for_each(|case| case.is_case = true);
        program.append(&mut case);
        program
    })
}

impl Program {
    pub(crate) fn set(&self) -> &'static str {
        if self.is_case { "cases" } else { "libraries" }
    }

    pub(crate) fn truth(&self) -> Value {
        match &self.truth {
            Some(truth) => {
                json!({ "category": truth.category, "verdicts": truth.verdicts, "owner": truth.owner })
            }
            None => json!({ "category": null }),
        }
    }

    pub(crate) fn attach_seconds(&self) -> u64 {
        self.attach_s.unwrap_or(ATTACH_SECONDS)
    }

    pub(crate) fn seconds(&self) -> u64 {
        if self.is_case { CASE_SECONDS } else { LIBRARY_SECONDS }
    }

    /// The folder of a case: variants of one program share it.
    fn folder(&self) -> String {
        let name = self.name.trim_end_matches("-no-gc").trim_end_matches("-concurrent");
        format!("{FOLDER}/cases/{name}")
    }

    /// The command that runs it, on a pair of JDK and collector; none: that JDK is not here.
    pub(crate) fn command(&self, jdk: u32, collector: &str) -> Option<Command> {
        let mut command = java_command(jdk)?;
        if jdk == 11 {
            command.arg("-XX:+UnlockExperimentalVMOptions");
        }
        let suffix = if collector == "ZGC" { "" } else { "GC" };
        command.arg("-Xmx256m").arg(format!("-XX:+Use{collector}{suffix}"));
        // Natives are allowed by default before JDK 24, and there was no such flag before 17.
        let jars = jars_folder().display().to_string();
        let flags = self.flags.iter().filter(|flag| jdk >= 17 || !flag.starts_with("--enable-native"));
        command.args(flags.map(|flag| flag.replace("{jars}", &jars)));
        let mut class_path: Vec<PathBuf> = self.jars.iter().map(|name| jar(name)).collect();
        if self.is_case {
            self.prepare_case(&mut command, &mut class_path);
        } else {
            command.arg(format!("-Dseconds={}", self.seconds()));
            let mut needed = all_jars();
            needed.push(story_classes());
            class_path.push(classes_with(&format!("{FOLDER}/libraries"), |_| true, &needed));
            class_path.push(story_classes());
        }
        let class_path = std::env::join_paths(class_path).expect("paths without colons");
        command.arg("-cp").arg(class_path).arg(&self.main).args(&self.arguments);
        if let Some(apart) = &self.apart {
            let base = self.base_classes();
            command.arg(classes_with(&self.folder(), |file| file == apart, &[base]));
        }
        Some(command)
    }

    fn base_classes(&self) -> PathBuf {
        classes_with(&format!("{FOLDER}/cases"), |_| true, &[])
    }

    fn prepare_case(&self, command: &mut Command, class_path: &mut Vec<PathBuf>) {
        let base = self.base_classes();
        let apart = self.apart.clone().unwrap_or_default();
        let classes = classes_with(&self.folder(), |file| file != apart, std::slice::from_ref(&base));
        if let Some(library) = &self.library {
            let library = jni_library_in(&self.folder(), library, &jdk_home(), &["-O2", "-pthread"]);
            command.arg(format!("-Dlib={}", library.display()));
        }
        if let Some(line) = &self.agent {
            command.arg(format!("-javaagent:{}", agent_jar(&classes, &self.main, line).display()));
        }
        class_path.extend([classes, base]);
    }
}

/// A jar whose manifest names an agent that is on the class path.
fn agent_jar(classes: &Path, main: &str, line: &str) -> PathBuf {
    let (manifest, jar) = (classes.with_file_name("agent.manifest"), classes.with_file_name("agent.jar"));
    fs::write(&manifest, format!("Premain-Class: {main}\n{line}\n")).expect("the manifest");
    if !jar.exists() {
        let made = Command::new(jdk_home().join("bin/jar")).arg("cfm").args([&jar, &manifest]).status();
        assert!(made.expect("run jar").success(), "the agent's jar");
    }
    jar
}

fn jar(name: &str) -> PathBuf {
    let installed = Path::new("/usr/share/java").join(name);
    if installed.exists() {
        return installed;
    }
    jars_folder().join(name)
}

fn jars_folder() -> PathBuf {
    target_folder().canonicalize().expect("target").join("jars")
}

/// Each library once: those that come in two versions have the same methods for what is used of them here.
fn all_jars() -> Vec<PathBuf> {
    let mut names: Vec<&str> =
        programs().iter().flat_map(|program| &program.jars).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(jar).collect()
}
