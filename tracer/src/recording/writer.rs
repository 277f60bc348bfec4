//! Writes a recording: everything between two ticks in one transaction.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use tracer_common::table::StackTotals;

use super::create::Place;
use super::rows::Rows;
use super::series::Series;
use super::{
    APPLICATION_ID, Call, CodeCache, CodeSample, Collection, End, FORMAT_VERSION, Header, JvmInfo, Memory,
    ThreadStack, Trust, WriteError, memory, schema,
};
use crate::symbolize::Frame;

/// The source row of the allocator.
const ALLOCATOR: i64 = 0;

/// A recording that is being written.
///
/// After an error it takes nothing more, and the file stays marked as unfinished. Dropped without
/// [`Writer::finish`] it stays so too; dropped before the first [`Writer::tick`] it leaves nothing
/// behind, and an old file which it was to replace is still there.
pub struct Writer {
    /// None only while the file takes its place, or when that failed.
    database: Option<Connection>,
    place: Place,
    failed: bool,
    ticked: bool,
    rows: Rows,
    threads: HashMap<u32, ThreadRow>,
    series: Series,
}

struct ThreadRow {
    id: i64,
    started_ns: Option<u64>,
    ended: bool,
}

impl Writer {
    /// Creates the file `path`, mode 0600, with all that is known at the start.
    ///
    /// With `force`, a plain file that is there is replaced, at the first [`Writer::tick`].
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn create(path: impl AsRef<Path>, force: bool, header: &Header) -> Result<Writer, WriteError> {
        let place = Place::create(path.as_ref(), force)?;
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
        Ok(writer)
    }

    /// The file's path, absolute.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// The frames of stack `id`, leaf first; `complete`: they reach the thread's entry; `stop`:
    /// why the walk ended. Given again, it replaces what was known.
    pub fn stack(&mut self, id: u64, frames: &[Frame], complete: bool, stop: &str) -> Result<(), WriteError> {
        self.write(|writer, database| {
            let stack = writer.rows.stack(database, id)?;
            let changed = database
                .prepare_cached("UPDATE stack SET complete = ?2, stop = ?3 WHERE id = ?1 AND stop IS NULL")?
                .execute(params![stack, complete, stop])?;
            if changed == 0 {
                database
                    .prepare_cached("UPDATE stack SET complete = ?2, stop = ?3 WHERE id = ?1")?
                    .execute(params![stack, complete, stop])?;
                database
                    .prepare_cached("DELETE FROM stack_frame WHERE stack = ?1")?
                    .execute(params![stack])?;
            }
            let mut insert = database.prepare_cached("INSERT INTO stack_frame VALUES (?1, ?2, ?3)")?;
            for (depth, frame) in (0_i64..).zip(frames) {
                insert.execute(params![stack, depth, writer.rows.frame(database, frame)?])?;
            }
            Ok(())
        })
    }

    /// What is known of the JVM by now.
    pub fn jvm(&mut self, jvm: &JvmInfo) -> Result<(), WriteError> {
        let Ok(text) = serde_json::to_string(jvm) else { return Ok(()) };
        self.write(|_, database| {
            database
                .prepare_cached(
                    "UPDATE meta SET value = json_set(value, '$.jvm', json(?1)) WHERE key = 'target'",
                )?
                .execute(params![text])?;
            Ok(())
        })
    }

    /// Every probe is attached: the session starts now (RFC 3339, and `CLOCK_MONOTONIC`), not when the
    /// file was created.
    pub fn started(&mut self, time: &str, time_ns: u64) -> Result<(), WriteError> {
        self.write(|_, database| {
            database.execute(
                "UPDATE meta SET value = json_set(value, '$.started', ?1, '$.started_ns', ?2)
                 WHERE key = 'session'",
                params![time, signed(Some(time_ns))],
            )?;
            meta(database, "started", time)?;
            meta(database, "started_ns", &time_ns.to_string())
        })
    }

    /// Collections are seen from now on.
    pub fn gc_probes(&mut self) -> Result<(), WriteError> {
        self.write(|_, database| {
            database.execute(
                "UPDATE meta SET value = json_set(value, '$.gc_probes', json('true')) WHERE key = 'session'",
                [],
            )?;
            Ok(())
        })
    }

    /// A thread: new if `tid` is, if the last of that tid has ended, or if it started at another
    /// moment; else what is given adds to what is known. `started_ns`: None if it ran before.
    pub fn thread(
        &mut self,
        tid: u32,
        name: Option<&str>,
        started_ns: Option<u64>,
        ended_ns: Option<u64>,
        creator_stack: Option<u64>,
    ) -> Result<(), WriteError> {
        self.write(|writer, database| {
            let creator = creator_stack.map(|stack| writer.rows.stack(database, stack)).transpose()?;
            let known = writer.threads.get(&tid).filter(|row| match started_ns {
                Some(_) => row.started_ns == started_ns || (row.started_ns.is_none() && !row.ended),
                None => !row.ended || ended_ns.is_none(),
            });
            let id = match known {
                Some(row) => {
                    database
                        .prepare_cached(
                            "UPDATE thread SET name = coalesce(?2, name), started_ns = coalesce(?3, started_ns),
                             ended_ns = coalesce(?4, ended_ns), creator = coalesce(?5, creator) WHERE id = ?1",
                        )?
                        .execute(params![row.id, name, signed(started_ns), signed(ended_ns), creator])?;
                    row.id
                }
                None => {
                    database
                        .prepare_cached(
                            "INSERT INTO thread (tid, name, started_ns, ended_ns, creator)
                             VALUES (?1, ?2, ?3, ?4, ?5)",
                        )?
                        .execute(params![tid, name, signed(started_ns), signed(ended_ns), creator])?;
                    database.last_insert_rowid()
                }
            };
            let before = known.map(|row| (row.started_ns, row.ended)).unwrap_or_default();
            let started_ns = started_ns.or(before.0);
            let ended = ended_ns.is_some() || before.1;
            writer.threads.insert(tid, ThreadRow { id, started_ns, ended });
            Ok(())
        })
    }

    /// Cumulative totals of the allocator, by stack. Rows that did not change cost nothing.
    pub fn allocator_totals(
        &mut self,
        time_ns: u64,
        totals: &[(u64, StackTotals)],
    ) -> Result<(), WriteError> {
        self.write(|writer, database| {
            for (stack, totals) in totals {
                let changed = writer.rows.set_totals(database, time_ns, *stack, ALLOCATOR, totals)?;
                changed.into_iter().for_each(|key| writer.series.changed(key));
            }
            Ok(())
        })
    }

    /// Cumulative totals of mappings, by stack and by the kind of the mapping.
    pub fn mapping_totals(
        &mut self,
        time_ns: u64,
        totals: &[(u64, &str, StackTotals)],
    ) -> Result<(), WriteError> {
        self.write(|writer, database| {
            for (stack, kind, totals) in totals {
                let source = writer.rows.source(database, kind)?;
                let changed = writer.rows.set_totals(database, time_ns, *stack, source, totals)?;
                changed.into_iter().for_each(|key| writer.series.changed(key));
            }
            Ok(())
        })
    }

    /// What is live now, by stack and thread: (stack, tid, bytes, count). Replaces what was given
    /// before.
    pub fn live_by_thread(&mut self, live: &[(u64, u32, u64, u64)]) -> Result<(), WriteError> {
        self.write(|writer, database| {
            database.execute("DELETE FROM live_thread", [])?;
            let mut insert = database.prepare_cached(
                "INSERT INTO live_thread VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET
                 live_bytes = live_bytes + excluded.live_bytes, live_count = live_count + excluded.live_count",
            )?;
            for &(stack, tid, bytes, count) in live {
                let stack = writer.rows.stack(database, stack)?;
                insert.execute(params![stack, tid, signed(Some(bytes)), signed(Some(count))])?;
            }
            Ok(())
        })
    }

    /// A garbage collection, given again when its end is known.
    pub fn gc(&mut self, gc: Collection) -> Result<(), WriteError> {
        self.write(|_, database| {
            database
                .prepare_cached(
                    "INSERT INTO gc VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE
                     SET end_ns = coalesce(?2, end_ns), \"full\" = max(?3, \"full\")",
                )?
                .execute(params![signed(Some(gc.begin_ns)), signed(gc.end_ns), gc.full])?;
            Ok(())
        })
    }

    /// What is live now, by stack, epoch and time of birth: (stack, epoch, born, bytes, count).
    /// Replaces what was given before.
    pub fn survivors(&mut self, survivors: &[(u64, u32, u64, u64, u64)]) -> Result<(), WriteError> {
        self.write(|writer, database| {
            database.execute("DELETE FROM survivor", [])?;
            let mut insert = database.prepare_cached(
                "INSERT INTO survivor VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET
                 live_bytes = live_bytes + excluded.live_bytes, live_count = live_count + excluded.live_count",
            )?;
            for &(stack, epoch, born_ns, bytes, count) in survivors {
                let stack = writer.rows.stack(database, stack)?;
                let [born, bytes, count] = [born_ns, bytes, count].map(|value| signed(Some(value)));
                insert.execute(params![stack, epoch, born, bytes, count])?;
            }
            Ok(())
        })
    }

    /// What compiled code was installed and dropped by now.
    pub fn code_sample(&mut self, sample: CodeSample) -> Result<(), WriteError> {
        self.write(|_, database| {
            let CodeSample { time_ns, loaded_bytes, loaded_count, unloaded_bytes, unloaded_count } = sample;
            let [time, loaded, loaded_count, unloaded, unloaded_count] =
                [time_ns, loaded_bytes, loaded_count, unloaded_bytes, unloaded_count]
                    .map(|value| signed(Some(value)));
            database
                .prepare_cached("INSERT OR REPLACE INTO code_series VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![time, loaded, loaded_count, unloaded, unloaded_count])?;
            Ok(())
        })
    }

    /// Resident bytes of the process at this moment.
    pub fn resident(&mut self, time_ns: u64, rss_bytes: u64) -> Result<(), WriteError> {
        self.write(|_, database| {
            database
                .prepare_cached("INSERT OR IGNORE INTO memory (time_ns, rss_bytes) VALUES (?1, ?2)")?
                .execute(params![signed(Some(time_ns)), signed(Some(rss_bytes))])?;
            Ok(())
        })
    }

    /// Allocations and frees, each by itself.
    pub fn calls(&mut self, calls: &[Call]) -> Result<(), WriteError> {
        if calls.is_empty() {
            return Ok(());
        }
        self.write(|writer, database| {
            let mut insert = database.prepare_cached("INSERT INTO call VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
            for Call { freed, record } in calls {
                let stack = writer.rows.stack(database, record.stack)?;
                let [time, address, size] = [record.header.time_ns, record.address, record.size_bytes]
                    .map(|value| signed(Some(value)));
                insert.execute(params![time, record.header.tid, freed, address, size, stack])?;
            }
            Ok(())
        })
    }

    /// What was lost so far, by reason; each count replaces the one before.
    pub fn lost(&mut self, lost: &[(&str, u64)]) -> Result<(), WriteError> {
        self.write(|_, database| {
            let mut insert = database.prepare_cached("INSERT OR REPLACE INTO lost VALUES (?1, ?2)")?;
            for (reason, count) in lost {
                insert.execute(params![reason, signed(Some(*count))])?;
            }
            Ok(())
        })
    }

    /// How far the numbers can be trusted, beside what was lost. Replaces what was given before.
    pub fn trust(&mut self, trust: &Trust) -> Result<(), WriteError> {
        let Ok(text) = serde_json::to_string(trust) else { return Ok(()) };
        self.write(|_, database| meta(database, "trust", &text))
    }

    /// A sentence for the person who reads the report. The same one is kept once.
    pub fn note(&mut self, text: &str) -> Result<(), WriteError> {
        self.write(|_, database| {
            database
                .prepare_cached("INSERT OR IGNORE INTO note (text) VALUES (?1)")?
                .execute(params![text])?;
            Ok(())
        })
    }

    /// The process's memory at this moment; parts of a moment before become the series' alone.
    pub fn memory(&mut self, time_ns: u64, memory: &Memory) -> Result<(), WriteError> {
        self.write(|writer, database| memory::write(database, &mut writer.rows, time_ns, memory))
    }

    /// The stacks of threads. Replaces what was given before.
    pub fn thread_stacks(&mut self, stacks: &[ThreadStack]) -> Result<(), WriteError> {
        self.write(|_, database| memory::write_stacks(database, stacks))
    }

    /// The code cache. Replaces what was given before.
    pub fn code_cache(&mut self, code_cache: &CodeCache) -> Result<(), WriteError> {
        self.write(|_, database| {
            database.execute_batch("DELETE FROM code_heap; DELETE FROM compiled_method;")?;
            let mut insert =
                database.prepare_cached("INSERT OR REPLACE INTO code_heap VALUES (?1, ?2, ?3, ?4)")?;
            for heap in &code_cache.heaps {
                insert.execute(params![
                    heap.name,
                    signed(heap.reserved_bytes),
                    signed(heap.committed_bytes),
                    signed(heap.used_bytes)
                ])?;
            }
            let mut insert = database
                .prepare_cached("INSERT INTO compiled_method (method, tier, bytes) VALUES (?1, ?2, ?3)")?;
            for method in &code_cache.methods {
                insert.execute(params![method.method, method.tier, signed(Some(method.bytes))])?;
            }
            Ok(())
        })
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
        database.execute_batch("COMMIT")?;
        // Not under the temporary name: the log's name would stay behind.
        if !self.place.waits() {
            pragma(&database, "PRAGMA journal_mode = WAL")?;
        }
        database.execute_batch("BEGIN")?;
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

    /// Closes the database, puts it where the old file is, and goes on there.
    fn take_place(&mut self) -> Result<(), WriteError> {
        drop(self.database.take());
        if let Err(source) = self.place.take() {
            self.failed = true;
            return Err(WriteError::Create { path: self.place.path.clone(), source });
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
            Some(ErrorCode::DiskFull) => WriteError::Full { path },
            _ => WriteError::Write { path, detail: error.to_string() },
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

/// Opens the database at `path`, which exists.
fn open(path: &Path) -> rusqlite::Result<Connection> {
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
fn pragma(database: &Connection, sql: &str) -> rusqlite::Result<()> {
    database.query_row(sql, [], |_| Ok(()))
}

pub(super) fn meta(database: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    database.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?.execute(params![key, value])?;
    Ok(())
}

/// As SQLite keeps integers; what does not fit becomes the largest.
pub(super) fn signed(value: Option<u64>) -> Option<i64> {
    value.map(|value| i64::try_from(value).unwrap_or(i64::MAX))
}
