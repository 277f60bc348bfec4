//! Writes what is known of the process: threads, collections, memory, compiled code.

use rusqlite::params;
use tracer_common::stack::StackId;

use super::Writer;
use crate::process::Tid;
use crate::recording::database::signed;
use crate::recording::{
    CodeCache, CodeSample, Collection, FirstTouches, Memory, RecordedCensus, RecordedHolders, ThreadStack,
    WriteError, census, holders, memory, touched,
};

/// Row that was last written of a thread.
pub(super) struct ThreadRow {
    id: i64,
    started_ns: Option<u64>,
    ended: bool,
}

impl Writer {
    /// Memory that was touched for the first time by now. Rows of a stack and owner replace those given before.
    pub fn touched(&mut self, touched: &FirstTouches<StackId>) -> Result<(), WriteError> {
        self.write(|writer, database| touched::write(database, &mut writer.rows, touched))
    }

    /// A thread: new if `tid` is, if the last of that tid has ended, or if it started at another
    /// moment; else what is given adds to what is known. `started_ns`: `None` if it ran before.
    pub fn thread(
        &mut self,
        tid: Tid,
        name: Option<&str>,
        started_ns: Option<u64>,
        ended_ns: Option<u64>,
        creator_stack: Option<StackId>,
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

    /// Resident bytes of the process at this moment.
    pub fn resident(&mut self, time_ns: u64, rss_bytes: u64) -> Result<(), WriteError> {
        self.write(|_, database| {
            database
                .prepare_cached("INSERT OR IGNORE INTO memory (time_ns, rss_bytes) VALUES (?1, ?2)")?
                .execute(params![signed(Some(time_ns)), signed(Some(rss_bytes))])?;
            Ok(())
        })
    }

    /// The process's memory at this moment; parts of a moment before become the series' alone.
    pub fn memory(&mut self, time_ns: u64, memory: &Memory<StackId>) -> Result<(), WriteError> {
        self.write(|writer, database| memory::write(database, &mut writer.rows, time_ns, memory))
    }

    /// Holders at the end of memory that was allocated, or why that is not known.
    pub fn holders(&mut self, holders: &RecordedHolders<StackId>) -> Result<(), WriteError> {
        self.write(|writer, database| holders::write(database, &mut writer.rows, holders))
    }

    /// A census of the process at a moment of the session.
    pub fn census(&mut self, census: &RecordedCensus) -> Result<(), WriteError> {
        self.write(|_, database| census::write(database, census))
    }

    /// The stacks of threads. Replaces what was given before.
    pub fn thread_stacks(&mut self, stacks: &[ThreadStack]) -> Result<(), WriteError> {
        self.write(|_, database| memory::write_stacks(database, stacks))
    }

    /// Compiled code that was installed and dropped by now.
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
}
