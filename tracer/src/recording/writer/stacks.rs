//! Writes stacks, and what each of them allocated, mapped, and holds.

use std::collections::BTreeMap;

use rusqlite::params;
use tracer_common::{stack::StackId, table::StackTotals};

use super::{ALLOCATOR, Writer};
use crate::recording::database::signed;
use crate::recording::number_list;
use crate::recording::{Call, LiveResident, LiveSize, Survivors, ThreadLive, WriteError};
use crate::symbolize::Frame;

/// Live allocations of one stack that have one key: a thread, a class of sizes, or a time of birth.
struct LivePart<const KEY: usize> {
    stack: StackId,
    key: [u64; KEY],
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
        let parts = live.iter().map(|&ThreadLive { stack, tid, live_bytes, live_count }| LivePart {
            stack,
            key: [u64::from(tid.0)],
            live_bytes,
            live_count,
        });
        self.replace_live("live_thread", parts, |[tid], bytes, count| [tid, bytes, count])
    }

    /// Live allocations by stack and size. Replaces those given before.
    pub fn live_by_size(&mut self, live: &[LiveSize<StackId>]) -> Result<(), WriteError> {
        let parts = live.iter().map(|&LiveSize { stack, least_bytes, live_bytes, live_count }| LivePart {
            stack,
            key: [least_bytes],
            live_bytes,
            live_count,
        });
        self.replace_live("live_size", parts, |[least_bytes], bytes, count| [least_bytes, bytes, count])
    }

    /// Live allocations by stack, epoch and time of birth. Replaces those given before.
    pub fn survivors(&mut self, survivors: &[Survivors<StackId>]) -> Result<(), WriteError> {
        let parts = survivors.iter().map(|&Survivors { stack, epoch, born_ns, live_bytes, live_count }| {
            LivePart { stack, key: [u64::from(epoch), born_ns], live_bytes, live_count }
        });
        self.replace_live("survivor", parts, |[epoch, born_ns], bytes, count| [epoch, born_ns, bytes, count])
    }

    /// Replaces a table of live allocations, which has a list for each stack. Parts of the same stack and key are
    /// summed. `array`: one of the list.
    fn replace_live<const KEY: usize, const N: usize>(
        &mut self,
        table: &str,
        live: impl Iterator<Item = LivePart<KEY>>,
        array: impl Fn([u64; KEY], u64, u64) -> [u64; N],
    ) -> Result<(), WriteError> {
        self.write(|writer, database| {
            let mut lists: BTreeMap<i64, BTreeMap<[u64; KEY], (u64, u64)>> = BTreeMap::new();
            for LivePart { stack, key, live_bytes, live_count } in live {
                let list = lists.entry(writer.rows.stack(database, stack)?).or_default();
                let (bytes, count) = list.entry(key).or_default();
                (*bytes, *count) = (bytes.saturating_add(live_bytes), count.saturating_add(live_count));
            }
            database.execute(&format!("DELETE FROM {table}"), [])?;
            let mut insert = database.prepare_cached(&format!("INSERT INTO {table} VALUES (?1, ?2)"))?;
            for (stack, list) in lists {
                let arrays = list.into_iter().map(|(key, (bytes, count))| array(key, bytes, count));
                insert.execute(params![stack, number_list::text_of(arrays)])?;
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
