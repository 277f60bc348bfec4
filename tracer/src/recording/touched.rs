//! The table of memory that was touched for the first time, as page faults sampled it.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use tracer_common::stack::StackId;

use super::columns::{collect, has_table, text, unsigned};
use super::database::{meta, signed};
use super::rows::Rows;
use super::{FirstTouches, StackRef, TouchedBy};

type Result<T> = rusqlite::Result<T>;

/// The key in `meta` of what was counted of all faults.
const COUNTS: &str = "touched";

/// Writes all of it. Replaces what was given before.
pub(super) fn write(database: &Connection, rows: &mut Rows, touched: &FirstTouches<StackId>) -> Result<()> {
    if let Ok(text) = serde_json::to_string(touched) {
        meta(database, COUNTS, &text)?;
    }
    let mut insert = database.prepare_cached("INSERT OR REPLACE INTO touched VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for by in &touched.by {
        let stack = rows.stack(database, by.stack)?;
        let [samples, faults, variance] =
            [by.sample_count, by.fault_count, by.variance].map(|count| signed(Some(count)));
        insert.execute(params![stack, by.owner, samples, faults, variance])?;
    }
    Ok(())
}

/// Estimates that there are of it. `stack`: gives the stack of a row of the table of stacks. `None` if faults were not
/// sampled.
pub(super) fn read(
    database: &Connection,
    meta: &BTreeMap<String, String>,
    stack: impl Fn(i64) -> Result<StackRef>,
) -> Result<Option<FirstTouches>> {
    let Some(counts) = meta.get(COUNTS).and_then(|text| serde_json::from_str::<FirstTouches>(text).ok())
    else {
        return Ok(None);
    };
    if !has_table(database, "touched")? {
        return Ok(Some(counts));
    }
    let sql = "SELECT stack, owner, sample_count, fault_count, variance FROM touched ORDER BY stack, owner";
    let by = collect(database, sql, |row| {
        Ok(TouchedBy {
            stack: stack(row.get(0)?)?,
            owner: text(row, 1)?,
            sample_count: unsigned(row, 2)?,
            fault_count: unsigned(row, 3)?,
            variance: unsigned(row, 4)?,
        })
    })?;
    Ok(Some(FirstTouches { by, ..counts }))
}
