//! Holds the order of the stages: a stage uses those to its left, never those to its right, and neither of the two arms
//! above `recording` the other; and which crates only some of them may touch.

use std::fs;
use std::path::{Path, PathBuf};

/// From left to right. `cli` wires them all together.
const STAGES: [&str; 19] = [
    "process",
    "unwind",
    "probe",
    "ingest",
    "session",
    "glibc",
    "hotspot",
    "symbolize",
    "vmmap",
    "limits",
    "census",
    "attribute",
    "recording",
    "recorder",
    "verdict",
    "profile",
    "output",
    "push",
    "cli",
];

/// The arm that makes recordings, and the one that reads them.
const ARMS: [&[&str]; 2] = [&["recorder"], &["verdict", "profile", "output", "push"]];

/// Crates that only these stages may use.
const ONLY_IN: [(&str, &[&str]); 6] = [
    ("aya", &["probe", "ingest"]),
    ("aya_obj", &["probe"]),
    ("rusqlite", &["recording"]),
    ("blazesym", &["symbolize"]),
    ("clap", &["cli"]),
    ("ureq", &["push"]),
];

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file below the folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in
        fs::read_dir(folder).expect("read the sources").map(|entry| entry.expect("read an entry").path())
    {
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The stage that a file belongs to; `None` for the crate's roots.
fn stage(file: &Path) -> Option<usize> {
    let relative = file.strip_prefix(source_folder()).expect("a file below the sources");
    let first = relative.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    if ["lib", "main", "units"].contains(&name) {
        return None;
    }
    let position = STAGES.iter().position(|stage| *stage == name);
    assert!(position.is_some(), "{} belongs to no stage: give `{name}` a place", file.display());
    position
}

/// Code lines with their numbers; comments may mention what they like.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The names that follow `prefix` in a line: `prefix::name`, and those in `prefix::{a, b::c}`.
fn names_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let identifier = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names = Vec::new();
    for (at, found) in line.match_indices(prefix) {
        if line[..at].ends_with(identifier) {
            continue;
        }
        let rest = &line[at + found.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let group = group.split('}').next().unwrap_or(group);
            names.extend(
                group.split(',').map(|item| item.trim().split(|c| !identifier(c)).next().unwrap_or("")),
            );
        } else {
            names.push(rest.split(|c| !identifier(c)).next().unwrap_or(""));
        }
    }
    names
}

fn are_in_different_arms(one: &str, other: &str) -> bool {
    let arm = |stage| ARMS.iter().position(|arm| arm.contains(&stage));
    arm(one).zip(arm(other)).is_some_and(|(one, other)| one != other)
}

#[test]
fn a_stage_uses_only_those_to_its_left() {
    let mut wrong = Vec::new();
    for file in files(&source_folder()) {
        let Some(own) = stage(&file) else { continue };
        let text = fs::read_to_string(&file).expect("read a source");
        // A group of imports may go over several lines.
        let joined = text.replace("use crate::{\n", "use crate::{");
        for (number, line) in code(&joined) {
            for name in names_after(line, "crate::") {
                let used = STAGES.iter().position(|stage| *stage == name);
                if used.is_some_and(|used| used > own || are_in_different_arms(STAGES[own], name)) {
                    wrong.push(format!("{}:{number}: {} uses {name}", file.display(), STAGES[own]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_crate_stays_in_its_stages() {
    let mut wrong = Vec::new();
    for file in files(&source_folder()) {
        let Some(own) = stage(&file) else { continue };
        let text = fs::read_to_string(&file).expect("read a source");
        for (number, line) in code(&text) {
            for (name, allowed) in ONLY_IN {
                let used = !names_after(line, &format!("{name}::")).is_empty();
                if used && !allowed.contains(&STAGES[own]) {
                    wrong.push(format!("{}:{number}: {} uses {name}", file.display(), STAGES[own]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_found_alone_and_in_groups() {
    assert_eq!(names_after("use crate::process::Module;", "crate::"), ["process"]);
    assert_eq!(names_after("use crate::{probe, unwind::table};", "crate::"), ["probe", "unwind"]);
    assert_eq!(names_after("let a = other_crate::cli::x();", "crate::"), [] as [&str; 0]);
}
