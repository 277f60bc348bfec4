//! Writes a recording: everything between two ticks in one transaction.

mod process;
mod session;
mod stacks;

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use self::process::ThreadRow;
use super::create::PendingFile;
use super::database::{meta, open, pragma, signed};
use super::rows::Rows;
use super::series::Series;
use super::{APPLICATION_ID, End, FORMAT_VERSION, Header, WriteError, schema};
use crate::process::Tid;

/// The source row of the allocator.
const ALLOCATOR: i64 = 0;

/// A recording that is being written.
///
/// After an error it takes nothing more, and the file stays marked as unfinished. Dropped without
/// [`Writer::finish`] it stays so too; dropped before the first [`Writer::tick`] it leaves nothing
/// behind, and an old file which it was to replace is still there.
pub struct Writer {
    /// `None` only while the file takes its place, or when that failed.
    database: Option<Connection>,
    place: PendingFile,
    failed: bool,
    ticked: bool,
    rows: Rows,
    threads: HashMap<Tid, ThreadRow>,
    series: Series,
}

impl Writer {
    /// Creates the file `path`, mode 0600, with all that is known at the start.
    ///
    /// With `force`, a plain file that is there is replaced, at the first [`Writer::tick`].
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn create(path: impl AsRef<Path>, force: bool, header: &Header) -> Result<Writer, WriteError> {
        let place = PendingFile::create(path.as_ref(), force)?;
        let mut writer = Writer {
            database: None,
            place,
            failed: false,
            ticked: false,
            rows: Rows::default(),
            threads: HashMap::new(),
            series: Series::new(),
        };
        let started = writer.start(header);
        if let Err(error) = started {
            return Err(writer.fail(&error));
        }
        if !writer.place.replaces() {
            writer.take_place()?;
        }
        writer.write(|_, database| database.execute_batch("BEGIN"))?;
        Ok(writer)
    }

    /// The file's path, absolute.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Does the file, or its folder, belong to another user than this process's?
    pub fn writes_for_other(&self) -> bool {
        !self.place.is_own()
    }

    /// Ends a tick: all given so far is in the file, whatever happens to the recorder.
    pub fn tick(&mut self, time_ns: u64) -> Result<(), WriteError> {
        self.write(|writer, database| {
            let time = signed(Some(time_ns)).unwrap_or_default();
            writer.series.tick(database, time, |key| writer.rows.totals(key))?;
            meta(database, "last_tick_ns", &time.to_string())?;
            database.execute_batch("COMMIT")
        })?;
        let settled = if self.place.waits() { self.take_place() } else { Ok(()) };
        settled.and_then(|()| self.write(|_, database| database.execute_batch("BEGIN")))?;
        self.ticked = true;
        Ok(())
    }

    /// Closes the recording: one file, marked as finished.
    pub fn finish(mut self, end: &End) -> Result<(), WriteError> {
        let finished = self.close(end);
        // Nothing was ticked, but it was finished: it is a recording, and stays.
        self.ticked |= finished.is_ok();
        finished
    }

    fn close(&mut self, end: &End) -> Result<(), WriteError> {
        self.write(|writer, database| {
            // The session ends where its last tick is, or later: `started_ns` may lie before ready.
            let number = |key| -> rusqlite::Result<i64> {
                let text: Option<String> = database
                    .query_row("SELECT value FROM meta WHERE key = ?1", params![key], |row| row.get(0))
                    .optional()?;
                Ok(text.and_then(|text| text.parse().ok()).unwrap_or_default())
            };
            let duration = signed(Some(end.duration_ns)).unwrap_or_default();
            let time = number("started_ns")?.saturating_add(duration).max(number("last_tick_ns")?);
            writer.series.finish(database, time, |key| writer.rows.totals(key))?;
            meta(database, "last_tick_ns", &time.to_string())?;
            meta(database, "duration_ns", &duration.to_string())?;
            meta(database, "end_reason", &end.reason)?;
            database.execute_batch("COMMIT")
        })?;
        if self.place.waits() {
            self.take_place()?;
        }
        // It is called finished only when all else is in the one file: that needs space, the mark
        // does not.
        self.write(|_, database| {
            pragma(database, "PRAGMA wal_checkpoint(TRUNCATE)")?;
            meta(database, "state", "finished")?;
            pragma(database, "PRAGMA wal_checkpoint(TRUNCATE)")?;
            match pragma(database, "PRAGMA journal_mode = DELETE") {
                // Someone reads it now: the log stays beside it, which is as good.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
                result => result,
            }
        })
    }

    fn start(&mut self, header: &Header) -> rusqlite::Result<()> {
        let json = |text: Result<String, serde_json::Error>| {
            text.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
        };
        let target = json(serde_json::to_string(&header.target))?;
        let session = json(serde_json::to_string(&header.session))?;
        let database = open(self.place.current())?;
        database.pragma_update(None, "application_id", APPLICATION_ID)?;
        database.pragma_update(None, "user_version", FORMAT_VERSION)?;
        database.execute_batch("BEGIN")?;
        database.execute_batch(schema::TABLES)?;
        database.execute("INSERT INTO source VALUES (?1, 'allocator', '')", params![ALLOCATOR])?;
        meta(&database, "format", &format!("tracer.recording/{FORMAT_VERSION}"))?;
        meta(&database, "writer", concat!("tracer ", env!("CARGO_PKG_VERSION")))?;
        meta(&database, "state", "recording")?;
        meta(&database, "started", &header.session.started)?;
        meta(&database, "started_ns", &header.session.started_ns.to_string())?;
        meta(&database, "target", &target)?;
        meta(&database, "session", &session)?;
        // No log yet: its name would stay behind.
        database.execute_batch("COMMIT")?;
        self.database = Some(database);
        Ok(())
    }

    /// Lets the file grow no further, as a full disk does.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        if let Some(database) = &self.database {
            let _ = pragma(database, &format!("PRAGMA max_page_count = {pages}"));
        }
    }

    /// Closes the database, puts it in its place, and goes on there.
    fn take_place(&mut self) -> Result<(), WriteError> {
        drop(self.database.take());
        if let Err(source) = self.place.take() {
            self.failed = true;
            let path = self.place.path.clone();
            return Err(match source.kind() {
                std::io::ErrorKind::AlreadyExists => WriteError::Exists { path },
                _ => WriteError::Create { path, source },
            });
        }
        let reopened = open(self.place.current())
            .and_then(|database| pragma(&database, "PRAGMA journal_mode = WAL").map(|()| database));
        match reopened {
            Ok(database) => {
                self.database = Some(database);
                Ok(())
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    /// Runs `work` on the database, and gives up on the first error.
    fn write(
        &mut self,
        work: impl FnOnce(&mut Writer, &Connection) -> rusqlite::Result<()>,
    ) -> Result<(), WriteError> {
        // Taken out so that `work` can use the rest of the writer beside it.
        let Some(database) = self.database.take().filter(|_| !self.failed) else {
            self.failed = true;
            return Err(WriteError::Write {
                path: self.place.path.clone(),
                detail: "an earlier write failed".to_owned(),
                is_kept: self.ticked,
            });
        };
        let done = work(self, &database);
        self.database = Some(database);
        done.map_err(|error| self.fail(&error))
    }

    fn fail(&mut self, error: &rusqlite::Error) -> WriteError {
        self.failed = true;
        let path = self.place.path.clone();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => WriteError::Full { path, is_kept: self.ticked },
            _ => WriteError::Write { path, detail: error.to_string(), is_kept: self.ticked },
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // SQLite closes before the lock is given back; what was not committed is rolled back.
        drop(self.database.take());
        if !self.ticked {
            self.place.discard();
        }
    }
}
