//! Writes stacks, and what each of them allocated, mapped, and holds.

use rusqlite::params;
use tracer_common::{stack::StackId, table::StackTotals};

use super::{ALLOCATOR, Writer};
use crate::recording::database::signed;
use crate::recording::{Call, LiveResident, LiveSize, Survivors, ThreadLive, WriteError};
use crate::symbolize::Frame;

/// A row of a table of live allocations: of one stack, and one thread or class of sizes.
struct LiveRow {
    stack: StackId,
    key: u64,
    live_bytes: u64,
    live_count: u64,
}

impl Writer {
    /// The frames of stack `id`, leaf first; `complete`: they reach the thread's entry; `stop`:
    /// why the walk ended. Given again, it replaces what was known.
    pub fn stack(
        &mut self,
        id: StackId,
        frames: &[Frame],
        complete: bool,
        stop: &str,
    ) -> Result<(), WriteError> {
        self.write(|writer, database| {
            let stack = writer.rows.stack(database, id)?;
            let frames = frames.iter().map(|frame| writer.rows.frame(database, frame));
            let frames = frames.map(|id| Ok(id?.to_string())).collect::<rusqlite::Result<Vec<String>>>()?;
            database
                .prepare_cached("UPDATE stack SET complete = ?2, stop = ?3, frames = ?4 WHERE id = ?1")?
                .execute(params![stack, complete, stop, format!("[{}]", frames.join(","))])?;
            Ok(())
        })
    }

    /// Cumulative totals of the allocator, by stack. Rows that did not change cost nothing.
    pub fn allocator_totals(
        &mut self,
        time_ns: u64,
        totals: &[(StackId, StackTotals)],
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
        totals: &[(StackId, &str, StackTotals)],
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

    /// Live allocations by stack and thread. Replaces those given before.
    pub fn live_by_thread(&mut self, live: &[ThreadLive<StackId>]) -> Result<(), WriteError> {
        let rows = live.iter().map(|row| LiveRow {
            stack: row.stack,
            key: u64::from(row.tid.0),
            live_bytes: row.live_bytes,
            live_count: row.live_count,
        });
        self.replace_live("live_thread", rows)
    }

    /// Live allocations by stack and size. Replaces those given before.
    pub fn live_by_size(&mut self, live: &[LiveSize<StackId>]) -> Result<(), WriteError> {
        let rows = live.iter().map(|row| LiveRow {
            stack: row.stack,
            key: row.least_bytes,
            live_bytes: row.live_bytes,
            live_count: row.live_count,
        });
        self.replace_live("live_size", rows)
    }

    /// Replaces the rows of a table of live allocations. Rows of the same stack and key are summed.
    fn replace_live(&mut self, table: &str, live: impl Iterator<Item = LiveRow>) -> Result<(), WriteError> {
        self.write(|writer, database| {
            database.execute(&format!("DELETE FROM {table}"), [])?;
            let mut insert = database.prepare_cached(&format!(
                "INSERT INTO {table} VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET
                 live_bytes = live_bytes + excluded.live_bytes, live_count = live_count + excluded.live_count"
            ))?;
            for LiveRow { stack, key, live_bytes, live_count } in live {
                let stack = writer.rows.stack(database, stack)?;
                let [key, bytes, count] = [key, live_bytes, live_count].map(|value| signed(Some(value)));
                insert.execute(params![stack, key, bytes, count])?;
            }
            Ok(())
        })
    }

    /// Bytes of live allocations that are in memory, by stack. Replaces those given before.
    pub fn live_resident(&mut self, resident: &[LiveResident<StackId>]) -> Result<(), WriteError> {
        self.write(|writer, database| {
            database.execute("DELETE FROM live_resident", [])?;
            let mut insert = database.prepare_cached(
                "INSERT INTO live_resident VALUES (?1, ?2) ON CONFLICT DO UPDATE SET
                 resident_bytes = resident_bytes + excluded.resident_bytes",
            )?;
            for &LiveResident { stack, resident_bytes } in resident {
                let stack = writer.rows.stack(database, stack)?;
                insert.execute(params![stack, signed(Some(resident_bytes))])?;
            }
            Ok(())
        })
    }

    /// Live allocations by stack, epoch and time of birth. Replaces those given before.
    pub fn survivors(&mut self, survivors: &[Survivors<StackId>]) -> Result<(), WriteError> {
        self.write(|writer, database| {
            database.execute("DELETE FROM survivor", [])?;
            let mut insert = database.prepare_cached(
                "INSERT INTO survivor VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET
                 live_bytes = live_bytes + excluded.live_bytes, live_count = live_count + excluded.live_count",
            )?;
            for &Survivors { stack, epoch, born_ns, live_bytes, live_count } in survivors {
                let stack = writer.rows.stack(database, stack)?;
                let [born, bytes, count] = [born_ns, live_bytes, live_count].map(|value| signed(Some(value)));
                insert.execute(params![stack, epoch, born, bytes, count])?;
            }
            Ok(())
        })
    }

    /// Allocations and frees, each by itself.
    pub fn calls(&mut self, calls: &[Call]) -> Result<(), WriteError> {
        if calls.is_empty() {
            return Ok(());
        }
        self.write(|writer, database| {
            let mut insert =
                database.prepare_cached("INSERT INTO call VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            for Call { freed, record } in calls {
                let stack = writer.rows.stack(database, record.stack)?;
                let [time, address, size] = [record.header.time_ns, record.address, record.size_bytes]
                    .map(|value| signed(Some(value)));
                let weight = 1_i64.checked_shl(record.header.detail).unwrap_or(1);
                insert.execute(params![time, record.header.tid, freed, address, size, stack, weight])?;
            }
            Ok(())
        })
    }
}
