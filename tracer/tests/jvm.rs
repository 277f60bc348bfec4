//! Running, unmodified JVMs: Java workloads that print their own truth. Needs root and JDKs.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::fixture::{fetched_java, java_classes, jdk_home};
use common::process::Process;
use common::recorder::{Recorder, Recording, assert_text_untouched};
use common::report::{Totals, assert_sound, category, number, rows, sites_through};
use serde_json::Value;

/// Status that the workloads exit with.
const EXIT_STATUS: i32 = 23;

struct Traced {
    truth: Value,
    report: Value,
    /// Kept when the test fails.
    recording: Recording,
}

/// Starts a JVM, then the recorder, then the work; `commands` follow the work inside the recording.
fn trace(java: &Path, workload: &str, commands: &[&str]) -> Traced {
    trace_with(java, workload, commands, &[])
}

fn trace_with(java: &Path, workload: &str, commands: &[&str], arguments: &[&str]) -> Traced {
    let mut command = Command::new(java);
    command.arg("-cp").arg(java_classes()).arg(workload);
    let (mut target, mut stdout, _stderr) = Process::start(&mut command);
    stdout.until("started");
    let recorder = Recorder::attach(target.pid(), &format!("jvm-{workload}"), arguments);
    target.tell("start");
    let truth = serde_json::from_str(&stdout.next()).expect("a workload's truth is JSON");
    for command in commands {
        target.tell(command);
        stdout.next();
    }
    let recording = recorder.stop();
    assert_eq!(recording.status.code(), Some(0), "the recorder failed:\n{}", recording.stderr);
    assert_text_untouched(target.pid());
    target.tell("quit");
    assert_eq!(target.wait().code(), Some(EXIT_STATUS), "the JVM's own exit status");
    let report = recording.report();
    assert_sound(&report);
    let code = &report["code_cache"];
    let sizes = ["used_bytes", "committed_bytes", "reserved_bytes"].map(|key| number(code, key));
    assert!(sizes[0] > 0 && sizes.is_sorted(), "the code cache was walked: {code:#}");
    assert!(!rows(code, "heaps").is_empty() && !rows(code, "methods").is_empty());
    assert!(report["target"]["jvm"].is_object(), "the target is a JVM: {}", report["target"]);
    Traced { truth, report, recording }
}

fn java() -> PathBuf {
    jdk_home().join("bin/java")
}

/// Within one percent.
fn assert_close(measured: u64, truth: u64, what: &str) {
    assert!(measured.abs_diff(truth) <= truth / 100, "{what}: {measured}, in truth {truth}");
}

/// 500 streams stay open of 5,000, and zlib's live bytes are theirs.
fn assert_gzip_streams(java: &Path) {
    let traced = trace(java, "GzipStreams", &[]);
    let zlib = category(&traced.report, "zlib");
    assert_close(zlib.live_bytes, number(&traced.truth, "zlib_bytes"), "zlib's live bytes");
    assert_close(zlib.live_count, number(&traced.truth, "zlib_count"), "zlib's live allocations");
    assert_close(zlib.allocated_bytes, 10 * number(&traced.truth, "zlib_bytes"), "what zlib allocated");
    let java = Totals::sum(sites_through(&traced.report, "allocator", "GzipStreams.open"));
    assert_close(java.live_bytes, number(&traced.truth, "zlib_bytes"), "live bytes below GzipStreams.open");
}

#[test]
fn open_gzip_streams_are_found() {
    let Some(_turn) = common::privileged() else { return };
    assert_gzip_streams(&java());
}

macro_rules! on_fetched_jdks {
    ($($test:ident: $major:literal),* $(,)?) => {$(
        #[test]
        fn $test() {
            let Some(_turn) = common::privileged() else { return };
            match fetched_java($major) {
                Some(java) => assert_gzip_streams(&java),
                None => common::skip(concat!("needs JDK ", $major, " (cargo xtask setup --tests)")),
            }
        }
    )*};
}

on_fetched_jdks! {
    open_gzip_streams_are_found_on_jdk_11: 11,
    open_gzip_streams_are_found_on_jdk_17: 17,
    open_gzip_streams_are_found_on_jdk_21: 21,
    open_gzip_streams_are_found_on_jdk_25: 25,
}

/// Sampled page faults stand for the memory that there was, within five standard errors; the rest is in the Java heap.
fn assert_touched(report: &Value) {
    let touched = &report["touched"];
    let page_bytes = number(touched, "page_bytes");
    let others = number(touched, "fault_count") - number(touched, "java_heap_fault_count");
    let allowed = 5 * number(touched, "standard_error_bytes") + 64 * page_bytes;
    let (estimate, truth) = (number(touched, "bytes"), others * page_bytes);
    assert!(estimate.abs_diff(truth) <= allowed, "{estimate} bytes, in truth {truth}, allowed {allowed}");
    for key in ["categories", "sites"] {
        let sum: u64 = rows(touched, key).iter().map(|row| number(row, "bytes")).sum();
        assert_eq!(sum, estimate, "the {key} add up");
    }
}

/// Streams are each counted once without a probe on malloc, with their state and window, wherever zlib is.
#[test]
fn light_probes_see_streams() {
    let Some(_turn) = common::privileged() else { return };
    for java in [Some(java()), fetched_java(25)].into_iter().flatten() {
        let traced = trace_with(&java, "GzipStreams", &[], &["--probes", "light"]);
        let streams = number(&traced.truth, "streams");
        let own = Totals::sum(sites_through(&traced.report, "allocator", "GzipStreams.open"));
        // Bytes of an inflater of zlib 1.2.9 and later.
        let each = 7_160 + 32_768;
        assert_eq!((own.live_count, own.allocated_count), (streams, 10 * streams), "{}", java.display());
        assert_eq!((own.live_bytes, own.allocated_bytes), (streams * each, 10 * streams * each));
        assert_eq!(category(&traced.report, "zlib").live_bytes, own.live_bytes);
        assert_touched(&traced.report);
    }
}

#[test]
fn light_probes_see_direct_buffers() {
    let Some(_turn) = common::privileged() else { return };
    let traced = trace_with(&java(), "DirectBuffers", &["gc", "gc"], &["--probes", "light"]);
    // The JVM asks for whole words.
    let each = number(&traced.truth, "size_bytes").next_multiple_of(8);
    let (kept, dropped) = (number(&traced.truth, "kept_count"), number(&traced.truth, "dropped_count"));
    let own = Totals::sum(sites_through(&traced.report, "allocator", "DirectBuffers.allocate"));
    assert_eq!((own.allocated_count, own.allocated_bytes), (kept + dropped, (kept + dropped) * each));
    assert!((kept..=kept + dropped).contains(&own.live_count), "{own:?}");
    assert_eq!(own.live_bytes, own.live_count * each);
    assert_eq!(category(&traced.report, "direct-buffer").live_bytes, own.live_bytes);
    assert_touched(&traced.report);
    // Each is filled with zeros once, and so touched.
    let filled = rows(&traced.report["touched"], "sites").iter().filter(|site| {
        site["category"] == "direct-buffer" && site["owner"]["function"] == "DirectBuffers.allocate"
    });
    let sum = |key: &str| filled.clone().map(|site| number(site, key)).sum::<u64>();
    let error = number(&traced.report["touched"], "standard_error_bytes");
    let truth = (kept + dropped) * each;
    assert!(sum("bytes").abs_diff(truth) <= 5 * error, "{} bytes filled, in truth {truth}", sum("bytes"));
}

#[test]
fn deflaters_are_zlib() {
    let Some(_turn) = common::privileged() else { return };
    let traced = trace(&java(), "Deflaters", &[]);
    let own = |site: &&Value| {
        let leaf = site["frames"][0]["function"].as_str().unwrap_or_default();
        ["deflateInit2_", "Java_java_util_zip_Deflater_init"].contains(&leaf)
    };
    let made = sites_through(&traced.report, "allocator", "Deflaters.make");
    let made = Totals::sum(made.into_iter().filter(own));
    let kept = number(&traced.truth, "deflaters");
    // Its z_stream, state, window, hash chains, hash heads and pending output.
    assert_eq!(made.live_count, 6 * kept, "{made:?}");
    assert_eq!(made.live_bytes % kept, 0, "each deflater holds the same: {made:?}");
    assert!(made.live_bytes / kept > 250_000, "a deflater holds its window and hash tables: {made:?}");
    assert_close(category(&traced.report, "zlib").live_bytes, made.live_bytes, "zlib's live bytes");
}

#[test]
fn direct_buffers_are_counted_until_a_collection_frees_them() {
    let Some(_turn) = common::privileged() else { return };
    let traced = trace(&java(), "DirectBuffers", &["gc", "gc"]);
    let buffers = category(&traced.report, "direct-buffer");
    let size = number(&traced.truth, "size_bytes");
    let (kept, dropped) = (number(&traced.truth, "kept_count"), number(&traced.truth, "dropped_count"));
    // HotSpot's own header, and alignment to a page where it asks for it.
    let overhead = 8192;
    let least = (kept + dropped) * size;
    assert!((least..=least + (kept + dropped) * overhead).contains(&buffers.allocated_bytes), "{buffers:?}");
    // The reference handler frees after the collection, at its own pace.
    assert!((kept..=kept + dropped).contains(&buffers.live_count), "{buffers:?}");
    assert!(buffers.live_bytes >= kept * size, "{buffers:?}");
    assert!(number(&traced.report["session"], "gc_count") >= 2);
}

#[test]
fn threads_are_counted() {
    let Some(_turn) = common::privileged() else { return };
    let traced = trace(&java(), "Threads", &[]);
    let threads = &traced.report["threads"];
    // A JVM starts and ends compiler threads of its own.
    assert!(number(threads, "started") >= number(&traced.truth, "threads_started"), "{threads}");
    assert!(number(threads, "exited") >= number(&traced.truth, "threads_exited"), "{threads}");
    let creators = threads["creators"].as_array().expect("threads have creators");
    let by_workload: u64 = creators
        .iter()
        .filter(|creator| creator.to_string().contains("Threads.start"))
        .map(|creator| number(creator, "count"))
        .sum();
    assert_eq!(by_workload, number(&traced.truth, "threads_started"), "threads started by Threads.start");
}

#[test]
fn every_output_tells_the_same() {
    let Some(_turn) = common::privileged() else { return };
    let traced = trace(&java(), "GzipStreams", &[]);
    for view in ["live", "allocated"] {
        let folded = traced.recording.render(&["--format", "folded", "--view", view, "--category", "zlib"]);
        let sum: u64 = folded
            .lines()
            .map(|line| line.rsplit_once(' ').expect("stack and bytes").1.parse::<u64>().expect("bytes"))
            .sum();
        let zlib = category(&traced.report, "zlib");
        assert_eq!(sum, if view == "live" { zlib.live_bytes } else { zlib.allocated_bytes }, "{view}");
    }
    let text = traced.recording.render(&[]);
    assert!(text.contains("zlib") && text.contains("GzipStreams.open"), "{text}");
    let picture = traced.recording.render(&["--format", "flamegraph"]);
    assert!(picture.contains("<svg") && picture.contains("GzipStreams.open"));
    assert!(
        traced.recording.stdout.contains("zlib"),
        "the recorder's own table:\n{}",
        traced.recording.stdout
    );
}
