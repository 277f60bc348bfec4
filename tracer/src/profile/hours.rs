//! Verdicts on hours: histories made through the recorder's own writer, each with its truth after a minute, ten
//! minutes, an hour and eight hours. In a short recording that cannot be told which a long one tells is as good as
//! silent.

use tracer_common::stack::StackId;

use super::{Profile, VerdictKind};
use crate::attribute::Rules;
use crate::recording::fixture::{self, SECOND_NS, START_NS};
use crate::recording::{self, End, Survivors, Writer};
use crate::symbolize::{Frame, FrameKind};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const STACK: StackId = StackId(77);
/// Moments at which survivors are told apart.
const BIRTHS: u64 = 32;

/// Memory that was asked for and is live at a second: bytes, in pieces of one size, those that came first freed first.
struct Course {
    piece_bytes: u64,
    allocated: fn(u64) -> u64,
    live: fn(u64) -> u64,
}

/// The verdict's kind and sentence when the course was recorded for so long.
fn verdict(course: &Course, seconds: u64) -> (VerdictKind, String) {
    let (_folder, path) = fixture::folder();
    let mut writer = Writer::create(&path, false, &fixture::header()).expect("create");
    let frames = [
        fixture::native("malloc", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
        fixture::native("acme_put", "/opt/acme/libacme.so"),
        Frame { line: Some(7), ..Frame::named("com.acme.Store.put", FrameKind::Java) },
    ];
    writer.stack(STACK, &frames, true, "complete").expect("stack");
    let at = |second: u64| {
        let allocated = (course.allocated)(second);
        (allocated, allocated - (course.live)(second).min(allocated))
    };
    let step = (seconds / 240).max(1);
    for second in (step..=seconds).step_by(usize::try_from(step).expect("a step")) {
        let (allocated, freed) = at(second);
        let count = |bytes: u64| bytes / course.piece_bytes;
        let totals = fixture::totals((allocated, count(allocated)), (freed, count(freed)));
        writer.allocator_totals(START_NS + second * SECOND_NS, &[(STACK, totals)]).expect("totals");
        writer.tick(START_NS + second * SECOND_NS).expect("tick");
    }
    // The oldest were freed.
    let (_, freed) = at(seconds);
    let births: Vec<_> = (0..BIRTHS)
        .map(|birth| {
            let (from, to) = (birth * seconds / BIRTHS, (birth + 1) * seconds / BIRTHS);
            let left = (course.allocated)(to).max(freed) - (course.allocated)(from).max(freed);
            Survivors {
                stack: STACK,
                epoch: 0,
                born_ns: START_NS + from * SECOND_NS,
                live_bytes: left,
                live_count: left / course.piece_bytes,
            }
        })
        .filter(|birth| birth.live_bytes > 0)
        .collect();
    writer.survivors(&births).expect("survivors");
    writer.finish(&End { duration_ns: seconds * SECOND_NS, reason: "duration".to_owned() }).expect("finish");
    let profile = Profile::build(&recording::read(&path).expect("read"), &Rules::builtin());
    let row = profile.categories.iter().find(|row| row.id == "native:libacme.so").expect("its row");
    let verdict = row.verdict.clone().expect("a verdict");
    assert_eq!(verdict.figures.whole("live_bytes"), Some(row.totals.live_bytes), "{}", verdict.evidence);
    assert_eq!(verdict.figures.whole("freed_bytes"), Some(row.totals.freed_bytes), "{}", verdict.evidence);
    let told = verdict.figures.rate("growth_bytes_per_s");
    assert!(told.is_none() || told == row.growth_bytes_per_s, "the column is the sentence's");
    (verdict.kind, verdict.evidence.to_string())
}

/// The verdicts that are right after a minute, ten minutes, an hour and eight hours.
fn holds(name: &str, course: &Course, right: [&[VerdictKind]; 4]) {
    for (seconds, right) in [MINUTE, 10 * MINUTE, HOUR, 8 * HOUR].into_iter().zip(right) {
        let (kind, evidence) = verdict(course, seconds);
        assert!(right.contains(&kind), "{name} for {seconds} s: {kind:?}: {evidence}");
    }
}

use VerdictKind::{Leak, Pool, Steady, TooShort, Transient};

#[test]
fn a_cache_that_fills_in_forty_minutes() {
    let size = |second: u64| second.min(40 * MINUTE) * 100 * KIB;
    // While it fills, nothing tells it from a leak.
    holds(
        "kept",
        &Course { piece_bytes: 10 * KIB, allocated: size, live: size },
        [&[Leak, TooShort], &[Leak, TooShort], &[Pool], &[Pool]],
    );
    // Once it is full, each entry takes the place of the oldest.
    let course = Course { piece_bytes: 10 * KIB, allocated: |second| second * 100 * KIB, live: size };
    holds("replaced", &course, [&[Leak, TooShort], &[Leak, TooShort], &[Pool, Steady], &[Pool, Steady]]);
}

#[test]
fn a_leak_of_a_mebibyte_an_hour() {
    let size = |second: u64| second * MIB / HOUR;
    let course = Course { piece_bytes: 64, allocated: size, live: size };
    // A minute brings 17 KiB: nobody can tell.
    holds("slow", &course, [&[Steady, TooShort], &[Leak], &[Leak], &[Leak]]);
}

#[test]
fn a_nightly_batch() {
    // From the third hour on for half an hour, 100 MiB for 20 s each.
    let course = Course {
        piece_bytes: 10 * KIB,
        allocated: |second| MIB + second.saturating_sub(3 * HOUR).min(HOUR / 2) * 5 * MIB,
        live: |second| {
            MIB + if (3 * HOUR..3 * HOUR + HOUR / 2).contains(&second) {
                (second - 3 * HOUR).min(20) * 5 * MIB
            } else {
                0
            }
        },
    };
    let before: &[VerdictKind] = &[Pool, Steady];
    holds("batch", &course, [before, before, before, &[Transient, Steady]]);
}

#[test]
fn a_pool_that_follows_the_load_of_a_day() {
    // Busy in the middle of eight hours: 2 s of what is asked for is live.
    fn rate(second: u64) -> u64 {
        20 + second.min((8 * HOUR).saturating_sub(second)) / 60
    }
    fn asked(second: u64) -> u64 {
        let half = second.min(4 * HOUR);
        let late = second - half;
        let sum = |seconds: u64| 20 * seconds + seconds * seconds / 120;
        sum(half) + (20 + 4 * HOUR / 60) * late - late * late / 120
    }
    let course = Course {
        piece_bytes: 10 * KIB,
        allocated: |second| asked(second) * 10 * KIB,
        live: |second| (rate(second) * 2).min(asked(second)) * 10 * KIB,
    };
    holds(
        "load",
        &course,
        [
            &[Pool, Steady, TooShort],
            &[Pool, Steady, TooShort],
            &[Pool, Steady, TooShort],
            &[Pool, Steady, Transient, TooShort],
        ],
    );
}
