//! Pages for people: the files that they name are there, and so is what their links lead to.

use std::fs;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below a folder, by its path from the workspace.
fn files(folder: &str, all: &mut Vec<String>) {
    for entry in fs::read_dir(workspace().join(folder)).expect("read a folder") {
        let entry = entry.expect("an entry");
        let path = format!("{folder}/{}", entry.file_name().into_string().expect("a name"));
        match entry.path().is_dir() {
            true => files(&path, all),
            false => all.push(path),
        }
    }
}

/// Markdown without its blocks of code, by the page's path.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].iter().map(PathBuf::from).collect();
    let mut docs = Vec::new();
    files("docs", &mut docs);
    pages.extend(docs.iter().filter(|path| path.ends_with(".md")).map(PathBuf::from));
    let text = |page: &PathBuf| fs::read_to_string(workspace().join(page)).expect("read a page");
    let prose = |page: PathBuf| {
        let text = text(&page);
        let blocks = text.split("\n```").enumerate().filter(|(at, _)| at % 2 == 0);
        (page, blocks.map(|(_, block)| block).collect())
    };
    pages.into_iter().map(prose).collect()
}

/// Sources that a word in `` ` `` names: `a/{b,c}.rs` names two. None if it has a star, or is no source.
fn named(word: &str) -> Vec<String> {
    let is_path =
        |text: &str| text.chars().all(|char| char.is_ascii_alphanumeric() || "_/.-{},".contains(char));
    if !is_path(word) || ![".rs", ".toml", ".java"].iter().any(|ending| word.ends_with(ending)) {
        return Vec::new();
    }
    match word.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (names, after))) => {
            names.split(',').map(|name| format!("{before}{name}{after}")).collect()
        }
        None => vec![word.to_owned()],
    }
}

#[test]
fn files_that_are_named_are_there() {
    let mut there = vec!["Cargo.toml".to_owned()];
    for folder in ["tracer", "tracer-common", "tracer-ebpf", "bench", "xtask", "fuzz/src", "demo"] {
        files(folder, &mut there);
    }
    let mut count = 0;
    for (page, text) in pages() {
        for name in text.split('`').skip(1).step_by(2).flat_map(named) {
            count += 1;
            let is_it = |path: &String| path == &name || path.ends_with(&format!("/{name}"));
            assert!(there.iter().any(is_it), "{} names {name}, which is not there", page.display());
        }
    }
    assert!(count > 100, "{count} files were found on the pages");
}

#[test]
fn links_lead_somewhere() {
    for (page, text) in pages() {
        let folder = workspace().join(page.parent().expect("a folder"));
        for link in text.split("](").skip(1).filter_map(|text| text.split(')').next()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.starts_with("http") || file.is_empty() {
                continue;
            }
            let target = folder.join(file);
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            if !anchor.is_empty() {
                let heading =
                    |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                let text = fs::read_to_string(&target).expect("read a page");
                let mut headings = text.lines().filter(|line| line.starts_with('#')).map(heading);
                assert!(headings.any(|it| it == anchor), "{}: {link} leads to no heading", page.display());
            }
        }
    }
}
