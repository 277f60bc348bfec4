//! The database that a recording is written to: opened, and written to in small.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

/// Opens the database at `path`, which exists.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let database = Connection::open_with_flags(path, flags)?;
    // A crash of the host may take the last ticks, never the file; 4 MiB of pages are kept.
    // The writer's own references are right; checking each would take half of its time.
    database.execute_batch(
        "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -4096; PRAGMA foreign_keys = OFF;",
    )?;
    database.busy_timeout(Duration::from_secs(2))?;
    database.set_prepared_statement_cache_capacity(64);
    Ok(database)
}

/// Runs a pragma that answers with a row.
pub(super) fn pragma(database: &Connection, sql: &str) -> rusqlite::Result<()> {
    database.query_row(sql, [], |_| Ok(()))
}

pub(super) fn meta(database: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    database.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?.execute(params![key, value])?;
    Ok(())
}

/// An integer as SQLite keeps them; what does not fit becomes the largest.
pub(super) fn signed(value: Option<u64>) -> Option<i64> {
    value.map(|value| i64::try_from(value).unwrap_or(i64::MAX))
}
