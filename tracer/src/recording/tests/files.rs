//! Files of a recording: private, whole or marked as unfinished, and nothing left beside them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tracer_common::stack::StackId;

use super::end;
use crate::recording::fixture::{self, SECOND_NS, START_NS};
use crate::recording::{RecordingState, WriteError, Writer, read};
use crate::symbolize::{Frame, FrameKind};

fn beside(path: &Path) -> Vec<String> {
    let folder = path.parent().expect("folder");
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("folder")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_finished_recording_is_one_private_file() {
    let (_folder, path) = fixture::finished();
    assert_eq!(beside(&path), ["sample.trec"]);
    assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn one_that_is_being_written_or_was_abandoned_is_readable_and_says_so() {
    let (_folder, path) = fixture::folder();
    let mut writer = fixture::write(&path);
    // After the last tick: not in the file yet.
    writer.note("lost with its recorder").expect("note");
    let recording = read(&path).expect("read");
    assert_eq!(recording.state, RecordingState::Recording);
    drop(writer);
    let recording = read(&path).expect("read");
    assert_eq!(recording.state, RecordingState::Unfinished);
    assert_eq!(recording.duration_ns, 10 * SECOND_NS);
    assert_eq!(recording.totals.len(), 7);
    assert!(recording.notes.is_empty());
}

#[test]
fn an_existing_file_is_kept_without_force() {
    let (_folder, path) = fixture::folder();
    fs::write(&path, "precious").expect("write");
    let error = Writer::create(&path, false, &fixture::header()).err().expect("refused");
    assert!(matches!(error, WriteError::Exists { .. }), "{error}");
    assert_eq!(fs::read(&path).expect("read"), b"precious");
    fs::remove_file(&path).expect("remove");
    symlink("/nowhere/at/all", &path).expect("link");
    assert!(matches!(Writer::create(&path, false, &fixture::header()), Err(WriteError::Exists { .. })));
    assert!(matches!(Writer::create(&path, true, &fixture::header()), Err(WriteError::NotPlain { .. })));
}

#[test]
fn force_replaces_only_once_the_session_runs() {
    let (_folder, path) = fixture::finished();
    let before = fs::read(&path).expect("read");
    let writer = Writer::create(&path, true, &fixture::header()).expect("create");
    assert_eq!(fs::read(&path).expect("read"), before);
    drop(writer);
    assert_eq!(fs::read(&path).expect("read"), before);
    assert_eq!(beside(&path), ["sample.trec"]);

    let mut writer = Writer::create(&path, true, &fixture::header()).expect("create");
    writer.note("new").expect("note");
    writer.tick(START_NS + SECOND_NS).expect("tick");
    assert_eq!(read(&path).expect("read").notes, ["new"]);
    writer.note("newer").expect("note");
    writer.finish(&end()).expect("finish");
    assert_eq!(read(&path).expect("read").notes, ["new", "newer"]);
    assert_eq!(beside(&path), ["sample.trec"]);
    assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_killed_recorders_left_is_removed_and_nothing_else() {
    let (_folder, path) = fixture::folder();
    // Above the kernel's highest, and this process's.
    let (gone, alive) = (u32::MAX, std::os::unix::process::parent_id());
    let kept = [
        format!(".sample.trec.{alive}.new"),
        format!(".tracer-java-7-20260101T000000.trec.{alive}.new"),
        format!(".other.trec.{gone}.new"),
        format!("tracer-java-7-20260101T000000.trec.{gone}.new"),
        ".tracer-java.trec.x.new".to_owned(),
    ];
    let left =
        [format!(".sample.trec.{gone}.new"), format!(".tracer-java-7-20260101T000000.trec.{gone}.new")];
    for name in kept.iter().chain(&left) {
        fs::write(path.with_file_name(name), "").expect("write");
    }
    fixture::write(&path).finish(&end()).expect("finish");
    let mut expected = kept.to_vec();
    expected.push("sample.trec".to_owned());
    expected.sort();
    assert_eq!(beside(&path), expected);
}

#[test]
fn force_leaves_no_log_of_an_abandoned_recording() {
    let (_folder, path) = fixture::folder();
    drop(fixture::write(&path));
    // As SIGKILL leaves it: a log that belongs to the old file.
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    fs::write(&log, vec![0x37; 5_000]).expect("write");
    let writer = Writer::create(&path, true, &fixture::header()).expect("create");
    writer.finish(&end()).expect("finish");
    assert_eq!(beside(&path), ["sample.trec"]);
    assert!(read(&path).expect("read").totals.is_empty());
}

#[test]
fn a_recording_under_way_is_not_replaced() {
    let (_folder, path) = fixture::folder();
    let _writer = fixture::write(&path);
    assert!(matches!(Writer::create(&path, true, &fixture::header()), Err(WriteError::Busy { .. })));
}

#[test]
fn one_that_never_ran_leaves_nothing() {
    let (_folder, path) = fixture::folder();
    drop(Writer::create(&path, false, &fixture::header()).expect("create"));
    assert!(beside(&path).is_empty());
}

#[test]
fn a_folder_that_is_missing_is_told_at_the_start() {
    let (folder, _) = fixture::folder();
    let path = folder.path().join("missing/x.trec");
    let error = Writer::create(&path, false, &fixture::header()).err().expect("refused");
    assert!(matches!(error, WriteError::Create { .. }), "{error}");
    assert!(matches!(Writer::create("/", true, &fixture::header()), Err(WriteError::Create { .. })));
}

#[test]
fn a_full_disk_is_an_error_and_never_a_whole_recording() {
    let (_folder, path) = fixture::folder();
    let mut writer = fixture::write(&path);
    writer.limit_pages(40);
    let frames: Vec<Frame> =
        (0..2_000).map(|at| Frame::named(format!("a.b.C{at}.method"), FrameKind::Java)).collect();
    let mut failed = None;
    for id in 100..200 {
        let written = writer.stack(StackId(id), &frames, true, "complete");
        if let Err(error) = written.and_then(|()| writer.tick(START_NS + 11 * SECOND_NS)) {
            failed = Some(error);
            break;
        }
    }
    let error = failed.expect("an error");
    assert!(matches!(error, WriteError::Full { is_kept: true, .. }), "{error}");
    assert!(error.help().contains("tracer report"), "{}", error.help());
    assert!(writer.tick(START_NS + 12 * SECOND_NS).is_err());
    assert!(writer.finish(&end()).is_err());
    let recording = read(&path).expect("read");
    assert_eq!(recording.state, RecordingState::Unfinished);
    assert_eq!(recording.totals.len(), 7);
}

#[test]
fn a_disk_that_is_full_at_once_leaves_nothing_and_says_so() {
    let (_folder, path) = fixture::folder();
    let mut writer = Writer::create(&path, false, &fixture::header()).expect("create");
    writer.limit_pages(40);
    let frames: Vec<Frame> =
        (0..20_000).map(|at| Frame::named(format!("a.b.C{at}.method"), FrameKind::Java)).collect();
    let written = writer.stack(StackId(100), &frames, true, "complete");
    let error = written.and_then(|()| writer.tick(START_NS + SECOND_NS)).expect_err("a full disk");
    assert!(matches!(error, WriteError::Full { is_kept: false, .. }), "{error}");
    assert!(error.to_string().ends_with("nothing was recorded"), "{error}");
    assert!(!error.help().contains("tracer report"), "a file that is not there: {}", error.help());
    drop(writer);
    assert!(!path.exists());
}

#[test]
fn a_killed_recorders_log_is_read_from_a_copy_too() {
    let (folder, path) = fixture::folder();
    let writer = fixture::write(&path);
    let copy = folder.path().join("copy.trec");
    fs::copy(&path, &copy).expect("copy");
    fs::copy(folder.path().join("sample.trec-wal"), folder.path().join("copy.trec-wal")).expect("copy");
    drop(writer);
    let recording = read(&copy).expect("read");
    assert_eq!(recording.state, RecordingState::Unfinished);
    assert_eq!(recording.totals.len(), 7);
}
