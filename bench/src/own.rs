//! `recorder`: what the recorder itself takes: CPU and memory at a steady rate, and time to attach.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::machine::Machine;
use crate::process;
use crate::recorder::{self, Recorder};
use crate::render::{mib, number, table};
use crate::statistics::median;
use crate::workload::{self, Java, Workload};

/// Read once more before it ends: the workload must still be at it.
const SPARE_S: u64 = 3;

#[derive(Args)]
pub(crate) struct Options {
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

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Results {
    schema: &'static str,
    machine: Machine,
    java: String,
    alternations: u32,
    steady: Steady,
    attach: Attach,
}

#[derive(Serialize)]
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
    let pairs = workload::compile_pairs()?;
    let java = Java::compile()?;
    let steady = steady(&mut Command::new(pairs), options, alternations)?;
    let attach = attach(&java, options, alternations)?;
    Ok(Results {
        schema: "tracer.bench.recorder/1",
        machine: machine.done(),
        java: java.version,
        alternations,
        steady,
        attach,
    })
}

fn steady(command: &mut Command, options: &Options, alternations: u32) -> Result<Steady> {
    let window = Duration::from_secs(options.window);
    let seconds = options.window * u64::from(alternations) + SPARE_S;
    let mut workload = Workload::start(command)?;
    let recorder = Recorder::attach(workload.pid())?;
    workload.tell(&format!("steady {} {seconds} {}", options.rate, options.threads))?;
    // The first second is for what is new: stacks, their names.
    std::thread::sleep(Duration::from_secs(1));
    let mut percents = Vec::new();
    let mut resident = Vec::new();
    let mut before = (Instant::now(), process::cpu_time(recorder.pid())?);
    for round in 1..=alternations {
        eprintln!("{} pairs/s: {round} of {alternations}", options.rate);
        std::thread::sleep(window);
        let now = (Instant::now(), process::cpu_time(recorder.pid())?);
        percents.push(100.0 * (now.1 - before.1).as_secs_f64() / (now.0 - before.0).as_secs_f64());
        resident.push(process::resident_bytes(recorder.pid())?.0 as f64);
        before = now;
    }
    let map_bytes = recorder::map_bytes(recorder.pid())?;
    let rate = workload.line()?.parse().context("the workload told no rate")?;
    let recording = recorder.stop()?;
    let resident_bytes = median(&resident) as u64;
    let (call_path_count, lost_count) = recording.sites_and_losses()?;
    Ok(Steady {
        asked_pairs_per_s: options.rate,
        threads: options.threads,
        pairs_per_s: rate,
        call_path_count,
        lost_count,
        cpu_percent_of_a_core: median(&percents),
        resident_bytes,
        // The kernel adds up both from the CPUs' own counts, now and then.
        resident_peak_bytes: recording.resident_peak_bytes.max(resident_bytes),
        map_bytes,
    })
}

fn attach(java: &Java, options: &Options, alternations: u32) -> Result<Attach> {
    let small = workload::compile_libraries(options.libraries)?;
    let mut command =
        java.command(&[&workload::SMALL[..], &["-Djava.awt.headless=true"]].concat(), "Libraries");
    command.arg(options.libraries.to_string()).arg(small);
    let jvm = Workload::start(&mut command)?;
    let libraries: u64 = jvm.greeting.parse().context("the JVM did not count its libraries")?;
    if libraries < options.libraries as u64 {
        bail!("the JVM has mapped {libraries} libraries only");
    }
    let [mut each_ms, mut cpu_ms, mut stop_ms, mut peaks] = [const { Vec::new() }; 4];
    for round in 1..=alternations {
        eprintln!("attach to a JVM with {libraries} libraries: {round} of {alternations}");
        let recorder = Recorder::attach(jvm.pid())?;
        each_ms.push(recorder.attach_time.as_secs_f64() * 1e3);
        cpu_ms.push(recorder.attach_cpu_time.as_secs_f64() * 1e3);
        let recording = recorder.stop()?;
        stop_ms.push(recording.stop_time.as_secs_f64() * 1e3);
        peaks.push(recording.resident_peak_bytes as f64);
    }
    Ok(Attach {
        libraries,
        median_ms: median(&each_ms),
        each_ms,
        cpu_ms: median(&cpu_ms),
        stop_ms: median(&stop_ms),
        resident_peak_bytes: median(&peaks) as u64,
    })
}

/// The results as a person reads them.
pub(crate) fn tables(results: &Results) -> String {
    let (steady, attach) = (&results.steady, &results.attach);
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("pairs a second, asked for", number(steady.asked_pairs_per_s as f64)),
        row("pairs a second, reached", number(steady.pairs_per_s)),
        row("by threads", steady.threads.to_string()),
        row("call paths", steady.call_path_count.to_string()),
        row("lost", steady.lost_count.to_string()),
        row("CPU of the recorder, % of a core", format!("{:.2}", steady.cpu_percent_of_a_core)),
        row("its memory, resident", mib(steady.resident_bytes)),
        row("its memory, at most", mib(steady.resident_peak_bytes)),
        row("kernel memory of its BPF maps", mib(steady.map_bytes)),
        row("libraries of the JVM", attach.libraries.to_string()),
        row("attach to it: start to `ready:`, ms", number(attach.median_ms)),
        row("CPU time until then, ms", number(attach.cpu_ms)),
        row("detach from it: Ctrl-C to the end, ms", number(attach.stop_ms)),
        row("the recorder's memory then, at most", mib(attach.resident_peak_bytes)),
    ];
    format!(
        "{}\n{}\nmedians of {}\n\n{}",
        results.machine.describe(),
        results.java,
        results.alternations,
        table(&["the recorder", "measured"], rows)
    )
}
