//! Recordings that are foreign, newer or damaged are told apart, and never break the reader.

use std::fs;

use rusqlite::Connection;

use crate::recording::{ReadError, Recording, columns, fixture, read};

#[test]
fn foreign_newer_and_missing_files_are_told_apart() {
    let (folder, path) = fixture::finished();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("text"), "Lorem ipsum ".repeat(100)).expect("write");
    fs::write(at("empty"), "").expect("write");
    let other = Connection::open(at("other")).expect("open");
    other.execute_batch("CREATE TABLE t (x)").expect("table");
    drop(other);
    for name in ["text", "empty", "other", "."] {
        let error = read(at(name)).expect_err(name);
        assert!(matches!(error, ReadError::Foreign { .. }), "{name}: {error}");
    }
    assert!(matches!(read(at("missing")), Err(ReadError::Io { .. })));
    fs::copy(&path, at("newer")).expect("copy");
    let newer = Connection::open(at("newer")).expect("open");
    newer.pragma_update(None, "user_version", 3).expect("pragma");
    drop(newer);
    let error = read(at("newer")).expect_err("newer");
    assert!(matches!(error, ReadError::Newer { version: 3, known: 2, .. }), "{error}");
}

/// Copies the sample, changes it as SQL says, and reads it.
fn changed(sql: &str) -> Result<Recording, ReadError> {
    let (_folder, path) = fixture::finished();
    let database = Connection::open(&path).expect("open");
    database.execute_batch("PRAGMA foreign_keys = OFF").expect("pragma");
    database.execute_batch(sql).expect(sql);
    drop(database);
    read(&path)
}

#[test]
fn later_additions_are_passed_over() {
    let recording = changed(
        "CREATE TABLE later (x); ALTER TABLE total ADD COLUMN later INTEGER;
         INSERT INTO meta VALUES ('later', 'x'); UPDATE frame SET tier = 'c3', unknown = 'who-knows'",
    )
    .expect("read");
    assert_eq!(recording.totals.len(), 7);
}

#[test]
fn what_cannot_be_is_damage() {
    for sql in [
        "DROP TABLE gc",
        "DELETE FROM frame WHERE id = 2",
        "DELETE FROM meta WHERE key = 'state'",
        "UPDATE meta SET value = '{' WHERE key = 'target'",
        "UPDATE total SET freed_bytes = -1",
        "UPDATE frame SET kind = 'quantum'",
        "UPDATE source SET source = 'heaven'",
        "UPDATE thread SET tid = -5",
        "DELETE FROM total",
        "UPDATE total SET allocated_bytes = 1 << 57",
        "UPDATE sample SET totals = json_replace(totals, '$[0][3]', 1 << 57) WHERE id = 1",
        "UPDATE sample SET totals = json_replace(totals, '$[0][0]', 99) WHERE id = 1",
        "UPDATE sample SET totals = json_replace(totals, '$[0][2]', -1) WHERE id = 1",
        "UPDATE sample SET totals = json_remove(totals, '$[0][6]') WHERE id = 1",
        "UPDATE sample SET totals = 'none' WHERE id = 1",
        "UPDATE sample SET time_ns = time_ns - 5000000000 WHERE id = 7",
        "UPDATE gc SET end_ns = begin_ns - 1",
        "UPDATE gc SET begin_ns = 1 << 62, end_ns = NULL",
        "UPDATE thread SET started_ns = 10, ended_ns = 9",
        "UPDATE memory_part SET resident_bytes = 1 << 57",
        "UPDATE survivor SET births = json_replace(births, '$[0][1]', 1 << 62)",
        "UPDATE survivor SET births = json_insert(births, '$[#]', 7)",
        "UPDATE code_series SET loaded_bytes = 1 << 57",
        "UPDATE compiled_method SET bytes = 9223372036854775807",
        "UPDATE live_thread SET threads = json_replace(threads, '$[0][1]', 9223372036854775807)",
        "UPDATE live_thread SET threads = json_replace(threads, '$[0][0]', 1 << 32)",
        "UPDATE live_size SET stack = 99 WHERE stack = (SELECT max(stack) FROM live_size)",
        "UPDATE lost SET count = 9223372036854775807",
        "UPDATE touched SET variance = 9223372036854775807",
        "CREATE VIEW v AS SELECT 1",
        "CREATE VIRTUAL TABLE v USING fts5(x)",
        "CREATE TRIGGER t AFTER INSERT ON gc BEGIN DELETE FROM gc; END",
    ] {
        let error = changed(sql).expect_err(sql);
        assert!(matches!(error, ReadError::Corrupt { .. }), "{sql}: {error}");
    }
}

#[test]
fn frees_without_their_allocation_are_counted_and_taken_back() {
    let recording =
        changed("UPDATE total SET freed_bytes = allocated_bytes + 1, freed_count = 0").expect("read");
    assert_eq!(recording.lost.get("inconsistent_totals"), Some(&7));
    assert!(recording.totals.iter().all(|row| row.totals.freed_bytes == row.totals.allocated_bytes));
    let recording = changed(
        "UPDATE sample SET totals = json_replace(totals, '$[0][4]', 1 << 40, '$[0][6]', 1 << 41) WHERE totals != '[]'",
    )
    .expect("read");
    for row in recording.series.iter().flat_map(|sample| &sample.rows) {
        assert!(row.totals.freed_bytes <= row.totals.allocated_bytes);
        assert!(row.totals.collected_bytes <= row.totals.freed_bytes);
    }
}

#[test]
fn long_names_are_cut() {
    let recording = changed(
        "UPDATE frame SET function = printf('%.*c', 3000001, 'é'), file = printf('%.*c', 2000000, 'f');
         UPDATE thread SET name = printf('%.*c', 2000000, 't')",
    )
    .expect("read");
    let longest = |text: &str| text.len() <= columns::TEXT_BYTES + "…".len() && text.ends_with('…');
    assert!(recording.frames.iter().all(|frame| longest(&frame.function)));
    assert!(recording.threads.iter().filter_map(|thread| thread.name.as_deref()).all(longest));
}

#[test]
fn no_truncation_or_flipped_byte_panics() {
    let (folder, path) = fixture::finished();
    let whole = fs::read(&path).expect("read");
    let broken = folder.path().join("broken.trec");
    for length in (0..whole.len()).step_by(701).chain([15, 16, 60, 70, 99, 100, 101, whole.len() - 1]) {
        fs::write(&broken, &whole[..length]).expect("write");
        assert!(read(&broken).is_err(), "{length} of {} bytes", whole.len());
    }
    for at in (0..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        fs::write(&broken, &bytes).expect("write");
        let _ = read(&broken);
    }
}
