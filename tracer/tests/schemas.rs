//! JSON outputs are as their published schemas say (`docs/schemas`), by a validator that is not ours. Needs Python's
//! `jsonschema`.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::earlier_recordings::{NAMES, unpacked};
use common::recorder::tracer;

/// Prints the first error of each document, `FILE: PATH: WHAT`.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft202012Validator as Validator
schema = json.load(open(sys.argv[1]))
Validator.check_schema(schema)
for path in sys.argv[2:]:
    for error in list(Validator(schema).iter_errors(json.load(open(path))))[:1]:
        print(path, '/'.join(map(str, error.absolute_path)), error.message[:300], sep=': ')
";

/// Is the validator there?
fn has_validator() -> bool {
    let found = Command::new("python3").args(["-c", "import jsonschema"]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        common::skip("needs python3-jsonschema (cargo xtask setup --tests)");
    }
    found
}

/// Errors of the validator for some documents.
fn errors(schema: &str, documents: &[PathBuf]) -> String {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas").join(schema);
    let output = Command::new("python3")
        .arg("-c")
        .arg(VALIDATE)
        .arg(schema)
        .args(documents)
        .output()
        .expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Writes what `tracer` prints into a file.
fn written(folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let output = tracer().args(arguments).output().expect("run tracer");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let file = folder.join(name);
    fs::write(&file, output.stdout).expect("write");
    file
}

#[test]
fn reports_are_as_their_schema() {
    if !has_validator() {
        return;
    }
    let to = tempfile::tempdir().expect("a folder");
    let mut documents = Vec::new();
    for name in NAMES {
        let (_folder, file) = unpacked(name);
        let file = file.to_str().expect("a path");
        documents.push(written(to.path(), &format!("{name}.json"), &["report", file, "--format", "json"]));
        let leaks = ["report", file, "--format", "json", "--view", "leaks", "--top", "3", "--pretty"];
        documents.push(written(to.path(), &format!("{name}-leaks.json"), &leaks));
    }
    assert_eq!(errors("report-2.json", &documents), "");
    // It finds what is wrong.
    let wrong = to.path().join("wrong.json");
    let text = fs::read_to_string(&documents[0]).expect("read");
    fs::write(&wrong, text.replacen("\"live_bytes\":", "\"live_bytes\":-", 1)).expect("write");
    assert!(errors("report-2.json", &[wrong]).contains("less than the minimum"));
}

#[test]
fn diffs_are_as_their_schema() {
    if !has_validator() {
        return;
    }
    let to = tempfile::tempdir().expect("a folder");
    let mut documents = Vec::new();
    for (base, new) in [("exact", "leak"), ("c-program", "sampled"), ("killed", "light"), ("leak", "leak")] {
        let ((_one, base_file), (_other, new_file)) = (unpacked(base), unpacked(new));
        let files = [base_file.to_str().expect("a path"), new_file.to_str().expect("a path")];
        let arguments = ["diff", files[0], files[1], "--format", "json"];
        documents.push(written(to.path(), &format!("{base}-{new}.json"), &arguments));
    }
    assert_eq!(errors("diff-2.json", &documents), "");
}
