//! Recordings of earlier versions, which are kept.

use std::fs::File;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub(crate) const NAMES: [&str; 10] = [
    "c-program",
    "exact",
    "healthy",
    "jdk25",
    "killed",
    "late-attach",
    "launched",
    "leak",
    "light",
    "sampled",
];

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recordings")
}

/// Unpacks a recording, with the log beside it that a killed recorder leaves.
pub(crate) fn unpacked(name: &str) -> (TempDir, PathBuf) {
    let to = tempfile::tempdir().expect("a folder");
    for ending in ["trec", "trec-wal"] {
        let packed = folder().join(format!("{name}.{ending}.zst"));
        if packed.exists() {
            let file = File::create(to.path().join(format!("{name}.{ending}"))).expect("create");
            zstd::stream::copy_decode(File::open(packed).expect("open"), file).expect("unpack");
        }
    }
    let file = to.path().join(format!("{name}.trec"));
    assert!(file.exists(), "there is no recording {name}");
    (to, file)
}
