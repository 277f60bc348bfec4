//! Recordings of earlier versions: every later version reads them, and finds in them what was found then.
//!
//! `tests/fixtures/recordings` has ten recordings by version 0.1.0 (commit 87399a9), and in `expected.json` what that
//! version reported of each. Needs no root.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::earlier_recordings::{NAMES, folder, unpacked};
use common::recorder::tracer;
use common::report::{Totals, assert_balanced, of_source, rows};
use serde_json::Value;

fn expected(name: &str) -> Value {
    let text = fs::read(folder().join("expected.json")).expect("read what was reported");
    let all: Value = serde_json::from_slice(&text).expect("JSON");
    all[name].clone()
}

/// Output of `tracer report`, which succeeds.
fn report(file: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = tracer().arg("report").arg(file).args(arguments).output().expect("run tracer");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "report {} {arguments:?}:\n{stderr}", file.display());
    output.stdout
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&report(file, &["--format", "json"])).expect("the report is JSON")
}

/// Six numbers, in the order of the expected ones.
fn six(row: &Value) -> Value {
    let Totals { allocated_bytes, allocated_count, freed_bytes, freed_count, live_bytes, live_count } =
        Totals::of(row);
    Value::from(vec![allocated_bytes, allocated_count, freed_bytes, freed_count, live_bytes, live_count])
}

/// Adds the first six numbers of a row.
fn add(sum: &mut [u64; 6], totals: &Value) {
    for (sum, total) in sum.iter_mut().zip(totals.as_array().expect("totals")) {
        *sum += total.as_u64().expect("a number");
    }
}

#[test]
fn totals_are_what_they_were() {
    for name in NAMES {
        let (_folder, file) = unpacked(name);
        let (report, expected) = (json(&file), expected(name));
        assert_eq!(six(&report["totals"]), expected["totals"], "{name}");
        assert_balanced(&report);

        let mut then: BTreeMap<String, [u64; 6]> = BTreeMap::new();
        for (key, totals) in expected["categories"].as_object().expect("categories") {
            add(then.entry(of_then(key).to_owned()).or_default(), totals);
        }
        let mut now: BTreeMap<String, [u64; 6]> = BTreeMap::new();
        for row in rows(&report, "categories") {
            let key = format!("{}:{}", text(&row["source"]), text(&row["id"]));
            add(now.entry(of_then(&key).to_owned()).or_default(), &six(row));
        }
        assert_eq!(now, then, "{name}: a rule that moves bytes on purpose is one of MOVED");
        assert_eq!(Value::from(rows(&report, "sites").len()), expected["site_count"], "{name}");
    }
}

/// Categories to which later rules gave what then was in another one, with that one.
const MOVED: [(&str, &str); 3] = [
    // Handles that classes have, not the application's references.
    ("allocator:class", "allocator:jni"),
    ("allocator:monitor", "allocator:jvm"),
    // Libraries that the session loaded.
    ("mapping:libraries", "mapping:mapped-file"),
];

/// The category under which both versions are compared.
fn of_then(category: &str) -> &str {
    MOVED.iter().find(|(now, _)| *now == category).map_or(category, |(_, then)| then)
}

#[test]
fn facts_are_what_they_were() {
    for name in NAMES {
        let (_folder, file) = unpacked(name);
        let (report, expected) = (json(&file), expected(name));
        assert_eq!(report["memory"]["rss_bytes"], expected["rss_bytes"], "{name}");
        let parts = expected["parts"].as_object().expect("parts");
        for part in report["memory"]["parts"].as_array().expect("parts") {
            assert_eq!(Some(&part["resident_bytes"]), parts.get(text(&part["id"])), "{name}: {part}");
        }
        let threads = &report["threads"];
        let threads = [&threads["live"], &threads["started"], &threads["exited"]].map(Value::clone);
        assert_eq!(Value::from(threads.to_vec()), expected["threads"], "{name}");
        for key in ["gc_count", "ended", "sample_bytes", "probes"] {
            assert_eq!(report["session"][key], expected[key], "{name}: {key}");
        }
        assert_eq!(report["trust"]["lost"], expected["lost"], "{name}");
        assert_eq!(report["target"]["command"], expected["command"], "{name}");
        assert_eq!(report["target"]["jvm"]["version"], expected["jvm"], "{name}");
        for (at, moment) in ["begin", "end"].into_iter().enumerate() {
            let census = &report["census"];
            assert_eq!(Value::from(!census[moment].is_null()), expected["census"][at], "{name}: {moment}");
            // A figure that is not there has a reason.
            let reason = &report["unknown"][format!("census.{moment}")];
            assert_eq!(census[moment].is_null(), reason.is_string(), "{name}: {moment}");
        }
    }
}

#[test]
fn what_they_do_not_have_is_null_with_a_reason() {
    for name in NAMES {
        let (_folder, file) = unpacked(name);
        let report = json(&file);
        for key in ["resident_bytes", "kept_by", "growth_bytes_per_s", "growth_count_per_s"] {
            let is_null = rows(&report, "by_line").iter().any(|row| row[key].is_null());
            let reason = &report["unknown"][format!("by_line[].{key}")];
            assert!(!is_null || reason.is_string(), "{name}: {key}");
        }
        for (of, key) in [
            ("session", "ended"),
            ("session", "gc_count"),
            ("session", "overhead_percent"),
            ("memory", "rss_bytes"),
            ("memory", "limit_bytes"),
            ("memory", "heap"),
            ("target", "jvm"),
        ] {
            let reason = &report["unknown"][format!("{of}.{key}")];
            let is_native = key == "gc_count" && report["target"]["jvm"].is_null();
            assert!(!report[of][key].is_null() || reason.is_string() || is_native, "{name}: {of}.{key}");
        }
        let sizes: Vec<u64> = rows(&report, "by_line")
            .iter()
            .flat_map(|row| rows(row, "sites"))
            .map(|site| site.as_u64().expect("an index"))
            .collect();
        assert_eq!(sizes.len(), rows(&report, "sites").len(), "{name}: every site is in one row by line");
    }
}

#[test]
fn the_first_version_of_json_is_written_for_one_version_more() {
    let (_folder, file) = unpacked("leak");
    let report: Value = serde_json::from_slice(&report(&file, &["--format", "json1"])).expect("JSON");
    assert_eq!(report["schema"], "tracer.report/1");
    assert_eq!(six(&report["totals"]), expected("leak")["totals"]);
    assert!(rows(&report, "sites").iter().all(|site| rows(site, "frames").iter().all(Value::is_object)));
}

#[test]
fn every_output_is_made_and_has_the_same_bytes() {
    for name in NAMES {
        let (_folder, file) = unpacked(name);
        let live_bytes = expected(name)["totals"][4].as_u64().expect("live bytes");
        let stacks = String::from_utf8(report(&file, &["--format", "folded"])).expect("text");
        let sum: u64 = stacks.lines().map(bytes_of).sum();
        assert_eq!(sum, live_bytes, "{name}: the folded stacks add up to the totals");
        assert!(!report(&file, &[]).is_empty() && !report(&file, &["-v"]).is_empty(), "{name}");
        if live_bytes > 0 {
            let picture = String::from_utf8(report(&file, &["--format", "flamegraph"])).expect("text");
            assert!(picture.contains("</svg>"), "{name}");
        }
    }
}

#[test]
fn recordings_of_then_are_compared() {
    let ((_one, base), (_other, new)) = (unpacked("exact"), unpacked("leak"));
    let output = tracer().arg("diff").args([&base, &new]).args(["--format", "json"]).output().expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let diff: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let sums = of_source(&diff, "categories", "allocator");
    for (side, name) in [("base", "exact"), ("new", "leak")] {
        assert_eq!(six(&diff["totals"][side]), expected(name)["totals"], "{name}");
        let sum = Totals::sum(sums.iter().map(|row| &row[side]));
        assert_eq!(sum, Totals::of(&diff["totals"][side]), "{name}: the categories add up");
    }
}

/// The number behind a folded stack.
fn bytes_of(line: &str) -> u64 {
    line.rsplit(' ').next().and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("{line:?}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
