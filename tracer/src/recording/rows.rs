//! Rows that are written once and referred to: stacks, frames, modules, sources; and the totals as
//! they were last written, so that what did not change costs nothing.

use std::collections::HashMap;

use rusqlite::{Connection, params};
use tracer_common::{stack::StackId, table::StackTotals};

use super::database::signed;
use super::series::Key;
use super::{MomentTotals, Totals};
use crate::symbolize::{Frame, Tier, UnknownReason};

/// Ids of the rows that are in the database.
#[derive(Default)]
pub(super) struct Rows {
    modules: HashMap<(String, Option<String>), i64>,
    frames: HashMap<Frame, i64>,
    stacks: HashMap<StackId, i64>,
    kinds: HashMap<String, i64>,
    totals: HashMap<Key, Totals>,
}

impl Rows {
    /// Totals that were last written of a stack and source.
    pub(super) fn totals(&self, key: Key) -> Option<MomentTotals> {
        self.totals.get(&key).map(MomentTotals::from)
    }

    pub(super) fn stack(&mut self, database: &Connection, id: StackId) -> rusqlite::Result<i64> {
        if let Some(&row) = self.stacks.get(&id) {
            return Ok(row);
        }
        database
            .prepare_cached("INSERT INTO stack (kernel_id) VALUES (?1)")?
            .execute(params![id.0.cast_signed()])?;
        let row = database.last_insert_rowid();
        self.stacks.insert(id, row);
        Ok(row)
    }

    pub(super) fn frame(&mut self, database: &Connection, frame: &Frame) -> rusqlite::Result<i64> {
        if let Some(&row) = self.frames.get(frame) {
            return Ok(row);
        }
        let module = match &frame.module {
            Some(path) => Some(self.module(database, path, frame.build_id.as_deref())?),
            None => None,
        };
        database
            .prepare_cached(
                "INSERT INTO frame (function, kind, module, file, line, \"offset\", tier, unknown)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                frame.function,
                frame.kind.as_str(),
                module,
                frame.file,
                frame.line,
                frame.offset.map(u64::cast_signed),
                frame.tier.map(Tier::as_str),
                frame.unknown.map(unknown_text),
            ])?;
        let row = database.last_insert_rowid();
        self.frames.insert(frame.clone(), row);
        Ok(row)
    }

    fn module(&mut self, database: &Connection, path: &str, build_id: Option<&str>) -> rusqlite::Result<i64> {
        let key = (path.to_owned(), build_id.map(str::to_owned));
        if let Some(&row) = self.modules.get(&key) {
            return Ok(row);
        }
        database
            .prepare_cached("INSERT INTO module (path, build_id) VALUES (?1, ?2)")?
            .execute(params![path, build_id])?;
        let row = database.last_insert_rowid();
        self.modules.insert(key, row);
        Ok(row)
    }

    pub(super) fn source(&mut self, database: &Connection, kind: &str) -> rusqlite::Result<i64> {
        if let Some(&row) = self.kinds.get(kind) {
            return Ok(row);
        }
        database
            .prepare_cached("INSERT INTO source (source, kind) VALUES ('mapping', ?1)")?
            .execute(params![kind])?;
        let row = database.last_insert_rowid();
        self.kinds.insert(kind.to_owned(), row);
        Ok(row)
    }

    /// Writes totals; gives their key if they are not those that are there.
    pub(super) fn set_totals(
        &mut self,
        database: &Connection,
        time_ns: u64,
        stack: StackId,
        source: i64,
        totals: &StackTotals,
    ) -> rusqlite::Result<Option<Key>> {
        let totals = Totals {
            allocated_bytes: totals.allocated_bytes,
            allocated_count: totals.allocated_count,
            freed_bytes: totals.freed_bytes,
            freed_count: totals.freed_count,
            collected_bytes: totals.collected_bytes,
            allocated_bytes_variance: totals.allocated_bytes_variance,
            allocated_count_variance: totals.allocated_count_variance,
            freed_bytes_variance: totals.freed_bytes_variance,
            freed_count_variance: totals.freed_count_variance,
        };
        let key = (self.stack(database, stack)?, source);
        if self.totals.get(&key) == Some(&totals) {
            return Ok(None);
        }
        database
            .prepare_cached(
                "INSERT OR REPLACE INTO total VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                key.0,
                key.1,
                signed(Some(totals.allocated_bytes)),
                signed(Some(totals.allocated_count)),
                signed(Some(totals.freed_bytes)),
                signed(Some(totals.freed_count)),
                signed(Some(time_ns)),
                signed(Some(totals.collected_bytes)),
                signed(Some(totals.allocated_bytes_variance)),
                signed(Some(totals.allocated_count_variance)),
                signed(Some(totals.freed_bytes_variance)),
                signed(Some(totals.freed_count_variance))
            ])?;
        self.totals.insert(key, totals);
        Ok(Some(key))
    }
}

fn unknown_text(reason: UnknownReason) -> String {
    match serde_json::to_value(reason) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}
