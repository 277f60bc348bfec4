//! A redacted profile in every format: nothing of pids, the command line, folders, and names of threads and containers.

use std::io::{Read, Write};

use flate2::read::GzDecoder;
use proptest::prelude::*;

use super::*;
use crate::attribute::Rules;
use crate::process::Pid;
use crate::profile::diff::Diff;
use crate::profile::{Profile, View};
use crate::recording::fixture::secrets::{Secrets, put};
use crate::recording::{self, fixture};

/// Letters with a number in them, as no other word of a report has.
fn secrets() -> impl Strategy<Value = Secrets> {
    (4_000_000_u32..4_194_000, proptest::collection::btree_set("[A-Z]{3}[a-z]{3}[0-9]{2}[A-Z]{2}", 12))
        .prop_map(|(pid, words)| Secrets { pid, words: words.into_iter().collect() })
}

/// Texts that are written of a profile and of what it and itself differ in, by format.
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
