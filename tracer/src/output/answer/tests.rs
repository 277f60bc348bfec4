//! The first screen fits, whatever the names are, and says what the profile says.

use unicode_width::UnicodeWidthStr;

use super::*;
use crate::attribute::Rules;
use crate::output::units;
use crate::recording::{self, fixture};

fn profile() -> Profile {
    let (_folder, path) = fixture::finished();
    Profile::build(&recording::read(&path).expect("read"), &Rules::builtin())
}

fn rendered(profile: &Profile, options: &Options) -> String {
    let mut out = Vec::new();
    render(profile, options, &mut out).expect("render");
    below(profile, options, &mut out).expect("render");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn no_line_is_wider_than_the_screen() {
    let wide = "漢字".repeat(75);
    let long = format!("com.acme.{}.{}", "Klasse".repeat(40), "m".repeat(60));
    let blanks = "a b ".repeat(75);
    for name in [long, format!("com.{wide}.{wide}"), blanks, String::new()] {
        let mut profile = profile();
        profile.target.comm = name.clone();
        profile.target.command = vec!["java".to_owned(), name.clone()];
        profile.quality.notes = vec![name.clone()];
        for row in &mut profile.by_line {
            row.category = name.clone();
            if let Some(line) = &mut row.line {
                line.function = name.clone();
            }
        }
        for row in &mut profile.threads.names {
            row.pattern = name.clone();
        }
        for row in &mut profile.categories {
            (row.id, row.name) = (name.clone(), name.clone());
        }
        for width in [40, 80, 120, 200] {
            let options = Options { width, file: Some("tracer-java.4711.trec".into()), ..Options::default() };
            for line in rendered(&profile, &options).lines() {
                // A command is to be copied, so it is never broken.
                let is_command = line.starts_with("tracer ");
                assert!(line.width() <= width || is_command, "{width} columns: {line}");
            }
        }
    }
}

#[test]
fn names_keep_their_class_method_and_line() {
    let mut profile = profile();
    let function = "com.acme.platform.ergonomics.of.very.long.packages.InvoiceFacade.reconcile";
    for line in profile.by_line.iter_mut().filter_map(|row| row.line.as_mut()) {
        (line.function, line.line) = (function.to_owned(), Some(16));
    }
    let text = rendered(&profile, &Options::default());
    assert!(text.contains(" c.a.p.e.o.v.l.p.InvoiceFacade.reconcile:16 "), "{text}");
    let text = rendered(&profile, &Options { width: 40, ..Options::default() });
    assert!(text.contains("InvoiceFacade.reconcile:16"), "{text}");
}

#[test]
fn the_first_screen_has_the_totals() {
    let profile = profile();
    let text = rendered(&profile, &Options::default());
    let totals = &profile.totals;
    let expected = format!(
        "{} not freed of {} allocated",
        units::bytes(totals.live_bytes),
        units::bytes(totals.allocated_bytes)
    );
    assert!(text.lines().take(3).any(|line| line.ends_with(&expected)), "{text}");
}

#[test]
fn nothing_acts_on_the_terminal() {
    let mut profile = profile();
    let evil = "e\u{1b}]0;v\u{7}il\u{202e}";
    profile.target.command = vec!["java".to_owned(), evil.to_owned()];
    for row in &mut profile.by_line {
        row.category = evil.to_owned();
        row.kind = Some(evil.to_owned());
        if let Some(line) = &mut row.line {
            line.function = evil.to_owned();
        }
    }
    let text = rendered(&profile, &Options { file: Some(evil.into()), ..Options::default() });
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text}");
}

#[test]
fn commands_are_whole_lines_at_every_width() {
    let profile = profile();
    let file = "/var/lib/recordings of the shop/a-folder-with-a-long-name/tracer-java.4711.trec";
    for width in [40, 80, 200] {
        let text = rendered(&profile, &Options { width, file: Some(file.into()), ..Options::default() });
        for ending in
            ["-v", "-o '/var/lib/recordings of the shop/a-folder-with-a-long-name/tracer-java.4711.html'"]
        {
            let command = format!("tracer report '{file}' {ending}");
            let line = text.lines().find(|line| line.contains(&command)).unwrap_or_else(|| panic!("{text}"));
            assert!(line.width() <= width || line == command, "{width} columns: {line}");
        }
    }
}

#[test]
fn text_and_json_tell_the_same_findings() {
    let mut profile = profile();
    assert!(!profile.findings.is_empty());
    // In whatever order the profile has them.
    for _ in 0..2 {
        profile.findings.reverse();
        let mut out = Vec::new();
        crate::output::report2::report(&profile, &Options::default(), &mut out).expect("render");
        let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        let text = rendered(&profile, &Options { all: true, width: 1_000, ..Options::default() });
        let found = json["findings"].as_array().expect("findings");
        assert_eq!(found.len(), profile.findings.len());
        for (number, finding) in (1..).zip(found) {
            let line = text.lines().find(|line| line.starts_with(&format!("{number:>2} ")));
            let line = line.unwrap_or_else(|| panic!("{number}: {text}"));
            let name = match finding["kind"].as_str() {
                Some("retention") => Some("malloc: free, kept"),
                _ => finding["owner"]["function"].as_str().or(finding["rows"][0]["category"].as_str()),
            };
            assert!(line.contains(name.expect("a name")), "{finding}: {line}");
            let bytes = |key: &str| finding[key].as_u64().expect("bytes");
            let held = if bytes("live_bytes") > 0 { bytes("live_bytes") } else { bytes("mapped_bytes") };
            assert!(line.contains(&format!(" {} ", units::bytes(held))), "{finding}: {line}");
            assert!(text.contains(finding["verdict"]["evidence"].as_str().expect("evidence")), "{text}");
        }
    }
}

#[test]
fn a_line_tells_what_of_it_is_in_memory() {
    let profile = profile();
    let known = |row: &&crate::profile::LineRow| row.source == "allocator" && row.totals.live_bytes > 0;
    for row in profile.by_line.iter().filter(known) {
        assert!(row.resident_bytes.is_some_and(|bytes| bytes <= row.totals.live_bytes), "{row:?}");
    }
    let bytes: u64 = profile.by_line.iter().filter_map(|row| row.resident_bytes).sum();
    assert_eq!(bytes, 160_160 + 2_000_000 + (1 << 20));
    assert!(
        profile.by_line.iter().filter(|row| row.source == "mapping").all(|row| row.resident_bytes.is_none())
    );
}
