//! `report`: how long `tracer report` takes on a recording with very many live allocations and call paths.
//!
//! The recording is made up, through the writer that `record` uses, so that its size is what was asked for: every
//! call path has frames of its own, and is one of those that grew in the session; some are as deep as stacks can be.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use tracer::process::Tid;
use tracer::recording::{End, Header, LiveSize, Quality, Survivors, ThreadLive, Writer};
use tracer::symbolize::{Frame, FrameKind, Tier};
use tracer_common::stack::StackId;
use tracer_common::table::StackTotals;
use tracer_common::unwind::MAX_FRAMES;

use crate::machine::Machine;
use crate::process::{self, Ended};
use crate::render::{mib, number, table};
use crate::statistics::median;
use crate::tracer_record;
use crate::workload;

const START_NS: u64 = 1_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;
const SECONDS: u64 = 60;
const THREAD_COUNT: u64 = 200;
const BLOCK_BYTES: u64 = 1_009;
/// Frames of a call path: native ones at its leaf, then the JDK's and the application's.
const NATIVE_FRAMES: u64 = 5;
const JDK_FRAMES: u64 = 10;
const APPLICATION_FRAMES: u64 = 25;
/// Call paths of which one is as deep as a recording keeps.
const DEEP_EVERY: u64 = 1_000;
/// Methods that the application has.
const METHOD_COUNT: u64 = 5_000;
/// Each second one of so many call paths allocates.
const BUSY_SHARE: u64 = 10;
/// Seconds in which what is live was allocated, and a share of it.
const BIRTHS: [(u64, u64); 3] = [(1, 4), (20, 4), (40, 2)];
const FORMATS: [&str; 8] = ["text", "json", "html", "folded", "flamegraph", "pprof", "otlp", "dhat"];

#[derive(Args)]
pub(crate) struct Options {
    /// Live allocations at the end of the session
    #[arg(long, default_value_t = 1_000_000)]
    live: u64,
    /// Call paths that made them, no two of them alike
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    stacks: u64,
    /// Make the recording here, and do nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) make: Option<PathBuf>,
    /// Methods of the application that allocate
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    owners: u64,
}

/// Results of `bench report`.
#[derive(Serialize)]
pub(crate) struct Results {
    schema: &'static str,
    machine: Machine,
    alternations: u32,
    live_count: u64,
    stack_count: u64,
    owner_count: u64,
    recording_bytes: u64,
    formats: Vec<FormatTime>,
}

#[derive(Serialize)]
struct FormatTime {
    format: &'static str,
    /// Process start to its end.
    median_ms: f64,
    cpu_ms: f64,
    resident_peak_bytes: u64,
    output_bytes: u64,
}

pub(crate) fn measure(options: &Options, alternations: u32) -> Result<Results> {
    let machine = Machine::read();
    let file = workload::folder()?.join("report.trec");
    eprintln!("making a recording of {} live allocations on {} call paths", options.live, options.stacks);
    write(&file, options)?;
    let mut taken: Vec<Vec<Report>> = FORMATS.iter().map(|_| Vec::new()).collect();
    for round in 1..=alternations {
        eprintln!("report: {round} of {alternations}");
        for (format, taken) in FORMATS.iter().zip(&mut taken) {
            taken.push(report(&file, format)?);
        }
    }
    Ok(Results {
        schema: "tracer.bench.report/1",
        machine: machine.done(),
        alternations,
        live_count: options.live,
        stack_count: options.stacks,
        owner_count: options.owners.min(options.stacks),
        recording_bytes: std::fs::metadata(&file)?.len(),
        formats: FORMATS.into_iter().zip(&taken).map(|(format, taken)| format_time(format, taken)).collect(),
    })
}

fn format_time(format: &'static str, taken: &[Report]) -> FormatTime {
    let of = |value: fn(&Report) -> f64| median(&taken.iter().map(value).collect::<Vec<_>>());
    FormatTime {
        format,
        median_ms: of(|report| report.ended.time.as_secs_f64() * 1e3),
        cpu_ms: of(|report| report.ended.cpu_time.as_secs_f64() * 1e3),
        resident_peak_bytes: of(|report| report.ended.resident_peak_bytes as f64) as u64,
        output_bytes: of(|report| report.output_bytes as f64) as u64,
    }
}

struct Report {
    ended: Ended,
    output_bytes: u64,
}

/// Runs `tracer report`.
fn report(file: &Path, format: &str) -> Result<Report> {
    let output: PathBuf = file.with_extension(format);
    let mut child = Command::new(tracer_record::tracer()?)
        .args(["report", "--format", format, "-o"])
        .arg(&output)
        .arg("--force")
        .arg(file)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot run tracer")?;
    let ended = process::watch(&mut child)?;
    if !ended.status.success() {
        bail!("tracer report --format {format} failed: {}", ended.status);
    }
    Ok(Report { ended, output_bytes: std::fs::metadata(&output)?.len() })
}

/// Makes the recording.
pub(crate) fn write(file: &Path, options: &Options) -> Result<()> {
    let mut writer = Writer::create(file, true, &Header::default())?;
    writer.started("2026-01-01T00:00:00Z", START_NS)?;
    for stack in 0..options.stacks {
        writer.stack(id(stack), &frames(stack, options.owners), true, "complete")?;
    }
    let each = options.live.div_ceil(options.stacks).max(1);
    let share = |second: u64| each * second / SECONDS;
    for second in 1..=SECONDS {
        let time_ns = START_NS + second * SECOND_NS;
        let busy = |stack: &u64| second == SECONDS || (stack + second).is_multiple_of(BUSY_SHARE);
        let totals: Vec<_> =
            (0..options.stacks).filter(busy).map(|stack| (id(stack), totals(share(second)))).collect();
        writer.allocator_totals(time_ns, &totals)?;
        writer.tick(time_ns)?;
    }
    for thread in 0..THREAD_COUNT {
        writer.thread(tid(thread), Some(&format!("worker-{thread}")), None, None, None)?;
    }
    let live: Vec<_> = (0..options.stacks)
        .flat_map(|stack| [(stack, each / 2), (stack + 1, each - each / 2)].map(|of| (stack, of)))
        .filter(|(_, (_, count))| *count > 0)
        .map(|(stack, (thread, count))| ThreadLive {
            stack: id(stack),
            tid: tid(thread % THREAD_COUNT),
            live_bytes: count * BLOCK_BYTES,
            live_count: count,
        })
        .collect();
    writer.live_by_thread(&live)?;
    let sizes: Vec<_> = (0..options.stacks)
        .map(|stack| LiveSize {
            stack: id(stack),
            least_bytes: BLOCK_BYTES,
            live_bytes: each * BLOCK_BYTES,
            live_count: each,
        })
        .collect();
    writer.live_by_size(&sizes)?;
    let births: Vec<_> = (0..options.stacks)
        .flat_map(|stack| BIRTHS.map(|(second, share)| (stack, second, each / share)))
        .filter(|(_, _, count)| *count > 0)
        .map(|(stack, second, count)| Survivors {
            stack: id(stack),
            epoch: 0,
            born_ns: START_NS + second * SECOND_NS,
            live_bytes: count * BLOCK_BYTES,
            live_count: count,
        })
        .collect();
    writer.survivors(&births)?;
    let walks = options.stacks * each;
    writer.quality(&Quality {
        unmatched_frees: Some(0),
        stacks_total: Some(walks),
        stacks_complete: Some(walks),
        stacks_remembered: None,
        heaviest_sample: None,
    })?;
    writer.finish(&End { duration_ns: SECONDS * SECOND_NS, reason: "duration".to_owned() })?;
    Ok(())
}

/// Ids above those with a meaning of their own.
fn id(stack: u64) -> StackId {
    StackId(stack + 1_000)
}

fn tid(thread: u64) -> Tid {
    // Below THREAD_COUNT.
    Tid(thread as u32 + 10_000)
}

fn totals(count: u64) -> StackTotals {
    StackTotals {
        allocated_bytes: 3 * count * BLOCK_BYTES,
        allocated_count: 3 * count,
        freed_bytes: 2 * count * BLOCK_BYTES,
        freed_count: 2 * count,
        ..StackTotals::ZERO
    }
}

/// Leaf first. The difference between call paths is the application's frames: the number of a method is the call path's,
/// divided by the depth.
fn frames(stack: u64, owners: u64) -> Vec<Frame> {
    let native = (0..NATIVE_FRAMES).map(|depth| Frame {
        module: Some("/opt/app/lib/libcodec.so".to_owned()),
        offset: Some(0x1000 + depth * 16),
        ..Frame::named(format!("codec_stage_{depth}"), FrameKind::Native)
    });
    let jdk = (0..JDK_FRAMES).map(|depth| {
        java(&format!("java.util.stream.Stage{depth}.evaluate"), (stack % 7) as u32 + 10, Tier::C2)
    });
    let depth = match stack % DEEP_EVERY {
        0 => MAX_FRAMES as u64 - NATIVE_FRAMES - JDK_FRAMES - 2,
        _ => APPLICATION_FRAMES,
    };
    let application = (0..depth).map(|depth| {
        let method = (stack / (depth + 1) + depth * 131) % METHOD_COUNT;
        java(
            &format!("com.acme.service{}.Handler.call{method}", method % 40),
            method as u32 + 1,
            Tier::Inlined,
        )
    });
    let owner = java(&format!("com.acme.Request{}.handle", stack % owners), 42, Tier::Interpreted);
    native
        .chain(jdk)
        .chain([owner])
        .chain(application)
        .chain([Frame::named("start_thread", FrameKind::Native)])
        .collect()
}

fn java(function: &str, line: u32, tier: Tier) -> Frame {
    Frame {
        file: Some("Handler.java".to_owned()),
        line: Some(line),
        tier: Some(tier),
        ..Frame::named(function, FrameKind::Java)
    }
}

/// The results as a person reads them.
pub(crate) fn tables(results: &Results) -> String {
    let rows = results.formats.iter().map(|format| {
        vec![
            format.format.to_owned(),
            number(format.median_ms),
            number(format.cpu_ms),
            mib(format.resident_peak_bytes),
            mib(format.output_bytes),
        ]
    });
    format!(
        "{}\n{} live allocations on {} call paths of {} methods, a recording of {}; medians of {}\n\n{}",
        results.machine.describe(),
        number(results.live_count as f64),
        number(results.stack_count as f64),
        number(results.owner_count as f64),
        mib(results.recording_bytes),
        results.alternations,
        table(&["tracer report --format", "ms", "CPU, ms", "memory, at most", "output"], rows)
    )
}
