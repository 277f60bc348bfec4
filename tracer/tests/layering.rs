//! Holds what each stage may use: the stages named for it, and no other; and which crates only some of them may touch.
//!
//! Reads the sources by their tokens, so comments and texts may mention what they like, and an import may be nested,
//! go over lines, be renamed or be given on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each stage, from left to right, with the stages that it may use: some of those to its left. The recorder makes
/// recordings, and verdict, profile and output read them: neither arm uses the other.
const STAGES: [(&str, &[&str]); 20] = [
    ("process", &[]),
    ("unwind", &["process"]),
    ("probe", &["process", "unwind"]),
    ("ingest", &["process", "probe"]),
    ("session", &["process", "ingest"]),
    ("glibc", &["process"]),
    ("hotspot", &["process"]),
    ("symbolize", &["process", "unwind", "ingest", "hotspot"]),
    ("vmmap", &["process", "session", "glibc", "hotspot"]),
    ("limits", &["process", "hotspot", "vmmap"]),
    ("census", &["process", "glibc", "hotspot", "vmmap", "limits"]),
    ("holders", &["process", "unwind", "glibc", "hotspot", "symbolize", "vmmap", "census"]),
    ("attribute", &["process", "symbolize"]),
    ("recording", &["process", "symbolize", "limits", "census", "holders", "attribute"]),
    (
        "recorder",
        &[
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
            "holders",
            "recording",
        ],
    ),
    ("verdict", &["process", "attribute", "recording"]),
    (
        "profile",
        &[
            "process",
            "symbolize",
            "vmmap",
            "limits",
            "census",
            "holders",
            "attribute",
            "recording",
            "verdict",
        ],
    ),
    (
        "output",
        &[
            "process",
            "probe",
            "session",
            "hotspot",
            "glibc",
            "symbolize",
            "vmmap",
            "limits",
            "census",
            "holders",
            "attribute",
            "recording",
            "profile",
        ],
    ),
    ("push", &["attribute", "recording", "profile", "output"]),
    (
        "cli",
        &[
            "process",
            "probe",
            "vmmap",
            "limits",
            "census",
            "holders",
            "attribute",
            "recording",
            "recorder",
            "profile",
            "output",
            "push",
        ],
    ),
];

/// Parts of the crate that are of no stage: whoever likes uses them, and they use no stage.
const OF_NO_STAGE: [&str; 2] = ["arch", "units"];

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

/// The stage that a file belongs to, and how many modules lead to it; `None` for the crate's roots.
fn place(file: &Path) -> Option<(String, usize)> {
    let relative = file.strip_prefix(source_folder()).expect("a file below the sources").with_extension("");
    let mut modules: Vec<&str> = relative.iter().map(|part| part.to_str().expect("a name")).collect();
    if modules.last() == Some(&"mod") {
        modules.pop();
    }
    let stage = modules.first()?;
    if ["lib", "main"].contains(stage) {
        return None;
    }
    let is_known = STAGES.iter().any(|(name, _)| name == stage) || OF_NO_STAGE.contains(stage);
    assert!(is_known, "{} belongs to no stage: give `{stage}` a place", file.display());
    Some(((*stage).to_owned(), modules.len()))
}

/// A word, or a character of its own; `::` is one. Comments and texts are left out.
fn tokens(text: &str) -> Vec<String> {
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        let raw =
            rest.trim_start_matches('b').strip_prefix('r').map(|raw| (raw, raw.trim_start_matches('#')));
        rest = if let Some(comment) = rest.strip_prefix("//") {
            comment.find('\n').map_or("", |end| &comment[end..])
        } else if rest.starts_with("/*") {
            let (mut depth, mut at) = (0_usize, 0);
            loop {
                let (opens, closes) = (rest[at..].starts_with("/*"), rest[at..].starts_with("*/"));
                depth = if opens {
                    depth + 1
                } else if closes {
                    depth - 1
                } else {
                    depth
                };
                at += if opens || closes { 2 } else { rest[at..].chars().next().map_or(1, char::len_utf8) };
                if depth == 0 || at >= rest.len() {
                    break &rest[at.min(rest.len())..];
                }
            }
        } else if let Some((raw, body)) = raw.filter(|(_, body)| body.starts_with('"')) {
            let end = format!("\"{}", &raw[..raw.len() - body.len()]);
            body[1..].find(&end).map_or("", |at| &body[1 + at + end.len()..])
        } else if first == '"' {
            let mut chars = after.char_indices();
            loop {
                match chars.next() {
                    Some((_, '\\')) => _ = chars.next(),
                    Some((at, '"')) => break &after[at + 1..],
                    Some(_) => {}
                    None => break "",
                }
            }
        } else if first == '\'' {
            // A character, or a lifetime.
            let mut chars = after.chars();
            match (chars.next(), chars.next()) {
                (Some('\\'), _) => after[2..].find('\'').map_or("", |at| &after[2 + at + 1..]),
                (Some(char), Some('\'')) => &after[char.len_utf8() + 1..],
                _ => after,
            }
        } else if is_word(first) {
            let end = rest.find(|char| !is_word(char)).unwrap_or(rest.len());
            tokens.push(rest[..end].to_owned());
            &rest[end..]
        } else if let Some(path) = rest.strip_prefix("::") {
            tokens.push("::".to_owned());
            path
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            after
        };
    }
    tokens
}

/// The first names of what follows a `::`, or a `use`: one name, or those of each path in a group.
fn heads(tokens: &[String]) -> Vec<&str> {
    match tokens.first().map(String::as_str) {
        Some("{") => {}
        Some(name) => return vec![name],
        None => return Vec::new(),
    }
    let mut heads = Vec::new();
    let (mut depth, mut begins) = (0, true);
    for token in tokens {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => begins |= depth == 1,
            name if depth == 1 && begins => {
                heads.push(name);
                begins = false;
            }
            _ => {}
        }
    }
    heads
}

/// Names that a file uses of its own crate, by the first name after the crate's root, and of others. `depth`: how many
/// modules lead to it.
fn uses(text: &str, depth: usize) -> (BTreeSet<String>, BTreeSet<String>) {
    let tokens = tokens(text);
    let (mut own, mut others) = (BTreeSet::new(), BTreeSet::new());
    let is = |at: usize, token: &str| tokens.get(at).is_some_and(|it| it == token);
    let own_names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    for (at, token) in tokens.iter().enumerate() {
        let continues = at > 0 && is(at - 1, "::");
        let rest = tokens.get(at + 2..).unwrap_or_default();
        match token.as_str() {
            "crate" if is(at + 1, "::") => own.extend(own_names(heads(rest))),
            "super" if !continues => {
                let mut supers = 1;
                while is(at + 2 * supers, "super") && is(at + 2 * supers - 1, "::") {
                    supers += 1;
                }
                // As many as lead to the file lead to the root.
                if supers >= depth && is(at + 2 * supers - 1, "::") {
                    own.extend(own_names(heads(tokens.get(at + 2 * supers..).unwrap_or_default())));
                }
            }
            "use" | "extern" => {
                let skip =
                    usize::from(is(at + 1, "crate") && token == "extern") + usize::from(is(at + 1, "::"));
                let names = heads(tokens.get(at + 1 + skip..).unwrap_or_default());
                // `use {crate::{a, b}, c};` is found by its `crate`.
                others.extend(own_names(names));
            }
            name if !continues && is(at + 1, "::") => _ = others.insert(name.to_owned()),
            _ => {}
        }
    }
    (own, others)
}

/// Stages and crates that each stage uses: its own crate's stages, and other crates.
fn used() -> BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> {
    let mut all: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for file in files(&source_folder()) {
        let Some((stage, depth)) = place(&file) else { continue };
        let (own, others) = uses(&fs::read_to_string(&file).expect("read a source"), depth);
        let sum = all.entry(stage).or_default();
        sum.0.extend(own);
        sum.1.extend(others);
    }
    all
}

#[test]
fn a_stage_uses_those_that_it_may() {
    let mut wrong = Vec::new();
    for (stage, (own, _)) in used() {
        let may = STAGES.iter().find(|(name, _)| *name == stage).map_or(&[][..], |(_, may)| may);
        let stages = own.iter().filter(|name| STAGES.iter().any(|(stage, _)| stage == name));
        for name in stages.filter(|name| **name != stage && !may.contains(&name.as_str())) {
            wrong.push(format!("{stage} uses {name}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_stage_may_use_is_to_its_left() {
    for (at, (stage, may)) in STAGES.iter().enumerate() {
        for name in *may {
            let other = STAGES.iter().position(|(other, _)| other == name);
            assert!(other.is_some_and(|other| other < at), "{name} is not to the left of {stage}");
        }
    }
    let reads = ["verdict", "profile", "output", "push"];
    let may = |stage: &str| STAGES.iter().find(|(name, _)| *name == stage).map_or(&[][..], |(_, may)| may);
    assert!(!reads.iter().any(|stage| may(stage).contains(&"recorder") || may("recorder").contains(stage)));
}

#[test]
fn a_crate_stays_in_its_stages() {
    let mut wrong = Vec::new();
    for (stage, (_, others)) in used() {
        for (name, allowed) in ONLY_IN {
            if others.contains(name) && !allowed.contains(&stage.as_str()) {
                wrong.push(format!("{stage} uses {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_found_however_they_are_written() {
    let own = |text: &str, depth| uses(text, depth).0.into_iter().collect::<Vec<_>>();
    assert_eq!(own("use crate::process::Module;", 2), ["process"]);
    assert_eq!(
        own("use crate::{\n    probe::{self, a::{b, c}},\n    unwind::table, // not session\n};", 2),
        ["probe", "unwind"]
    );
    assert_eq!(
        own("pub use crate::{vmmap as map};\nfn f() { crate::glibc::walk(); }", 2),
        ["glibc", "vmmap"]
    );
    assert_eq!(own("use std::{io, fs}; let a = other_crate::cli::x(); // crate::cli", 2), [] as [&str; 0]);
    assert_eq!(
        own(
            "let text = \"crate::cli\"; let raw = r#\"crate::cli \" \"#; let c = '\"'; /* /* */ crate::cli */",
            2
        ),
        [] as [&str; 0]
    );
    assert_eq!(own("use super::super::{cli, output::x}; use super::own;", 2), ["cli", "output"]);
    assert_eq!(own("use super::super::own;", 3), [] as [&str; 0]);
    let others = |text: &str| uses(text, 2).1.into_iter().collect::<Vec<_>>();
    assert!(others("use {rusqlite::Connection, aya as b};").iter().any(|name| name == "rusqlite"));
    assert!(others("use {rusqlite::Connection, aya as b};").iter().any(|name| name == "aya"));
    assert!(others("let a: rusqlite::Error; ::clap::x()").iter().any(|name| name == "rusqlite"));
    assert!(others("use ::clap::Parser;").iter().any(|name| name == "clap"));
}

#[test]
fn every_file_of_tests_is_in_contributing() {
    let page = source_folder().join("../../CONTRIBUTING.md");
    let page = fs::read_to_string(page).expect("read CONTRIBUTING.md");
    let (_, table) = page.split_once("## Tests").expect("a section on tests");
    let table: String = table
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .collect();
    let named: BTreeSet<&str> =
        table.split('`').map(|text| text.rsplit('/').next().unwrap_or(text)).collect();
    for entry in fs::read_dir(source_folder().join("../tests")).expect("the tests") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let is_named =
            named.contains(name.as_str()) || named.contains("hotspot_*.rs") && name.starts_with("hotspot_");
        assert!(!name.ends_with(".rs") || is_named, "{name} has no row in CONTRIBUTING.md");
    }
    for name in named.iter().filter(|name| name.ends_with(".rs") && !name.contains('*')) {
        assert!(
            source_folder().join("../tests").join(name).exists(),
            "{name} is in CONTRIBUTING.md and not there"
        );
    }
}
