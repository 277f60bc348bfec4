//! The censuses of a session: what the memory itself and the JVM's statistics said at its start and at its end.

use rusqlite::{Connection, params};

use super::columns::{collect, has_table, unsigned};
use super::database::signed;
use crate::census::Census;

type Result<T> = rusqlite::Result<T>;

/// Moment of a census.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CensusMoment {
    /// The probes were attached meanwhile: a census of what was there before the session.
    Begin,
    End,
}

/// Size up to which a census is kept, bytes.
const MAX_BYTES: usize = 1 << 20;

/// Reason why there is none of the beginning: the recorder started the program.
pub const BEGAN_WITH_SESSION: &str = "the program began with the session";

/// A census with its moment, or the reason why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedCensus {
    pub moment: CensusMoment,
    /// Time at which it was asked for, `CLOCK_MONOTONIC` ns.
    pub time_ns: u64,
    pub census: std::result::Result<Box<Census>, String>,
}

impl CensusMoment {
    /// Name in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::End => "end",
        }
    }
}

/// Writes a census; one of its moment that is there is replaced.
pub(super) fn write(database: &Connection, recorded: &RecordedCensus) -> Result<()> {
    let (json, unknown) = match &recorded.census {
        Ok(census) => match census.to_json() {
            json if json.len() <= MAX_BYTES => (Some(json), None),
            json => (None, Some(format!("it would take {} bytes", json.len()))),
        },
        Err(why) => (None, Some(why.clone())),
    };
    database.prepare_cached("INSERT OR REPLACE INTO census VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        recorded.moment.as_str(),
        signed(Some(recorded.time_ns)),
        json,
        unknown
    ])?;
    Ok(())
}

/// The censuses by moment. A moment that this version does not know is left out, and a document that is no census is
/// one that is not known.
pub(super) fn read(database: &Connection) -> Result<Vec<RecordedCensus>> {
    if !has_table(database, "census")? {
        return Ok(Vec::new());
    }
    let sql = "SELECT moment, time_ns, json, unknown FROM census ORDER BY moment";
    let rows = collect(database, sql, |row| {
        let name: String = row.get(0)?;
        let moment = [CensusMoment::Begin, CensusMoment::End].into_iter().find(|it| it.as_str() == name);
        let (json, unknown): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
        let time_ns = unsigned(row, 1)?;
        let census = match json {
            Some(json) => Census::parse(&json).map(Box::new),
            None => Err(unknown.unwrap_or_else(|| "it was not kept".to_owned())),
        };
        Ok(moment.map(|moment| RecordedCensus { moment, time_ns, census }))
    })?;
    Ok(rows.into_iter().flatten().collect())
}
