//! The tables of the process's memory: parts, what was mapped by whom, the course of parts, stacks.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use tracer_common::stack::StackId;

use super::columns::{collect, column, has_table, optional, text, unsigned};
use super::database::{meta, signed};
use super::rows::Rows;
use super::{Heap, MappedMemory, Memory, MemoryPart, MemorySample, StackRef, ThreadStack, limits};

type Result<T> = rusqlite::Result<T>;

/// The key in `meta` of malloc's heap.
const HEAP: &str = "heap";

/// Writes the memory at a moment.
pub(super) fn write(
    database: &Connection,
    rows: &mut Rows,
    time_ns: u64,
    memory: &Memory<StackId>,
) -> Result<()> {
    let time = signed(Some(time_ns));
    database
        .prepare_cached(
            "INSERT OR REPLACE INTO memory (time_ns, rss_bytes, limit_bytes, unexplained_bytes, pss_bytes,
             swap_bytes, limit_used_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            time,
            signed(memory.rss_bytes),
            signed(memory.limit_bytes),
            signed(memory.unexplained_bytes),
            signed(memory.pss_bytes),
            signed(memory.swap_bytes),
            signed(memory.limit_used_bytes)
        ])?;
    database.execute_batch("DELETE FROM memory_part; DELETE FROM memory_mapped;")?;
    let mut insert =
        database.prepare_cached("INSERT OR REPLACE INTO memory_part VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let mut course =
        database.prepare_cached("INSERT OR REPLACE INTO memory_series VALUES (?1, ?2, ?3, ?4)")?;
    for part in &memory.parts {
        let [reserved, committed, resident, pss, swap] =
            [part.reserved_bytes, part.committed_bytes, part.resident_bytes, part.pss_bytes, part.swap_bytes]
                .map(signed);
        insert.execute(params![part.id, reserved, committed, resident, pss, swap])?;
        if let (Some(committed), Some(resident)) = (committed, resident) {
            course.execute(params![time, part.id, committed, resident])?;
        }
    }
    let mut insert =
        database.prepare_cached("INSERT OR REPLACE INTO memory_mapped VALUES (?1, ?2, ?3, ?4)")?;
    for mapped in &memory.mapped {
        let stack = rows.stack(database, mapped.stack)?;
        let [reserved, committed, resident] =
            [mapped.reserved_bytes, mapped.committed_bytes, mapped.resident_bytes]
                .map(|bytes| signed(Some(bytes)));
        insert.execute(params![stack, reserved, committed, resident])?;
    }
    if let Some(text) = memory.heap.as_ref().and_then(|heap| serde_json::to_string(heap).ok()) {
        meta(database, HEAP, &text)?;
    }
    limits::write(database, time_ns, memory.limits.as_deref().unwrap_or_default())
}

/// Writes the stacks of threads.
pub(super) fn write_stacks(database: &Connection, stacks: &[ThreadStack]) -> Result<()> {
    database.execute("DELETE FROM thread_stack", [])?;
    let mut insert = database.prepare_cached(
        "INSERT INTO thread_stack (tid, reserved_bytes, resident_bytes) VALUES (?1, ?2, ?3)",
    )?;
    for stack in stacks {
        let [reserved, resident] =
            [stack.reserved_bytes, stack.resident_bytes].map(|bytes| signed(Some(bytes)));
        insert.execute(params![stack.tid, reserved, resident])?;
    }
    Ok(())
}

/// The memory at the last moment at which it was looked at. `stack`: gives the stack of a row of the
/// table of stacks.
pub(super) fn read(
    database: &Connection,
    meta: &BTreeMap<String, String>,
    stack: impl Fn(i64) -> Result<StackRef>,
) -> Result<Memory> {
    let absent = |name| column(database, "memory", name, "NULL");
    let [pss, swap, used] = [absent("pss_bytes")?, absent("swap_bytes")?, absent("limit_used_bytes")?];
    let sql = format!(
        "SELECT rss_bytes, limit_bytes, unexplained_bytes, {pss}, {swap}, {used}, time_ns FROM memory
         ORDER BY unexplained_bytes IS NULL, time_ns DESC LIMIT 1"
    );
    let last = database
        .query_row(&sql, [], |row| {
            let unexplained_bytes = optional(row, 2)?;
            Ok(Memory {
                time_ns: optional(row, 6)?.filter(|_| unexplained_bytes.is_some()),
                rss_bytes: optional(row, 0)?,
                limit_bytes: optional(row, 1)?,
                unexplained_bytes,
                pss_bytes: optional(row, 3)?,
                swap_bytes: optional(row, 4)?,
                limit_used_bytes: optional(row, 5)?,
                ..Memory::default()
            })
        })
        .optional()?;
    let absent = |name| column(database, "memory_part", name, "NULL");
    let [pss, swap] = [absent("pss_bytes")?, absent("swap_bytes")?];
    let parts = collect(
        database,
        &format!(
            "SELECT id, reserved_bytes, committed_bytes, resident_bytes, {pss}, {swap} FROM memory_part ORDER BY id"
        ),
        |row| {
            Ok(MemoryPart {
                id: text(row, 0)?,
                reserved_bytes: optional(row, 1)?,
                committed_bytes: optional(row, 2)?,
                resident_bytes: optional(row, 3)?,
                pss_bytes: optional(row, 4)?,
                swap_bytes: optional(row, 5)?,
            })
        },
    )?;
    let mapped = match has_table(database, "memory_mapped")? {
        true => collect(
            database,
            "SELECT stack, reserved_bytes, committed_bytes, resident_bytes FROM memory_mapped ORDER BY stack",
            |row| {
                Ok(MappedMemory {
                    stack: stack(row.get(0)?)?,
                    reserved_bytes: unsigned(row, 1)?,
                    committed_bytes: unsigned(row, 2)?,
                    resident_bytes: unsigned(row, 3)?,
                })
            },
        )?,
        false => Vec::new(),
    };
    // Other fields than these numbers are a later version's.
    let heap: Option<Heap> = meta.get(HEAP).and_then(|text| serde_json::from_str(text).ok());
    let limits = limits::read(database)?;
    Ok(Memory { parts, mapped, heap, limits, ..last.unwrap_or_default() })
}

/// The course of the parts.
pub(super) fn read_series(database: &Connection) -> Result<Vec<MemorySample>> {
    if !has_table(database, "memory_series")? {
        return Ok(Vec::new());
    }
    let sql = "SELECT time_ns, id, committed_bytes, resident_bytes FROM memory_series ORDER BY time_ns, id";
    collect(database, sql, |row| {
        Ok(MemorySample {
            time_ns: unsigned(row, 0)?,
            id: text(row, 1)?,
            committed_bytes: unsigned(row, 2)?,
            resident_bytes: unsigned(row, 3)?,
        })
    })
}

/// The stacks of threads, as they were written.
pub(super) fn read_stacks(database: &Connection) -> Result<Vec<ThreadStack>> {
    if !has_table(database, "thread_stack")? {
        return Ok(Vec::new());
    }
    let sql = "SELECT tid, reserved_bytes, resident_bytes FROM thread_stack ORDER BY id";
    collect(database, sql, |row| {
        Ok(ThreadStack {
            tid: row.get(0)?,
            reserved_bytes: unsigned(row, 1)?,
            resident_bytes: unsigned(row, 2)?,
        })
    })
}
