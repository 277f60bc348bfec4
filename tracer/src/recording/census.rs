//! The censuses of a session: what the memory itself and the JVM's books said at its start and at its end.

use rusqlite::{Connection, params};

use super::columns::{collect, has_table, unsigned};
use super::database::signed;

type Result<T> = rusqlite::Result<T>;

/// When a census was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CensusMoment {
    /// While the probes were attached: of what was there before the session.
    Begin,
    End,
}

/// Why there is none of the beginning: the recorder started the program.
pub const BEGAN_WITH_SESSION: &str = "the program began with the session";

/// A census, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    pub moment: CensusMoment,
    /// When it was asked for, `CLOCK_MONOTONIC` ns.
    pub time_ns: u64,
    /// JSON by the schema `tracer.census/1`; foreign, once it is read.
    pub json: std::result::Result<String, String>,
}

impl CensusMoment {
    /// As in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::End => "end",
        }
    }
}

/// Writes a census; one of its moment that is there is replaced.
pub(super) fn write(database: &Connection, census: &Census) -> Result<()> {
    let (json, unknown) = match &census.json {
        Ok(json) => (Some(json), None),
        Err(why) => (None, Some(why)),
    };
    database.prepare_cached("INSERT OR REPLACE INTO census VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        census.moment.as_str(),
        signed(Some(census.time_ns)),
        json,
        unknown
    ])?;
    Ok(())
}

/// The censuses by moment. A moment that this version does not know is left out.
pub(super) fn read(database: &Connection) -> Result<Vec<Census>> {
    if !has_table(database, "census")? {
        return Ok(Vec::new());
    }
    let sql = "SELECT moment, time_ns, json, unknown FROM census ORDER BY moment";
    let rows = collect(database, sql, |row| {
        let name: String = row.get(0)?;
        let moment = [CensusMoment::Begin, CensusMoment::End].into_iter().find(|it| it.as_str() == name);
        let (json, unknown): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
        let time_ns = unsigned(row, 1)?;
        Ok(moment.map(|moment| Census {
            moment,
            time_ns,
            json: json.ok_or_else(|| unknown.unwrap_or_else(|| "it was not kept".to_owned())),
        }))
    })?;
    Ok(rows.into_iter().flatten().collect())
}
