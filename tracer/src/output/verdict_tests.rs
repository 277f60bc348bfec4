//! Text and JSON of random histories: the same rows, with the same numbers and the same words.

use proptest::prelude::*;
use serde_json::Value;
use tracer_common::{stack::StackId, table::StackTotals};

use super::*;
use crate::attribute::Rules;
use crate::profile::Profile;
use crate::recording::fixture::{self, SECOND_NS, START_NS};
use crate::recording::{self, Collection, End, Survivors, Writer};
use crate::symbolize::{Frame, Tier};

/// Columns of the text: no name is shortened.
const WIDTH: usize = 240;
/// Seconds of the longest recording.
const SECONDS: usize = 45;

/// A second of a line's history: pieces that it asked for, pieces that were freed, and by whom.
#[derive(Clone, Copy, Debug)]
struct Second {
    allocated: u64,
    freed: u64,
    by_collector: bool,
}

/// History of a line's memory, in pieces of one size.
#[derive(Clone, Debug)]
struct History {
    piece_bytes: u64,
    seconds: Vec<Second>,
}

/// Leaks, pools, caches that replace, bursts, and what has no shape at all.
fn history() -> impl Strategy<Value = History> {
    let by = |allocated: u64, freed: u64, by_collector: bool| Second { allocated, freed, by_collector };
    let shaped =
        (0_u8..4, 1_u64..60, 1..SECONDS, any::<bool>()).prop_map(move |(shape, rate, turn, by_collector)| {
            let second = |second: usize| match (shape, second < turn) {
                (0, _) | (_, true) => by(rate, 0, false),
                (1, false) => by(0, 0, false),
                (2, false) => by(rate, rate, by_collector),
                (_, false) => by(0, 2 * rate, by_collector),
            };
            (0..SECONDS).map(second).collect::<Vec<_>>()
        });
    let noise = (0_u64..40, 0_u64..50, any::<bool>())
        .prop_map(move |(allocated, freed, by_collector)| by(allocated, freed, by_collector));
    let noise = proptest::collection::vec(noise, SECONDS);
    (16_u64..1 << 18, prop_oneof![4 => shaped, 1 => noise])
        .prop_map(|(piece_bytes, seconds)| History { piece_bytes, seconds })
}

/// Collections: when, and whether they were full.
fn collections() -> impl Strategy<Value = Vec<(usize, bool)>> {
    proptest::collection::vec((1..SECONDS, any::<bool>()), 0..5)
}

const LIBC: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";
const LIBJVM: &str = "/usr/lib/jvm/java-17/lib/server/libjvm.so";

/// The stack of a line: of a library, of zlib, or of direct buffers in turn.
fn frames(at: usize) -> Vec<Frame> {
    let line = |function: &str| fixture::java(function, 7, Tier::C2);
    let below = match at % 3 {
        0 => vec![fixture::native("acme_put", &format!("/opt/acme/libacme{at}.so"))],
        1 => vec![
            fixture::native("inflateInit2_", "/usr/lib/x86_64-linux-gnu/libz.so.1.2.13"),
            line("java.util.zip.Inflater.init"),
            line("java.util.zip.Inflater.<init>"),
        ],
        _ => vec![
            fixture::native("os::malloc(unsigned long, MEMFLAGS)", LIBJVM),
            fixture::native("Unsafe_AllocateMemory0", LIBJVM),
            line("jdk.internal.misc.Unsafe.allocateMemory0"),
            line("java.nio.DirectByteBuffer.<init>"),
            line("java.nio.ByteBuffer.allocateDirect"),
        ],
    };
    let mut frames = vec![fixture::native("malloc", LIBC)];
    frames.extend(below);
    frames.push(line(&format!("com.acme.Line{at}.put")));
    frames.push(fixture::native("start_thread", LIBC));
    frames
}

/// The profile of what a recorder would have written of these histories.
fn profile(histories: &[History], seconds: usize, collections: &[(usize, bool)]) -> Profile {
    let (_folder, path) = fixture::folder();
    let mut writer = Writer::create(&path, false, &fixture::header()).expect("create");
    let at = |second: usize| START_NS + second as u64 * SECOND_NS;
    for number in 0..histories.len() {
        writer.stack(StackId(1 + number as u64), &frames(number), true, "complete").expect("stack");
    }
    let mut sums = vec![StackTotals::ZERO; histories.len()];
    // Pieces that are live, by the second of their birth.
    let mut live = vec![vec![0_u64; seconds]; histories.len()];
    for second in 0..seconds {
        for ((history, sum), live) in histories.iter().zip(&mut sums).zip(&mut live) {
            let now = history.seconds[second];
            sum.allocated_count += now.allocated;
            sum.allocated_bytes += now.allocated * history.piece_bytes;
            live[second] = now.allocated;
            let mut left = now.freed;
            for births in live.iter_mut() {
                let freed = left.min(*births);
                (*births, left) = (*births - freed, left - freed);
                sum.freed_count += freed;
                sum.freed_bytes += freed * history.piece_bytes;
                sum.collected_bytes += if now.by_collector { freed * history.piece_bytes } else { 0 };
            }
        }
        let totals: Vec<_> = (1..).map(StackId).zip(sums.iter().copied()).collect();
        writer.allocator_totals(at(second + 1), &totals).expect("totals");
        writer.tick(at(second + 1)).expect("tick");
    }
    let collections = || collections.iter().copied().filter(|(second, _)| *second < seconds);
    for (second, full) in collections() {
        let begin_ns = at(second);
        writer.gc(Collection { begin_ns, end_ns: Some(begin_ns + 5_000_000), full }).expect("gc");
    }
    let mut survivors = Vec::new();
    for ((stack, history), live) in (1..).map(StackId).zip(histories).zip(&live) {
        survivors.extend(live.iter().enumerate().filter(|(_, count)| **count > 0).map(
            |(second, &live_count)| {
                let epoch = collections().filter(|(collection, _)| *collection <= second).count();
                let epoch = u32::try_from(epoch).expect("few");
                let live_bytes = live_count * history.piece_bytes;
                Survivors { stack, epoch, born_ns: at(second), live_bytes, live_count }
            },
        ));
    }
    writer.survivors(&survivors).expect("survivors");
    let duration_ns = seconds as u64 * SECOND_NS;
    writer.finish(&End { duration_ns, reason: "duration".to_owned() }).expect("finish");
    Profile::build(&recording::read(&path).expect("read"), &Rules::builtin())
}

/// The word of the first screen for a verdict of the JSON.
fn word(verdict: &Value) -> &'static str {
    match (verdict["kind"].as_str().expect("kind"), verdict["proof"].as_str().expect("proof")) {
        ("leak", _) => "leak",
        ("gc-pending", "none") => "unproven",
        ("gc-pending", _) => "gc-pending",
        ("retention", _) => "kept by malloc",
        ("too-short", _) => "too short to tell",
        ("pool" | "transient" | "steady", _) => "ok",
        (kind, _) => panic!("a new kind: {kind}"),
    }
}

fn number(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap_or_else(|| panic!("{key}: {row:#}"))
}

/// `Class.method:line` of a row of the JSON.
fn name(row: &Value) -> String {
    let line = &row["line"];
    format!("{}:{}", line["function"].as_str().expect("function"), line["line"])
}

/// The lines that follow one that begins with `start`, up to one that is indented less than theirs, as one text; with
/// the words behind `start`.
fn row<'a>(lines: &[&'a str], start: &str) -> (Vec<&'a str>, String) {
    let at = lines.iter().position(|line| line.starts_with(start));
    let at = at.unwrap_or_else(|| panic!("no {start:?} in\n{}", lines.join("\n")));
    let below = lines[at + 1..].iter().take_while(|line| line.starts_with("     "));
    let below: Vec<&str> = below.flat_map(|line| line.split_whitespace()).collect();
    (lines[at][start.len()..].split_whitespace().collect(), below.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn text_and_json_say_the_same(
        histories in proptest::collection::vec(history(), 1..5),
        seconds in 2..SECONDS,
        collections in collections(),
    ) {
        let profile = profile(&histories, seconds, &collections);
        let options = Options { all: true, width: WIDTH, ..Options::default() };
        let mut out = Vec::new();
        text::render(&profile, &options, &mut out).expect("text");
        let text = String::from_utf8(out).expect("UTF-8");
        let mut out = Vec::new();
        report2::report(&profile, &options, &mut out).expect("JSON");
        let document: Value = serde_json::from_slice(&out).expect("JSON");
        let rows: Vec<&Value> = document["by_line"].as_array().expect("by_line").iter().collect();
        let text: Vec<&str> = text.lines().collect();

        // The table: bytes, count, resident and allocated bytes; the category, the verdict, and the growth.
        let title = text.iter().position(|line| line.starts_with("By line "));
        let table = &text[title.map_or(text.len(), |title| title + 1)..];
        let held = rows.iter().filter(|row| number(row, "live_bytes") > 0);
        prop_assert_eq!(title.is_some(), held.clone().count() > 0);
        for it in held.clone() {
            let (cells, below) = row(table, &format!("  {} ", name(it)));
            let resident = it["resident_bytes"].as_u64().map_or_else(|| "-".to_owned(), units::bytes);
            let numbers = [
                units::bytes(number(it, "live_bytes")),
                units::count(number(it, "live_count")),
                resident,
                units::bytes(number(it, "allocated_bytes")),
            ];
            let expected: Vec<&str> = numbers.iter().flat_map(|number| number.split_whitespace()).collect();
            prop_assert!(cells.starts_with(&expected), "{:?} {:?}", cells, expected);
            let kind = it["kind"].as_str().map_or_else(String::new, |kind| format!(" ({kind})"));
            let verdict = &it["verdict"]["kind"];
            let mut expected = vec![format!("{}{kind}", it["category"].as_str().expect("category"))];
            expected.extend(verdict.as_str().map(str::to_owned));
            expected.extend(it["growth_bytes_per_s"].as_i64().filter(|growth| *growth != 0).map(units::rate));
            prop_assert_eq!(below, expected.join("; "));
        }

        // The findings, in their order: number, line, bytes, count; the word and the evidence.
        let findings = document["findings"].as_array().expect("findings");
        let title = text.iter().position(|line| {
            line.starts_with("LEAKS, by the line") || line.starts_with("FINDINGS, by the line")
        });
        prop_assert_eq!(title.is_some(), !findings.is_empty());
        if let Some(title) = title {
            let all_leak = findings.iter().all(|finding| word(&finding["verdict"]) == "leak");
            prop_assert_eq!(text[title].starts_with("LEAKS"), all_leak);
        }
        for (at, finding) in findings.iter().enumerate() {
            let (cells, below) = row(&text[title.map_or(0, |title| title + 1)..], &format!("{:>2} ", at + 1));
            let bytes = match number(finding, "live_bytes") {
                0 => number(finding, "mapped_bytes"),
                bytes => bytes,
            };
            let cells = cells.join(" ");
            prop_assert!(cells.contains(&format!(" {} ", units::bytes(bytes))), "{}", cells);
            let count = units::count(number(finding, "live_count"));
            prop_assert!(cells.ends_with(&format!(" {count}")), "{}", cells);
            for at in finding["by_line"].as_array().expect("rows") {
                let it = rows[usize::try_from(at.as_u64().expect("index")).expect("index")];
                prop_assert_eq!(&it["verdict"]["kind"], &finding["verdict"]["kind"], "{:#}", finding);
                prop_assert!(cells.starts_with(&name(it)), "{}", cells);
            }
            let verdict = &finding["verdict"];
            let evidence = verdict["evidence"].as_str().expect("evidence");
            let told = match word(verdict) {
                "leak" | "kept by malloc" => evidence.to_owned(),
                word => format!("{word}: {evidence}"),
            };
            prop_assert!(below.contains(&told), "{}\n{}", told, below);
        }

        // Without findings, the lines that hold most, each with the word of its row.
        let title = text.iter().position(|line| line.starts_with("What is held, by the line"));
        if let Some(title) = title {
            let is_short = text[..title].iter().any(|line| line.starts_with("TOO SHORT"));
            let table: Vec<&str> = text[title + 1..].iter().copied().take_while(|line| !line.is_empty()).collect();
            let mut told = 0;
            for it in held {
                let is_its = |line: &&&str| line.contains(&format!(" {} ", name(it)));
                let Some(line) = table.iter().find(is_its) else { continue };
                told += 1;
                let (cells, below) = row(&table, &line[..3]);
                let bytes = units::bytes(number(it, "live_bytes"));
                prop_assert!(cells.join(" ").contains(&format!(" {bytes} ")), "{:?}", cells);
                let category = it["category"].as_str().expect("category");
                let expected = match is_short {
                    true => category.to_owned(),
                    false => format!("{category}: {}", word(&it["verdict"])),
                };
                prop_assert_eq!(below, expected);
            }
            let numbered = table.iter().filter(|line| line.get(..3).is_some_and(|start| start.trim().parse::<u8>().is_ok()));
            prop_assert_eq!(told, numbered.count(), "each line of the table is a row of the JSON");
        }
    }
}
