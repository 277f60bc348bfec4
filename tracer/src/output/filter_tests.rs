//! Totals of every output of a filtered recording are the same, and with what was left out they are the recording's.

use proptest::prelude::*;
use regex::Regex;
use serde_json::Value;

use super::*;
use crate::attribute::Rules;
use crate::profile::{Filter, LinePattern, Part, Profile};
use crate::recording::{self, fixture};

fn filters() -> impl Strategy<Value = Filter> {
    let seconds = |range: std::ops::Range<u64>| range.prop_map(|seconds| seconds * fixture::SECOND_NS);
    let some = |names: &'static [&'static str]| proptest::sample::subsequence(names, 0..3);
    let threads = proptest::sample::subsequence(vec!["main", "pool", "tid", "."], 0..2);
    let of_end = (
        proptest::option::of(seconds(0..11)),
        proptest::option::of(0..1_u64 << 23),
        threads,
        proptest::option::of(seconds(0..10)),
    )
        .prop_map(|(older_ns, min_bytes, threads, from_ns)| Part {
            older_ns,
            min_bytes,
            threads: threads.into_iter().map(|name| Regex::new(name).expect("pattern")).collect(),
            from_ns,
            ..Part::default()
        });
    let of_moment =
        (proptest::option::of(seconds(0..6)), proptest::option::of(seconds(6..11)), any::<bool>())
            .prop_map(|(from_ns, to_ns, is_peak)| Part { from_ns, to_ns, is_peak, ..Part::default() });
    let part = prop_oneof![of_end, of_moment];
    let patterns = |texts: Vec<&str>| -> Vec<Regex> {
        texts.into_iter().map(|text| Regex::new(text).expect("pattern")).collect()
    };
    (
        some(&["zlib", "compiler", "direct-buffer", "thread-stack"]),
        some(&["Feed.open", "Pool.fill:9", "Feed.spawn"]),
        some(&["^malloc", "libjvm", "acme"]),
        some(&["inflate", "C[0-9]", "libacme"]),
        part,
    )
        .prop_map(move |(categories, lines, include, exclude, part)| Filter {
            categories: categories.into_iter().map(str::to_owned).collect(),
            lines: lines.into_iter().map(|line| LinePattern::parse(line).expect("line")).collect(),
            include: patterns(include),
            exclude: patterns(exclude),
            part,
            flags: vec!["--some".to_owned()],
        })
}

const SIX: [&str; 6] =
    ["allocated_bytes", "allocated_count", "freed_bytes", "freed_count", "live_bytes", "live_count"];

fn six(of: &Value) -> [i64; 6] {
    SIX.map(|name| of[name].as_i64().expect(name))
}

fn sum<'a>(rows: impl Iterator<Item = &'a Value>) -> [i64; 6] {
    let mut sums = [0; 6];
    for row in rows.filter(|row| row["source"] == "allocator") {
        for (sum, more) in sums.iter_mut().zip(six(row)) {
            *sum += more;
        }
    }
    sums
}

fn rendered(
    render: impl Fn(&Profile, &Options, &mut dyn std::io::Write) -> std::io::Result<()>,
    profile: &Profile,
    options: &Options,
) -> String {
    let mut out = Vec::new();
    render(profile, options, &mut out).expect("rendered");
    String::from_utf8(out).expect("text")
}

/// The sum of folded stacks.
fn folded_bytes(profile: &Profile, options: &Options) -> i64 {
    let bytes = |line: &str| line.rsplit_once(' ').expect("bytes").1.parse::<i64>().expect("bytes");
    rendered(folded::render, profile, options).lines().map(bytes).sum()
}

/// The bytes of a flame graph's root.
fn drawn_bytes(profile: &Profile, options: &Options) -> i64 {
    let svg = rendered(flamegraph::render, profile, options);
    let Some((before, _)) = svg.split_once(" bytes, 100%)") else {
        assert!(svg.contains("nothing to draw"), "{svg}");
        return 0;
    };
    let digits = before.rsplit('(').next().expect("bytes").replace(',', "");
    digits.parse().expect("bytes")
}

fn report(profile: &Profile, options: &Options) -> Value {
    let mut out = Vec::new();
    report2::report(profile, options, &mut out).expect("JSON");
    serde_json::from_slice(&out).expect("JSON")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_output_has_the_same_totals(filter in filters(), inverted in any::<bool>()) {
        let (_folder, path) = fixture::finished();
        let recording = recording::read(&path).expect("read");
        let options = Options { source: Some("allocator"), inverted, ..Options::default() };
        let all = six(&report(&Profile::build(&recording, &Rules::builtin()), &options)["totals"]);
        let profile = Profile::filtered(&recording, &Rules::builtin(), &filter).expect("kept");
        let document = report(&profile, &options);
        let totals = six(&document["totals"]);
        let [allocated_bytes, allocated_count, _, _, live_bytes, live_count] = totals;
        for ((all, passes), rest) in all.iter().zip(totals).zip(six(&document["filtered"])) {
            prop_assert_eq!(*all, passes + rest);
        }
        for table in ["by_line", "categories", "sites"] {
            prop_assert_eq!(sum(document[table].as_array().expect(table).iter()), totals, "{}", table);
        }

        let old: Value = serde_json::from_str(&rendered(json::render, &profile, &options)).expect("JSON");
        prop_assert_eq!(six(&old["totals"]), totals);
        prop_assert_eq!(sum(old["sites"].as_array().expect("sites").iter()), totals);
        prop_assert_eq!(folded_bytes(&profile, &options), live_bytes);
        prop_assert_eq!(drawn_bytes(&profile, &options), live_bytes);
        let page = rendered(html::render, &profile, &options);
        let columns = ["allocated_count", "allocated_bytes", "live_count", "live_bytes"];
        prop_assert_eq!(
            html::tests::sums(&page, columns.map(|name| format!("site_{name}")).each_ref().map(String::as_str)),
            [allocated_count, allocated_bytes, live_count, live_bytes]
        );
        // Mapped memory is counted apart, and pictures of it have just that.
        let mapped = Options { source: Some("mapping"), ..options.clone() };
        let mapped_bytes = document["by_line"].as_array().expect("rows").iter().filter(|row| row["source"] == "mapping");
        let mapped_bytes = mapped_bytes.map(|row| row["live_bytes"].as_i64().expect("bytes")).sum::<i64>();
        prop_assert_eq!(folded_bytes(&profile, &mapped), mapped_bytes);
        prop_assert_eq!(drawn_bytes(&profile, &mapped), mapped_bytes);
        // Views that the filter goes with: each has its own sum of the same rows.
        if filter.part.of_end().is_none() {
            for view in [View::Allocated, View::Temporary] {
                let mut profile = profile.clone();
                profile.keep_view(view);
                let expected = i64::try_from(view.bytes(&profile.totals)).expect("small");
                let options = Options { view, ..options.clone() };
                prop_assert_eq!(folded_bytes(&profile, &options), expected, "{:?}", view);
                prop_assert_eq!(drawn_bytes(&profile, &options), expected, "{:?}", view);
            }
        }
        // Both sides of a comparison; and with itself nothing differs.
        let diff = crate::profile::diff::Diff::of_profiles(&profile, &profile);
        prop_assert!(diff.is_empty());
        let mut out = Vec::new();
        report2::diff(&diff, &options, &mut out).expect("JSON");
        let diff: Value = serde_json::from_slice(&out).expect("JSON");
        for side in ["base", "new"] {
            prop_assert_eq!(six(&diff["totals"][side]), totals, "{}", side);
            prop_assert_eq!(six(&diff["filtered"][side]), six(&document["filtered"]), "{}", side);
        }

        let expected = [allocated_count, allocated_bytes, live_count, live_bytes];
        let mut file = Vec::new();
        pprof::render(&profile, &options, &mut file).expect("pprof");
        prop_assert_eq!(pprof::tests::sums(&pprof::tests::decoded(&file)), expected);
        let sums = otlp::tests::sums(&otlp::encode(&profile, &options, None));
        prop_assert_eq!(samples::TYPES.map(|(of, _)| sums.get(of).copied().unwrap_or_default()), expected);
        let mut points = Vec::new();
        dhat::render(&profile, &options, &mut points).expect("DHAT");
        let points: Value = serde_json::from_slice(&points).expect("JSON");
        let points = points["pps"].as_array().expect("points");
        let sums = ["tbk", "tb", "ebk", "eb"]
            .map(|field| points.iter().filter_map(|point| point[field].as_i64()).sum::<i64>());
        prop_assert_eq!(sums, expected);
        let mut screen = Vec::new();
        text::render(&profile, &options, &mut screen).expect("text");
        let screen = String::from_utf8(screen).expect("text");
        let told = format!("{} not freed of", units::bytes(profile.totals.live_bytes));
        prop_assert!(profile.totals.allocated_count == 0 || screen.contains(&told), "{}", screen);
        prop_assert!(screen.contains("Only --some."), "{}", screen);
    }
}
