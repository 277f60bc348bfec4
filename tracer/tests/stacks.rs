//! Stacks that cannot be whole, or must not be believed: what is known of them is kept, what is not is said. C
//! programs that print their own truth. Needs root.

mod common;

use std::path::Path;
use std::process::Command;

use common::fixture::{c_program, library_without_cfi, musl_program};
use common::process::Process;
use common::recorder::{Recorder, Recording};
use common::report::{Totals, assert_sound, number, of_source, rows, sites_through};
use serde_json::Value;

/// Status that the programs exit with.
const EXIT_STATUS: i32 = 23;

struct Traced {
    truth: Value,
    report: Value,
    recording: Recording,
}

/// Records one program from its first line to its truth.
fn trace(program: &str, argument: Option<&Path>) -> Traced {
    let traced = trace_command(program, Command::new(c_program(program)).args(argument));
    assert_sound(&traced.report);
    traced
}

fn trace_command(program: &str, command: &mut Command) -> Traced {
    let (mut target, mut stdout, _stderr) = Process::start(command);
    stdout.until("started");
    let recorder = Recorder::attach(target.pid(), &format!("stacks-{program}"), &[]);
    target.tell("go");
    let truth = serde_json::from_str(&stdout.next()).expect("a program's truth is JSON");
    let recording = recorder.stop();
    assert_eq!(recording.status.code(), Some(0), "the recorder failed:\n{}", recording.stderr);
    target.tell("end");
    assert_eq!(target.wait().code(), Some(EXIT_STATUS), "the target's own exit status");
    let report = recording.report();
    Traced { truth, report, recording }
}

/// The frames of the only site through `function`, leaf first.
fn only_site<'a>(report: &'a Value, function: &str) -> (&'a Value, Vec<&'a str>) {
    let sites = sites_through(report, "allocator", function);
    assert_eq!(sites.len(), 1, "one site through {function}: {sites:#?}");
    let functions = rows(sites[0], "frames").iter().filter_map(|frame| frame["function"].as_str());
    (sites[0], functions.collect())
}

/// All is counted, and the reason why its stacks end is told.
fn assert_ends(traced: &Traced, reason: &str) {
    assert_eq!(Totals::of(&traced.report["totals"]), Totals::of_truth(&traced.truth));
    let incomplete = rows(&traced.report["trust"], "incomplete");
    assert!(incomplete.iter().any(|end| end["reason"] == reason), "{reason}: {incomplete:#?}");
    let text = traced.recording.render(&["-v"]);
    assert!(text.contains(reason), "{reason}: {text}");
}

#[test]
fn code_made_at_run_time_ends_a_stack() {
    let Some(_turn) = common::privileged() else { return };
    let traced = trace("jit_code", None);
    let (_, functions) = only_site(&traced.report, "site_below_made_code");
    assert_eq!(functions, ["site_below_made_code", "[unknown: no file]"]);
    assert_ends(&traced, "no call-frame information");
}

#[test]
fn a_perf_map_names_nothing_that_is_in_a_file() {
    let Some(_turn) = common::privileged() else { return };
    let traced = trace("jit_code", Some(Path::new("lie")));
    let (site, functions) = only_site(&traced.report, "site_below_made_code");
    assert_eq!(functions, ["site_below_made_code", "made_code"]);
    assert!(rows(site, "frames").iter().all(|frame| frame["kind"] == "native"), "{site}");
    assert!(!traced.report.to_string().contains("lie_about"), "{}", traced.report);
    assert_ends(&traced, "no call-frame information");
}

#[test]
fn a_library_without_call_frame_information_ends_a_stack() {
    let Some(_turn) = common::privileged() else { return };
    let traced = trace("without_cfi", Some(&library_without_cfi()));
    let (_, functions) = only_site(&traced.report, "site_below");
    assert_eq!(functions, ["site_below", "pass_on"]);
    assert_ends(&traced, "no call-frame information");
}

#[test]
fn of_thousands_of_frames_the_leaf_is_kept() {
    let Some(_turn) = common::privileged() else { return };
    let traced = trace("deep", None);
    let sites = of_source(&traced.report, "sites", "allocator");
    assert_eq!(sites.len(), 2, "{sites:#?}");
    let mut lengths = Vec::new();
    for site in sites {
        let functions: Vec<_> =
            rows(site, "frames").iter().filter_map(|frame| frame["function"].as_str()).collect();
        assert_eq!(functions[..3], ["site_deep", "recurse", "recurse"]);
        let is_whole = functions.contains(&"main");
        assert_eq!(is_whole, functions.contains(&"below_the_limit"));
        lengths.push((functions.len(), is_whole));
    }
    lengths.sort_unstable();
    // The first is 901 times recurse between its ends; the second is cut off.
    let [(below, true), (1024, false)] = lengths[..] else { panic!("{lengths:?}") };
    assert!((905..915).contains(&below), "{lengths:?}");
    assert_ends(&traced, "deeper than the limit");
}

#[test]
fn threads_that_are_gone_have_whole_stacks() {
    let Some(_turn) = common::privileged() else { return };
    let traced = trace("passing_threads", None);
    let (site, functions) = only_site(&traced.report, "site_passing");
    assert_eq!(functions[..2], ["site_passing", "passing_thread"]);
    assert_eq!(Totals::of(site).live_count, 500);
    assert_eq!(rows(&traced.report["trust"], "incomplete").len(), 0, "{}", traced.report["trust"]);
}

/// musl has no call-frame information. A stack that comes to where musl began the process, or a thread, is whole.
#[test]
fn stacks_end_where_musl_begins() {
    let Some(_turn) = common::privileged() else { return };
    if Command::new("musl-gcc").arg("--version").output().is_err() {
        common::skip("needs musl-tools");
        return;
    }
    for (program, is_static) in [("malloc", false), ("malloc", true), ("threads", false), ("threads", true)] {
        let traced = trace_command(program, &mut Command::new(musl_program(program, is_static)));
        let totals = Totals::of(&traced.report["totals"]);
        assert_eq!(totals, Totals::of_truth(&traced.truth), "{program}, static: {is_static}");
        let trust = &traced.report["trust"];
        let (all, whole) = (number(trust, "stacks_total"), number(trust, "stacks_complete"));
        assert!(all >= totals.allocated_count && whole == all, "{program}, static: {is_static}: {trust}");
    }
}

/// More different stacks than there is room for, faster than they can be received: the share of whole stacks is that of
/// the allocations whose stack can be shown.
#[test]
fn a_stack_that_did_not_arrive_is_not_whole() {
    let Some(_turn) = common::privileged() else { return };
    let traced = trace_command("many_stacks", &mut Command::new(c_program("many_stacks")));
    let trust = &traced.report["trust"];
    let (all, whole) = (number(trust, "stacks_total"), number(trust, "stacks_complete"));
    let count = number(&traced.truth, "allocated_count");
    assert_eq!(Totals::of(&traced.report["totals"]), Totals::of_truth(&traced.truth));
    assert!(number(&trust["lost"], "lost_stack_table_full") > 1000, "{trust}");
    let recording = tracer::recording::read(&traced.recording.file).expect("the recording");
    let is_whole = |stack| recording.stack(stack).is_some_and(|stack| stack.complete == Some(true));
    let shown: u64 =
        recording.totals.iter().filter(|row| is_whole(row.stack)).map(|row| row.totals.allocated_count).sum();
    assert!(shown > 1000 && shown <= 131_072, "{shown} of {count}");
    assert_eq!((all, whole), (count, shown), "{trust}");
}
