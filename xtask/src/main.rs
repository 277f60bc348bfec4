//! `cargo xtask`: set-up, builds, tests, the demo and the benchmark.
//!
//! Everything that a plain `cargo build` cannot do is here and nowhere else: the BPF programs are compiled for
//! another target, by a Rust that has its library sources, and then embedded into `tracer` by its build script.

// A tool may print; what fails is an error with a sentence.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

mod bench;
mod build;
mod debian;
mod demo;
mod fuzz;
mod jdk;
mod kernels;
mod kills;
mod man;
mod outputs;
mod plan;
mod proto;
mod setup;
mod shell;
mod test;
mod toolchain;
mod verdicts;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing to build, test and run the demo; says what and why first
    Setup(setup::Options),
    /// Build both sides into target/debug/tracer (or release), the BPF object embedded
    Build(build::Options),
    /// Set up, then run every check and test; as root, the privileged ones too
    Test(test::Options),
    /// Boot older and newer kernels in QEMU, load every BPF program in each, and trace real processes
    Kernels(kernels::Options),
    /// Open what tracer writes in pprof, dh_view, speedscope and OpenTelemetry's decoder
    Outputs(outputs::Options),
    /// Check the page's modules, and drive the page in Chromium
    Page(outputs::PageOptions),
    /// Give parsers of foreign bytes random ones, with libFuzzer
    Fuzz(fuzz::Options),
    /// Kill recorder and target at random moments, under load (as root)
    Kills(kills::Options),
    /// Write man pages and docs/cli.md from the definition of the flags
    Man(man::Options),
    /// Make the Rust code of the protobuf formats from tracer/proto
    Proto(proto::Options),
    /// Start a leaking sample JVM, record it for 10 s, print the table and draw the flame graph (as root)
    Demo(demo::Options),
    /// Measure what recording costs the target, or what the recorder itself takes (as root)
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup(options) => setup::run(&options),
        Task::Build(options) => build::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Kernels(options) => kernels::run(&options),
        Task::Outputs(options) => outputs::run(&options),
        Task::Page(options) => outputs::page(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Kills(options) => kills::run(&options),
        Task::Man(options) => man::run(&options),
        Task::Proto(options) => proto::run(&options),
        Task::Demo(options) => demo::run(&options),
        Task::Bench(options) => bench::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
