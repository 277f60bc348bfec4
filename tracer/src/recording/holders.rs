//! Holders at the end of memory that was allocated in the session: one look at the Java heap, in groups of blocks that
//! are held the same way, and what each stack has in each group.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use tracer_common::stack::StackId;

use super::StackRef;
use super::columns::{collect, damage, has_table, optional_text, reference, unsigned};
use super::database::{meta, signed};
use super::ids::Ids;
use super::rows::Rows;

pub use crate::holders::HolderState;
use crate::holders::{Owner, Step};

type Result<T> = rusqlite::Result<T>;

/// The key in `meta` of how the look was taken.
const ABOUT: &str = "holders";
/// Length of a path as text, bytes: a path has some twenty steps.
const MAX_PATH_BYTES: usize = 64 << 10;

/// Reason why there is no look, where nobody asked for one.
pub const NOT_ASKED_FOR: &str = "nobody looked for holders on the Java heap: `record --holders` does";

/// Circumstances of the look at holders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AboutHolders {
    /// `ptrace`: the process was held; `none`: it was not.
    pub method: String,
    pub held_ns: Option<u64>,
    pub predicted_ns: Option<u64>,
    /// Looks that count.
    pub looks: u64,
    /// Live allocations that were freed between the session's end and the walk of malloc's heap: of no group.
    pub gone_count: u64,
    /// Reason why there is no look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// Blocks that are held the same way, allocated in the session or before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderGroup {
    /// `None` if no Java object has the address.
    pub owner: Option<Owner>,
    pub state: HolderState,
    /// Path from the root to the owner.
    pub path: Vec<Step>,
    pub count: u64,
    pub bytes: u64,
    /// The bytes are those of the blocks alone; else they are about right.
    pub exact: bool,
}

/// The part of a stack's live allocations that is of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HolderStack<S = StackRef> {
    pub stack: S,
    /// Index of the group.
    pub group: u32,
    pub live_bytes: u64,
    pub live_count: u64,
}

/// The look at the end of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedHolders<S = StackRef> {
    pub about: AboutHolders,
    /// Groups with most bytes first.
    pub groups: Vec<HolderGroup>,
    pub stacks: Vec<HolderStack<S>>,
}

/// Writes the look.
pub(super) fn write(
    database: &Connection,
    rows: &mut Rows,
    holders: &RecordedHolders<StackId>,
) -> Result<()> {
    if let Ok(text) = serde_json::to_string(&holders.about) {
        meta(database, ABOUT, &text)?;
    }
    let mut insert =
        database.prepare_cached("INSERT OR REPLACE INTO holder VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for (id, group) in (0_i64..).zip(&holders.groups) {
        let path = serde_json::to_string(&group.path).unwrap_or_default();
        insert.execute(params![
            id,
            group.state.as_str(),
            group.owner.as_ref().map(|owner| &owner.class),
            group.owner.as_ref().map(|owner| &owner.field),
            path,
            signed(Some(group.count)),
            signed(Some(group.bytes)),
            group.exact
        ])?;
    }
    let mut insert = database.prepare_cached("INSERT OR REPLACE INTO kept VALUES (?1, ?2, ?3, ?4)")?;
    for row in &holders.stacks {
        let stack = rows.stack(database, row.stack)?;
        let [bytes, count] = [row.live_bytes, row.live_count].map(|number| signed(Some(number)));
        insert.execute(params![stack, row.group, bytes, count])?;
    }
    Ok(())
}

/// The look, or why there is none. `stack`: gives the stack of a row of the table of stacks.
pub(super) fn read(
    database: &Connection,
    meta: &BTreeMap<String, String>,
    stack: impl Fn(i64) -> Result<StackRef>,
) -> Result<std::result::Result<RecordedHolders, String>> {
    let Some(about) = meta.get(ABOUT).and_then(|text| serde_json::from_str::<AboutHolders>(text).ok()) else {
        return Ok(Err(NOT_ASKED_FOR.to_owned()));
    };
    if let Some(why) = about.unknown {
        return Ok(Err(why));
    }
    if !has_table(database, "holder")? || !has_table(database, "kept")? {
        return Ok(Err("the recording does not have them".to_owned()));
    }
    let mut ids = Ids::default();
    let sql = "SELECT id, state, class, field, path, block_count, bytes, exact FROM holder ORDER BY id";
    let groups = collect(database, sql, |row| {
        ids.push(row.get(0)?)?;
        let state = row.get_ref(1)?.as_str()?;
        let owner = match (optional_text(row, 2)?, optional_text(row, 3)?) {
            (Some(class), field) => Some(Owner { class, field: field.unwrap_or_default() }),
            (None, _) => None,
        };
        let path = row.get_ref(4)?.as_str()?;
        let path = if path.len() <= MAX_PATH_BYTES { path } else { "[]" };
        Ok(HolderGroup {
            owner,
            state: HolderState::parse(state).ok_or_else(|| damage("an unknown way of being held"))?,
            path: serde_json::from_str(path).map_err(|_| damage("a path that cannot be read"))?,
            count: unsigned(row, 5)?,
            bytes: unsigned(row, 6)?,
            exact: row.get(7)?,
        })
    })?;
    let sql = "SELECT stack, holder, live_bytes, live_count FROM kept ORDER BY stack, holder";
    let stacks = collect(database, sql, |row| {
        Ok(HolderStack {
            stack: stack(row.get(0)?)?,
            group: reference(&ids, row.get(1)?)?,
            live_bytes: unsigned(row, 2)?,
            live_count: unsigned(row, 3)?,
        })
    })?;
    Ok(Ok(RecordedHolders { about, groups, stacks }))
}
