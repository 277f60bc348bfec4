//! The page without a browser: its policy, its data, what names can do, and its size.

use std::io::Read;

use flate2::read::DeflateDecoder;
use serde_json::Value;

use super::*;
use crate::attribute::Rules;
use crate::profile::Filter;
use crate::recording::{self, fixture};

fn profile() -> Profile {
    let (_folder, path) = fixture::finished();
    Profile::build(&recording::read(&path).expect("read"), &Rules::builtin())
}

fn page(profile: &Profile) -> String {
    let mut out = Vec::new();
    render(profile, &Options::default(), &mut out).expect("render");
    String::from_utf8(out).expect("UTF-8")
}

/// The part between two texts.
fn between<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    page.split_once(begin).expect(begin).1.split_once(end).expect(end).0
}

/// The JSON of a page's data, and its columns.
pub(in crate::output) fn data(page: &str) -> (Value, Vec<u8>) {
    let text = between(page, "id=\"data\">", "</script>");
    let digit = |char: u8| match char {
        b'A'..=b'Z' => char - b'A',
        b'a'..=b'z' => char - b'a' + 26,
        b'0'..=b'9' => char - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other}"),
    };
    let mut packed = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = group.iter().fold(0_u32, |bits, &char| bits << 6 | u32::from(digit(char)));
        let bits = bits << (6 * (4 - group.len()));
        packed.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    let mut file = Vec::new();
    DeflateDecoder::new(packed.as_slice()).read_to_end(&mut file).expect("deflate");
    let length = u32::from_le_bytes(file[..4].try_into().expect("length")) as usize;
    let facts = serde_json::from_slice(&file[4..4 + length]).expect("JSON");
    (facts, file.split_off((4 + length).next_multiple_of(8)))
}

/// The sums of a page's columns of these names, over its sites.
pub(in crate::output) fn sums<const N: usize>(page: &str, names: [&str; N]) -> [i64; N] {
    let (facts, bytes) = data(page);
    names.map(|name| column(&facts, &bytes, name).iter().sum::<f64>() as i64)
}

/// A column of bytes or counts.
fn column(facts: &Value, bytes: &[u8], name: &str) -> Vec<f64> {
    let place = &facts["columns"][name];
    let (at, length) =
        (place["at"].as_u64().expect("at") as usize, place["length"].as_u64().expect("length") as usize);
    let value = |row: usize| f64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte * length + row]));
    (0..length).map(value).collect()
}

#[test]
fn a_policy_allows_just_the_pages_code() {
    let page = page(&profile());
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\"");
    for (kind, text) in [
        ("script-src", between(&page, "<script type=\"module\">", "</script>")),
        ("style-src", between(&page, "<style>", "</style>")),
    ] {
        let hash = base64(digest(&SHA256, text.as_bytes()).as_ref());
        assert!(policy.contains(&format!("{kind} 'sha256-{hash}'")), "{kind}: {policy}");
    }
    assert!(policy.starts_with("default-src 'none';"));
    for outside in [
        "http:",
        "https:",
        "src=",
        "href=",
        "@import",
        "url(",
        "innerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn modules_are_small_and_whole() {
    for module in MODULES {
        let lines = module.lines().count();
        assert!(lines <= 320, "{lines} lines: {}", module.lines().nth(1).unwrap_or_default());
        assert!(module.starts_with("// @ts-check\n"));
    }
    let script = script();
    assert!(script.len() + STYLE.len() + BODY.len() <= 80 << 10, "{}", script.len());
    assert!(!script.contains("\nimport ") && !script.contains("\nexport "));
    // It would end the element that it is in.
    assert!(!script.contains("</script") && !script.contains("<!--") && !STYLE.contains("</style"));
}

/// Modules have no name in common: they share one scope.
#[test]
fn modules_have_no_name_in_common() {
    let mut names = std::collections::BTreeSet::new();
    for line in MODULES.iter().flat_map(|module| module.lines()) {
        let line = line.strip_prefix("export ").unwrap_or(line);
        let line = line.strip_prefix("async ").unwrap_or(line);
        for declares in ["const ", "let ", "function ", "class "] {
            let Some(rest) = line.strip_prefix(declares) else { continue };
            let name =
                rest.split(|char: char| !char.is_ascii_alphanumeric() && char != '_').next().expect("name");
            assert!(names.insert(name), "{name} is declared twice");
        }
    }
    assert!(names.contains("Node") && names.contains("unpack"));
}

#[test]
fn the_data_have_the_sums_of_the_report() {
    let profile = profile();
    let (facts, bytes) = data(&page(&profile));
    let sum = |name| column(&facts, &bytes, name).iter().sum::<f64>() as u64;
    assert_eq!(sum("site_live_bytes"), profile.totals.live_bytes);
    assert_eq!(sum("site_live_count"), profile.totals.live_count);
    assert_eq!(sum("site_allocated_bytes"), profile.totals.allocated_bytes);
    assert_eq!(facts["totals"]["live_bytes"], profile.totals.live_bytes);
    let strings = facts["strings"].as_array().expect("strings");
    assert!(strings.iter().any(|text| text == "com.acme.Feed.open"));
}

/// Figures that move with the range add up to those that do not.
#[test]
fn courses_end_with_what_is_not_freed() {
    let profile = profile();
    let (facts, bytes) = data(&page(&profile));
    let moments = facts["times_ns"].as_array().expect("moments").len();
    let changes = column(&facts, &bytes, "course_live");
    assert!(moments > 1 && !changes.is_empty());
    // The changes of a course add up to what it ends with.
    assert_eq!(changes.iter().sum::<f64>() as u64, profile.totals.live_bytes);
    let of_malloc = profile.by_line.iter().filter(|row| row.source == "allocator");
    let rows = facts["by_line"].as_array().expect("rows");
    assert_eq!(rows.len(), of_malloc.clone().count());
    for (row, told) in of_malloc.zip(rows) {
        let course = told["course"].as_array().expect("a course");
        assert_eq!((course.len(), course.last()), (moments, Some(&row.totals.live_bytes.into())));
    }
}

/// However many lines there are, each call path has a row, and each row belongs to one finding at most.
#[test]
fn lines_beyond_the_largest_are_told_as_one() {
    let mut profile = profile();
    let whole = profile.findings.first().expect("a finding").clone();
    let of_malloc = profile.by_line.iter().filter(|row| row.source == "allocator");
    let told: Vec<String> = of_malloc.map(|row| row.category.clone()).collect();
    let category =
        told.iter().max_by_key(|id| told.iter().filter(|other| other == id).count()).expect("a row");
    // As a category that grows as a whole is found.
    let name = crate::profile::RowName { category: category.clone(), source: "allocator" };
    profile.findings =
        vec![crate::profile::Finding { share: Some(0.0), rows: vec![name], by_line: Vec::new(), ..whole }];
    let sites: Vec<&crate::profile::Site> =
        profile.sites.iter().filter(|site| site.source == "allocator").collect();
    for most in [1, 2, 1_000] {
        let rows = rows::Rows::of(&profile, "allocator", most);
        let courses = courses::Courses::of(&profile, &sites, "allocator");
        let shown = rows.by_line(&profile, &courses);
        assert!(shown.len() <= most + 2, "{most}: {}", shown.len());
        assert!(rows.of_sites.iter().all(|&row| usize::try_from(row).is_ok_and(|row| row < shown.len())));
        let findings = rows.findings(&profile, &courses);
        let of_finding: Vec<i64> =
            findings[0]["by_line"].as_array().expect("rows").iter().filter_map(Value::as_i64).collect();
        let held: u64 = sites
            .iter()
            .zip(&rows.of_sites)
            .filter(|(_, row)| of_finding.contains(&i64::from(**row)))
            .map(|(site, _)| site.totals.live_bytes)
            .sum();
        let row = profile.categories.iter().find(|row| row.id == *category && row.source == "allocator");
        let row = row.expect("the category");
        assert_eq!(held, row.totals.live_bytes, "{most}");
        let said =
            shown.iter().any(|row| row["name"].as_str().is_some_and(|name| name.ends_with("that hold less")));
        assert_eq!(said, most < 1_000, "{most}");
    }
}

#[test]
fn a_page_of_what_differs_has_both_sides() {
    let base = profile();
    let mut new = base.clone();
    new.sites.retain(|site| site.category != "zlib");
    let mut out = Vec::new();
    render_diff(&Diff::of_profiles(&base, &new), &Options::default(), &mut out).expect("render");
    let (facts, bytes) = data(&String::from_utf8(out).expect("UTF-8"));
    let sum = |name| column(&facts, &bytes, name).iter().sum::<f64>() as u64;
    let of = |profile: &Profile| {
        let sites = profile.sites.iter().filter(|site| site.source == "allocator");
        sites.map(|site| site.totals.live_bytes).sum::<u64>()
    };
    assert_eq!((sum("base_live_bytes"), sum("site_live_bytes")), (of(&base), of(&new)));
    assert!(of(&base) > of(&new));
    assert_eq!((&facts["kind"], &facts["totals"]["base"]["live_bytes"]), (&"diff".into(), &of(&base).into()));
}

#[test]
fn a_redacted_page_says_nothing_of_who_and_where() {
    let (_folder, path) = fixture::finished_with_holders();
    let recording = recording::read(&path).expect("read");
    let filter = Filter { flags: vec!["--thread secret-.*".to_owned()], ..Filter::default() };
    let mut profile = Profile::filtered(&recording, &Rules::builtin(), &filter).expect("filtered");
    let threads: Vec<String> =
        profile.sites.iter().flat_map(|site| &site.threads).map(|it| it.name.to_string()).collect();
    assert!(!threads.is_empty());
    profile.redact();
    let page = page(&profile);
    let (facts, _) = data(&page);
    let text = facts.to_string();
    for secret in ["4711", "secret", "-Xmx64m", "app.jar", "/usr/lib", "/opt/"] {
        assert!(
            !text.contains(secret) && !between(&page, "<title>", "</title>").contains(secret),
            "{secret}"
        );
    }
    // Short names are words of other things, too.
    for thread in threads.iter().filter(|name| name.len() > 4) {
        assert!(!text.contains(&format!("\"{thread}")), "{thread}");
    }
    assert!(text.contains("com.acme.Feed.open") && text.contains("kept by"), "classes stay: {text}");
}

#[test]
fn names_are_data() {
    let mut profile = profile();
    let evil = "</script><script>alert(1)</script>\"'\u{1b}\u{202e}";
    profile.target.comm = evil.to_owned();
    profile.target.command = vec![evil.to_owned()];
    for site in &mut profile.sites {
        for thread in &mut site.threads {
            thread.name = evil.into();
        }
        for frame in site.frames.iter_mut().map(std::sync::Arc::make_mut) {
            frame.function = evil.to_owned();
        }
    }
    let page = page(&profile);
    assert!(!page.contains("alert(1)</script>"));
    assert!(page.contains("<title>&lt;/script&gt;"));
    assert_eq!(page.matches("<script").count(), 2);
    let (facts, _) = data(&page);
    let strings = facts["strings"].as_array().expect("strings");
    let strings = strings.iter().filter_map(Value::as_str);
    assert!(strings.clone().any(|text| text.contains("alert")));
    assert!(strings.clone().all(|text| !text.contains(['\u{1b}', '\u{202e}'])));
}

#[test]
fn base64_is_as_others_write_it() {
    for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
        assert_eq!(base64(text.as_bytes()), expected);
    }
}
