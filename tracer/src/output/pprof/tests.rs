//! Properties that readers of pprof rely on.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::GzDecoder;

use super::*;
use crate::attribute::Rules;
use crate::profile::View;
use crate::recording::{self, fixture};

fn profile() -> Profile {
    let (_folder, path) = fixture::finished();
    Profile::build(&recording::read(&path).expect("read"), &Rules::builtin())
}

/// The profile in a file.
pub(crate) fn decoded(file: &[u8]) -> proto::Profile {
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
    proto::Profile::decode(bytes.as_slice()).expect("pprof")
}

fn rendered(profile: &Profile, options: &Options) -> proto::Profile {
    let mut file = Vec::new();
    render(profile, options, &mut file).expect("render");
    decoded(&file)
}

/// The sums of the four values.
pub(crate) fn sums(profile: &proto::Profile) -> [i64; 4] {
    let mut sums = [0; 4];
    for sample in &profile.sample {
        assert_eq!(sample.value.len(), 4);
        for (sum, value) in sums.iter_mut().zip(&sample.value) {
            *sum += value;
        }
    }
    sums
}

fn text(profile: &proto::Profile, string: i64) -> &str {
    &profile.string_table[usize::try_from(string).expect("index")]
}

/// The stack of a sample as functions and lines, leaf first, those of one location joined.
fn stack(profile: &proto::Profile, sample: &proto::Sample) -> Vec<String> {
    let location = |id: &u64| {
        let location = profile.location.iter().find(|location| location.id == *id).expect("location");
        let line = |line: &proto::Line| {
            let function = profile.function.iter().find(|it| it.id == line.function_id).expect("function");
            format!("{}:{}", text(profile, function.name), line.line)
        };
        location.line.iter().map(line).collect::<Vec<_>>().join(" < ")
    };
    sample.location_id.iter().map(location).collect()
}

fn labels<'a>(profile: &'a proto::Profile, sample: &proto::Sample) -> Vec<(&'a str, &'a str)> {
    sample.label.iter().map(|label| (text(profile, label.key), text(profile, label.str))).collect()
}

#[test]
fn samples_have_stacks_values_and_labels() {
    let (profile, made) = (profile(), rendered(&profile(), &Options::default()));
    let types: Vec<&str> = made.sample_type.iter().map(|of| text(&made, of.r#type)).collect();
    assert_eq!(types, ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]);
    assert_eq!(text(&made, made.default_sample_type), "inuse_space");
    assert_eq!((made.period, made.duration_nanos), (1, 10_000_000_000));
    assert!(made.time_nanos > 1_600_000_000_000_000_000, "{}", made.time_nanos);
    let totals = profile.totals;
    let expected = [totals.allocated_count, totals.allocated_bytes, totals.live_count, totals.live_bytes];
    assert_eq!(sums(&made), expected.map(|value| i64::try_from(value).expect("small")));
    let zlib: Vec<_> =
        made.sample.iter().filter(|sample| labels(&made, sample).contains(&("category", "zlib"))).collect();
    // Sample of memory that the thread holds, and one of all that was allocated.
    let [held, rest] = zlib.as_slice() else { panic!("{zlib:?}") };
    assert_eq!(held.value, [0, 0, 300, 2_562_560]);
    assert!(labels(&made, held).contains(&("thread", "main")));
    assert!(labels(&made, rest).iter().all(|(key, _)| *key != "thread"));
    for sample in &made.sample {
        let labels = labels(&made, sample);
        let keys: BTreeSet<&str> = labels.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys.len(), labels.len(), "one value a key: {labels:?}");
        assert!(labels.contains(&("source", "allocator")));
    }
}

/// Memory that is kept some way has samples of its own, which add up to what the row says.
#[test]
fn who_keeps_it_is_a_label() {
    let (_folder, path) = fixture::finished_with_holders();
    let profile = Profile::build(&recording::read(&path).expect("read"), &Rules::builtin());
    let made = rendered(&profile, &Options::default());
    let totals = profile.totals;
    let expected = [totals.allocated_count, totals.allocated_bytes, totals.live_count, totals.live_bytes];
    assert_eq!(sums(&made), expected.map(|value| i64::try_from(value).expect("small")));
    let site =
        profile.sites.iter().find(|site| site.holders.as_ref().is_some_and(|holders| holders.len() > 1));
    let site = site.expect("several holders");
    for share in site.holders.iter().flatten() {
        let words = crate::output::holders::in_words(share.state, &share.path, 120);
        let is_of = |sample: &&proto::Sample| {
            let labels = labels(&made, sample);
            labels.contains(&("category", &site.category)) && labels.contains(&("kept_by", &words))
        };
        let held: i64 = made.sample.iter().filter(is_of).filter_map(|sample| sample.value.last()).sum();
        assert_eq!(held, i64::try_from(share.bytes).expect("small"), "{words}");
    }
    let diff = Diff::of_profiles(&profile, &profile);
    let mut file = Vec::new();
    render_diff(&diff, &Options::default(), &mut file).expect("render");
    let made = decoded(&file);
    let is_told = |sample: &proto::Sample| {
        let keys: Vec<&str> = labels(&made, sample).into_iter().map(|(key, _)| key).collect();
        keys.contains(&"kept_by") && keys.contains(&"pprof::base")
    };
    assert!(made.sample.iter().any(is_told));
}

#[test]
fn what_was_compiled_into_one_is_one_location() {
    let mut profile = profile();
    let site = profile.sites.iter_mut().find(|site| site.category == "zlib").expect("zlib");
    let java: Vec<usize> = (0..site.frames.len())
        .filter(|&at| site.frames[at].kind == crate::symbolize::FrameKind::Java)
        .collect();
    let [first, second, ..] = java.as_slice() else { panic!("too few Java frames") };
    assert_eq!(first + 1, *second);
    for frame in site.frames.iter_mut() {
        std::sync::Arc::make_mut(frame).tier = None;
    }
    std::sync::Arc::make_mut(&mut site.frames[*first]).tier = Some(crate::symbolize::Tier::Inlined);
    let frames = site.frames.len();
    let made = rendered(&profile, &Options::default());
    let of_zlib = |sample: &&proto::Sample| labels(&made, sample).contains(&("category", "zlib"));
    let stack = stack(&made, made.sample.iter().find(of_zlib).expect("sample"));
    assert_eq!(stack.len(), frames - 1);
    assert!(stack[*first].contains(" < "), "{stack:?}");
}

#[test]
fn a_file_is_of_the_program_and_its_modules() {
    let made = rendered(&profile(), &Options::default());
    let first = made.mapping.first().expect("mapping");
    assert_eq!(text(&made, first.filename), "java");
    assert!(made.mapping.iter().all(|it| it.has_functions && it.has_filenames && it.has_line_numbers));
    for location in &made.location {
        let mapping = made.mapping.iter().find(|mapping| mapping.id == location.mapping_id);
        let fits =
            |mapping: &proto::Mapping| location.address == 0 || location.address < mapping.memory_limit;
        assert!(mapping.is_none_or(fits), "{location:?}");
    }
    let comments: Vec<&str> = made.comment.iter().map(|comment| text(&made, *comment)).collect();
    for comment in
        ["lost: lost_pending 2", "note: perf maps were not read", "complete stacks: 999 of 1,000 (99.9 %)"]
    {
        assert!(comments.contains(&comment), "{comments:?}");
    }
}

#[test]
fn other_views_and_sources() {
    let mut of_leaks = profile();
    of_leaks.keep_view(View::Leaks);
    let made = rendered(&of_leaks, &Options { view: View::Leaks, ..Options::default() });
    let live: u64 =
        of_leaks.sites.iter().filter(|it| it.source == "allocator").map(|it| it.totals.live_bytes).sum();
    assert_eq!(sums(&made)[3], i64::try_from(live).expect("small"));
    let mapped = Options { source: Some("mapping"), view: View::Allocated, ..Options::default() };
    let made = rendered(&profile(), &mapped);
    assert_eq!(sums(&made), [3, (2 << 20) + (1 << 16), 2, (1 << 20) + (1 << 16)]);
    assert_eq!(text(&made, made.default_sample_type), "alloc_space");
    let top = Options { top: Some(1), ..Options::default() };
    let made = rendered(&profile(), &top);
    assert_eq!(sums(&made)[3], i64::try_from(profile().totals.live_bytes).expect("small"));
    assert!(made.sample.iter().any(|sample| stack(&made, sample) == ["[other sites]:0"]));
}

#[test]
fn a_comparison_is_what_pprof_makes_of_two() {
    let diff = Diff::of_profiles(&profile(), &profile());
    let mut file = Vec::new();
    render_diff(&diff, &Options::default(), &mut file).expect("render");
    let made = decoded(&file);
    assert_eq!(sums(&made), [0; 4]);
    let of_base = |sample: &&proto::Sample| labels(&made, sample).contains(&("pprof::base", "true"));
    let base: i64 = made.sample.iter().filter(of_base).filter_map(|sample| sample.value.last()).sum();
    assert_eq!(base, -i64::try_from(profile().totals.live_bytes).expect("small"));
}

#[test]
fn strings_cannot_act() {
    let mut profile = profile();
    for site in &mut profile.sites {
        for frame in site.frames.iter_mut().map(std::sync::Arc::make_mut) {
            frame.function = "e\u{1b}]0;v\u{7}il\u{202e}".to_owned();
        }
    }
    let made = rendered(&profile, &Options::default());
    assert!(made.string_table.iter().all(|text| !text.contains(['\u{1b}', '\u{7}', '\u{202e}'])));
}
