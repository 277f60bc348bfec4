//! The time series: cumulative totals of what changed, at ever coarser moments, so that an hour
//! takes no more room than a minute.
//!
//! Samples are numbered by tick; every `stride`-th tick is one. When there are too many, the
//! stride doubles, and rows of a sample that goes move to the next one that stays, unless that has
//! newer ones. So what a sample says never becomes wrong, only less often said.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, params};

use super::MomentTotals;
use super::columns::damage;
use super::number_list;

/// Subject of a row: the stack's row and the source's row.
pub(super) type Key = (i64, i64);

/// Samples kept at most.
const SAMPLES_MAX: u64 = 256;
/// Samples kept in any case, however many rows they have.
const SAMPLES_MIN: u64 = 8;
/// Rows above which samples are thinned out.
const ROWS_MAX: u64 = 400_000;

/// Reads the rows of a sample: an array for each, of the two numbers of its key and five totals.
pub(super) fn rows(text: &str) -> impl Iterator<Item = rusqlite::Result<(Key, MomentTotals)>> {
    number_list::read_arrays(text).map(|row| {
        let [stack, source, allocated_bytes, allocated_count, freed_bytes, freed_count, collected_bytes] =
            row.map_err(|_| damage("the totals of a sample cannot be read"))?;
        let totals =
            MomentTotals { allocated_bytes, allocated_count, freed_bytes, freed_count, collected_bytes };
        Ok(((stack.cast_signed(), source.cast_signed()), totals))
    })
}

/// Writes them.
fn text_of(rows: impl Iterator<Item = (Key, MomentTotals)>) -> String {
    number_list::text_of(rows.map(|((stack, source), totals)| {
        let MomentTotals { allocated_bytes, allocated_count, freed_bytes, freed_count, collected_bytes } =
            totals;
        let [stack, source] = [stack, source].map(i64::cast_unsigned);
        [stack, source, allocated_bytes, allocated_count, freed_bytes, freed_count, collected_bytes]
    }))
}

/// Decides which tick becomes a sample, and writes it.
pub(super) struct Series {
    tick: i64,
    stride: i64,
    changed: HashSet<Key>,
    samples: u64,
    rows: u64,
    samples_max: u64,
}

impl Series {
    pub(super) fn new() -> Series {
        Series { tick: 0, stride: 1, changed: HashSet::new(), samples: 0, rows: 0, samples_max: SAMPLES_MAX }
    }

    /// Remembers that the totals of `key` are not those of the last sample.
    pub(super) fn changed(&mut self, key: Key) {
        self.changed.insert(key);
    }

    /// Counts a tick, and writes a sample if it is its turn.
    pub(super) fn tick(
        &mut self,
        database: &Connection,
        time_ns: i64,
        totals: impl Fn(Key) -> Option<MomentTotals>,
    ) -> rusqlite::Result<()> {
        self.tick += 1;
        if self.tick % self.stride != 0 {
            return Ok(());
        }
        self.sample(database, self.tick, time_ns, totals)?;
        if self.samples > self.samples_max || (self.rows > ROWS_MAX && self.samples > SAMPLES_MIN) {
            self.thin(database)?;
        }
        Ok(())
    }

    /// Writes the last sample, at whatever tick the session ends.
    pub(super) fn finish(
        &mut self,
        database: &Connection,
        time_ns: i64,
        totals: impl Fn(Key) -> Option<MomentTotals>,
    ) -> rusqlite::Result<()> {
        let next = (self.tick / self.stride + 1) * self.stride;
        self.sample(database, next, time_ns, totals)
    }

    fn sample(
        &mut self,
        database: &Connection,
        id: i64,
        time_ns: i64,
        totals: impl Fn(Key) -> Option<MomentTotals>,
    ) -> rusqlite::Result<()> {
        let mut changed: Vec<Key> = self.changed.drain().collect();
        changed.sort_unstable();
        let rows: Vec<(Key, MomentTotals)> =
            changed.into_iter().filter_map(|key| Some((key, totals(key)?))).collect();
        self.rows += count(rows.len());
        self.samples += 1;
        database.prepare_cached("INSERT OR REPLACE INTO sample VALUES (?1, ?2, ?3)")?.execute(params![
            id,
            time_ns,
            text_of(rows.into_iter())
        ])?;
        Ok(())
    }

    fn thin(&mut self, database: &Connection) -> rusqlite::Result<()> {
        self.stride *= 2;
        let ids: Vec<i64> = database
            .prepare("SELECT id FROM sample ORDER BY id")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        (self.samples, self.rows) = (0, 0);
        let mut going: BTreeMap<Key, MomentTotals> = BTreeMap::new();
        for id in ids {
            let text: String =
                database.query_row("SELECT totals FROM sample WHERE id = ?1", [id], |row| row.get(0))?;
            for row in rows(&text) {
                let (key, totals) = row?;
                going.insert(key, totals);
            }
            if id % self.stride != 0 {
                database.execute("DELETE FROM sample WHERE id = ?1", [id])?;
                continue;
            }
            self.samples += 1;
            self.rows += count(going.len());
            let text = text_of(std::mem::take(&mut going).into_iter());
            database.execute("UPDATE sample SET totals = ?2 WHERE id = ?1", params![id, text])?;
        }
        // Of these, the next sample tells.
        self.changed.extend(going.into_keys());
        Ok(())
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Allocated bytes of stack 1 at each sample, carried forward from the last one that has a row. SQLite reads the
    /// column as the JSON that it is.
    fn carried(database: &Connection) -> Vec<(i64, i64)> {
        let mut statement = database
            .prepare(
                "SELECT time_ns, (SELECT json_extract(row.value, '$[2]')
                     FROM sample AS said, json_each(said.totals) AS row
                     WHERE said.id <= sample.id AND json_extract(row.value, '$[0]') = 1
                     ORDER BY said.id DESC LIMIT 1) FROM sample ORDER BY id",
            )
            .expect("query");
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.unwrap_or_default())))
            .expect("rows");
        rows.map(|row| row.expect("row")).collect()
    }

    #[test]
    fn thinning_keeps_every_remaining_sample_true() {
        let database = Connection::open_in_memory().expect("database");
        database.execute_batch("PRAGMA foreign_keys = OFF").expect("pragma");
        database.execute_batch(super::super::schema::TABLES).expect("schema");
        let mut series = Series { samples_max: 10, ..Series::new() };
        let value = Cell::new(0);
        let mut truth = Vec::new();
        for tick in 1..=100_i64 {
            // Changes at some ticks only, odd ones among them.
            if tick % 3 == 0 || tick % 7 == 0 {
                value.set(tick.unsigned_abs());
                series.changed((1, 0));
            }
            truth.push(value.get().cast_signed());
            let totals = |_| Some(MomentTotals { allocated_bytes: value.get(), ..MomentTotals::default() });
            series.tick(&database, tick, totals).expect("tick");
        }
        value.set(1_000);
        series.changed((1, 0));
        let totals = |_| Some(MomentTotals { allocated_bytes: value.get(), ..MomentTotals::default() });
        series.finish(&database, 101, totals).expect("finish");

        let carried = carried(&database);
        assert!(carried.len() <= 12, "{} samples", carried.len());
        assert!(carried.len() >= 5, "{} samples", carried.len());
        assert_eq!(carried.last(), Some(&(101, 1_000)));
        for &(time, live) in carried.iter().filter(|&&(time, _)| (3..101).contains(&time)) {
            let index = usize::try_from(time - 1).expect("tick");
            assert_eq!(Some(&live), truth.get(index), "at {time}");
        }
    }
}
