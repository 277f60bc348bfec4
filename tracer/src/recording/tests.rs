//! A recording that is written is read again, with all that was written.

mod damage;
mod files;

use std::fs;

use proptest::prelude::*;
use rusqlite::Connection;
use tracer_common::{stack::StackId, table::StackTotals};

use super::fixture::{self, SECOND_NS, START_NS};
use super::*;
use crate::process::Tid;
use crate::symbolize::{Frame, FrameKind};

fn end() -> End {
    End { duration_ns: 10 * SECOND_NS, reason: "duration".to_owned() }
}

#[test]
fn what_was_written_is_read() {
    let (_folder, path) = fixture::finished();
    let recording = read(&path).expect("read");
    assert_eq!(recording.state, RecordingState::Finished("duration".to_owned()));
    assert_eq!(recording.duration_ns, 10 * SECOND_NS);
    assert_eq!(recording.target.command.len(), 5);
    assert_eq!(recording.target.jvm.as_ref().and_then(|jvm| jvm.gc.as_deref()), Some("G1"));
    assert_eq!(recording.session, fixture::header().session);
    let stack = recording.stacks.iter().find(|stack| stack.id == fixture::INFLATER).expect("stack");
    assert_eq!(stack.complete, Some(true));
    let frames: Vec<_> = stack.frames.iter().map(|&frame| &recording.frames[frame as usize]).collect();
    assert_eq!(frames.len(), 11);
    assert_eq!(frames[1], &fixture::native("inflateInit2_", "/usr/lib/x86_64-linux-gnu/libz.so.1.2.13"));
    assert_eq!(frames[6].line, Some(17));
    assert_eq!(recording.totals.len(), 7);
    assert_eq!(recording.series.len(), 11);
    assert_eq!(recording.threads.len(), 3);
    assert_eq!(recording.live_by_thread.len(), 4);
    let begin_ns = START_NS + 3 * SECOND_NS;
    let end_ns = Some(begin_ns + 5_000_000);
    assert_eq!(recording.collections, [Collection { begin_ns, end_ns, full: true }]);
    assert_eq!(recording.survivors.len(), 5);
    assert_eq!(recording.code_series.first().map(|sample| sample.loaded_count), Some(40));
    let resident = ResidentSample { time_ns: START_NS + 10 * SECOND_NS, rss_bytes: 222_700_000 };
    assert_eq!(recording.resident, [resident]);
    assert_eq!(recording.lost.get("lost_pending"), Some(&2));
    assert_eq!(recording.quality.unmatched_frees, Some(31));
    assert_eq!(recording.memory.parts.len(), 4);
    assert_eq!(recording.code_cache.methods.len(), 1);
    let moments: Vec<_> = recording.censuses.iter().map(|census| (census.moment, census.time_ns)).collect();
    assert_eq!(moments, [(CensusMoment::Begin, START_NS), (CensusMoment::End, START_NS + 10 * SECOND_NS)]);
    assert_eq!(recording.censuses[1].census, Ok(Box::new(fixture::census(400))));
    assert_eq!(recording.notes, ["perf maps were not read"]);
    let touched = recording.touched.expect("touched");
    assert_eq!((touched.fault_count, touched.java_heap_fault_count, touched.by.len()), (1_000, 300, 2));
    assert_eq!((touched.by[0].owner.as_str(), touched.by[0].fault_count), ("malloc-arena", 640));
}

#[test]
fn a_recording_without_a_census_is_whole() {
    let (_folder, path) = fixture::finished();
    Connection::open(&path).expect("open").execute_batch("DROP TABLE census").expect("drop");
    assert_eq!(read(&path).expect("read").censuses, []);
    let (_folder, path) = fixture::finished();
    let sql = "INSERT INTO census VALUES ('x', 1, NULL, NULL);
               UPDATE census SET json = NULL, unknown = 'why' WHERE moment = 'end'";
    Connection::open(&path).expect("open").execute_batch(sql).expect("update");
    let recording = read(&path).expect("read");
    assert_eq!(recording.censuses.len(), 2);
    assert_eq!(recording.censuses[1].census, Err("why".to_owned()));
}

#[test]
fn who_keeps_what_is_live_is_read_as_it_was_written() {
    let (_folder, path) = fixture::finished_with_holders();
    let recording = read(&path).expect("read");
    let (read_back, written) = (recording.holders.clone().expect("a look"), fixture::holders());
    assert_eq!((&read_back.about, &read_back.groups), (&written.about, &written.groups));
    let by_id = |&HolderStack { stack, group, live_bytes, live_count }: &HolderStack| {
        let stack = recording.stack(stack).expect("its stack").id;
        HolderStack { stack, group, live_bytes, live_count }
    };
    let sorted = |mut stacks: Vec<HolderStack<StackId>>| {
        stacks.sort_unstable_by_key(|row| (row.stack, row.group));
        stacks
    };
    assert_eq!(sorted(read_back.stacks.iter().map(by_id).collect()), sorted(written.stacks));
    // A recorder that looked in vain says why; one that did not look, and an earlier version, has none.
    let change = |sql: &str| {
        Connection::open(&path).expect("open").execute_batch(sql).expect("change");
        read(&path).expect("read").holders
    };
    let why = change(r#"UPDATE meta SET value = '{"unknown": "it was ZGC"}' WHERE key = 'holders'"#);
    assert_eq!(why, Err("it was ZGC".to_owned()));
    let none = change("DELETE FROM meta WHERE key = 'holders'; DROP TABLE kept; DROP TABLE holder");
    assert_eq!(none, Err(super::NOT_ASKED_FOR.to_owned()));
}

#[test]
fn holders_that_cannot_be_are_refused() {
    for sql in [
        "UPDATE holder SET state = 'owned'",
        "UPDATE holder SET path = '[{}]'",
        "UPDATE kept SET holder = 99 WHERE holder = 2",
        "UPDATE kept SET live_bytes = -1",
        "UPDATE holder SET bytes = 1 << 60",
    ] {
        let (_folder, path) = fixture::finished_with_holders();
        let sql = format!("PRAGMA foreign_keys = OFF; {sql}");
        Connection::open(&path).expect("open").execute_batch(&sql).expect("change");
        assert!(matches!(read(&path), Err(ReadError::Corrupt { .. })), "{sql}");
    }
}

#[test]
fn what_a_stranger_calls_a_census_is_told_from_one() {
    let (_folder, path) = fixture::finished();
    let sql = r#"UPDATE census SET json = '[1' WHERE moment = 'begin';
                 UPDATE census SET json = '{"schema": "tracer.report/1"}' WHERE moment = 'end'"#;
    Connection::open(&path).expect("open").execute_batch(sql).expect("update");
    let why: Vec<_> =
        read(&path).expect("read").censuses.into_iter().map(|recorded| recorded.census.err()).collect();
    assert!(why[0].as_ref().is_some_and(|why| why.starts_with("not JSON")), "{why:?}");
    assert_eq!(why[1].as_deref(), Some("its schema is tracer.report/1, not tracer.census/1"));
}

#[test]
fn a_recording_of_before_collected_bytes_is_read() {
    let (_folder, path) = fixture::finished();
    let now = read(&path).expect("read");
    let database = Connection::open(&path).expect("open");
    let older = "ALTER TABLE total DROP COLUMN collected_bytes; ALTER TABLE gc DROP COLUMN \"full\";
        DROP TABLE survivor; DROP TABLE code_series;
        CREATE TABLE series (sample INTEGER, stack INTEGER, source INTEGER, allocated_bytes INTEGER,
            allocated_count INTEGER, freed_bytes INTEGER, freed_count INTEGER);
        INSERT INTO series SELECT sample.id, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
            FROM sample, json_each(totals);
        ALTER TABLE sample DROP COLUMN totals;
        CREATE TABLE threads (stack INTEGER, tid INTEGER, live_bytes INTEGER, live_count INTEGER);
        INSERT INTO threads SELECT stack, value ->> 0, value ->> 1, value ->> 2 FROM live_thread, json_each(threads);
        DROP TABLE live_thread; ALTER TABLE threads RENAME TO live_thread;
        CREATE TABLE sizes (stack INTEGER, least_bytes INTEGER, live_bytes INTEGER, live_count INTEGER);
        INSERT INTO sizes SELECT stack, value ->> 0, value ->> 1, value ->> 2 FROM live_size, json_each(sizes);
        DROP TABLE live_size; ALTER TABLE sizes RENAME TO live_size;";
    database.execute_batch(older).expect("the tables as they were");
    drop(database);
    let before = read(&path).expect("read");
    assert_eq!(before.totals, now.totals);
    assert_eq!(before.series, now.series);
    assert_eq!((&before.live_by_thread, &before.live_sizes), (&now.live_by_thread, &now.live_sizes));
    assert!(!now.live_by_thread.is_empty() && !now.live_sizes.is_empty());
    assert!(now.series.iter().any(|sample| sample.rows.len() > 1));
    assert!(before.survivors.is_empty());
    assert_eq!(before.collections.first().map(|collection| collection.full), Some(false));
}

#[test]
fn threads_with_a_used_tid_are_apart() {
    let (_folder, path) = fixture::folder();
    let mut writer = Writer::create(&path, false, &fixture::header()).expect("create");
    writer.thread(Tid(7), None, Some(10), None, None).expect("thread");
    writer.thread(Tid(7), Some("first"), None, None, None).expect("thread");
    writer.thread(Tid(7), None, None, Some(20), None).expect("thread");
    writer.thread(Tid(7), Some("second"), Some(30), None, None).expect("thread");
    writer.thread(Tid(7), None, Some(30), Some(40), None).expect("thread");
    writer.thread(Tid(8), Some("old"), None, None, None).expect("thread");
    writer.finish(&end()).expect("finish");
    let threads: Vec<_> = read(&path)
        .expect("read")
        .threads
        .into_iter()
        .map(|thread| (thread.tid, thread.name.unwrap_or_default(), thread.started_ns, thread.ended_ns))
        .collect();
    assert_eq!(
        threads,
        [
            (Tid(7), "first".to_owned(), Some(10), Some(20)),
            (Tid(7), "second".to_owned(), Some(30), Some(40)),
            (Tid(8), "old".to_owned(), None, None)
        ]
    );
}

/// Ten thousand stacks of forty frames; fifty thousand are written in 3 s and read in 1.4 s optimized.
#[test]
fn many_stacks_are_no_burden() {
    const STACKS: u64 = 10_000;
    let (_folder, path) = fixture::folder();
    let mut writer = Writer::create(&path, false, &fixture::header()).expect("create");
    let names: Vec<Frame> = (0..5_000)
        .map(|at| fixture::native(&format!("Some::function_{at}(int)"), "/usr/lib/libfoo.so"))
        .collect();
    let started = std::time::Instant::now();
    let mut rows = Vec::new();
    for stack in 0..STACKS {
        let frames: Vec<Frame> =
            (0..40).map(|at| names[(stack as usize * 7 + at * at) % names.len()].clone()).collect();
        let id = stack.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        writer.stack(StackId(id), &frames, true, "complete").expect("stack");
        rows.push((StackId(id), fixture::totals((stack, 1), (0, 0))));
    }
    writer.allocator_totals(START_NS, &rows).expect("totals");
    writer.tick(START_NS + SECOND_NS).expect("tick");
    writer.finish(&end()).expect("finish");
    let written = started.elapsed();
    let recording = read(&path).expect("read");
    let bytes = fs::metadata(&path).expect("file").len();
    println!("written in {written:?}, read in {:?}, {bytes} bytes", started.elapsed() - written);
    assert_eq!(recording.stacks.len() as u64, STACKS);
    assert!(written.as_secs() < 30);
}

fn frame() -> impl Strategy<Value = Frame> {
    (
        "[ -~]{0,12}",
        0..4_u8,
        proptest::option::of("/[a-c]{1,2}"),
        proptest::option::of(any::<u32>()),
        any::<Option<u64>>(),
    )
        .prop_map(|(function, kind, module, line, offset)| Frame {
            kind: [FrameKind::Native, FrameKind::Java, FrameKind::Stub, FrameKind::Kernel][usize::from(kind)],
            module,
            line,
            offset,
            ..Frame::named(function, FrameKind::Native)
        })
}

/// Totals that a recorder can write: nothing is freed that was not allocated.
fn counts() -> impl Strategy<Value = StackTotals> {
    let count = 0..=1_u64 << 56;
    let part = 0_u64..=256;
    (count.clone(), count, part.clone(), part).prop_map(|(bytes, count, freed, collected)| StackTotals {
        allocated_bytes: bytes,
        allocated_count: count,
        freed_bytes: bytes / 256 * freed,
        freed_count: count / 256 * freed,
        collected_bytes: bytes / 256 * freed / 256 * collected,
        allocated_bytes_variance: bytes,
        allocated_count_variance: count,
        freed_bytes_variance: bytes / 3,
        freed_count_variance: count / 2,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn round_trip(
        stacks in proptest::collection::btree_map(any::<u64>(), proptest::collection::vec(frame(), 0..6), 0..8),
        ticks in proptest::collection::vec(proptest::collection::vec((any::<proptest::sample::Index>(), counts(), any::<bool>()), 0..5), 0..5),
    ) {
        let (_folder, path) = fixture::folder();
        let mut writer = Writer::create(&path, false, &fixture::header()).expect("create");
        for (id, frames) in &stacks {
            writer.stack(StackId(*id), frames, true, "complete").expect("stack");
        }
        let ids: Vec<StackId> = stacks.keys().copied().map(StackId).collect();
        let mut expected = std::collections::BTreeMap::new();
        for (tick, rows) in (1_u64..).zip(&ticks) {
            for (stack, totals, mapping) in rows.iter().filter(|_| !ids.is_empty()) {
                let stack = *stack.get(&ids);
                let kind = if *mapping { "anonymous" } else { "" };
                if *mapping {
                    writer.mapping_totals(tick, &[(stack, kind, *totals)]).expect("totals");
                } else {
                    writer.allocator_totals(tick, &[(stack, *totals)]).expect("totals");
                }
                expected.insert((stack, kind.to_owned()), Totals {
                    allocated_bytes: totals.allocated_bytes,
                    allocated_count: totals.allocated_count,
                    freed_bytes: totals.freed_bytes,
                    freed_count: totals.freed_count,
                    collected_bytes: totals.collected_bytes,
                    allocated_bytes_variance: totals.allocated_bytes_variance,
                    allocated_count_variance: totals.allocated_count_variance,
                    freed_bytes_variance: totals.freed_bytes_variance,
                    freed_count_variance: totals.freed_count_variance,
                });
            }
            writer.tick(START_NS + tick).expect("tick");
        }
        writer.finish(&end()).expect("finish");

        let recording = read(&path).expect("read");
        let read_stacks: std::collections::BTreeMap<u64, Vec<Frame>> = recording
            .stacks
            .iter()
            .map(|stack| {
                let frames = stack.frames.iter().map(|&frame| recording.frames[frame as usize].clone());
                (stack.id.0, frames.collect())
            })
            .collect();
        prop_assert_eq!(read_stacks, stacks);
        let totals: std::collections::BTreeMap<_, _> = recording
            .totals
            .iter()
            .map(|row| ((recording.stack(row.stack).expect("its stack").id, row.source.kind().to_owned()), row.totals))
            .collect();
        prop_assert_eq!(&totals, &expected);
        // The series ends where the totals are.
        let mut last = std::collections::BTreeMap::new();
        for row in recording.series.iter().flat_map(|sample| &sample.rows) {
            last.insert(row.total, row.totals);
        }
        for (at, row) in (0..).zip(&recording.totals) {
            prop_assert_eq!(last.get(&at), Some(&MomentTotals::from(&row.totals)));
        }
    }
}
