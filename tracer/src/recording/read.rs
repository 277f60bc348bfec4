//! Opens a recording and says what it is, before anything in it is believed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{APPLICATION_ID, FORMAT_VERSION, ReadError, Recording, create, read_tables};

/// SQLite's header: the magic, then among others the two numbers that say whose file it is.
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Reads the recording at `path`. Nothing is written to it.
///
/// # Errors
/// Foreign, damaged, newer, or unreadable. A recording that was not finished is none of these:
/// see [`Recording::state`].
pub fn read(path: impl AsRef<Path>) -> Result<Recording, ReadError> {
    let path = path.as_ref();
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    // A pipe would block, and ":memory:" is a name of SQLite's: a plain file, by its full path.
    let full = fs::canonicalize(path).map_err(io)?;
    if !fs::metadata(&full).map_err(io)?.is_file() {
        return Err(ReadError::Foreign { path: path.to_owned(), what: "not a plain file" });
    }
    let mut file = File::open(&full).map_err(io)?;
    check_header(path, &full, &mut file)?;
    let being_written = create::is_being_written(&file);
    drop(file);
    let damaged = |error: &rusqlite::Error| ReadError::Corrupt { path: path.to_owned(), detail: text(error) };
    let database = match open(&full) {
        Ok(database) => database,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
            return Err(ReadError::NeedsFolder { path: path.to_owned() });
        }
        Err(error) => return Err(damaged(&error)),
    };
    // All of it is read, and each table in the order of its keys: pages that are not whole show.
    read_tables::read(&database, being_written).map_err(|error| damaged(&error))
}

fn check_header(path: &Path, full: &Path, file: &mut File) -> Result<(), ReadError> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let limit = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
    Read::by_ref(file)
        .take(limit)
        .read_to_end(&mut header)
        .map_err(|source: io::Error| ReadError::Io { path: path.to_owned(), source })?;
    let foreign = |what| ReadError::Foreign { path: path.to_owned(), what };
    if header.is_empty() {
        return Err(foreign("empty"));
    }
    if !header.starts_with(MAGIC) {
        return Err(foreign("another kind of file"));
    }
    let number = |at: usize| {
        let bytes = header.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    // user_version and application_id, at their places in SQLite's file format.
    let (Some(version), Some(application)) = (number(60), number(68)) else {
        return Err(ReadError::Corrupt { path: path.to_owned(), detail: "it ends in its header".to_owned() });
    };
    if application != APPLICATION_ID {
        return Err(foreign("another program's SQLite database"));
    }
    if version > FORMAT_VERSION {
        return Err(ReadError::Newer { path: path.to_owned(), version, known: FORMAT_VERSION });
    }
    // SQLite takes what is missing of the last page for zeros. With a log beside it the file may
    // rightly be shorter than its header says.
    let size = header.get(16..18).and_then(|bytes| Some(u16::from_be_bytes(bytes.try_into().ok()?)));
    let page_bytes = match size {
        Some(1) => 65_536,
        size => u64::from(size.unwrap_or_default()),
    };
    let expected = page_bytes * u64::from(number(28).unwrap_or_default());
    let length = file.metadata().map_or(expected, |meta| meta.len());
    if length < expected && !create::has_log(full) {
        let detail = format!("it has {length} bytes of {expected}");
        return Err(ReadError::Corrupt { path: path.to_owned(), detail });
    }
    Ok(())
}

/// Opens the database, and lets nothing in its schema act.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    database.busy_timeout(std::time::Duration::from_secs(2))?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // The first access: a log beside the file is opened here.
    database.execute_batch("PRAGMA cell_size_check = ON; SELECT count(*) FROM sqlite_schema;")?;
    Ok(database)
}

/// SQLite's own message, without what rusqlite puts around it.
fn text(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::FromSqlConversionFailure(_, _, reason) => reason.to_string(),
        other => other.to_string(),
    }
}
