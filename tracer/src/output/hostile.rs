//! Hostile recordings, which someone changed, to every output: no panic, no loop, no wrong arithmetic.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::{Options, dhat, diff, flamegraph, folded, html, json, otlp, pprof, report2, text};
use crate::attribute::Rules;
use crate::profile::diff::Diff;
use crate::profile::{Profile, View};
use crate::recording::{self, fixture};

/// Recordings tried, and how long at most: a slow machine tries fewer.
const TRIED: u64 = 400;
const LONGEST: Duration = Duration::from_secs(15);
/// CPU time that any of them may take to be read and written in each format.
const EACH: Duration = Duration::from_secs(5);

/// Writer of a subject in a format.
type Render<T> = fn(&T, &Options, &mut dyn Write) -> io::Result<()>;

/// Every format of a recording but text and JSON, which are read again.
const FORMATS: [Render<Profile>; 6] =
    [folded::render, flamegraph::render, html::render, pprof::render, otlp::render, dhat::render];
/// Every format of a difference but text.
const DIFF_FORMATS: [Render<Diff>; 6] =
    [diff::json, report2::diff, diff::folded, diff::flamegraph, html::render_diff, pprof::render_diff];

/// Writes all outputs of a recording, and of the differences between it and another.
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
    for render in [json::render, report2::report] {
        let mut out = Vec::new();
        render(profile, &options, &mut out).expect("JSON");
        serde_json::from_slice::<serde_json::Value>(&out).expect("JSON that can be read");
    }
    let rows = |source: &str| {
        let rows = profile.categories.iter().filter(|row| row.source == source);
        rows.map(|row| row.totals.live_bytes).sum::<u64>()
    };
    assert_eq!(rows("allocator"), profile.totals.live_bytes, "the categories are the totals");
    for diff in &diffs {
        for render in DIFF_FORMATS {
            render(diff, &options, &mut io::sink()).expect("a difference");
        }
    }
    for view in [View::Live, View::Allocated, View::Temporary, View::Leaks] {
        profile.keep_view(view);
        let options = Options { view, ..Options::default() };
        for render in FORMATS {
            render(profile, &options, &mut io::sink()).expect("a report");
        }
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
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
        let started = thread_cpu();
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
        let took = thread_cpu().saturating_sub(started);
        assert!(took < EACH, "seed {seed} took {took:?}");
        if begin.elapsed() > LONGEST {
            break;
        }
    }
    assert!(read >= 10 && refused >= 10, "{read} read, {refused} refused: the changes say nothing");
}
