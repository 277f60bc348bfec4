//! `recorder`: what the recorder itself takes: CPU and memory at a steady rate, and time to attach; for builds of
//! `tracer` side by side.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::builds::Builds;
use crate::machine::{Conditions, Machine};
use crate::process;
use crate::render::{mib, number, table};
use crate::statistics::median;
use crate::tracer_record::{self, Recorder};
use crate::workload::{self, Java, Workload};

/// Read once more before it ends: the workload must still be at it.
const SPARE_S: u64 = 3;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    builds: Builds,
    /// malloc/free pairs a second
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Threads that do them together
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    threads: u8,
    /// Seconds over which the CPU time is taken, each time
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
    /// Libraries that the JVM has mapped
    #[arg(long, default_value_t = 60)]
    libraries: usize,
}

/// Results of `bench recorder`.
#[derive(Serialize)]
pub(crate) struct Results {
    schema: &'static str,
    #[serde(flatten)]
    conditions: Conditions,
    builds: Vec<OfBuild>,
}

/// Results of one build of tracer.
#[derive(Serialize)]
struct OfBuild {
    build: PathBuf,
    steady: Steady,
    attach: Attach,
}

/// A recorder at a steady rate: medians over the alternations.
#[derive(Clone, Serialize)]
struct Steady {
    asked_pairs_per_s: u64,
    threads: u8,
    /// Throughput that the workload reached, recorded.
    pairs_per_s: f64,
    call_path_count: usize,
    lost_count: u64,
    cpu_percent_of_a_core: f64,
    resident_bytes: u64,
    resident_peak_bytes: u64,
    /// Kernel memory of the BPF maps, not part of the resident bytes but for the ring buffer.
    map_bytes: u64,
}

/// A recorder that attaches to a JVM: medians over the alternations.
#[derive(Serialize)]
struct Attach {
    libraries: u64,
    /// Process start to the line `ready:`.
    median_ms: f64,
    each_ms: Vec<f64>,
    /// CPU time of the recorder until then.
    cpu_ms: f64,
    /// Ctrl-C to the end of the recorder: detached, recording closed, table printed.
    stop_ms: f64,
    resident_peak_bytes: u64,
}

pub(crate) fn measure(options: &Options, alternations: u32) -> Result<Results> {
    let machine = Machine::read();
    let builds = options.builds.all()?;
    let pairs = workload::compile_pairs()?;
    let java = Java::compile()?;
    let steady = steady(&pairs, &builds, options, alternations)?;
    let attach = attach(&java, &builds, options, alternations)?;
    let each = builds.into_iter().zip(steady).zip(attach);
    Ok(Results {
        schema: "tracer.bench.recorder/2",
        conditions: Conditions::new(machine, java.version, alternations),
        builds: each.map(|((build, steady), attach)| OfBuild { build, steady, attach }).collect(),
    })
}

fn steady(pairs: &Path, builds: &[PathBuf], options: &Options, alternations: u32) -> Result<Vec<Steady>> {
    let mut taken = vec![Vec::new(); builds.len()];
    for round in 1..=alternations {
        for (build, taken) in builds.iter().zip(&mut taken) {
            eprintln!("{} pairs/s: {round} of {alternations}: {}", options.rate, build.display());
            taken.push(window(&mut Command::new(pairs), build, options)?);
        }
    }
    Ok(taken.iter().map(|taken| medians(taken)).collect())
}

/// One window of a recorder of its own, on a process of its own.
fn window(command: &mut Command, build: &Path, options: &Options) -> Result<Steady> {
    let mut workload = Workload::start(command)?;
    let recorder = Recorder::attach_build(build, workload.pid(), &[])?;
    let seconds = options.window + SPARE_S;
    workload.tell(&format!("steady {} {seconds} {}", options.rate, options.threads))?;
    // The first second is for what is new: stacks, their names.
    std::thread::sleep(Duration::from_secs(1));
    let before = (Instant::now(), process::cpu_time(recorder.pid())?);
    std::thread::sleep(Duration::from_secs(options.window));
    let now = (Instant::now(), process::cpu_time(recorder.pid())?);
    let (resident_bytes, _) = process::resident_bytes(recorder.pid())?;
    let map_bytes = tracer_record::map_bytes(recorder.pid())?;
    let rate = workload.line()?.parse().context("the workload told no rate")?;
    let recording = recorder.stop()?;
    let (call_path_count, lost_count) = recording.sites_and_losses()?;
    Ok(Steady {
        asked_pairs_per_s: options.rate,
        threads: options.threads,
        pairs_per_s: rate,
        call_path_count,
        lost_count,
        cpu_percent_of_a_core: 100.0 * (now.1 - before.1).as_secs_f64() / (now.0 - before.0).as_secs_f64(),
        resident_bytes,
        // The kernel adds up both from the CPUs' own counts, now and then.
        resident_peak_bytes: recording.resident_peak_bytes.max(resident_bytes),
        map_bytes,
    })
}

/// Medians of windows; losses are those of all.
fn medians(taken: &[Steady]) -> Steady {
    let of = |value: &dyn Fn(&Steady) -> f64| median(&taken.iter().map(value).collect::<Vec<_>>());
    Steady {
        asked_pairs_per_s: taken.first().map_or(0, |steady| steady.asked_pairs_per_s),
        threads: taken.first().map_or(0, |steady| steady.threads),
        pairs_per_s: of(&|steady| steady.pairs_per_s),
        call_path_count: of(&|steady| steady.call_path_count as f64) as usize,
        lost_count: taken.iter().map(|steady| steady.lost_count).sum(),
        cpu_percent_of_a_core: of(&|steady| steady.cpu_percent_of_a_core),
        resident_bytes: of(&|steady| steady.resident_bytes as f64) as u64,
        resident_peak_bytes: of(&|steady| steady.resident_peak_bytes as f64) as u64,
        map_bytes: of(&|steady| steady.map_bytes as f64) as u64,
    }
}

fn attach(java: &Java, builds: &[PathBuf], options: &Options, alternations: u32) -> Result<Vec<Attach>> {
    let small = workload::compile_libraries(options.libraries)?;
    let mut command =
        java.command(&[&workload::SMALL[..], &["-Djava.awt.headless=true"]].concat(), "Libraries");
    command.arg(options.libraries.to_string()).arg(small);
    let jvm = Workload::start(&mut command)?;
    let libraries: u64 = jvm.greeting.parse().context("the JVM did not count its libraries")?;
    if libraries < options.libraries as u64 {
        bail!("the JVM has mapped {libraries} libraries only");
    }
    let mut taken = vec![Attachments::default(); builds.len()];
    for round in 1..=alternations {
        for (build, taken) in builds.iter().zip(&mut taken) {
            let name = build.display();
            eprintln!("attach to a JVM with {libraries} libraries: {round} of {alternations}: {name}");
            let recorder = Recorder::attach_build(build, jvm.pid(), &[])?;
            taken.attach_ms.push(recorder.attach_time.as_secs_f64() * 1e3);
            taken.cpu_ms.push(recorder.attach_cpu_time.as_secs_f64() * 1e3);
            let recording = recorder.stop()?;
            taken.stop_ms.push(recording.stop_time.as_secs_f64() * 1e3);
            taken.peak_bytes.push(recording.resident_peak_bytes as f64);
        }
    }
    let of_build = |taken: Attachments| Attach {
        libraries,
        median_ms: median(&taken.attach_ms),
        cpu_ms: median(&taken.cpu_ms),
        stop_ms: median(&taken.stop_ms),
        resident_peak_bytes: median(&taken.peak_bytes) as u64,
        each_ms: taken.attach_ms,
    };
    Ok(taken.into_iter().map(of_build).collect())
}

/// Readings of the recorders of one build.
#[derive(Clone, Default)]
struct Attachments {
    attach_ms: Vec<f64>,
    cpu_ms: Vec<f64>,
    stop_ms: Vec<f64>,
    peak_bytes: Vec<f64>,
}

/// The results as a person reads them.
pub(crate) fn tables(results: &Results) -> String {
    let row = |name: &str, value: &dyn Fn(&OfBuild) -> String| {
        std::iter::once(name.to_owned()).chain(results.builds.iter().map(value)).collect::<Vec<_>>()
    };
    let rows = [
        row("pairs a second, asked for", &|of| number(of.steady.asked_pairs_per_s as f64)),
        row("pairs a second, reached", &|of| number(of.steady.pairs_per_s)),
        row("by threads", &|of| of.steady.threads.to_string()),
        row("call paths", &|of| of.steady.call_path_count.to_string()),
        row("lost", &|of| of.steady.lost_count.to_string()),
        row("CPU of the recorder, % of a core", &|of| format!("{:.2}", of.steady.cpu_percent_of_a_core)),
        row("its memory, resident", &|of| mib(of.steady.resident_bytes)),
        row("its memory, at most", &|of| mib(of.steady.resident_peak_bytes)),
        row("kernel memory of its BPF maps", &|of| mib(of.steady.map_bytes)),
        row("libraries of the JVM", &|of| of.attach.libraries.to_string()),
        row("attach to it: start to `ready:`, ms", &|of| number(of.attach.median_ms)),
        row("CPU time until then, ms", &|of| number(of.attach.cpu_ms)),
        row("detach from it: Ctrl-C to the end, ms", &|of| number(of.attach.stop_ms)),
        row("the recorder's memory then, at most", &|of| mib(of.attach.resident_peak_bytes)),
    ];
    let names: Vec<String> = match results.builds.as_slice() {
        [_] => vec!["measured".to_owned()],
        builds => builds.iter().map(|of| of.build.display().to_string()).collect(),
    };
    let head: Vec<&str> = std::iter::once("the recorder").chain(names.iter().map(String::as_str)).collect();
    format!("{}\n\n{}", results.conditions.describe(), table(&head, rows))
}
