//! Reads the tables of a recording. Their contents are foreign: a number that cannot be, or a
//! reference to nothing, is damage and an error, never a panic.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, Row};
use serde::de::DeserializeOwned;
use tracer_common::stack::StackId;

use super::columns::{
    ascends, collect, column, damage, has_table, index, kind, missing, optional, optional_text, reference,
    stack_reference, text, tier, unknown, unsigned,
};
use super::ids::Ids;
use super::{
    CodeCache, CodeHeap, CodeSample, Collection, CompiledMethod, MomentTotals, Recording, RecordingState,
    ResidentSample, Sample, SeriesRow, Source, Stack, Thread, Total, Totals, census, check, holders, limits,
    live, memory, number_list, series, touched,
};
use crate::symbolize::Frame;

type Result<T> = rusqlite::Result<T>;

/// Reads all of `database`; `being_written`: its recorder is alive.
pub(super) fn read(database: &Connection, being_written: bool) -> Result<Recording> {
    check_schema(database)?;
    // One moment for all tables, though a recorder may be writing.
    database.execute_batch("BEGIN")?;
    let meta = meta(database)?;
    let state = match meta.get("state").map(String::as_str) {
        Some("finished") => RecordingState::Finished(meta.get("end_reason").cloned().unwrap_or_default()),
        Some("recording") if being_written => RecordingState::Recording,
        Some("recording") => RecordingState::Unfinished,
        _ => return Err(damage("it does not say whether it was finished")),
    };
    let session: super::SessionInfo = json(&meta, "session")?;
    let last_tick_ns = number(&meta, "last_tick_ns");
    let duration_ns = number(&meta, "duration_ns")
        .or(last_tick_ns.map(|last| last.saturating_sub(session.started_ns)))
        .unwrap_or_default();

    let (frames, frame_ids) = frames(database)?;
    let (stacks, stack_ids) = stacks(database, &frame_ids)?;
    let (totals, total_ids) = totals(database, &stack_ids)?;
    let mut recording = Recording {
        target: json(&meta, "target")?,
        state,
        duration_ns,
        series: samples(database, &total_ids)?,
        threads: threads(database, &stack_ids)?,
        live_by_thread: live::by_thread(database, &stack_ids)?,
        live_sizes: live::by_size(database, &stack_ids)?,
        live_resident: live::resident(database, &stack_ids)?,
        collections: collections(database)?,
        survivors: live::survivors(database, &stack_ids)?,
        resident: collect(
            database,
            "SELECT time_ns, rss_bytes FROM memory WHERE rss_bytes NOT NULL ORDER BY time_ns",
            |row| Ok(ResidentSample { time_ns: unsigned(row, 0)?, rss_bytes: unsigned(row, 1)? }),
        )?,
        lost: collect(database, "SELECT reason, count FROM lost", |row| {
            Ok((text(row, 0)?, unsigned(row, 1)?))
        })?
        .into_iter()
        .collect(),
        quality: if meta.contains_key("trust") { json(&meta, "trust")? } else { super::Quality::default() },
        memory: memory::read(database, &meta, |stack| stack_reference(&stack_ids, stack))?,
        memory_series: memory::read_series(database)?,
        limit_series: limits::read_series(database)?,
        thread_stacks: memory::read_stacks(database)?,
        touched: touched::read(database, &meta, |stack| stack_reference(&stack_ids, stack))?,
        code_cache: code_cache(database)?,
        code_series: code_series(database)?,
        holders: holders::read(database, &meta, |stack| stack_reference(&stack_ids, stack))?,
        censuses: census::read(database)?,
        notes: collect(database, "SELECT text FROM note ORDER BY id", |row| text(row, 0))?,
        session,
        frames,
        stacks,
        totals,
    };
    check::check(&mut recording).map_err(|why| damage(&why))?;
    Ok(recording)
}

/// Refuses all but plain tables: a view or a virtual table of a stranger's could compute anything.
fn check_schema(database: &Connection) -> Result<()> {
    let others: i64 = database.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index')
         OR (sql IS NOT NULL AND sql NOT LIKE 'CREATE TABLE%')",
        [],
        |row| row.get(0),
    )?;
    if others != 0 {
        return Err(damage("its tables are not those of a recording"));
    }
    Ok(())
}

fn meta(database: &Connection) -> Result<BTreeMap<String, String>> {
    let rows = collect(database, "SELECT key, value FROM meta", |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.into_iter().collect())
}

fn json<T: DeserializeOwned>(meta: &BTreeMap<String, String>, key: &str) -> Result<T> {
    let text = meta.get(key).ok_or_else(|| damage(&format!("it has no `{key}`")))?;
    serde_json::from_str(text).map_err(|error| damage(&format!("its `{key}` cannot be read: {error}")))
}

fn number(meta: &BTreeMap<String, String>, key: &str) -> Option<u64> {
    meta.get(key)?.parse().ok()
}

fn frames(database: &Connection) -> Result<(Vec<Frame>, Ids)> {
    let mut ids = Ids::default();
    let frames = collect(
        database,
        "SELECT frame.id, function, kind, path, build_id, file, line, \"offset\", tier, unknown
         FROM frame LEFT JOIN module ON module.id = module ORDER BY frame.id",
        |row| {
            ids.push(row.get(0)?)?;
            Ok(Frame {
                function: text(row, 1)?,
                kind: kind(row.get_ref(2)?.as_str()?)?,
                module: optional_text(row, 3)?,
                build_id: optional_text(row, 4)?,
                file: optional_text(row, 5)?,
                line: row.get(6)?,
                offset: row.get::<_, Option<i64>>(7)?.map(i64::cast_unsigned),
                tier: row.get::<_, Option<String>>(8)?.as_deref().and_then(tier),
                unknown: row.get::<_, Option<String>>(9)?.and_then(unknown),
            })
        },
    )?;
    Ok((frames, ids))
}

fn stacks(database: &Connection, frame_ids: &Ids) -> Result<(Vec<Stack>, Ids)> {
    let mut ids = Ids::default();
    let frames = column(database, "stack", "frames", "NULL")?;
    let sql = format!("SELECT id, kernel_id, complete, stop, {frames} FROM stack ORDER BY id");
    let mut stacks = collect(database, &sql, |row| {
        ids.push(row.get(0)?)?;
        let frames = row.get_ref(4)?.as_str_or_null()?;
        Ok(Stack {
            id: StackId(row.get::<_, i64>(1)?.cast_unsigned()),
            frames: frames.map_or_else(|| Ok(Vec::new()), |frames| frame_list(frames, frame_ids))?,
            complete: row.get(2)?,
            stop: optional_text(row, 3)?,
        })
    })?;
    if has_table(database, "stack_frame")? {
        read_stack_frames(database, &mut stacks, &ids, frame_ids)?;
    }
    Ok((stacks, ids))
}

/// The frames of a stack: a list of ids.
fn frame_list(text: &str, frame_ids: &Ids) -> Result<Vec<u32>> {
    let mut frames = Vec::with_capacity(1 + text.bytes().filter(|&byte| byte == b',').count());
    for id in number_list::read(text) {
        let id = id.map_err(|_| damage("a stack's frames cannot be read"))?;
        frames.push(reference(frame_ids, id.cast_signed())?);
    }
    Ok(frames)
}

/// The frames of a recording of version 1, which has a row for each.
fn read_stack_frames(database: &Connection, stacks: &mut [Stack], ids: &Ids, frame_ids: &Ids) -> Result<()> {
    let mut statement = database.prepare("SELECT stack, frame FROM stack_frame ORDER BY stack, depth")?;
    let mut rows = statement.query([])?;
    // By stack: put together here, so that each has room for just its frames.
    let (mut stack, mut frames) = (0, Vec::new());
    let mut put = |stack: u32, frames: &mut Vec<u32>| {
        if let Some(stack) = usize::try_from(stack).ok().and_then(|stack| stacks.get_mut(stack)) {
            stack.frames.extend_from_slice(frames);
        }
        frames.clear();
    };
    while let Some(row) = rows.next()? {
        let of = reference(ids, row.get(0)?)?;
        if of != stack {
            put(stack, &mut frames);
            stack = of;
        }
        frames.push(reference(frame_ids, row.get(1)?)?);
    }
    put(stack, &mut frames);
    Ok(())
}

/// The two ids of each row of the totals, ascending: a row's place is its index.
#[derive(Default)]
struct TotalIds(Vec<series::Key>);

impl TotalIds {
    fn push(&mut self, key: series::Key) -> Result<()> {
        ascends(self.0.last(), &key)?;
        self.0.push(key);
        Ok(())
    }

    /// The place of a row, which is likely to be `next`.
    fn place(&self, key: series::Key, next: usize) -> Result<usize> {
        let place = Some(next).filter(|&next| self.0.get(next) == Some(&key));
        place.or_else(|| self.0.binary_search(&key).ok()).ok_or_else(missing)
    }
}

fn totals(database: &Connection, stack_ids: &Ids) -> Result<(Vec<Total>, TotalIds)> {
    let sources: HashMap<i64, Source> = collect(database, "SELECT id, source, kind FROM source", |row| {
        let source = match row.get::<_, String>(1)?.as_str() {
            "allocator" => Source::Allocator,
            "mapping" => Source::Mapping(text(row, 2)?),
            other => return Err(damage(&format!("unknown source `{other}`"))),
        };
        Ok((row.get(0)?, source))
    })?
    .into_iter()
    .collect();
    let mut ids = TotalIds::default();
    let later = |name| column(database, "total", name, "0");
    let later = [
        "collected_bytes",
        "allocated_bytes_variance",
        "allocated_count_variance",
        "freed_bytes_variance",
        "freed_count_variance",
    ]
    .map(later);
    let later = later.into_iter().collect::<Result<Vec<_>>>()?.join(", ");
    let totals = collect(
        database,
        &format!(
            "SELECT stack, source, allocated_bytes, allocated_count, freed_bytes, freed_count, {later}
             FROM total ORDER BY stack, source"
        ),
        |row| {
            let (stack, source) = (row.get(0)?, row.get(1)?);
            ids.push((stack, source))?;
            Ok(Total {
                stack: stack_reference(stack_ids, stack)?,
                source: sources.get(&source).cloned().ok_or_else(missing)?,
                totals: Totals {
                    allocated_bytes_variance: unsigned(row, 7)?,
                    allocated_count_variance: unsigned(row, 8)?,
                    freed_bytes_variance: unsigned(row, 9)?,
                    freed_count_variance: unsigned(row, 10)?,
                    ..totals_of(row, 2)?
                },
            })
        },
    )?;
    Ok((totals, ids))
}

fn samples(database: &Connection, total_ids: &TotalIds) -> Result<Vec<Sample>> {
    if has_table(database, "series")? {
        return read_series(database, total_ids);
    }
    collect(database, "SELECT time_ns, totals FROM sample ORDER BY id", |row| {
        let mut next = 0;
        let rows = series::rows(row.get_ref(1)?.as_str()?).map(|row| {
            let (key, totals) = row?;
            let place = total_ids.place(key, next)?;
            next = place + 1;
            Ok(SeriesRow { total: index(place)?, totals })
        });
        Ok(Sample { time_ns: unsigned(row, 0)?, rows: rows.collect::<Result<_>>()? })
    })
}

/// The samples of a recording of version 1, which has a table of their rows.
fn read_series(database: &Connection, total_ids: &TotalIds) -> Result<Vec<Sample>> {
    let mut ids = Ids::default();
    let mut samples = collect(database, "SELECT id, time_ns FROM sample ORDER BY id", |row| {
        ids.push(row.get(0)?)?;
        Ok(Sample { time_ns: unsigned(row, 1)?, rows: Vec::new() })
    })?;
    let collected = column(database, "series", "collected_bytes", "0")?;
    let mut statement = database.prepare(&format!(
        "SELECT sample, stack, source, allocated_bytes, allocated_count, freed_bytes, freed_count, {collected}
         FROM series ORDER BY sample, stack, source",
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // Rows that wait for a sample that never came: the recorder was killed.
        let Some(sample) = ids.place(row.get(0)?) else { continue };
        let total = index(total_ids.place((row.get(1)?, row.get(2)?), 0)?)?;
        if let Some(sample) = usize::try_from(sample).ok().and_then(|sample| samples.get_mut(sample)) {
            sample.rows.push(SeriesRow { total, totals: MomentTotals::from(&totals_of(row, 3)?) });
        }
    }
    Ok(samples)
}

fn threads(database: &Connection, stack_ids: &Ids) -> Result<Vec<Thread>> {
    collect(database, "SELECT tid, name, started_ns, ended_ns, creator FROM thread ORDER BY id", |row| {
        Ok(Thread {
            tid: row.get(0)?,
            name: optional_text(row, 1)?,
            started_ns: optional(row, 2)?,
            ended_ns: optional(row, 3)?,
            creator: row
                .get::<_, Option<i64>>(4)?
                .map(|stack| stack_reference(stack_ids, stack))
                .transpose()?,
        })
    })
}

fn collections(database: &Connection) -> Result<Vec<Collection>> {
    let full = column(database, "gc", "full", "0")?;
    collect(database, &format!("SELECT begin_ns, end_ns, {full} FROM gc ORDER BY begin_ns"), |row| {
        Ok(Collection { begin_ns: unsigned(row, 0)?, end_ns: optional(row, 1)?, full: row.get(2)? })
    })
}

fn code_series(database: &Connection) -> Result<Vec<CodeSample>> {
    if !has_table(database, "code_series")? {
        return Ok(Vec::new());
    }
    let sql = "SELECT time_ns, loaded_bytes, loaded_count, unloaded_bytes, unloaded_count FROM code_series
               ORDER BY time_ns";
    collect(database, sql, |row| {
        Ok(CodeSample {
            time_ns: unsigned(row, 0)?,
            loaded_bytes: unsigned(row, 1)?,
            loaded_count: unsigned(row, 2)?,
            unloaded_bytes: unsigned(row, 3)?,
            unloaded_count: unsigned(row, 4)?,
        })
    })
}

fn code_cache(database: &Connection) -> Result<CodeCache> {
    Ok(CodeCache {
        heaps: collect(
            database,
            "SELECT name, reserved_bytes, committed_bytes, used_bytes FROM code_heap ORDER BY name",
            |row| {
                Ok(CodeHeap {
                    name: text(row, 0)?,
                    reserved_bytes: optional(row, 1)?,
                    committed_bytes: optional(row, 2)?,
                    used_bytes: optional(row, 3)?,
                })
            },
        )?,
        methods: collect(database, "SELECT method, tier, bytes FROM compiled_method ORDER BY id", |row| {
            Ok(CompiledMethod {
                method: text(row, 0)?,
                tier: optional_text(row, 1)?,
                bytes: unsigned(row, 2)?,
            })
        })?,
    })
}

fn totals_of(row: &Row<'_>, first: usize) -> Result<Totals> {
    Ok(Totals {
        allocated_bytes: unsigned(row, first)?,
        allocated_count: unsigned(row, first + 1)?,
        freed_bytes: unsigned(row, first + 2)?,
        freed_count: unsigned(row, first + 3)?,
        collected_bytes: unsigned(row, first + 4)?,
        ..Totals::default()
    })
}
