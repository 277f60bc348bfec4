//! A difference is told the same by every output, adds up, and is the opposite the other way round.

use proptest::prelude::*;
use tracer_common::{stack::StackId, table::StackTotals};

use super::*;
use crate::attribute::Rules;
use crate::output::View;
use crate::profile::Profile;
use crate::profile::diff::Difference;
use crate::recording::{self, End, Writer, fixture};

/// The profile of the sample, to which `more` writes.
fn profile_with(seconds: u64, more: impl FnOnce(&mut Writer)) -> Profile {
    let (_folder, path) = fixture::folder();
    let mut writer = fixture::write(&path);
    more(&mut writer);
    let end = End { duration_ns: seconds * fixture::SECOND_NS, reason: "duration".to_owned() };
    writer.finish(&end).expect("finish");
    Profile::build(&recording::read(&path).expect("read"), &Rules::builtin())
}

fn grown() -> Profile {
    let mut profile = profile_with(20, |writer| {
        let rows = [
            (fixture::INFLATER, fixture::totals((9_000_000, 1_000), (1_000_000, 100))),
            (fixture::BUFFER, fixture::totals((4 << 20, 4), (3 << 20, 3))),
        ];
        writer.allocator_totals(1, &rows).expect("totals");
    });
    profile.target.jvm.as_mut().expect("a JVM").version = Some("21.0.8+9".to_owned());
    // As after another build: the same calls at other lines.
    let moved = |site: &mut crate::profile::Site| {
        for frame in site.frames.iter_mut().map(std::sync::Arc::make_mut) {
            frame.line = frame.line.map(|line| line + 100);
        }
    };
    profile.sites.iter_mut().filter(|site| site.category == "direct-buffer").for_each(moved);
    profile
}

fn named(mut diff: Diff) -> Diff {
    diff.base.file = Some("before.trec".to_owned());
    diff.new.file = Some("after.trec".to_owned());
    diff
}

fn diff() -> Diff {
    named(Diff::of_profiles(&profile_with(10, |_| {}), &grown()))
}

fn rendered(
    render: impl Fn(&Diff, &Options, &mut dyn Write) -> io::Result<()>,
    diff: &Diff,
    options: &Options,
) -> String {
    let mut out = Vec::new();
    render(diff, options, &mut out).expect("render");
    String::from_utf8(out).expect("UTF-8")
}

fn censuses() -> Diff {
    let census = |inflaters| fixture::census(inflaters);
    named(Diff::of_censuses(&census(100), &census(0)))
}

#[test]
fn of_recordings_as_text() {
    insta::assert_snapshot!(rendered(text, &diff(), &Options::default()));
}

#[test]
fn of_recordings_as_json() {
    insta::assert_snapshot!(rendered(json, &diff(), &Options { top: Some(2), ..Options::default() }));
}

#[test]
fn of_recordings_as_folded_stacks() {
    insta::assert_snapshot!(rendered(folded, &diff(), &Options::default()));
}

#[test]
fn of_censuses_as_text() {
    insta::assert_snapshot!(rendered(text, &censuses(), &Options::default()));
}

#[test]
fn of_censuses_as_json() {
    insta::assert_snapshot!(rendered(json, &censuses(), &Options::default()));
}

#[test]
fn between_equals_nothing_differs() {
    let profile = profile_with(10, |_| {});
    let diff = named(Diff::of_profiles(&profile, &profile));
    assert!(diff.is_empty());
    assert_eq!(
        diff.notes,
        [
            "the base lost 2 events: `tracer report` says what",
            "the new one lost 2 events: `tracer report` says what"
        ]
    );
    assert!(rendered(text, &diff, &Options::default()).ends_with("\nNothing differs.\n"));
}

#[test]
fn a_flame_graph_says_what_grew_and_what_is_gone() {
    let options = Options::default();
    let svg = rendered(flamegraph, &diff(), &options);
    for text in [
        "java: not freed, from 8.4 MiB to",
        ">all: not freed, from 8.4 MiB to",
        "direct-buffer (-3.0 MiB)",
        "com.acme.Feed.open:17 (+",
    ] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
    let mut empty = diff();
    empty.sites.clear();
    let svg = rendered(flamegraph, &empty, &options);
    assert!(svg.contains("java: nothing to draw: neither has bytes not freed</text>"), "{svg}");
}

#[test]
fn names_of_the_target_cannot_act() {
    let mut diff = diff();
    let evil = "e\u{1b}]0;v\u{7}il\nx 12";
    diff.base.file = Some(evil.to_owned());
    diff.base.target.comm = evil.to_owned();
    diff.new.target.comm = evil.to_owned();
    diff.notes.push(evil.to_owned());
    for site in &mut diff.sites {
        site.category = evil.to_owned();
        for frame in site.frames.iter_mut().map(std::sync::Arc::make_mut) {
            frame.function = evil.to_owned();
        }
    }
    for row in &mut diff.categories {
        row.id = evil.to_owned();
    }
    for fact in diff.census.iter_mut().flat_map(|census| &mut census.facts) {
        fact.name = evil.to_owned();
    }
    for render in [text as fn(&Diff, &Options, &mut dyn Write) -> io::Result<()>, folded, flamegraph] {
        let text = rendered(render, &diff, &Options::default());
        assert!(!text.contains(['\x1b', '\x07']), "{text}");
    }
}

type Row = (u64, u64, u64, bool);

fn write(writer: &mut Writer, rows: &[Row]) {
    for &(stack, allocated, freed, mapping) in rows {
        let freed = freed.min(allocated);
        let totals: StackTotals = fixture::totals((allocated, allocated / 16), (freed, freed / 16));
        let stacks = [
            fixture::INFLATER,
            fixture::INFLATER_WARM,
            fixture::BUFFER,
            fixture::CUT,
            StackId(99),
            fixture::COMPILER,
        ];
        let stack = stacks[stack as usize];
        if mapping {
            writer.mapping_totals(1, &[(stack, "file:/x", totals)]).expect("totals");
        } else {
            writer.allocator_totals(1, &[(stack, totals)]).expect("totals");
        }
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    proptest::collection::vec((0..6_u64, 0..1_u64 << 40, 0..1_u64 << 40, any::<bool>()), 0..8)
}

fn sum(differences: impl Iterator<Item = Difference>) -> [i64; 6] {
    differences.fold([0; 6], |sum, it| {
        let parts = numbers(&it);
        std::array::from_fn(|at| sum[at] + parts[at])
    })
}

fn numbers(it: &Difference) -> [i64; 6] {
    [it.allocated_bytes, it.allocated_count, it.freed_bytes, it.freed_count, it.live_bytes, it.live_count]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Differences of any two recordings: rows add up to the totals, folded stacks too, and the other way round all is
    /// the same with the other sign.
    #[test]
    fn differences_add_up(before in rows(), after in rows(), other_build in any::<bool>()) {
        let base = profile_with(10, |writer| write(writer, &before));
        let mut new = profile_with(10, |writer| write(writer, &after));
        if other_build {
            for frame in new.sites.iter_mut().flat_map(|site| &mut site.frames).map(std::sync::Arc::make_mut) {
                frame.line = frame.line.map(|line| line / 2);
            }
        }
        let (there, back) = (Diff::of_profiles(&base, &new), Diff::of_profiles(&new, &base));
        let totals = numbers(&there.totals.expect("recordings").difference);
        let of = |source: &str| {
            let sites = there.sites.iter().filter(|row| row.source == source).map(|row| row.totals.difference);
            let categories = there.categories.iter().filter(|row| row.source == source);
            (sum(sites), sum(categories.map(|row| row.totals.difference)))
        };
        prop_assert_eq!(of("allocator"), (totals, totals));
        prop_assert_eq!(of("mapping").0, of("mapping").1);
        for view in [View::Live, View::Allocated, View::Temporary] {
            let lines = rendered(folded, &there, &Options { view, ..Options::default() });
            let mut sums = (0_u64, 0_u64);
            for line in lines.lines() {
                let mut numbers = line.rsplit(' ').map(|number| number.parse::<u64>().expect("a number"));
                sums.1 += numbers.next().expect("new");
                sums.0 += numbers.next().expect("base");
            }
            prop_assert_eq!(sums, (view.bytes(&base.totals), view.bytes(&new.totals)));
        }
        let signed = |diff: &Diff, sign: i64| {
            let site = |row: &crate::profile::diff::SitePair| (row.category.clone(), row.source, numbers(&row.totals.difference).map(|it| sign * it));
            let mut all: Vec<_> = diff.sites.iter().map(site).collect();
            all.extend(diff.categories.iter().map(|row| (row.id.clone(), row.source, numbers(&row.totals.difference).map(|it| sign * it))));
            all.sort();
            all
        };
        prop_assert_eq!(signed(&there, 1), signed(&back, -1));
        let parts = |diff: &Diff, sign: i64| {
            let mut all: Vec<_> = diff.memory.parts.iter().map(|part| (part.id.clone(), sign * part.resident_bytes.growth())).collect();
            all.sort();
            all
        };
        prop_assert_eq!(parts(&there, 1), parts(&back, -1));
    }
}
