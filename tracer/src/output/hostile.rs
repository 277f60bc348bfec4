//! From recordings that someone changed to every output: no panic, no loop, no wrong arithmetic.

use std::time::{Duration, Instant};

use super::{Options, diff, flamegraph, folded, json, text};
use crate::attribute::Rules;
use crate::profile::diff::Diff;
use crate::profile::{Profile, View};
use crate::recording::{self, fixture};

/// Recordings tried, and how long at most: a slow machine tries fewer.
const TRIED: u64 = 400;
const LONGEST: Duration = Duration::from_secs(15);
/// Time that any of them may take to be read and written in each format.
const EACH: Duration = Duration::from_secs(10);

/// Writes all outputs of a recording, and what it and another differ in.
fn render_all(profile: &mut Profile, other: &Profile) {
    let diffs = [Diff::of_profiles(profile, other), Diff::of_profiles(other, profile)];
    for verbose in [false, true] {
        let options = Options { verbose, color: verbose, ..Options::default() };
        let out = &mut Vec::new();
        text::render(profile, &options, out).expect("text");
        text::summary(profile, &options, out).expect("summary");
        let printed = String::from_utf8(out.clone()).expect("text");
        let is_safe = |char: char| !char.is_control() || char == '\n' || (verbose && char == '\u{1b}');
        assert!(printed.chars().all(is_safe), "a control character is printed");
        for diff in &diffs {
            diff::text(diff, &options, out).expect("text of a difference");
        }
    }
    let options = Options::default();
    let out = &mut Vec::new();
    json::render(profile, &options, out).expect("JSON");
    serde_json::from_slice::<serde_json::Value>(out).expect("JSON that can be read");
    let rows = |source: &str| {
        let rows = profile.categories.iter().filter(|row| row.source == source);
        rows.map(|row| row.totals.live_bytes).sum::<u64>()
    };
    assert_eq!(rows("allocator"), profile.totals.live_bytes, "the categories are the totals");
    for diff in &diffs {
        diff::json(diff, &options, out).expect("JSON of a difference");
        diff::folded(diff, &options, out).expect("stacks of a difference");
        diff::flamegraph(diff, &options, out).expect("a picture of a difference");
    }
    for view in [View::Live, View::Allocated, View::Temporary, View::Leaks] {
        profile.keep_view(view);
        let options = Options { view, ..Options::default() };
        folded::render(profile, &options, out).expect("stacks");
        flamegraph::render(profile, &options, out).expect("a picture");
    }
}

#[test]
fn changed_recordings_are_refused_or_reported() {
    let rules = Rules::builtin();
    let (_whole_folder, whole) = fixture::finished_with_holders();
    let whole_profile = Profile::build(&recording::read(&whole).expect("read"), &rules);
    let (folder, _) = fixture::folder();
    let path = folder.path().join("changed.trec");
    let begin = Instant::now();
    let (mut read, mut refused) = (0, 0);
    for seed in 0..TRIED {
        std::fs::copy(&whole, &path).expect("copy");
        fixture::mutate(&path, seed);
        let started = Instant::now();
        match recording::read(&path) {
            Ok(recording) => {
                read += 1;
                render_all(&mut Profile::build(&recording, &rules), &whole_profile);
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
        assert!(started.elapsed() < EACH, "seed {seed} took {:?}", started.elapsed());
        if begin.elapsed() > LONGEST {
            break;
        }
    }
    assert!(read >= 10 && refused >= 10, "{read} read, {refused} refused: the changes say nothing");
}
