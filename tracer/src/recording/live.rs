//! Reads what is live at the end of a recording, by stack: which thread allocated it, how large it is, when it was
//! allocated, and how much of it is in memory.
//!
//! A table has a list for each stack. In version 1 of the format it has a row for each number of such a list.

use rusqlite::Connection;

use super::columns::{ascends, collect, column, damage, has_table, stack_reference, unsigned};
use super::ids::Ids;
use super::{LiveResident, LiveSize, StackRef, Survivors, ThreadLive, number_list};
use crate::process::Tid;

type Result<T> = rusqlite::Result<T>;

/// Live allocations by thread.
pub(super) fn by_thread(database: &Connection, stacks: &Ids) -> Result<Vec<ThreadLive>> {
    let numbers = "tid, live_bytes, live_count";
    read(database, stacks, "live_thread", "threads", numbers, |stack, [tid, live_bytes, live_count]| {
        Some(ThreadLive { stack, tid: Tid(u32::try_from(tid).ok()?), live_bytes, live_count })
    })
}

/// Live allocations by class of sizes.
pub(super) fn by_size(database: &Connection, stacks: &Ids) -> Result<Vec<LiveSize>> {
    let numbers = "least_bytes, live_bytes, live_count";
    read(database, stacks, "live_size", "sizes", numbers, |stack, [least_bytes, live_bytes, live_count]| {
        Some(LiveSize { stack, least_bytes, live_bytes, live_count })
    })
}

/// Live allocations by time of birth.
pub(super) fn survivors(database: &Connection, stacks: &Ids) -> Result<Vec<Survivors>> {
    let numbers = "epoch, born_ns, live_bytes, live_count";
    let survivors = |stack, [epoch, born_ns, live_bytes, live_count]: [u64; 4]| {
        Some(Survivors { stack, epoch: u32::try_from(epoch).ok()?, born_ns, live_bytes, live_count })
    };
    read(database, stacks, "survivor", "births", numbers, survivors)
}

/// Bytes of what is live that are in memory.
pub(super) fn resident(database: &Connection, stacks: &Ids) -> Result<Vec<LiveResident>> {
    if !has_table(database, "live_resident")? {
        return Ok(Vec::new());
    }
    collect(database, "SELECT stack, resident_bytes FROM live_resident", |row| {
        Ok(LiveResident { stack: stack_reference(stacks, row.get(0)?)?, resident_bytes: unsigned(row, 1)? })
    })
}

/// The lists of a table, which has them in column `list`; `columns`: the same numbers in version 1. `make`: `None` if a
/// number is too large.
fn read<T, const N: usize>(
    database: &Connection,
    stacks: &Ids,
    table: &str,
    list: &str,
    columns: &str,
    make: impl Fn(StackRef, [u64; N]) -> Option<T>,
) -> Result<Vec<T>> {
    if !has_table(database, table)? {
        return Ok(Vec::new());
    }
    let cannot = || damage(&format!("a row of {table} cannot be read"));
    if column(database, table, list, "")?.is_empty() {
        return collect(database, &format!("SELECT stack, {columns} FROM {table}"), |row| {
            let mut numbers = [0; N];
            for (at, number) in (1..).zip(&mut numbers) {
                *number = unsigned(row, at)?;
            }
            make(stack_reference(stacks, row.get(0)?)?, numbers).ok_or_else(cannot)
        });
    }
    let mut statement = database.prepare(&format!("SELECT stack, {list} FROM {table} ORDER BY stack"))?;
    let mut rows = statement.query([])?;
    let (mut all, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let stack = stack_reference(stacks, row.get(0)?)?;
        ascends(last.as_ref(), &stack)?;
        last = Some(stack);
        for numbers in number_list::read_arrays(row.get_ref(1)?.as_str()?) {
            all.push(numbers.ok().and_then(|numbers| make(stack, numbers)).ok_or_else(cannot)?);
        }
    }
    Ok(all)
}
