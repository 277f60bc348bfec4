//! `tracer-bench`: what recording costs the target, what the recorder itself takes, and how long reports take.
//!
//! `cargo xtask bench` builds it, and `tracer` beside it, and runs it as root. Workloads are the programs of
//! `bench/programs`, which do on command what is asked and say how long it took; so one process is measured with and
//! without probes, alternately, and what the machine does besides falls on all variants alike. Everything printed is
//! a median over the alternations, with the load average beside it.

// A tool may print; a measurement that fails is an error with a sentence. Reports are JSON of tracer's own, where an
// index that is missing gives null.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::string_slice))]

mod builds;
mod census;
mod cost;
mod floor;
mod machine;
mod neighbours;
mod pair;
mod peer;
mod process;
mod program_times;
mod recorder;
mod render;
mod report;
mod server;
mod statistics;
mod streams;
mod tracer_record;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use serde::Serialize;

#[derive(Parser)]
#[command(name = "tracer-bench", about)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Also write the results as JSON to this file
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Alternations, in each of which every variant is measured
    #[arg(long, global = true, value_name = "COUNT", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    alternations: u32,
}

#[derive(Subcommand)]
enum What {
    /// ns that an allocation and its free take in the target: untraced, with empty probes, recorded, and by peers
    Cost(peer::AsyncProfiler),
    /// ns that it takes in the target to be told what zlib holds, and by whom: by light, in full, and by async-profiler
    Streams(peer::AsyncProfiler),
    /// The same as `cost` for builds of tracer side by side, at one depth each of C and of compiled Java, in short
    /// turns
    Pair(pair::Options),
    /// The recorder's own CPU and memory at a steady rate, and the time to attach to a JVM with many libraries
    Recorder(recorder::Options),
    /// Cost of system calls, mappings, page faults, new processes and context switches for processes that nobody records,
    /// while another one is recorded
    Neighbours(neighbours::Options),
    /// Time to report a recording with very many live allocations and call paths
    Report(report::Options),
    /// Time and memory of a census of much memory, and what the target loses meanwhile
    Census(census::Options),
    /// Cost of recording for Tomcat under load, and whether censuses of it are right
    Server(server::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.what {
        What::Cost(options) => cost::measure(options, arguments.alternations)
            .and_then(|results| publish(&results, &cost::tables(&results), &arguments)),
        What::Streams(options) => streams::measure(options, arguments.alternations)
            .and_then(|results| publish(&results, &streams::tables(&results), &arguments)),
        What::Pair(options) => pair::measure(options, arguments.alternations)
            .and_then(|results| publish(&results, &pair::tables(&results), &arguments)),
        What::Recorder(options) => recorder::measure(options, arguments.alternations)
            .and_then(|results| publish(&results, &recorder::tables(&results), &arguments)),
        What::Neighbours(options) => neighbours::measure(options, arguments.alternations)
            .and_then(|results| publish(&results, &neighbours::tables(&results), &arguments)),
        What::Report(options) => match &options.make {
            Some(file) => report::write(file, options),
            None => report::measure(options, arguments.alternations)
                .and_then(|results| publish(&results, &report::tables(&results), &arguments)),
        },
        What::Census(options) => census::measure(options, arguments.alternations)
            .and_then(|results| publish(&results, &census::tables(&results), &arguments)),
        What::Server(options) => server::measure(options, arguments.alternations)
            .and_then(|results| publish(&results, &server::tables(&results), &arguments)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn publish(results: &impl Serialize, tables: &str, arguments: &Arguments) -> Result<()> {
    print!("{tables}");
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(results)?;
        std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
