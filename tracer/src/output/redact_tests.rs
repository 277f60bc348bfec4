//! A redacted profile in every format: nothing of pids, the command line, folders, and names of threads and containers.

use std::io::{Read, Write};
use std::path::Path;

use flate2::read::GzDecoder;
use proptest::prelude::*;
use rusqlite::{Connection, params};

use super::*;
use crate::attribute::Rules;
use crate::process::Pid;
use crate::profile::diff::Diff;
use crate::profile::{Profile, View};
use crate::recording::{self, fixture};

/// Words that must not leave the house.
#[derive(Clone, Debug)]
struct Secrets {
    pid: u32,
    words: Vec<String>,
}

impl Secrets {
    fn word(&self, at: usize) -> &str {
        &self.words[at % self.words.len()]
    }
}

/// Letters with a number in them, as no other word of a report has.
fn secrets() -> impl Strategy<Value = Secrets> {
    (4_000_000_u32..4_194_000, proptest::collection::btree_set("[A-Z]{3}[a-z]{3}[0-9]{2}[A-Z]{2}", 12))
        .prop_map(|(pid, words)| Secrets { pid, words: words.into_iter().collect() })
}

/// Puts them wherever a recording has something of its machine.
fn put(path: &Path, secrets: &Secrets) {
    let database = Connection::open(path).expect("open");
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let texts = |sql: &str| -> Vec<(i64, String)> {
        let mut statement = database.prepare(sql).expect("select");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        rows.map(|row| row.expect("row")).collect()
    };
    let (pid, word) = (secrets.pid, |at| secrets.word(at));
    for (id, path) in texts("SELECT id, path FROM module") {
        let path = format!("/srv/{}/with a {}/{}", word(0), word(1), base(&path));
        database.execute("UPDATE module SET path = ?2 WHERE id = ?1", params![id, path]).expect("module");
    }
    let sql = "UPDATE frame SET file = ?1 WHERE kind = 'native' AND file IS NULL";
    database.execute(sql, [format!("/home/{}/src/native.c", word(2))]).expect("files");
    for (id, _) in texts("SELECT id, coalesce(name, '') FROM thread") {
        let name = format!("{} worker-{id}", word(3));
        database.execute("UPDATE thread SET name = ?2 WHERE id = ?1", params![id, name]).expect("thread");
    }
    let sql = "SELECT rowid, value FROM (SELECT 1 AS rowid, value FROM meta WHERE key = 'target')";
    let target = texts(sql).into_iter().next().expect("a target").1;
    let mut target: serde_json::Value = serde_json::from_str(&target).expect("JSON");
    target["pid"] = pid.into();
    target["container"] = word(4).into();
    target["exe"] = format!("/opt/{}/bin/java", word(5)).into();
    let password = format!("-Dpassword={}", word(6));
    target["command"] =
        serde_json::json!([format!("/opt/{}/java", word(5)), password, "com.acme.Feed", word(7)]);
    target["jvm"]["java_home"] = format!("/opt/{}", word(5)).into();
    let set = |key: &str, value: &str| {
        database.execute("UPDATE meta SET value = ?2 WHERE key = ?1", [key, value]).expect("meta")
    };
    assert_eq!(set("target", &target.to_string()), 1);
    assert_eq!(set("end_reason", &format!("cannot write /mnt/{}/x.trec of {pid}", word(8))), 1);
    let note = format!(
        "pid {pid} of container {} maps /srv/{}/with a {}/libz.so.1.2.13, thread {} worker-1 did.",
        word(4),
        word(0),
        word(1),
        word(3)
    );
    database.execute("INSERT INTO note (text) VALUES (?1)", [note]).expect("note");
    let path = serde_json::json!([
        { "kind": "thread", "class": "java.lang.Thread", "name": format!("{} of the shop 7", word(9)) },
        { "kind": "field", "class": "com.acme.Feed", "name": "open" },
    ]);
    database.execute("UPDATE holder SET path = ?1 WHERE state = 'held'", [path.to_string()]).expect("holder");
    let limit = serde_json::json!({
        "id": "cgroup-memory", "used": 5, "limit": 9, "unit": "bytes", "growth_per_s": null, "seconds_left": null,
        "reached_ns": 1, "hits": null, "reason": null,
        "set_by": format!("/sys/fs/cgroup/kubepods/{}/memory.max", word(10)),
    });
    let sql = "INSERT OR REPLACE INTO limit_state VALUES ('cgroup-memory', ?1)";
    database.execute(sql, [limit.to_string()]).expect("limit");
    let sql = "UPDATE census SET json = NULL, unknown = ?1 WHERE moment = 'begin'";
    database.execute(sql, [format!("process {pid} of {} is gone", word(4))]).expect("census");
}

/// All that is written of a profile and of what it and itself differ in, by format.
fn written(profile: &mut Profile) -> Vec<(&'static str, String)> {
    type Render = fn(&Profile, &Options, &mut dyn Write) -> std::io::Result<()>;
    let mut all = Vec::new();
    let mut add = |name, out: Vec<u8>| {
        let mut unpacked = Vec::new();
        let out = match GzDecoder::new(out.as_slice()).read_to_end(&mut unpacked) {
            Ok(_) => unpacked,
            Err(_) => out,
        };
        let text = String::from_utf8_lossy(&out).into_owned();
        let data = if name == "html" || name == "diff html" {
            let (facts, bytes) = html::tests::data(&text);
            format!("{facts}{}", String::from_utf8_lossy(&bytes))
        } else {
            String::new()
        };
        all.push((name, text + &data));
    };
    let diff = Diff::of_profiles(profile, profile);
    for view in [View::Live, View::Allocated] {
        profile.keep_view(view);
        let options = Options { view, verbose: true, all: true, ..Options::default() };
        let renders: [(&str, Render); 10] = [
            ("text", text::render),
            ("summary", text::summary),
            ("json", report2::report),
            ("json1", json::render),
            ("folded", folded::render),
            ("flamegraph", flamegraph::render),
            ("html", html::render),
            ("pprof", pprof::render),
            ("otlp", otlp::render),
            ("dhat", dhat::render),
        ];
        for (name, render) in renders {
            let mut out = Vec::new();
            render(profile, &options, &mut out).expect(name);
            add(name, out);
        }
        type OfDiff = fn(&Diff, &Options, &mut dyn Write) -> std::io::Result<()>;
        let renders: [(&str, OfDiff); 7] = [
            ("diff text", diff::text),
            ("diff json", report2::diff),
            ("diff json1", diff::json),
            ("diff folded", diff::folded),
            ("diff flamegraph", diff::flamegraph),
            ("diff html", html::render_diff),
            ("diff pprof", pprof::render_diff),
        ];
        for (name, render) in renders {
            let mut out = Vec::new();
            render(&diff, &options, &mut out).expect(name);
            add(name, out);
        }
    }
    all
}

fn profile(secrets: &Secrets) -> Profile {
    let (_folder, path) = fixture::finished_with_holders();
    put(&path, secrets);
    Profile::build(&recording::read(&path).expect("read"), &Rules::builtin())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2, ..ProptestConfig::default() })]

    #[test]
    fn no_format_says_who_and_where(secrets in secrets()) {
        let mut profile = profile(&secrets);
        let totals = profile.totals;
        profile.redact();
        prop_assert_eq!((profile.totals, profile.target.pid), (totals, Pid(0)));
        for (format, text) in written(&mut profile) {
            for gone in secrets.words.iter().cloned().chain([secrets.pid.to_string()]) {
                let place = text.find(&gone);
                let near = place.map(|at| text.get(at.saturating_sub(60)..).unwrap_or(&text[at..]));
                let near: Option<String> = near.map(|near| near.chars().take(120).collect());
                prop_assert_eq!(near, None, "{}: {}", format, gone);
            }
            prop_assert!(!text.contains("(pid 0)") && !text.contains("pid 0,"), "{}", format);
            if !format.contains("summary") {
                prop_assert!(text.contains("com.acme.Feed"), "{}: classes stay", format);
            }
        }
    }
}

/// The words are where the test puts them: without redaction each is in some output.
#[test]
fn all_of_it_is_said_without_redaction() {
    let words = (10..22).map(|at| format!("SECRET{at}X")).collect();
    let secrets = Secrets { pid: 4_123_456, words };
    let text: String = written(&mut profile(&secrets)).into_iter().map(|(_, text)| text).collect();
    for word in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|at| secrets.word(at).to_owned()) {
        assert!(text.contains(&word), "{word}");
    }
    assert!(text.contains("4123456"));
}
