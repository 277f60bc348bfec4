//! Values of columns: SQLite has signed integers and text, and a file may hold anything.

use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql};

use super::StackRef;
use super::ids::Ids;
use crate::process::Tid;
use crate::symbolize::{FrameKind, Tier, UnknownReason};

type Result<T> = rusqlite::Result<T>;

/// Values that `read` makes of the rows.
pub(super) fn collect<T>(
    database: &Connection,
    sql: &str,
    mut read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = database.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

/// `name` as a query has it; `absent` in a recording of a time when the table did not have that column.
pub(super) fn column(database: &Connection, table: &str, name: &str, absent: &str) -> Result<String> {
    let count: i64 = database.query_row(
        "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2",
        [table, name],
        |row| row.get(0),
    )?;
    Ok(if count == 0 { absent.to_owned() } else { format!("\"{name}\"") })
}

pub(super) fn has_table(database: &Connection, name: &str) -> Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(database.query_row(sql, [name], |row| row.get::<_, i64>(0))? > 0)
}

/// Bytes of a name that are kept: what is longer is cut.
pub(super) const TEXT_BYTES: usize = 4096;

/// A name, or a sentence.
pub(super) fn text(row: &Row<'_>, column: usize) -> Result<String> {
    Ok(cut(row.get_ref(column)?.as_str()?))
}

pub(super) fn optional_text(row: &Row<'_>, column: usize) -> Result<Option<String>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.map(cut))
}

/// The text, or as much of it as is kept: `xxxx…`.
fn cut(text: &str) -> String {
    if text.len() <= TEXT_BYTES {
        return text.to_owned();
    }
    let kept = text.get(..text.floor_char_boundary(TEXT_BYTES)).unwrap_or_default();
    format!("{kept}…")
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    natural(row.get(column)?)
}

pub(super) fn optional(row: &Row<'_>, column: usize) -> Result<Option<u64>> {
    get::<Option<i64>>(row, column)?.map(natural).transpose()
}

fn get<T: FromSql>(row: &Row<'_>, column: usize) -> Result<T> {
    row.get(column)
}

fn natural(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| damage("a number below zero"))
}

pub(super) fn index(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| damage("too many rows"))
}

pub(super) fn reference(ids: &Ids, id: i64) -> Result<u32> {
    ids.place(id).ok_or_else(missing)
}

pub(super) fn stack_reference(ids: &Ids, id: i64) -> Result<StackRef> {
    reference(ids, id).map(StackRef)
}

/// Rows come in the order of their keys, and each key once: in a file that is whole.
pub(super) fn ascends<K: Ord>(last: Option<&K>, next: &K) -> Result<()> {
    if last.is_some_and(|last| last >= next) { Err(damage("rows are not in their order")) } else { Ok(()) }
}

pub(super) fn missing() -> rusqlite::Error {
    damage("a row refers to one that is not there")
}

pub(super) fn damage(detail: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, detail.to_owned().into())
}

pub(super) fn kind(text: &str) -> Result<FrameKind> {
    [FrameKind::Native, FrameKind::Java, FrameKind::Stub, FrameKind::Kernel]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| damage(&format!("unknown kind of frame `{text}`")))
}

/// A tier that this version does not know is none.
pub(super) fn tier(text: &str) -> Option<Tier> {
    [Tier::Interpreted, Tier::C1, Tier::C2, Tier::Inlined].into_iter().find(|tier| tier.as_str() == text)
}

/// A reason that this version does not know is none; the frame's function says it.
pub(super) fn unknown(text: String) -> Option<UnknownReason> {
    serde_json::from_value(serde_json::Value::String(text)).ok()
}

impl FromSql for Tid {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u32::column_result(value).map(Self)
    }
}

impl ToSql for Tid {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}
