//! The tables of limits: the last state of each, and its course.

use rusqlite::{Connection, params};

use super::columns::{collect, has_table, optional, unsigned};
use super::database::signed;
use crate::limits::Limit;

type Result<T> = rusqlite::Result<T>;

/// Limits that are read of a recording.
const MAX_LIMITS: usize = 256;

/// Use of a limit at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSample {
    /// `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    pub id: String,
    pub used: Option<u64>,
    /// Memory without page cache that the kernel can drop.
    pub needed: Option<u64>,
    pub most: Option<u64>,
    pub hits: Option<u64>,
}

/// Writes the limits of a moment. A use that did not change since the last moment is not written again.
pub(super) fn write(database: &Connection, time_ns: u64, limits: &[Limit]) -> Result<()> {
    let mut state = database.prepare_cached(
        "INSERT INTO limit_state VALUES (?1, ?2)
         ON CONFLICT (id) DO UPDATE SET json = excluded.json WHERE json <> excluded.json",
    )?;
    let mut course =
        database.prepare_cached("INSERT OR REPLACE INTO limit_series VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for limit in limits {
        let json = serde_json::to_string(limit).unwrap_or_default();
        if state.execute(params![limit.id, json])? > 0 {
            let [used, needed, most, hits] =
                [limit.used, limit.needed(), limit.limit, limit.hits].map(signed);
            course.execute(params![signed(Some(time_ns)), limit.id, used, needed, most, hits])?;
        }
    }
    Ok(())
}

/// The last state of each limit. `None` for a recording of a version that did not ask for them.
pub(super) fn read(database: &Connection) -> Result<Option<Vec<Limit>>> {
    if !has_table(database, "limit_state")? {
        return Ok(None);
    }
    let sql = format!("SELECT json FROM limit_state ORDER BY id LIMIT {MAX_LIMITS}");
    let texts: Vec<String> = collect(database, &sql, |row| row.get(0))?;
    // A row that is no limit is a later version's.
    Ok(Some(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect()))
}

/// The course of all limits, by time.
pub(super) fn read_series(database: &Connection) -> Result<Vec<LimitSample>> {
    if !has_table(database, "limit_series")? {
        return Ok(Vec::new());
    }
    let sql = "SELECT time_ns, id, used, needed, most, hits FROM limit_series ORDER BY time_ns, id";
    collect(database, sql, |row| {
        Ok(LimitSample {
            time_ns: unsigned(row, 0)?,
            id: row.get(1)?,
            used: optional(row, 2)?,
            needed: optional(row, 3)?,
            most: optional(row, 4)?,
            hits: optional(row, 5)?,
        })
    })
}
