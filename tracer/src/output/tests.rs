//! Every output says the same as the profile, and looks as it should.

use proptest::prelude::*;
use tracer_common::{stack::StackId, table::StackTotals};

use super::*;
use crate::attribute::Rules;
use crate::profile::{Filter, Profile};
use crate::recording::{self, End, fixture};

type Render = fn(&Profile, &Options, &mut dyn std::io::Write) -> std::io::Result<()>;

fn profile() -> Profile {
    let (_folder, path) = fixture::finished();
    Profile::build(&recording::read(&path).expect("read"), &Rules::builtin())
}

fn rendered(render: Render, profile: &Profile, options: &Options) -> String {
    let mut out = Vec::new();
    render(profile, options, &mut out).expect("render");
    String::from_utf8(out).expect("UTF-8")
}

fn options() -> Options {
    Options { file: Some("tracer-java.4711.trec".into()), ..Options::default() }
}

#[test]
fn text() {
    insta::assert_snapshot!(rendered(text::render, &profile(), &options()));
}

#[test]
fn text_summary() {
    insta::assert_snapshot!(rendered(text::summary, &profile(), &options()));
}

fn of_category(id: &str) -> Profile {
    let (_folder, path) = fixture::finished();
    let filter = Filter { categories: vec![id.to_owned()], ..Filter::default() };
    Profile::filtered(&recording::read(&path).expect("read"), &Rules::builtin(), &filter).expect("kept")
}

#[test]
fn text_of_a_view_in_full() {
    let mut profile = of_category("zlib");
    profile.keep_view(View::Allocated);
    let options =
        Options { view: View::Allocated, category: Some("zlib".to_owned()), verbose: true, ..options() };
    insta::assert_snapshot!(rendered(text::render, &profile, &options));
}

#[test]
fn text_of_an_unfinished_recording_of_a_program() {
    let (_folder, path) = fixture::folder();
    let mut header = fixture::header();
    header.target.jvm = None;
    header.session.gc_probes = false;
    let mut writer = recording::Writer::create(&path, false, &header).expect("create");
    writer.tick(fixture::START_NS + fixture::SECOND_NS).expect("tick");
    drop(writer);
    let profile = Profile::build(&recording::read(&path).expect("read"), &Rules::builtin());
    insta::assert_snapshot!(rendered(text::render, &profile, &options()));
}

#[test]
fn json() {
    let options = Options { pretty: true, ..options() };
    insta::assert_snapshot!(rendered(report2::report, &profile(), &options));
}

#[test]
fn folded() {
    insta::assert_snapshot!(rendered(folded::render, &profile(), &options()));
}

#[test]
fn text_with_every_table() {
    insta::assert_snapshot!(rendered(
        text::render,
        &profile(),
        &Options { all: true, width: 120, ..options() }
    ));
}

#[test]
fn json_of_the_first_version() {
    insta::assert_snapshot!("json1", rendered(json::render, &profile(), &options()));
}

#[test]
fn no_line_is_wider_than_the_report() {
    let widths = [40, 80, 120, 200];
    for (color, width) in widths.into_iter().flat_map(|width| [(false, width), (true, width)]) {
        let all = width != 80;
        let text = rendered(text::render, &profile(), &Options { color, width, all, ..options() });
        for line in text.lines() {
            let mut plain = String::new();
            let mut escape = false;
            for char in line.chars() {
                match char {
                    '\x1b' => escape = true,
                    'm' if escape => escape = false,
                    _ if escape => {}
                    char => plain.push(char),
                }
            }
            // A command is to be copied, so it is never broken.
            assert!(plain.chars().count() <= width || plain.starts_with("tracer "), "{width}: {plain}");
        }
        assert_eq!(text.contains('\x1b'), color);
    }
}

/// The sum of the counts of folded lines.
fn folded_sum(profile: &Profile, options: &Options) -> u64 {
    let text = rendered(folded::render, profile, options);
    text.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn sums_are_the_profiles() {
    let profile = profile();
    for (view, expected) in [
        (View::Live, profile.totals.live_bytes),
        (View::Allocated, profile.totals.allocated_bytes),
        (View::Temporary, profile.totals.freed_bytes),
    ] {
        for top in [None, Some(1), Some(0)] {
            let options = Options { view, top, ..options() };
            assert_eq!(folded_sum(&profile, &options), expected, "{view:?} {top:?}");
            let svg = rendered(flamegraph::render, &profile, &options);
            let counted = units::count(expected);
            assert!(svg.contains(&format!(" ({counted} bytes, 100%)")), "{view:?} {top:?}: {counted}");
        }
        let text = rendered(text::render, &profile, &Options { view, all: true, width: 120, ..options() });
        let total = text.lines().find(|line| line.trim_start().starts_with("total")).expect("total");
        assert!(total.contains(&units::bytes(expected)), "{total}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&rendered(report2::report, &profile, &options())).expect("json");
    assert_eq!(json["totals"]["live_bytes"], profile.totals.live_bytes);
    let sites = json["sites"].as_array().expect("sites").iter();
    let live: u64 = sites
        .filter(|site| site["source"] == "allocator")
        .filter_map(|site| site["live_bytes"].as_u64())
        .sum();
    assert_eq!(live, profile.totals.live_bytes);
}

#[test]
fn the_flame_graph_says_what_it_is_of() {
    let svg = rendered(flamegraph::render, &profile(), &options());
    for text in [
        "com.acme.Feed (pid 4711): 8.4 MiB not freed, 10.0 s recorded",
        "<title>all: 8.4 MiB not freed (",
        ">all: 8.4 MiB not freed</text>",
        "</tspan>\u{a0}your code",
        "not in it: mappings, 1.1 MiB (--source mapping)",
        "zlib",
        // With the line of code.
        "<title>com.acme.Feed.open:17 (",
        "@media (prefers-color-scheme: dark)",
        "#search, #unzoom { opacity: 1;",
    ] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
    // Texts that inferno has in its place, which a new version may have changed.
    for text in ["what-is-shown", "2 * known_font_width", "<title>start_thread", "libjvm"] {
        assert!(!svg.contains(text), "{text}");
    }
    let whole = rendered(flamegraph::render, &profile(), &Options { verbose: true, ..options() });
    assert!(whole.contains("<title>start_thread"), "-v leaves nothing out");
    let mapped = Options { source: Some("mapping"), ..options() };
    let svg = rendered(flamegraph::render, &profile(), &mapped);
    assert!(
        svg.contains(">all: 1.1 MiB mapped</text>") && svg.contains("not in it: malloc's, 8.4 MiB"),
        "{svg}"
    );
}

#[test]
fn an_empty_view_is_a_picture_that_says_so() {
    let mut nothing = profile();
    nothing.sites.clear();
    let svg = rendered(flamegraph::render, &nothing, &options());
    assert!(svg.ends_with("</svg>\n"));
    for text in
        ["com.acme.Feed (pid 4711): nothing to draw: no bytes not freed", "not in it: mappings, 1.1 MiB"]
    {
        assert!(svg.contains(text), "{svg}");
    }
    nothing.target.comm = "<script>".to_owned();
    assert!(!rendered(flamegraph::render, &nothing, &options()).contains("<script>"));
}

#[test]
fn a_kept_mapping_category_is_drawn() {
    let profile = of_category("thread-stack");
    let options = Options { category: Some("thread-stack".to_owned()), ..options() };
    assert_eq!(folded_sum(&profile, &options), 1 << 20);
    assert_eq!(profile.totals.live_bytes, 0);
}

#[test]
fn names_of_the_target_cannot_act() {
    let mut profile = profile();
    let evil = "e\u{1b}]0;v\u{7}il;<script>\nx 12";
    profile.target.comm = evil.to_owned();
    profile.target.jvm = None;
    profile.quality.notes = vec![evil.to_owned()];
    profile.quality.lost = [(evil.to_owned(), 1)].into();
    for category in &mut profile.categories {
        category.id = evil.to_owned();
        category.name = evil.to_owned();
    }
    for site in &mut profile.sites {
        site.category = evil.to_owned();
        site.kind = Some(evil.to_owned());
        site.stop = Some(evil.to_owned());
        site.complete = Some(false);
        for frame in site.frames.iter_mut().map(std::sync::Arc::make_mut) {
            frame.function = evil.to_owned();
            frame.file = Some(evil.to_owned());
            frame.module = Some(evil.to_owned());
        }
        for thread in &mut site.threads {
            thread.name = evil.into();
        }
    }
    let sum = profile.totals.live_bytes;
    for render in [text::render as Render, folded::render, flamegraph::render] {
        let text = rendered(render, &profile, &Options { verbose: true, ..options() });
        assert!(!text.contains(['\x1b', '\x07']), "{text}");
        assert!(!text.contains("il;<script>\n"));
    }
    assert_eq!(folded_sum(&profile, &options()), sum);
    let svg = rendered(flamegraph::render, &profile, &options());
    assert!(!svg.contains("il:<script>"));
}

/// Allocated and live, in the order in which profiles have them.
fn four(totals: &crate::profile::Totals) -> [i64; 4] {
    [totals.allocated_count, totals.allocated_bytes, totals.live_count, totals.live_bytes]
        .map(|value| i64::try_from(value).expect("small"))
}

#[test]
fn folded_lines_name_the_line() {
    let text = rendered(folded::render, &profile(), &Options { lines: true, ..options() });
    assert!(text.contains(";com.acme.Feed.open:17_[j];"), "{text}");
    assert_eq!(folded_sum(&profile(), &Options { lines: true, ..options() }), profile().totals.live_bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Sums of any recording: live = allocated − freed, and every output has the same.
    #[test]
    fn sums_of_any_recording(rows in proptest::collection::vec((0..5_u64, 0..1_u64 << 40, 0..1_u64 << 40, any::<bool>()), 0..12)) {
        let (_folder, path) = fixture::folder();
        let mut writer = fixture::write(&path);
        for (stack, allocated, freed, mapping) in rows {
            let totals = StackTotals {
                allocated_bytes: allocated,
                allocated_count: allocated / 16,
                freed_bytes: freed.min(allocated),
                freed_count: freed.min(allocated) / 16,
                ..StackTotals::ZERO
            };
            let stack = [fixture::INFLATER, fixture::BUFFER, fixture::CUT, StackId(99), fixture::COMPILER][stack as usize];
            if mapping {
                writer.mapping_totals(1, &[(stack, "file:/x", totals)]).expect("totals");
            } else {
                writer.allocator_totals(1, &[(stack, totals)]).expect("totals");
            }
        }
        writer.finish(&End { duration_ns: fixture::SECOND_NS, reason: "duration".to_owned() }).expect("finish");
        let profile = Profile::build(&recording::read(&path).expect("read"), &Rules::builtin());
        for totals in profile.categories.iter().map(|row| row.totals).chain(profile.sites.iter().map(|row| row.totals)) {
            prop_assert_eq!(totals.live_bytes, totals.allocated_bytes - totals.freed_bytes);
            prop_assert_eq!(totals.live_count, totals.allocated_count - totals.freed_count);
        }
        for row in &profile.categories {
            let of_source = if row.source == "mapping" { &profile.series.mappings } else { &profile.series.categories };
            let course = of_source.get(&row.id).filter(|_| row.totals.allocated_count > 0);
            let Some(course) = course else { continue };
            prop_assert_eq!(course.live_bytes.len(), profile.series.times_ns.len());
            prop_assert_eq!(course.live_bytes.last(), Some(&row.totals.live_bytes));
            prop_assert_eq!(course.allocated_bytes.last(), Some(&row.totals.allocated_bytes));
        }
        prop_assert_eq!(folded_sum(&profile, &options()), profile.totals.live_bytes);
        let allocated = Options { view: View::Allocated, ..options() };
        prop_assert_eq!(folded_sum(&profile, &allocated), profile.totals.allocated_bytes);
        for options in [options(), Options { top: Some(1), ..options() }] {
            let expected = four(&profile.totals);
            let mut file = Vec::new();
            pprof::render(&profile, &options, &mut file).expect("pprof");
            prop_assert_eq!(pprof::tests::sums(&pprof::tests::decoded(&file)), expected);
            let sums = otlp::tests::sums(&otlp::encode(&profile, &options, None));
            let sums = samples::TYPES.map(|(of, _)| sums.get(of).copied().unwrap_or_default());
            prop_assert_eq!(sums, expected);
            let dhat = rendered(dhat::render, &profile, &options);
            let dhat: serde_json::Value = serde_json::from_str(&dhat).expect("JSON");
            let points = dhat["pps"].as_array().expect("points");
            let sums: [i64; 4] = ["tbk", "tb", "ebk", "eb"].map(|field| points.iter().filter_map(|point| point[field].as_i64()).sum());
            prop_assert_eq!(sums, expected);
            let lines = Options { lines: true, ..options };
            prop_assert_eq!(folded_sum(&profile, &lines), profile.totals.live_bytes);
        }
    }
}

#[test]
fn the_first_screen_names_who_keeps_it() {
    let (_folder, path) = fixture::finished_with_holders();
    let profile = Profile::build(&recording::read(&path).expect("read"), &Rules::builtin());
    let text = rendered(text::summary, &profile, &options());
    assert!(
        text.contains("     kept by static com.acme.Feed.OPEN -> Object[] -> Inflater.zsRef\n"),
        "{text}"
    );
    // The growth stands in the row.
    assert!(
        text.contains("\n     at the end 2.3 MiB of 2.3 MiB was reachable: collections cannot free it\n"),
        "{text}"
    );
}

#[test]
fn a_redacted_profile_says_nothing_of_who_and_where() {
    let mut profile = profile();
    profile.target.container = Some("c0ffee00".to_owned());
    profile.quality.notes.push("pid 4711 maps /srv/secret/libacme.so".to_owned());
    let totals = profile.totals;
    profile.redact();
    assert_eq!(profile.totals, totals);
    let mut text = String::new();
    for all in [false, true] {
        let options = Options { all, verbose: all, ..options() };
        let renders: [Render; 5] =
            [text::render, report2::report, json::render, folded::render, flamegraph::render];
        for render in renders {
            text += &rendered(render, &profile, &Options { file: None, ..options.clone() });
        }
    }
    for gone in ["4711", "-Xmx64m", "app.jar", "c0ffee00", "/usr/lib", "/opt/", "/srv/", "pool-1", "pool-#"] {
        let at = text.find(gone).map(|at| text[..at].lines().count());
        assert_eq!(at, None, "{gone}: {:?}", at.and_then(|at| text.lines().nth(at - 1)));
    }
    for kept in ["com.acme.Feed.open", "libz.so", "GZIPInputStream"] {
        assert!(text.contains(kept), "{kept}");
    }
}
